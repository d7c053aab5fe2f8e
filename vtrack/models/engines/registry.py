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

    home: str
    """`module:Class`, imported when it is asked for."""
    help: str
    graph: str = ""
    """Ending of the graph beside the card that it runs; empty for one that runs the network itself, on any device."""
    is_faster: str = ""
    """`module:function` that says whether it is faster here than the engines below it; it always is where empty."""
    fits: str = ""
    """`module:function` that says whether this CPU is made for it; every CPU is where empty."""
    misfit: str = ""
    """What happens on another CPU."""


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
"""Fastest first: `auto` takes the first that has its graph and is faster here, and on a GPU the one that needs none."""
NAMES = ("auto", *reversed(ENGINES))


def load(home: str) -> Callable[..., Any]:
    """What stands at `module:name`."""
    module, _, name = home.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
