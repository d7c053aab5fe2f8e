"""Landmark models: systems, their engines and export; `load_model("fast")` loads one by name."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vtrack.errors import UnknownModelError, UsageError, spelled
from vtrack.models.card import DEFAULT_MODEL, WEIGHTS, Card, read_landmark_card, shipped
from vtrack.models.checksums import check_file, warn_without_checksums
from vtrack.models.engines import registry as engines
from vtrack.options import nearest_of
from vtrack.parts import nearest
from vtrack.types import LandmarkModel

log = logging.getLogger(__name__)

__all__ = ["Card", "card_path", "load_model", "pick_device", "shipped"]


def pick_device(device: str = "auto") -> str:
    """The device to compute on.

    Args:
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        UsageError: There is no such device.
    """
    if device == "cpu" or (device == "auto" and not gpu_likely()):
        return "cpu"
    import torch  # slow to import, and not needed without a GPU

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
    """Whether a GPU's driver is installed: querying torch for a GPU takes seconds."""
    if sys.platform == "darwin" or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def card_path(name: str) -> Path:
    """Path of the card of a model by its name or by the path itself.

    Raises:
        UnknownModelError: There is no such model.
    """
    path = Path(name) if name.endswith(".json") else WEIGHTS / f"{name}.json"
    if not path.exists():
        known = shipped()
        see = f"choose from {', '.join(known)}, or give the path of the .json card of your own"
        raise UnknownModelError(f"there is no model {name!r}; {nearest(name, known, see=see)}")
    return path


def load_model(
    name: str = DEFAULT_MODEL,
    *,
    device: str = "auto",
    engine: str = "auto",
    settings: Mapping[str, str] | None = None,
    shared: bool = False,
) -> LandmarkModel:
    """Load a landmark model.

    Args:
        name: Name of a shipped model, or path of the card of your own (`.json`, with the weights beside it).
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`.
        engine: `auto`, or one of `vtrack.models.engines.registry.ENGINES`. `auto` takes torch on a GPU. On a CPU it takes
            `bf16` if the CPU has AMX and OpenVINO is installed, else `int8` if the CPU has VNNI and the model an 8-bit
            graph, else `onnx`.
        settings: Options of the model's system to change, such as its decoder; the engine is then torch.
        shared: True if other threads or processes use the same cores: each call then takes one thread.

    Returns:
        A model whose `predict(crops, query)` gives points, their standard deviations and the presence of a face.

    Raises:
        ModelError: There is no such model, or its files are missing or damaged.
        UsageError: An option does not exist or does not fit the others.
        MissingExtraError: The engine needs an extra that is not installed.

    Examples:
        >>> import numpy as np
        >>> import vtrack
        >>> model = vtrack.load_model()
        >>> crops = np.zeros((2, 3, model.input_size, model.input_size), np.uint8)
        >>> model.predict(crops, vtrack.parse_query("eyes"))
        Prediction(2 crops, 16 points)
    """
    if engine not in engines.NAMES:
        raise UsageError(f"there is no engine {engine!r}; {nearest_of(engine, engines.NAMES)}")
    path = card_path(name)
    card = read_landmark_card(path)
    warn_without_checksums(card, path)
    if settings:
        from vtrack.models.systems.registry import make_config  # imports torch

        if engine not in ("auto", "torch"):
            raise UsageError(
                f"{', '.join(settings)} cannot be changed in the graph of {name}; use {spelled('engine', 'torch')}"
            )
        config = make_config(card.system, {**card.config, **settings})
        engine, card = "torch", replace(card, config=asdict(config))
    device = pick_device(device)
    if engine == "auto":
        engine = _fastest(path) if device == "cpu" else "torch"
    entry = engines.ENGINES[engine]
    if not entry.graph:
        from vtrack.models.networks import load_network  # imports torch

        return _made(entry, card, load_network(card, path.with_suffix(".safetensors")), device)
    if device != "cpu":
        raise UsageError(f"the {engine} engine runs on the CPU, not on {device}; use {spelled('engine', 'torch')}")
    if entry.fits and not engines.load(entry.fits)():
        log.warning("%s", entry.misfit)
    for file in _files_of_graph(path, entry.graph):
        check_file(card, file)
    if not card.checksums:
        from vtrack.models.engines.trial import try_graph  # seldom needed

        try_graph(engine, path)
    return _made(entry, card, path.with_suffix(entry.graph), shared=shared)


def _files_of_graph(card: Path, ending: str) -> tuple[Path, ...]:
    """A graph, and the file that it reads its large tensors from; an 8-bit graph holds its own."""
    graph = card.with_suffix(ending)
    return (graph,) if ending == engines.INT8 else (graph, card.with_suffix(".safetensors"))


def _fastest(card: Path) -> str:
    """The fastest engine on this CPU that has its graph beside the card."""
    return next(
        name
        for name, entry in engines.ENGINES.items()
        if not entry.graph
        or (card.with_suffix(entry.graph).exists() and (not entry.is_faster or engines.load(entry.is_faster)()))
    )


def _made(entry: engines.EngineEntry, *given: Any, **options: Any) -> LandmarkModel:
    model: LandmarkModel = engines.load(entry.import_path)(*given, **options)
    return model
