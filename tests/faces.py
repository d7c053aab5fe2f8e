"""Small data sets, models and files for the tests of layouts, readers and evaluation."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vtrack.data import Dataset
from vtrack.data.lids import eye_points
from vtrack.data.mesh_labels import VERTICES
from vtrack.layouts import Layout, load_layout
from vtrack.template import load_template
from vtrack.types import FloatArray, ImageArray, LandmarkModel, Prediction, Query


def picture(width: int = 120, height: int = 100) -> bytes:
    """An encoded picture with some content."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return bytes(cv2.imencode(".png", np.stack([across, down, 255 - across], -1).astype(np.uint8))[1])


def noise(model: LandmarkModel, count: int) -> ImageArray:
    """(count, 3, S, S) crops of nothing, of the model's size."""
    shape = (count, 3, model.input_size, model.input_size)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def template_faces(layout: Layout, count: int = 4, scale: float = 40.0) -> FloatArray:
    """(count, points, 2) the template's face at several places and sizes, in a picture of 400 x 400."""
    face = load_template().locate(layout.query)
    rng = np.random.default_rng(3)
    sizes, places = scale * rng.uniform(0.8, 1.5, count), rng.uniform(150, 250, (count, 1, 2))
    return (face[None] * sizes[:, None, None] + places).astype(np.float32)


def dataset(layout_name: str = "300w", count: int = 4, subsets: Mapping[str, np.ndarray] | None = None) -> Dataset:
    """The template's face as annotations of one grey picture."""
    layout = load_layout(layout_name)
    content = picture(400, 400)
    files = tuple(f"{i}.png" for i in range(count))
    points = template_faces(layout, count)
    return Dataset("made", layout, files, points, files, lambda _: content, subsets or {})


@dataclass
class Template:
    """A real, if simple, landmark model: the template's face, wherever the crop is, off by a known amount."""

    offset: tuple[float, float] = (0.0, 0.0)
    """In shares of the crop's side."""
    spread: float = 0.01
    name: str = "template"
    input_size: int = 64
    margin: float = 1.25

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """The template fitted into the crop the way its box was."""
        assert crops.dtype == np.uint8 and crops.shape[1:] == (3, self.input_size, self.input_size)
        layout = load_layout("300w")
        box = layout.face_box(load_template().locate(layout.query)[None])[0]
        places = load_template().locate(query)
        side = box[2:].max() * self.margin
        points = (places - box[:2] - box[2:] / 2) / side + 0.5 + np.array(self.offset)
        count = len(crops)
        return Prediction(
            np.tile(points, (count, 1, 1)), np.full((count, len(query)), self.spread), np.full(count, 0.9)
        )


def write_pts(path: Path, points: FloatArray) -> None:
    """A `.pts` file, which counts pixels from 1, and a picture beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{x + 1:.3f} {y + 1:.3f}" for x, y in points]
    path.write_text("\n".join(["version: 1", f"n_points: {len(points)}", "{", *lines, "}"]) + "\n")
    path.with_suffix(".png").write_bytes(picture(400, 400))


STATES = (
    ("train", "cew:1", "closed"),
    ("train", "wink:2", "wink"),
    ("train", "lfw:3", "open"),
    ("val", "lfw:4", "half+yawn"),
)
"""Split, group and state of each face of `state_zip`."""


def state_zip(path: Path, rows: tuple[tuple[str, str, str], ...] = STATES, columns: int = 478) -> Path:
    """A zip of faces with states: the template's mesh, of a wink the right eye half as open."""
    mesh = load_layout("mesh")
    points = template_faces(mesh, len(rows))
    for (_, _, state), face in zip(rows, points, strict=True):
        if state == "wink":
            ring = face[eye_points(mesh, "right", "mesh_eye")]
            face[eye_points(mesh, "right", "mesh_eye")] = ring.mean(0) + (ring - ring.mean(0)) * (1, 0.5)
    vertices = np.zeros((len(rows), columns, 2))
    vertices[:, VERTICES] = points
    names = ",".join(f"x{i},y{i}" for i in range(1, columns + 1))
    lines = [f"file,split,group,state,{names}"]
    for i, (row, face) in enumerate(zip(rows, vertices, strict=True)):
        lines.append(",".join([f"images/{i}.png", *row, *(f"{value:.3f}" for value in face.ravel())]))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.csv", "\n".join(lines) + "\n")
        for i in range(len(rows)):
            archive.writestr(f"images/{i}.png", picture(400, 400))
    return path


def write_table(path: Path, points: FloatArray) -> Path:
    """A table of annotations, with one grey picture for all faces beside it."""
    path.with_suffix(".png").write_bytes(picture(400, 400))
    header = ["file", *(f"{axis}{number}" for number in range(1, points.shape[1] + 1) for axis in "xy")]
    rows = [[path.with_suffix(".png").name, *map(str, face.ravel())] for face in points]
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    return path
