"""Tables read back, tables of labels and tables of boxes, damaged or with absurd values and sizes."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

import vtrack
from tests.faces import picture
from tests.fuzz.commands import run_call, run_command
from tests.fuzz.mutations import damaged
from tests.fuzz.outcomes import Outcome
from tests.fuzz.videos import SAMPLE, scratch
from tests.fuzz.zips import labels
from vtrack.pipelines.outputs.base import sidecar_path

ABSURD = (
    b"1e999",
    b"-1e308",
    b"nan",
    b"9" * 400,
    b"",
    b"x" * 200_000,
    b"1e18",
    b"-1",
    b"\0",
    b"\xff",
    b'"',
    b"[" * 5000,
)
RAW = ("raw.csv", "raw-long.csv", "raw.jsonl", "raw.parquet")
"""Tables with the columns `raw`, which can be refined."""
KINDS = ("wide.csv", "long.csv", "openface.csv", "dlc.csv", "eyes.jsonl", "eyes.parquet")
DUMPS = ("mesh.npy", "mesh.json", "mesh.jsonl", "mesh-wide.csv", "mesh-long.csv")
"""Dumps of mediapipe's face mesh."""
TARGETS = ("wide", "long", "openface", "dlc", "jsonl", "parquet")


def run_case(rng: np.random.Generator, folder: Path) -> Outcome:
    """Damage one table and read it."""
    return _CASES[rng.integers(len(_CASES))](rng, folder)


def _result(rng: np.random.Generator, folder: Path) -> Outcome:
    name = KINDS[rng.integers(len(KINDS))]
    path = folder / name
    content, meta = _written(name)
    path.write_bytes(_spoilt(content, rng) if rng.random() < 0.8 else content)
    sidecar_path(path).write_bytes(_spoilt(meta, rng) if rng.random() < 0.3 else meta)

    if rng.random() < 0.5:
        target = TARGETS[rng.integers(len(TARGETS))]
        clock = ["--fps", "30"] if name == "dlc.csv" else []
        return run_command(["convert", path, "--to", target, *clock, "--quiet"], folder)

    if rng.random() < 0.2:
        return run_command(["draw", path, SAMPLE, "--stop", "0.2", "--preset", "ultrafast", "--quiet"], folder)

    def read() -> None:
        table = vtrack.read_table(path, fps=30 if name == "dlc.csv" else None)
        table.to_numpy()
        table.to_pandas()
        repr(table)

    return run_call(read)


def _refined(rng: np.random.Generator, folder: Path) -> Outcome:
    name = RAW[rng.integers(len(RAW))]
    path = folder / name
    content, meta = _written(name)
    path.write_bytes(_spoilt(content, rng) if rng.random() < 0.8 else content)
    sidecar_path(path).write_bytes(_spoilt(meta, rng) if rng.random() < 0.5 else meta)
    smooth = ("rts", "kalman", "one-euro", "none")[rng.integers(4)]
    outputs = ["--events", "--to", "wide"] if rng.random() < 0.5 else []
    return run_command(["refine", path, "--smooth", smooth, *outputs, "--quiet"], folder)


def _dump(rng: np.random.Generator, folder: Path) -> Outcome:
    path = folder / DUMPS[rng.integers(len(DUMPS))]
    path.write_bytes(_spoilt(_dumped(path.name), rng))
    options = ["--size", "640x480", "--fps", "30", "-o", folder / "out.csv", "--quiet"]
    return run_command(["convert", path, *options], folder)


@lru_cache
def _dumped(name: str) -> bytes:
    """A sound dump of three frames."""
    mesh = np.random.default_rng(0).uniform(0.2, 0.8, (3, 468, 3)).round(4)
    if name == "mesh.npy":
        file = io.BytesIO()
        np.save(file, mesh)
        return file.getvalue()
    if name == "mesh-wide.csv":
        lines = [",".join(f"{axis}_{i}" for i in range(468) for axis in "xyz")]
        lines += [",".join(map(str, face.ravel().tolist())) for face in mesh]
    elif name == "mesh-long.csv":
        lines = ["frame,landmark_index,x,y,z"]
        lines += [f"{i},{j},{x},{y},{z}" for i, face in enumerate(mesh) for j, (x, y, z) in enumerate(face.tolist())]
    else:
        frames = [json.dumps({"faceLandmarks": [[{"x": x, "y": y} for x, y, _ in face]]}) for face in mesh.tolist()]
        lines = frames if name == "mesh.jsonl" else [f"[{','.join(frames)}]"]
    return ("\n".join(lines) + "\n").encode()


def _labels(rng: np.random.Generator, folder: Path) -> Outcome:
    path = folder / "labels.csv"
    path.write_bytes(_spoilt(labels(), rng))
    (folder / "images").mkdir()
    (folder / "images" / "0.png").write_bytes(picture(400, 400))
    return run_command(["eval", "--data", f"300w:{path}", "--engine", "int8"], folder)


def _boxes(rng: np.random.Generator, folder: Path) -> Outcome:
    path = folder / "boxes.csv"
    text = "frame,x,y,w,h\n" + "".join(f"{i},{60 + i},40,90,110\n" for i in range(6))
    path.write_bytes(_spoilt(text.encode(), rng))
    options = ["--detector", "boxes", "--detector-model", path, "--parts", "eyes", "-o", folder / "out", "--quiet"]
    return run_command(["run", SAMPLE, "--stop", "0.2", *options], folder)


def _spoilt(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with random damage, or a text with one cell that is absurd."""
    if rng.random() < 0.5:
        return damaged(content, rng)
    separators = [i for i, byte in enumerate(content) if byte in b",:"]
    if not separators:
        return damaged(content, rng)
    start = separators[rng.integers(len(separators))] + 1
    end = next((i for i in range(start, len(content)) if content[i] in b",\n}]"), len(content))
    return content[:start] + ABSURD[rng.integers(len(ABSURD))] + content[end:]


@lru_cache
def _written(name: str) -> tuple[bytes, bytes]:
    """A sound table of the sample and the facts beside it."""
    path = scratch() / name
    kind = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}[path.suffix]
    with contextlib.redirect_stderr(io.StringIO()):
        form = path.stem.removeprefix("raw").lstrip("-") or "wide" if path.suffix == ".csv" else "wide"
        parts = "300w" if form == "openface" else "eyes"
        columns = ("raw", "measures") if name in RAW else ()
        vtrack.run(SAMPLE, parts=parts, stop=0.2, format=form, columns=columns, **{kind: path})
    return path.read_bytes(), sidecar_path(path).read_bytes()


_CASES: tuple[Callable[[np.random.Generator, Path], Outcome], ...] = (
    _result,
    _result,
    _refined,
    _dump,
    _labels,
    _boxes,
)
