"""Faces turned in depth: pictures and points move together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import LONDON
from vtrack.data import load_dataset
from vtrack.data.formats.archives import LabelledFace, write_zip
from vtrack.data.mean_face import mean_face
from vtrack.data.turning import turned
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.layouts import load_layout
from vtrack.models import load_model
from vtrack.training.landmarks.turned_faces import LARGEST_TURN, SMALLEST_YAW, turned_copies
from vtrack.types import FloatArray, ImageArray

LAYOUT = load_layout("300w")
INNER = slice(17, 68)


def located(image: ImageArray, box: FloatArray) -> FloatArray:
    """(68, 2) points by the model `fast`, in two looks."""
    model = load_model("fast", device="cpu")
    for _ in range(2):
        crops = Crops.around(box, model.margin)
        points = crops.to_frame(model.predict(warp([image], [0], crops, model.input_size), LAYOUT.query).points)
        box = LAYOUT.face_box(points)
    return np.asarray(points[0], np.float64)


@pytest.fixture(scope="module")
def face() -> tuple[ImageArray, FloatArray]:
    """A portrait, and its 68 points."""
    data = load_dataset(f"frl189:{LONDON / 'labels.csv'}", "val")
    image = data.image(0)
    return image, located(image, data.layout.face_box(data.points[:1]))


@pytest.mark.parametrize("angle", [25.0, -40.0])
def test_points_stay_on_what_the_picture_shows(face: tuple[ImageArray, FloatArray], angle: float) -> None:
    image, points = face
    picture, moved = turned(image, points, np.radians(angle))
    assert picture.shape == image.shape
    before, after = (np.degrees(mean_face().pose(where).yaw) for where in (points, moved))
    assert after - before == pytest.approx(angle, abs=6)
    seen = located(picture, LAYOUT.face_box(moved[None]))
    unit = np.linalg.norm(points[45] - points[36])
    assert np.linalg.norm(seen - moved, axis=1)[INNER].mean() < 0.06 * unit
    assert np.linalg.norm(seen - points, axis=1)[INNER].mean() > 0.1 * unit, "without the turn they would be wrong"


def test_no_turn_changes_nothing(face: tuple[ImageArray, FloatArray]) -> None:
    image, points = face
    picture, moved = turned(image, points, 0.0)
    assert np.abs(picture.astype(int) - image).mean() < 0.1
    assert np.abs(moved - points)[INNER].max() < 1e-6


def test_a_face_can_be_turned_to_the_camera(face: tuple[ImageArray, FloatArray]) -> None:
    image, points = face
    moved = turned(image, points, -mean_face().pose(points).yaw)[1]
    assert abs(np.degrees(mean_face().pose(moved).yaw)) < 3
    assert np.ptp(moved[:, 0]) == pytest.approx(np.ptp(points[:, 0]), rel=0.1)


def test_the_nose_covers_the_far_cheek_and_no_gaps_are_left(face: tuple[ImageArray, FloatArray]) -> None:
    image, points = face
    marked = image.copy()
    marked[:] = (0, 200, 0)
    tip = points[30]
    cv2.circle(marked, (round(tip[0]), round(tip[1])), 6, (255, 0, 0), -1)
    picture, moved = turned(marked, points, np.radians(45))
    x, y = np.rint(moved[30]).astype(int)
    assert picture[y - 2 : y + 3, x - 2 : x + 3, 0].mean() > 150, "the tip is seen where its point is"
    assert picture.max(-1).min() > 100, "every pixel has a source"


def test_copies_look_to_the_side_and_become_a_data_set(face: tuple[ImageArray, FloatArray], tmp_path: Path) -> None:
    image, points = face
    encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    write_zip([LabelledFace("a.png", encoded, "train", "someone", points)], tmp_path / "w68.zip")
    data = load_dataset(f"w68:{tmp_path / 'w68.zip'}", "train")
    count = write_zip(turned_copies(data, "train", 3), tmp_path / "turned.zip")
    copies = load_dataset(f"turned68:{tmp_path / 'turned.zip'}", "train")
    assert count == len(copies) == 3 and set(copies.groups) == {"someone"}
    yaws = np.abs([np.degrees(mean_face().pose(where).yaw) for where in copies.points])
    assert (yaws > SMALLEST_YAW - 6).all() and (yaws < LARGEST_TURN + 10).all()
    assert not (tmp_path / "turned.part").exists()


def test_a_wrong_folder_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "vtrack.training.landmarks.turned_faces",
        "no/folder",
        str(tmp_path / "turned.zip"),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "vtrack: no/folder/w68.zip does not exist\n")
    assert not list(tmp_path.iterdir())


def test_wrong_usage_of_a_program_is_one_line() -> None:
    ended = subprocess.run([sys.executable, "-m", "vtrack.data.mean_face"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "vtrack: usage: python -m vtrack.data.mean_face DATA OUT.csv\n")
