"""OpenVINO, kept from reporting: its converter, which is loaded with it, tells its makers of each program that does so."""

from __future__ import annotations

import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any, cast

from vtrack.errors import MissingExtraError

_TELEMETRY = "openvino_telemetry"
_loading = threading.RLock()


def load_openvino() -> Any:
    """The module; it does without its telemetry where that is missing, so it is shown none."""
    with _loading:
        known = sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = cast(Any, None)  # this is how Python is told that there is no such module
        try:
            import openvino
            import openvino.passes
        except ImportError as error:
            if isinstance(error, ModuleNotFoundError) and error.name == "openvino":
                raise MissingExtraError("OpenVINO needs its extra: pip install 'vtrack[openvino]'") from error
            raise MissingExtraError(f"OpenVINO is there and cannot be loaded: {error}") from error
        finally:
            if known is None:
                del sys.modules[_TELEMETRY]
            else:
                sys.modules[_TELEMETRY] = known
        return openvino


def core() -> Any:
    """OpenVINO's core: one for the process, and never given up.

    With AMX the first core gives the thread that makes it a stack for its signals. If the last one ended in another thread,
    that stack would be freed while still in use, and the next signal would be the end of the process.
    """
    with _loading:
        return _core()


@cache
def _core() -> Any:
    return load_openvino().Core()


def read(path: Path) -> Any:
    """A graph in floats, whose weights all its copies share: of one in half precision each would make its own."""
    graph = core().read_model(path)
    fold(graph)
    return graph


def parted(graph: Any, name: str) -> tuple[Any, Any]:
    """What of a graph is known before its input `name` is, and the rest, which takes that first part's outputs after it.

    The graph has fixed sizes, and is used up.
    """
    openvino = load_openvino()
    operators = openvino.opset13
    needs: dict[str, frozenset[str]] = {}
    """The graph's inputs that each node depends on."""
    passed: dict[tuple[str, int], list[Any]] = {}
    """Of each value of the first part that goes into the rest: where it goes."""
    for node in graph.get_ordered_ops():
        sources = [entrance.get_source_output() for entrance in node.inputs()]
        known = [needs[source.get_node().get_name()] for source in sources]
        own = {"Parameter": [node.get_friendly_name()], "Result": [name]}.get(node.get_type_name(), [])
        needs[node.get_name()] = frozenset(own).union(*known)
        for entrance, source, needed in zip(node.inputs(), sources, known, strict=True):
            if name in needs[node.get_name()] and needed and name not in needed:
                passed.setdefault((source.get_node().get_name(), source.get_index()), []).append(entrance)
    values = [entrances[0].get_source_output() for entrances in passed.values()]
    late: list[Any] = []
    early: list[Any] = []
    for parameter in graph.get_parameters():
        (late if parameter.get_friendly_name() == name else early).append(parameter)
    first = openvino.Model([operators.result(value) for value in values], early).clone()
    for value, entrances in zip(values, passed.values(), strict=True):
        late.append(operators.parameter(value.get_partial_shape(), value.get_element_type()))
        for entrance in entrances:
            entrance.replace_source_output(late[-1].output(0))
    return first, openvino.Model(graph.get_results(), late)


def fold(graph: Any) -> None:
    """Work out what a graph computes of constants alone."""
    passes = load_openvino().passes
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(graph)


def complaint(error: BaseException) -> str:
    """What an error of OpenVINO's says in the end, without the places in its sources that it begins with."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check "))]
    return (told or lines or [""])[-1]
