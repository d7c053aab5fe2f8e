"""Damaged pictures and layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tests.fuzz.commands import run_command
from tests.fuzz.mutations import damaged
from tests.fuzz.outcomes import Outcome

PICTURES = (".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm")
ABSURD = (
    b"1/0",
    b"0/0",
    b"1e999/1",
    b"nan/1",
    b"-1/2",
    b"9" * 5000,
    b"true",
    b"[" * 5000,
    b"\xff",
    b"[[], []]",
    b"{}",
    b"",
)
LAYOUTS = Path(__file__).parents[2] / "vtrack" / "layouts"


def run_case(rng: np.random.Generator, folder: Path) -> Outcome:
    """Damage one file of a random kind and use it."""
    return _CASES[rng.integers(len(_CASES))](rng, folder)


def _picture(rng: np.random.Generator, folder: Path) -> Outcome:
    suffix = str(rng.choice(PICTURES))
    content = cv2.imencode(suffix, rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))[1].tobytes()
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(3):
        (pictures / f"{number}{suffix}").write_bytes(damaged(content, rng) if rng.random() < 0.7 else content)
    return run_command(["run", pictures, "--parts", "eyes", "--overwrite", "--quiet"], folder)


def _layout(rng: np.random.Generator, folder: Path) -> Outcome:
    path = folder / "own.toml"
    content = (LAYOUTS / "helen29.toml").read_bytes()
    if rng.random() < 0.5:
        path.write_bytes(damaged(content, rng))
    else:
        quotes = [i for i, byte in enumerate(content) if byte in b'"=,']
        start = quotes[rng.integers(len(quotes))] + 1
        end = next((i for i in range(start, len(content)) if content[i] in b'",\n]'), len(content))
        path.write_bytes(content[:start] + ABSURD[rng.integers(len(ABSURD))] + content[end:])
    data = folder / "labels.csv"
    data.write_text("file,x1,y1\na.png,1,2\n", encoding="utf-8")
    return run_command(["eval", "--data", f"{path}:{data}", "--engine", "onnx"], folder)


_CASES: tuple[Callable[[np.random.Generator, Path], Outcome], ...] = (_picture, _layout)
