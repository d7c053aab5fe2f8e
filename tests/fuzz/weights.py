"""Damaged weights and graphs, with and without checksums, and cards of models and detectors with strange values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.commands import run_command
from tests.fuzz.mutations import damaged
from tests.fuzz.outcomes import Outcome
from tests.fuzz.videos import SAMPLE
from vtrack.detectors.native import NATIVE_CARD
from vtrack.models.card import WEIGHTS, shipped

STRANGE = (
    *(None, True, -1, 0, 3, 127, 7128, 10**9, 10**400, 0.5, 1e308, float("nan"), "", "12", "x" * 5000),
    *([], [0], [3, 10**9], {}, [[[]]], {"knots": [0.0], "others": []}, "../../etc/passwd"),
)


def run_case(rng: np.random.Generator, folder: Path) -> Outcome:
    """Damage one file of a model or of the detector and use it."""
    return _CASES[rng.integers(len(_CASES))](rng, folder)


def _card(rng: np.random.Generator, folder: Path) -> Outcome:
    name = str(rng.choice(shipped()))
    card = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    for _ in range(int(rng.integers(1, 4))):
        _spoil(card, ("config",), rng)
    _write(folder / f"{name}.json", card, rng)
    _copy(WEIGHTS / name, folder)
    return _track(folder / f"{name}.json", rng)


def _weights(rng: np.random.Generator, folder: Path) -> Outcome:
    _copy(WEIGHTS / "fast", folder)
    card = json.loads((WEIGHTS / "fast.json").read_text(encoding="utf-8"))
    _write(folder / "fast.json", card, None)
    ending = str(rng.choice([".safetensors", ".onnx", ".int8.onnx"]))
    spoilt = folder / f"fast{ending}"
    spoilt.write_bytes(damaged(spoilt.read_bytes(), rng))
    return _track(folder / "fast.json", rng)


def _weights_of_an_old_card(rng: np.random.Generator, folder: Path) -> Outcome:
    """A card without checksums."""
    _copy(WEIGHTS / "fast", folder)
    card = json.loads((WEIGHTS / "fast.json").read_text(encoding="utf-8"))
    del card["checksums"]
    _write(folder / "fast.json", card, None)
    engine, ending = (("torch", ".safetensors"), ("onnx", ".onnx"), ("int8", ".int8.onnx"))[rng.integers(3)]
    spoilt = folder / f"fast{ending}"
    content = spoilt.read_bytes()
    # Of weights the header, whose damage a reader has to notice: numbers of tensors may have any value.
    head = 8 + int.from_bytes(content[:8], "little") if engine == "torch" else len(content)
    spoilt.write_bytes(damaged(content[:head], rng) + content[head:])
    return _run(folder / "fast.json", engine)


def _detector(rng: np.random.Generator, folder: Path) -> Outcome:
    _copy(NATIVE_CARD.with_suffix(""), folder)
    card = json.loads(NATIVE_CARD.read_text(encoding="utf-8"))
    if rng.random() < 0.7:
        for _ in range(int(rng.integers(1, 3))):
            _spoil(card["config"], ("network", "calibration"), rng)
        _write(folder / "native.json", card, rng)
    else:
        _write(folder / "native.json", card, None)
        spoilt = folder / "native.onnx"
        spoilt.write_bytes(damaged(spoilt.read_bytes(), rng))
    arguments = ["run", SAMPLE, "--stop", "0.2", "--detector-model", folder / "native.json"]
    return run_command([*arguments, "--parts", "eyes", "-o", folder / "out", "--quiet"], folder)


def _track(card: Path, rng: np.random.Generator) -> Outcome:
    engines = ["torch", "onnx", *(["int8"] if card.with_suffix(".int8.onnx").exists() else [])]
    return _run(card, str(rng.choice(engines)))


def _run(card: Path, engine: str) -> Outcome:
    arguments = ["run", SAMPLE, "--stop", "0.2", "--model", card, "--engine", engine]
    return run_command([*arguments, "--parts", "eyes", "-o", card.parent / "out", "--quiet"], card.parent)


def _copy(stem: Path, folder: Path) -> None:
    """Copy a model's files but its card."""
    for suffix in (".safetensors", ".onnx", ".int8.onnx"):
        if stem.with_suffix(suffix).exists():
            shutil.copy(stem.with_suffix(suffix), folder)


def _write(path: Path, card: dict[str, Any], rng: np.random.Generator | None) -> None:
    """Write a card, whose text is damaged now and then."""
    text = json.dumps(card).encode()
    path.write_bytes(damaged(text, rng) if rng is not None and rng.random() < 0.3 else text)


def _spoil(values: dict[str, Any], inner: tuple[str, ...], rng: np.random.Generator) -> None:
    """Set one value, or one inside an entry called `inner`, to something of another size or kind, or remove it."""
    entry = values.get(inner[rng.integers(len(inner))])
    if isinstance(entry, dict) and entry and rng.random() < 0.6:
        values = entry
    key = str(rng.choice(sorted(values)))
    if rng.random() < 0.2 and len(values) > 1:
        del values[key]
    else:
        values[key] = STRANGE[rng.integers(len(STRANGE))]


_CASES: tuple[Callable[[np.random.Generator, Path], Outcome], ...] = (
    *(_card, _card, _weights, _weights_of_an_old_card, _detector),
)
