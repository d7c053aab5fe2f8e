"""Damaged pictures, model cards, weights, layouts, zips of photographs, tables of boxes."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.faces import picture, template_faces
from tests.fuzz.commands import run_command
from tests.fuzz.mutations import damaged
from tests.fuzz.outcomes import Outcome
from tests.fuzz.videos import SAMPLE
from vtrack.layouts import load_layout
from vtrack.models.card import WEIGHTS

PICTURES = (".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm")
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


def _card(rng: np.random.Generator, folder: Path) -> Outcome:
    card = json.loads((WEIGHTS / "fast.json").read_text(encoding="utf-8"))
    for _ in range(int(rng.integers(1, 4))):
        _spoil(card if rng.random() < 0.4 else card["config"], rng)
    text = json.dumps(card).encode()
    (folder / "fast.json").write_bytes(damaged(text, rng) if rng.random() < 0.4 else text)
    for suffix in (".safetensors", ".onnx", ".int8.onnx"):
        shutil.copy(WEIGHTS / f"fast{suffix}", folder)
    return _track(folder, rng)


def _weights(rng: np.random.Generator, folder: Path) -> Outcome:
    for suffix in (".json", ".safetensors", ".onnx", ".int8.onnx"):
        shutil.copy(WEIGHTS / f"fast{suffix}", folder)
    spoilt = folder / f"fast{rng.choice(['.safetensors', '.onnx', '.int8.onnx'])}"
    spoilt.write_bytes(damaged(spoilt.read_bytes(), rng))
    return _track(folder, rng)


def _track(folder: Path, rng: np.random.Generator) -> Outcome:
    engine = str(rng.choice(["torch", "onnx", "int8"]))
    arguments = ["run", SAMPLE, "--stop", "0.2", "--model", folder / "fast.json", "--engine", engine]
    return run_command([*arguments, "--parts", "eyes", "-o", folder / "out", "--quiet"], folder)


def _layout(rng: np.random.Generator, folder: Path) -> Outcome:
    path = folder / "own.toml"
    path.write_bytes(damaged((LAYOUTS / "helen29.toml").read_bytes(), rng))
    data = folder / "labels.csv"
    data.write_text("file,x1,y1\na.png,1,2\n", encoding="utf-8")
    return run_command(["eval", "--data", f"{path}:{data}", "--engine", "onnx"], folder)


def _photographs(rng: np.random.Generator, folder: Path) -> Outcome:
    path = folder / "faces.zip"
    _write_photographs(path)
    path.write_bytes(damaged(path.read_bytes(), rng))
    return run_command(["eval", "--data", f"300w:{path}", "--engine", "int8"], folder)


def _write_photographs(path: Path) -> None:
    points = template_faces(load_layout("300w"), 1)[0]
    header = ["file", "split", "group", *(f"{axis}{i + 1}" for i in range(len(points)) for axis in "xy")]
    row = ["images/0.png", "val", "a", *(f"{value:.2f}" for value in points.ravel())]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.csv", "\n".join([",".join(header), ",".join(row)]) + "\n")
        archive.writestr("images/0.png", picture(400, 400))


def _boxes(rng: np.random.Generator, folder: Path) -> Outcome:
    path = folder / "boxes.txt"
    text = "frame,box_x,box_y,box_w,box_h\n" + "".join(f"{i},{60 + i},40,90,110\n" for i in range(6))
    path.write_bytes(damaged(text.encode(), rng))
    options = ["--detector", "boxes", "--detector-model", path, "--parts", "eyes", "-o", folder / "out", "--quiet"]
    return run_command(["run", SAMPLE, "--stop", "0.2", *options], folder)


def _spoil(values: dict[str, Any], rng: np.random.Generator) -> None:
    """Set one value to something of another size or kind."""
    strange = (None, -1, 0, 7128, 10**9, 1e308, "", "x" * 5000, [], {}, [[[]]], True, "../../etc/passwd")
    key = str(rng.choice(sorted(values)))
    if rng.random() < 0.2:
        del values[key]
    else:
        values[key] = strange[rng.integers(len(strange))]


_CASES: tuple[Callable[[np.random.Generator, Path], Outcome], ...] = (
    *(_picture, _card, _weights, _layout, _photographs, _boxes),
)
