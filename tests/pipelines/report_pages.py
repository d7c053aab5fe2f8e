"""Tables of the sample clip without a model, and pages read back, for tests of reports."""

from __future__ import annotations

import csv
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from tests.pipelines.results import make_result
from vtrack.pipelines.outputs.base import write_sidecar
from vtrack.pipelines.outputs.tables.csv import WideTable
from vtrack.query import parse_query
from vtrack.types import Face, FloatArray

SAMPLES = Path(__file__).parents[2] / "samples"
SAMPLE = SAMPLES / "sample.mp4"
LAYOUT = parse_query("300w")
VOID = {"meta", "img", "path"}


def truth() -> FloatArray:
    """(270, 68, 2) the true points of the sample."""
    with (SAMPLES / "sample.csv").open() as file:
        rows = [[[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(1, 69)] for row in csv.DictReader(file)]
    return np.array(rows)


def face_of(points: FloatArray, number: int = 0, **changes: Any) -> Face:
    low, high = points.min(0), points.max(0)
    box = np.concatenate([low, high - low])
    return replace(Face(number, box, 1.0, points, np.ones(len(points)), points, LAYOUT), **changes)


def write(path: Path, frames: list[list[Face]], name: str = "sample.mp4", source: Path = SAMPLE, **facts: Any) -> Path:
    """A table of the sample with facts beside it, whose times are those of the sample."""
    with WideTable(path, LAYOUT) as sink:
        for index, faces in enumerate(frames):
            sink.write(replace(make_result(index, *faces, query=LAYOUT, step=1000), query=LAYOUT))
    write_sidecar(
        path,
        options={"parts": "300w", "model": "fast"},
        model={"name": "fast", "system": "udfld"},
        source={"name": name, "path": str(source), "width": 640, "height": 480, "average_rate": 30.0},
        counts={"frames": len(frames), "seconds": 2.0, "stages": {"decode": 0.5, "landmarks": 1.5}},
        **facts,
    )
    return path


class Page(HTMLParser):
    """The elements of a page, whose tags must match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def talk(folder: Path) -> Path:
    """A table of two seconds of the sample; in the second half second the face is uncertain, later it is not seen."""
    frames = []
    for i, points in enumerate(truth()[:60]):
        changes: dict[str, Any] = {"sigma": np.full(68, 8.0)} if 15 <= i < 30 else {}
        frames.append([face_of(points, measured=not 45 <= i < 50, **changes)])
    return write(folder / "talk.csv", frames)
