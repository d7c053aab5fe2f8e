"""Dumps of mediapipe's face mesh in the forms that people write: the same faces come out of all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vtrack.cli.main import OK, USAGE, main
from vtrack.data.mean_face import mean_face
from vtrack.data.mesh_labels import VERTICES
from vtrack.errors import TableError, UsageError
from vtrack.pipelines.outputs.tables.read import read_table
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.types import FloatArray

SIZE = (640, 480)
FRAMES = 4
ABSENT = 2
"""The frame without a face."""


def shares(count: int = 468) -> FloatArray:
    """(frames, count, 3) vertices of the mean face, which moves, as shares of the frame's sides."""
    face = mean_face().vertices
    places = np.zeros((count, 3))
    places[:468] = (face - face.min(0)) / np.ptp(face, 0).max() * 0.4 + 0.2
    places[468:] = places[133]
    return places + np.arange(FRAMES)[:, None, None] * 0.01


def points(face: FloatArray) -> list[dict[str, float]]:
    return [{"x": x, "y": y, "z": z} for x, y, z in face.tolist()]


def wide(names: Callable[[int, str], str]) -> Callable[[Path, FloatArray], Path]:
    """A row for each frame, that without a face with empty cells, and a time in ms."""

    def write(folder: Path, dump: FloatArray) -> Path:
        path, count = folder / "dump.csv", dump.shape[1]
        header = ["frame", "timestamp_ms", *(names(i, axis) for i in range(count) for axis in "xyz")]
        rows = [header]
        for i, face in enumerate(dump):
            cells = [""] * (3 * count) if i == ABSENT else [f"{value:.9f}" for value in face.ravel()]
            rows.append([str(i), f"{40 * i}", *cells])
        path.write_text("\n".join(map(",".join, rows)) + "\n")
        return path

    return write


def long(folder: Path, dump: FloatArray) -> Path:
    """A row for each vertex, as of the holistic model, with rows of hands between the faces."""
    path, rows = folder / "dump.csv", ["frame,type,landmark_index,x,y,z,timestamp_ms"]
    for i, face in enumerate(dump):
        known = i != ABSENT
        rows += [
            f"{i},face,{j},{x if known else ''},{y if known else ''},0,{40 * i}"
            for j, (x, y, _) in enumerate(face.tolist())
        ]
        rows += [f"{i},left_hand,{j},0.5,0.5,0,{40 * i}" for j in range(21)]
    path.write_text("\n".join(rows) + "\n")
    return path


def in_json(
    frame: Callable[[int, list[list[dict[str, float]]]], object], name: str
) -> Callable[[Path, FloatArray], Path]:
    def write(folder: Path, dump: FloatArray) -> Path:
        path = folder / name
        frames = [frame(i, [] if i == ABSENT else [points(face)]) for i, face in enumerate(dump)]
        lines = map(json.dumps, frames)
        path.write_text("\n".join(lines) if path.suffix == ".jsonl" else json.dumps(frames))
        return path

    return write


def array(*axes: int) -> Callable[[Path, FloatArray], Path]:
    def write(folder: Path, dump: FloatArray) -> Path:
        known = dump.astype(np.float32)
        known[ABSENT] = np.nan
        np.save(folder / "dump.npy", known.reshape(len(known), *axes) if axes else known)
        return folder / "dump.npy"

    return write


@pytest.mark.parametrize(
    "write",
    [
        wide(lambda i, axis: f"{axis}_{i}"),
        wide(lambda i, axis: f"landmark_{i}_{axis}"),
        wide(lambda i, axis: f"{axis.upper()}{i + 1}"),
        long,
        in_json(lambda i, faces: {"timestampMs": 40 * i, "faceLandmarks": faces}, "dump.json"),
        in_json(lambda i, faces: {"frame": i, "timestamp_ms": 40 * i, "face_landmarks": faces}, "dump.jsonl"),
        in_json(
            lambda i, faces: {"time_ms": 40 * i, "multi_face_landmarks": [{"landmark": face} for face in faces]},
            "dump.json",
        ),
        in_json(lambda i, faces: {"time_ms": 40 * i, "landmarks": faces[0] if faces else None}, "dump.json"),
        in_json(lambda i, faces: [[[p["x"], p["y"], p["z"]] for p in face] for face in faces], "dump.json"),
        array(),
        array(1, 468, 3),
        array(468 * 3),
    ],
)
def test_every_form_gives_the_same_table(write: Callable[[Path, FloatArray], Path], tmp_path: Path) -> None:
    dump, target = shares(), tmp_path / "talk.csv"
    path = write(tmp_path, dump)
    timed = TableResults(path, size=SIZE, untimed=True).table.timed
    assert main(["convert", str(path), "--size", "640x480", "-o", str(target), *[*["--fps", "25"]] * (not timed)]) == OK
    results = list(TableResults(target))
    assert [result.time for result in results] == [0.0, 0.04, 0.08, 0.12]
    assert [len(result.faces) for result in results] == [1, 1, 0, 1] and TableResults(target).size == SIZE
    expected = dump[3, VERTICES[VERTICES < 468], :2] * SIZE - 0.5
    (face,) = results[3].faces
    assert np.abs(face.points - expected).max() < 2e-3 and face.query.parts[0] == "mesh_jaw"
    assert np.abs(face.box[:2] - expected.min(0)).max() < 2e-3


def test_irises_several_faces_and_pixels(tmp_path: Path) -> None:
    dump = shares(478) * [*SIZE, 1]
    both = np.stack([dump, dump + [50, 0, 0]], 1)
    both[0, 1] = np.nan
    np.save(tmp_path / "dump.npy", both)
    table = read_table(tmp_path / "dump.npy", fps=30)
    assert table.query is not None and len(table.query) == 190 and table.query.parts[-1] == "right_pupil"
    results = list(TableResults(tmp_path / "dump.npy", fps=30))
    assert [[face.id for face in result.faces] for result in results] == [[0], [0, 1], [0, 1], [0, 1]]
    # Pixels stay as they are.
    assert np.abs(results[2].faces[1].points - both[2, 1, VERTICES, :2]).max() < 1e-6


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = array()(tmp_path, shares())
    assert main(["convert", str(dump), "--to", "wide", "--fps", "25"]) == USAGE
    assert "dump.npy has coordinates from 0 to 1; make a table of it by the size" in capsys.readouterr().err
    assert main(["convert", str(dump), "--to", "wide", "--fps", "25", "--size", "640"]) == USAGE
    assert "--size is width and height in pixels, as 640x480, got '640'" in capsys.readouterr().err
    with pytest.raises(UsageError, match="coordinates from 0 to 1"):
        read_table(dump, fps=25)
    hands, odd, no_mesh, pickled = (tmp_path / name for name in ("hands.npy", "odd.csv", "coco.json", "pickled.npy"))
    np.save(hands, np.zeros((5, 21, 3)))
    np.save(pickled, np.array([{"x": 1}]), allow_pickle=True)
    odd.write_text("frame,landmark_index,x,y\n0,0,0.5,0.5\n0,1,0.5,0.5\n")
    no_mesh.write_text('{"images": [], "annotations": []}')
    empty, cut_off = tmp_path / "empty.npy", tmp_path / "cut_off.npy"
    empty.write_bytes(b"")
    cut_off.write_bytes(dump.read_bytes()[:-100])
    header, deep = tmp_path / "header.npy", tmp_path / "deep.json"
    header.write_bytes(dump.read_bytes().replace(b"'shape': (4,", b"'shape': (((", 1))
    deep.write_text("[" * 5000)
    changing = tmp_path / "changing.json"
    changing.write_text(json.dumps([[points(shares()[0])], [points(shares(478)[0])]]))
    for path, message in (
        (hands, "an array of 5x21x3 float64; a dump of mediapipe's face mesh has frames x 468 or 478"),
        (pickled, "pickled.npy: cannot be read"),
        (empty, "empty.npy: cannot be read"),
        (cut_off, "cut_off.npy: cannot be read"),
        (header, "header.npy: cannot be read"),
        (deep, "deep.json: not JSON"),
        (odd, "frame 0 has 2 rows; a dump of the face mesh has 468 or 478"),
        (no_mesh, "coco.json: not a table; a dump of mediapipe's face mesh is a list of frames"),
        (changing, "a face with 478 vertices after one with 468"),
    ):
        with pytest.raises(TableError, match=message):
            list(TableResults(path, fps=25, size=SIZE))
    facts = tmp_path / "talk.csv"
    assert main(["convert", str(dump), "--size", "640x480", "--fps", "25", "-o", str(facts), "--quiet"]) == OK
    assert main(["convert", str(facts), "--size", "320x240", "-o", str(tmp_path / "x.csv")]) == USAGE
    assert "have 640x480 pixels, as its .meta.json tells" in capsys.readouterr().err
