"""`vtrack crops`: eyes that stay at one place, matrices that map points there and back, videos with their sound."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.cli.test_compare import SAMPLE, face_of, truth, write
from vtrack.cli.main import OK, USAGE, main
from vtrack.pipelines.settings import CropSettings
from vtrack.pipelines.tables.crops.alignment import FaceAligner, frame_to_crop
from vtrack.query import parse_query
from vtrack.types import Face, FloatArray

CORNERS = (36, 45)
"""The outer eye corners among the points of 300w."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The true points of the sample's first second; one frame is without the face, one without its eyes."""
    points = truth()[:30].copy()
    points[20, 36:48] = np.nan
    frames: dict[int, list[Face]] = {i: [face_of(each, 3)] for i, each in enumerate(points)}
    frames[10] = []
    frames[20] = [replace(frames[20][0], box=frames[19][0].box)]
    return write(tmp_path_factory.mktemp("table") / "talk.csv", frames)


def matrices(folder: Path) -> dict[int, tuple[FloatArray, dict[str, str]]]:
    """(2, 3) from frame to crop and the whole row, by frame."""
    with (folder / "crops.csv").open() as file:
        rows = list(csv.DictReader(file))
    cells = ("m00", "m01", "m02", "m10", "m11", "m12")
    return {int(row["frame"]): (np.array([float(row[cell]) for cell in cells]).reshape(2, 3), row) for row in rows}


def test_eye_corners_stand_still(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "faces"
    assert main(["crops", str(table), str(SAMPLE), "--size", "192", "-o", str(folder)]) == OK
    assert "talk.csv: 28 crops of 1 face\n" in capsys.readouterr().err
    rows, points = matrices(folder), truth()
    assert sorted(rows) == [i for i in range(30) if i not in (10, 20)]
    places = json.loads((folder / "crops.csv.meta.json").read_text())["options"]["eye_corners"]
    distance = places[1][0] - places[0][0]
    for frame, (matrix, row) in rows.items():
        shown = points[frame, CORNERS] @ matrix[:, :2].T + matrix[:, 2]
        # The table has three decimals: 0.0005 px of some 128.
        assert np.abs(shown - places).max() < 1e-4 * distance
        assert matrix[0, 0] == pytest.approx(matrix[1, 1]) and matrix[0, 1] == pytest.approx(-matrix[1, 0])
        image = cv2.imread(str(folder / row["file"]))
        assert image.shape == (192, 192, 3) and row["file"] == f"face-3/{frame:06}.png"


def test_the_picture_is_where_the_matrix_says(table: Path, tmp_path: Path) -> None:
    assert (
        main(
            ["crops", str(table), str(SAMPLE), "--start", "0.05", "--stop", "0.1", "-o", str(tmp_path / "c"), "--quiet"]
        )
        == OK
    )
    matrix, row = matrices(tmp_path / "c")[2]
    with av.open(str(SAMPLE)) as container:
        frame = [each.to_ndarray(format="bgr24") for each, _ in zip(container.decode(video=0), range(3), strict=False)][
            2
        ]
    expected = cv2.warpAffine(frame, matrix, (256, 256), flags=cv2.INTER_LINEAR).astype(int)
    crop = cv2.imread(str(tmp_path / "c" / row["file"])).astype(int)
    # The program cuts planes of half the resolution, whose colours are a little softer.
    assert np.abs(crop - expected).mean() < 3
    shifted = np.roll(expected, 1, axis=1)
    assert np.abs(crop - shifted).mean() > 1.5 * np.abs(crop - expected).mean()


def test_a_video_of_a_face_with_its_sound(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    words = ["--video", "--face", "3", "--start", "0.2", "--size", "128", "--quiet", "-o", str(folder)]
    assert main(["crops", str(table), str(SAMPLE), *words]) == OK
    with av.open(str(folder / "face-3.mp4")) as container:
        frames = list(container.decode(video=0))
        assert len(container.streams.audio) == 1
    with av.open(str(folder / "face-3.mp4")) as container:
        sound = [float(frame.time or 0) for frame in container.decode(audio=0)]
    assert (frames[0].width, frames[0].height, len(frames)) == (128, 128, 24)
    assert [float(frame.time or 0) for frame in frames] == pytest.approx([i / 30 for i in range(24)], abs=1e-3)
    assert 0.6 < sound[-1] < 0.9
    rows = matrices(folder)
    held = [frame for frame, (_, row) in rows.items() if row["aligned"] == "0"]
    assert held == [10, 20] and sorted(rows) == list(range(6, 30))
    np.testing.assert_array_equal(rows[10][0], rows[9][0])  # the face is missing: the picture stays where it is


def test_nothing_is_replaced_without_being_told(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "faces"
    words = ["crops", str(table), str(SAMPLE), "-o", str(folder), "--picture-format", "jpg"]
    assert main([*words, "--stop", "0.2", "--quiet"]) == OK
    (folder / "face-3" / "mine.txt").write_text("kept")
    before = sorted(path.name for path in folder.rglob("*"))
    assert main(words) == USAGE
    assert "000000.jpg exists already; add --overwrite" in capsys.readouterr().err
    assert sorted(path.name for path in folder.rglob("*")) == before
    assert main([*words, "--stop", "0.1", "--overwrite", "--quiet"]) == OK
    assert sorted(path.name for path in (folder / "face-3").iterdir()) == [
        *(f"00000{i}.jpg" for i in range(3)),
        "mine.txt",
    ]


def test_wrong_usage_is_one_line(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = parse_query("lips")
    lips = write(tmp_path / "lips.csv", {0: [face_of(truth()[0, 48:68], 0, query)]}, query=query)
    for words, message in [
        (["--face", "9"], "has no face 9 in these frames"),
        (["--face", "x"], "--face takes ids of faces"),
        (["--size", "3"], "--size must be"),
        (["--align", "nose"], "choose from eyes"),
        (["--crf", "20"], "--crf applies to videos only; add --video"),
        (["--start", "50"], "has no face in these frames that can be aligned"),
        (["-o", table], "it is a file; give a folder"),
        (["-o", tmp_path / "no" / "where"], "there is no folder"),
    ]:
        assert main(["crops", str(table), str(SAMPLE), "-o", str(tmp_path / "c"), *map(str, words)]) == USAGE
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert main(["crops", str(lips), str(SAMPLE), "-o", str(tmp_path / "c")]) == USAGE
    assert "the table has no eye corners" in capsys.readouterr().err
    assert main(["crops", str(lips), str(SAMPLE), "-o", str(tmp_path / "c"), "--align", "face", "--quiet"]) == OK
    late = tmp_path / "late.csv"
    late.write_text(table.read_text().replace("\n2,0.066", "\n2,0.050"))
    assert main(["crops", str(late), str(SAMPLE), "-o", str(tmp_path / "d")]) == USAGE
    assert "late.csv is not of sample.mp4: frame 2 is at 0.05" in capsys.readouterr().err


@pytest.mark.parametrize("align", ["eyes", "face"])
def test_crops_follow_a_similarity_exactly(align: str) -> None:
    """Moved, turned and enlarged points give the crop that shows them at the same places."""
    points = truth()[0]
    aligner = FaceAligner(parse_query("300w"), CropSettings(align=align))
    shown = []
    for angle, scale, shift in ((0.0, 1.0, (0, 0)), (0.6, 0.3, (50, -20)), (-2.5, 4.0, (900, 40))):
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved = points @ turn.T + shift
        alignment = aligner.align(moved)
        assert alignment is not None
        matrix = frame_to_crop(aligner.crop(alignment), 200)
        shown.append(moved @ matrix[:, :2].T + matrix[:, 2])
        constant = frame_to_crop(aligner.crop(alignment.scaled(100.0)), 200)
        assert np.linalg.norm(constant[:, 0]) == pytest.approx(200 / (100 * aligner.side))
    np.testing.assert_allclose(shown[1:], [shown[0]] * 2, atol=1e-6)
    assert (shown[0] > 0).all() and (shown[0] < 200).all()
    assert aligner.align(np.full_like(points, np.nan)) is None
    assert aligner.align(np.ones_like(points)) is None


def test_an_open_mouth_does_not_move_the_crop_of_the_whole_face() -> None:
    points = truth()[0]
    opened = points.copy()
    opened[48:68] += (0, 30)
    opened[5:12] += (0, 25)
    aligner = FaceAligner(parse_query("300w"), CropSettings(align="face"))
    assert aligner.align(opened) == aligner.align(points)
