"""Dumps of the face mesh as JSON, as JSON lines, and as NumPy arrays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from vtrack.errors import TableError
from vtrack.pipelines.outputs.tables.columns import RawTable
from vtrack.pipelines.outputs.tables.mesh.cells import COUNTS, MeshFrame, mesh_blocks
from vtrack.pipelines.outputs.tables.mesh.text import FRAME, SECONDS
from vtrack.types import FloatArray

_FACES = (
    *("faceLandmarks", "face_landmarks", "multiFaceLandmarks", "multi_face_landmarks"),
    *("faces", "landmarks", "landmark", "keypoints"),
)
"""Names of the faces of a frame, and of the vertices of a face."""
_FRAMES = ("frames", "results", "data")
"""Names of the list of frames."""
_FORM = (
    "a dump of mediapipe's face mesh is a list of frames, each with faceLandmarks or face_landmarks: lists of 468 or 478 "
    'vertices as {"x": 0.5, "y": 0.5}'
)


def is_mesh_frame(frame: object) -> bool:
    """Whether an object of JSON is a frame of a dump, and none of vtrack's, whose `faces` are objects with columns."""
    faces = _faces(frame)
    named = isinstance(frame, Mapping) and "faces" not in frame
    return bool(faces) or (named and faces is not None)


def read_json(path: Path) -> Iterator[RawTable]:
    """Read a dump of JSON as a wide table, block by block; the file is in memory as a whole.

    Raises:
        TableError: It is no such dump, or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path}: not JSON: {error}") from error
    if isinstance(content, Mapping):
        inner = next((content[name] for name in _FRAMES if name in content), None)
        if inner is None and content and all(name.isdecimal() for name in content):
            inner = [content[name] for name in sorted(content, key=int)]
        content = [content] if inner is None else inner
    if not isinstance(content, list) or not any(_faces(frame) for frame in content):
        raise TableError(f"{path}: not a table; {_FORM}")
    yield from read_mesh_objects(path, content)


def read_mesh_objects(path: Path, frames: Iterable[object]) -> Iterator[RawTable]:
    """Yield frames of a dump as blocks of a wide table; at least one.

    Args:
        path: The file, for messages.
        frames: The objects of its frames.

    Raises:
        TableError: One of them is no frame of a dump.
    """

    def read() -> Iterator[MeshFrame]:
        for count, frame in enumerate(frames):
            if (faces := _faces(frame)) is None:
                raise TableError(f"{path}: frame {count} is none; {_FORM}")
            facts = {name.lower(): value for name, value in frame.items()} if isinstance(frame, Mapping) else {}
            number = next((float(facts[name]) for name in FRAME if name in facts), float(count))
            time = next((float(facts[name]) * unit for name, unit in SECONDS.items() if name in facts), None)
            yield MeshFrame(number, faces, time)

    yield from mesh_blocks(read())


def read_array(path: Path) -> Iterator[RawTable]:
    """Read a dump of NumPy as a wide table, block by block: (frames, vertices, 2 or 3), or with an axis of faces after frames.

    Raises:
        TableError: The array has another shape.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, TokenError) as error:  # the last ones of a damaged header
        raise TableError(f"{path}: cannot be read: {error}; save numbers alone, numpy.save(path, array)") from error
    shape = "x".join(map(str, array.shape))
    flat = {count * axes: (count, axes) for count in COUNTS for axes in (2, 3)}
    if array.ndim == 2 and array.shape[0] in COUNTS and array.shape[1] in (2, 3):
        array = array[None]
    elif array.ndim == 2 and array.shape[1] in flat:
        array = array.reshape(len(array), *flat[array.shape[1]])
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[2] not in COUNTS or array.shape[3] not in (2, 3) or array.dtype.kind not in "fiu":
        raise TableError(
            f"{path}: an array of {shape} {array.dtype}; a dump of mediapipe's face mesh has frames x 468 or 478 vertices x 2 "
            "or 3 numbers"
        )

    def frames() -> Iterator[MeshFrame]:
        for number, faces in enumerate(array):
            known = [i for i, face in enumerate(faces) if np.isfinite(face[:, :2]).any() and face.any()]
            yield MeshFrame(number, [np.asarray(faces[i], np.float64) for i in known], None, known)

    yield from mesh_blocks(frames())


def _faces(frame: object) -> list[FloatArray] | None:
    """The faces of a frame; None if it is none."""
    if isinstance(frame, Mapping):
        name = next((name for name in _FACES if name in frame), None)
        return None if name is None else _faces(frame[name])
    if frame is None:
        return []
    if not isinstance(frame, Sequence) or isinstance(frame, str):
        return None
    if (face := _face(frame)) is not None:
        return [face]
    faces = [_face(_vertices(each)) for each in frame]
    return None if any(face is None for face in faces) else [face for face in faces if face is not None]


def _vertices(face: object) -> object:
    """The vertices of a face that is an object with a list of them."""
    return next((face[name] for name in _FACES if name in face), None) if isinstance(face, Mapping) else face


def _face(vertices: Any) -> FloatArray | None:
    """(vertices, 2) a face; None if it is none."""
    if not isinstance(vertices, Sequence) or len(vertices) not in COUNTS:
        return None
    try:
        pairs = [(each["x"], each["y"]) if isinstance(each, Mapping) else each[:2] for each in vertices]
        return np.array(pairs, np.float64).reshape(len(vertices), 2)
    except (KeyError, TypeError, ValueError):
        return None
