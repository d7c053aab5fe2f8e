"""Engines by name: what each runs, and where it lives. Light to import; adding one is an entry here and its own file."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

INT8 = ".int8.onnx"
"""File ending of a graph's 8-bit version (see `vtrack.models.export.quantise`)."""


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """An engine that is loaded by name."""

    import_path: str
    """`module:Class`, imported on first use."""
    help: str
    graph: str = ""
    """Suffix of the graph file beside the card; empty for an engine that runs the torch network itself, on any device."""
    is_faster: str = ""
    """`module:function` that returns whether it is faster on this CPU than the engines below it; empty if it always is."""
    fits: str = ""
    """`module:function` that returns whether this CPU supports it well; empty if every CPU does."""
    misfit: str = ""
    """Warning on other CPUs."""


_BASE, _BF16 = "vtrack.models.engines.base", "vtrack.models.engines.bfloat16"

ENGINES: dict[str, EngineEntry] = {
    "bf16": EngineEntry(
        f"{_BF16}:Bfloat16Engine",
        "OpenVINO in bfloat16",
        graph=".onnx",
        is_faster=f"{_BF16}:bf16_is_faster",
        fits=f"{_BF16}:has_amx",
        misfit="this CPU has no AMX, without which the bf16 engine is slower than onnx",
    ),
    "int8": EngineEntry(
        "vtrack.models.engines.onnx:OnnxEngine",
        "onnxruntime in 8 bits",
        graph=INT8,
        is_faster=f"{_BASE}:int8_is_faster",
        fits=f"{_BASE}:int8_is_faster",
        misfit="this CPU has no VNNI and sums products of bytes in too few bits; points of the int8 engine are less "
        "exact on it",
    ),
    "onnx": EngineEntry("vtrack.models.engines.onnx:OnnxEngine", "onnxruntime", graph=".onnx"),
    "torch": EngineEntry("vtrack.models.engines.torch:TorchEngine", "torch, on any device"),
}
"""Fastest first: on a CPU `auto` takes the first that has its graph and is faster there, on a GPU the one without a graph."""
NAMES = ("auto", *reversed(ENGINES))


def load(import_path: str) -> Callable[..., Any]:
    """Import the object at `module:name`."""
    module, _, name = import_path.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
