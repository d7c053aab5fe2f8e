"""OpenVINO without its telemetry: importing it loads its converter, which reports the import to its developers."""

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
    """Import OpenVINO while its telemetry module is hidden; it runs without.

    Raises:
        MissingExtraError: OpenVINO is not installed or cannot be loaded.
    """
    with _loading:
        known = sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = cast(Any, None)  # `import` then fails as if it were not installed
        try:
            import openvino
            import openvino.passes
        except ImportError as error:
            if isinstance(error, ModuleNotFoundError) and error.name == "openvino":
                raise MissingExtraError("OpenVINO needs its extra: pip install 'vtrack[openvino]'") from error
            raise MissingExtraError(f"OpenVINO is installed but cannot be loaded: {error}") from error
        finally:
            if known is None:
                del sys.modules[_TELEMETRY]
            else:
                sys.modules[_TELEMETRY] = known
        return openvino


def core() -> Any:
    """OpenVINO's core: one for the process, never deleted.

    With AMX the first core installs a signal stack for the thread that creates it. If another thread deleted the last core,
    that stack would be freed while in use, and the next signal would crash the process.
    """
    with _loading:
        return _core()


@cache
def _core() -> Any:
    return load_openvino().Core()


def read_graph(path: Path) -> Any:
    """Load a graph with weights in float32, which all compiled copies share; with float16 each would convert its own."""
    graph = core().read_model(path)
    fold_constants(graph)
    return graph


def split_graph(graph: Any, name: str) -> tuple[Any, Any]:
    """Split a graph at one input.

    Args:
        graph: A graph with fixed shapes; it must not be used afterwards.
        name: Name of the input.

    Returns:
        The graph of all that does not depend on the input, and the graph of the rest, whose inputs are `name` and then the
        outputs of the first.
    """
    openvino = load_openvino()
    operators = openvino.opset13
    needs: dict[str, frozenset[str]] = {}
    """Inputs of the graph that each node depends on."""
    passed: dict[tuple[str, int], list[Any]] = {}
    """Values of the first part that the rest uses, and the inputs they go to."""
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


def fold_constants(graph: Any) -> None:
    """Fold the constant expressions of a graph."""
    passes = load_openvino().passes
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(graph)


def error_message(error: BaseException) -> str:
    """The last line of an OpenVINO error that is a message and not a place in its sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    messages = [line for line in lines if line and not line.startswith(("Exception from", "Check "))]
    return (messages or lines or [""])[-1]
