"""Landmark models by name: `load_model("fast")`."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from vtrack.errors import ModelError, UsageError
from vtrack.models.card import WEIGHTS, Card, read_card, shipped
from vtrack.types import LandmarkModel

log = logging.getLogger(__name__)

ENGINES = ("auto", "torch", "onnx", "int8", "bf16")

__all__ = ["ENGINES", "Card", "card_path", "load_model", "pick_device", "shipped"]


def pick_device(device: str = "auto") -> str:
    """The device to use: the one asked for if it is there; for `auto` a GPU if there is one."""
    if device == "cpu" or (device == "auto" and not gpu_likely()):
        return "cpu"
    import torch

    usable = ["cpu"]
    if torch.backends.mps.is_available():
        usable.insert(0, "mps")
    if torch.cuda.is_available():
        usable[:0] = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if device == "auto":
        return usable[0]
    if device not in usable:
        raise UsageError(f"there is no device {device!r} here; choose from auto, {', '.join(usable)}")
    return device


def gpu_likely() -> bool:
    """Whether it is worth asking torch for a GPU, which takes seconds: there is none without its driver."""
    if sys.platform == "darwin" or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def card_path(name: str) -> Path:
    """Where the card of a model lies that `load_model` knows by this name."""
    path = Path(name) if name.endswith(".json") else WEIGHTS / f"{name}.json"
    if not path.exists():
        known = ", ".join(shipped()) or "none"
        raise ModelError(f"there is no model {name!r}; the shipped ones are {known}; your own are named by their .json")
    return path


def load_model(
    name: str = "fast",
    *,
    device: str = "auto",
    engine: str = "auto",
    settings: Mapping[str, str] | None = None,
    shared: bool = False,
) -> LandmarkModel:
    """A shipped model by name, or your own by the path of its card (`.json`, with the weights beside it).

    On a CPU the engine is the model's ONNX graph in bfloat16 where the processor has tiles of it, else its 8-bit graph
    where it has one and the processor is made for it, else its ONNX graph in floats.
    `shared` says that others have work to do on the same cores meanwhile. `settings` turns knobs of the model's system,
    its decoder for example; graphs have theirs built in, so torch runs it.
    """
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}; choose from {', '.join(ENGINES)}")
    path = card_path(name)
    card = read_card(path)
    if settings:
        from vtrack.models.systems.registry import make_config

        if engine not in ("auto", "torch"):
            raise UsageError(f"{name}'s graph has its {', '.join(settings)} built in; use --engine torch")
        config = make_config(card.system, {**card.config, **settings})
        engine, card = "torch", replace(card, config=asdict(config))
    from vtrack.models.engines.base import graphs_of, int8_pays
    from vtrack.models.engines.bfloat16 import Bfloat16Engine, bf16_pays, has_tiles
    from vtrack.models.engines.onnx import OnnxEngine
    from vtrack.models.engines.torch import TorchEngine

    graphs = graphs_of(path)
    device = pick_device(device)
    if engine == "auto":
        pays = {"bf16": bf16_pays, "int8": int8_pays, "onnx": lambda: True}
        fitting = (kind for kind, graph in graphs.items() if graph.exists() and pays[kind]())
        engine = next(fitting, "torch") if device == "cpu" else "torch"
    if engine == "torch":
        from vtrack.models.networks import load_network

        return TorchEngine(card, load_network(card, path.with_suffix(".safetensors")), device)
    if device != "cpu":
        raise UsageError(f"the {engine} engine runs on the CPU, not on {device}; use --engine torch")
    if engine == "int8" and not int8_pays():
        log.warning(
            "this processor sums products of bytes in too few bits; points of the int8 engine are less exact on it"
        )
    if engine == "bf16" and not has_tiles():
        log.warning("this processor has no tiles of bfloat16, without which the bf16 engine is slower than onnx")
    kind = Bfloat16Engine if engine == "bf16" else OnnxEngine
    return kind(card, graphs[engine], shared=shared)
