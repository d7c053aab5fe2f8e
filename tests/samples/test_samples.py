"""The sample clips match their ground truth."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samples import make_samples
from samples.make_samples import CLIPS, HEIGHT, WIDTH, render
from samples.portrait import MASTER_SCALE, MIRROR, POINTS, Portrait, Pose
from vtrack.pipelines.sources.open import open_source

SAMPLES = Path(make_samples.__file__).parent
needs_portrait = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="the portrait needs scikit-image"
)


def read_truth(path: Path) -> list[tuple[int, float, int, float, np.ndarray]]:
    """Frame, time, face, visible share and points of each row."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == make_samples.COLUMNS
    return [
        (int(frame), float(time), int(face), float(visible), np.array(numbers, float).reshape(68, 2))
        for frame, time, face, visible, *numbers in rows[1:]
    ]


def opening(points: np.ndarray) -> float:
    """Height over width of the eye on the left of the image."""
    return float((points[[40, 41], 1] - points[[38, 37], 1]).mean() / np.linalg.norm(points[39] - points[36]))


def test_committed_sample() -> None:
    truth = read_truth(SAMPLES / "sample.csv")
    assert (SAMPLES / "sample.mp4").stat().st_size < 1_000_000
    with open_source(SAMPLES / "sample.mp4") as source:
        assert source.info.size == (WIDTH, HEIGHT) and source.info.has_audio
        times = [frame.time for frame in source]
    assert times == pytest.approx([time for _, time, *_ in truth], abs=1e-4)
    assert 8 <= times[-1] <= 10
    points = np.stack([row[-1] for row in truth])
    assert np.ptp(points[:, 30, 0]) > 60, "the face should move"
    eyes = [opening(face) for face in points]
    assert min(eyes) < 0.05 and max(eyes) > 0.25, "it should blink"
    mouth = points[:, 66, 1] - points[:, 62, 1]
    assert mouth.max() > 2 * mouth.min(), "it should talk"


@needs_portrait
def test_committed_sample_equals_the_output_of_the_script() -> None:
    clip = CLIPS["sample"]
    truth = read_truth(SAMPLES / "sample.csv")
    with open_source(SAMPLES / "sample.mp4", every=90) as source:
        for frame in source:
            shot = render(clip, frame.index, clip.frames)
            assert np.abs(shot.points[0] - truth[frame.index][-1]).max() < 0.01
            assert np.abs(frame.image.astype(int) - shot.image).mean() < 4


# Points far enough apart for dots on them not to run together: jaw, brows, nose, corners of eyes and mouth, lower lip.
APART = [0, 2, 4, 6, 8, 10, 12, 14, 16, 17, 19, 21, 22, 24, 26, 28, 30, 36, 39, 42, 45, 54, 57]


@needs_portrait
@pytest.mark.parametrize("pose", [
    Pose(),
    Pose(280, 200, 2.5, roll=30, yaw=25, pitch=-12),
    Pose(narrow=1, brows=1, yaw=-20),
    Pose(mouth=1, blink=1, yaw=10),
])  # fmt: skip
@pytest.mark.parametrize("mirrored", [False, True])
def test_images_follow_the_points(pose: Pose, mirrored: bool) -> None:
    """Dots painted on the photograph appear at the points."""
    actor = Portrait(mirrored)
    points = actor.points(pose)
    rows, columns = np.mgrid[: actor.master.shape[0], : actor.master.shape[1]] / MASTER_SCALE - 0.25
    dots = np.zeros_like(rows)
    for x, y in POINTS[MIRROR[APART] if mirrored else APART]:
        dots += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2)
    actor.master = np.repeat((255 * dots.clip(0, 1)).astype(np.uint8)[..., None], 4, -1)
    picture = actor.draw(pose, WIDTH, HEIGHT)[0][..., 0]
    for x, y in points[APART]:
        top, left = round(y) - 9, round(x) - 9
        window = picture[top : top + 19, left : left + 19]
        down, right = np.mgrid[top : top + 19, left : left + 19]
        found = (window * right).sum() / window.sum(), (window * down).sum() / window.sum()
        # The opened mouth cuts the dot at its corner, and stretches the one on the lip.
        assert found == pytest.approx((x, y), abs=1.2 if pose.mouth else 0.3)


@needs_portrait
def test_lids_and_lips_follow_the_points() -> None:
    actor = Portrait()
    pictures = {}
    for pose in (Pose(), Pose(blink=1), Pose(mouth=1)):
        picture, _, _ = actor.draw(pose, WIDTH, HEIGHT)
        pictures[pose] = picture.mean(-1)
    opened, closed = actor.points(Pose()), actor.points(Pose(blink=1))
    assert np.abs(closed[[37, 38]] - closed[[41, 40]])[:, 1].max() < 2.5
    assert np.abs(np.delete(closed - opened, [37, 38, 40, 41, 43, 44, 46, 47], 0)).max() == 0
    # The white of the eye at the picture's right of the iris is bright when open, and skin or lashes when closed.
    white = tuple(np.round(opened[39] * 0.4 + opened[40] * 0.4 + opened[38] * 0.2).astype(int)[::-1])
    assert pictures[Pose()][white] - pictures[Pose(blink=1)][white] > 30
    wide = actor.points(Pose(mouth=1))
    middle = tuple(np.round(wide[62] * 0.3 + wide[66] * 0.7).astype(int)[::-1])
    assert pictures[Pose(mouth=1)][middle] < 80, "the opened mouth is dark"
    assert wide[8, 1] - opened[8, 1] > 15, "the chin goes down"
    assert np.abs(wide[:8] - opened[:8]).max() > 5 and np.abs(wide[17:48] - opened[17:48]).max() == 0


@needs_portrait
def test_leaving_and_crossing() -> None:
    def visible(name: str, count: int) -> np.ndarray:
        return np.stack([render(CLIPS[name], i, count).visible.mean(-1) for i in range(count)])

    leaving = visible("leaving", 9)[:, 0]
    assert leaving[0] == leaving[-1] == 1 and leaving[4] == 0
    crossing = visible("crossing", 9)
    assert (crossing[:, 1] == 1).all(), "the one in front is always seen"
    assert crossing[0, 0] == crossing[-1, 0] == 1 and crossing[4, 0] < 0.1


@needs_portrait
def test_still_face_has_noise_only() -> None:
    first, second = (render(CLIPS["still"], i, 10) for i in (0, 1))
    assert (first.points == second.points).all()
    noise = (first.image.astype(float) - second.image)[100:300, 250:400].std()
    assert noise == pytest.approx(5 * 2**0.5, rel=0.1)


@needs_portrait
def test_script(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SAMPLES / "make_samples.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run("-o", str(tmp_path), "--clips", "blink,crossing", "--frames", "6")
    assert done.returncode == 0, done.stderr
    with open_source(tmp_path / "blink.mp4") as source:
        assert source.info.has_audio and len(list(source)) == 6
    assert [row[:3] for row in read_truth(tmp_path / "crossing.csv")][:3] == [(0, 0, 0), (0, 0, 1), (1, 0.033333, 0)]
    wrong = run("-o", str(tmp_path), "--clips", "dancing")
    assert wrong.returncode == 2 and "no clip called dancing; there are sample, still" in wrong.stderr
