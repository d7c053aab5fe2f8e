"""The detector's training: labels, scenes, assignment, losses, resuming, export. All from one portrait; no data needed."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from samples.portrait import POINTS, photograph
from tests.conftest import ROOT
from tests.detectors.pictures import frame
from vtrack.cli.main import main
from vtrack.data.scenes import album as detect_album
from vtrack.data.scenes import composer as detect_scenes
from vtrack.data.scenes import labels as detect_labels
from vtrack.data.scenes.labels import (
    AGREED,
    COLLECTIONS,
    DOUBTFUL,
    TRUTH,
    box_of,
    hull_of,
    read_photographs,
    upright,
)
from vtrack.data.scenes.validation import EvalScene, eval_scenes, validation_pictures
from vtrack.detectors.geometry import STRIDES, cell_grid
from vtrack.detectors.native import NATIVE_CARD, NativeDetector
from vtrack.detectors.network import FaceNet
from vtrack.errors import DataError
from vtrack.evaluation.detector import evaluate_detector, report
from vtrack.models.card import read_card
from vtrack.models.checksums import check_files
from vtrack.training.detector import loop as detect
from vtrack.training.detector import refine as detect_refine
from vtrack.training.detector.export import calibrate
from vtrack.types import Detections

COUNTS = {"w68": 68, "ytf68": 68, "fgnet68": 68, "imm73": 73, "frl189": 189, "scut86": 86}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small zip of each collection: the portrait, twice for training and once for validation."""
    folder = tmp_path_factory.mktemp("photographs")
    picture = cv2.imencode(".jpg", photograph()[:300, 60:400, ::-1])[1].tobytes()
    for name, count in COUNTS.items():
        points = np.resize(POINTS - (60, 0), (count, 2))
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["file", "split", "group", *(f"{axis}{i}" for i in range(1, count + 1) for axis in "xy")])
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for number, split in enumerate(("train", "train", "val")):
                archive.writestr(f"images/{number}.jpg", picture)
                writer.writerow([f"images/{number}.jpg", split, number, *points.ravel()])
            archive.writestr("labels.csv", table.getvalue())
    return folder


@pytest.fixture(scope="module")
def cache(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels of the annotated faces alone."""
    folder = tmp_path_factory.mktemp("cache")
    rows, hulls, anchors = [], [], []
    for place, collection in enumerate(COLLECTIONS):
        for number, shot in enumerate(read_photographs(data, collection)):
            rows.append((place, number, shot.split == "val", TRUTH))
            hulls.append(hull_of(shot.points))
            anchors.append(POINTS[[39, 42, 62]] - (60, 0))
    np.savez(folder / "labels.npz", rows=rows, hulls=np.array(hulls, np.float32), anchors=np.array(anchors, np.float32))
    return folder


@pytest.fixture(scope="module")
def album(data: Path, cache: Path) -> detect_album.Album:
    return detect_album.Album(data, cache, "train")


def test_photographs_and_their_faces(data: Path) -> None:
    [shot, *_] = read_photographs(data, COLLECTIONS[0])
    assert shot.image.shape == (300, 340, 3)
    np.testing.assert_allclose(box_of(shot.points), box_of(POINTS - (60, 0)))
    with pytest.raises(DataError, match="give the folder that holds the photograph zips"):
        next(read_photographs(data / "absent", COLLECTIONS[0]))


def test_an_album_without_labels_says_how_to_make_them(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"vtrack\.data\.scenes\.labels"):
        detect_album.Album(data, tmp_path, "train")


def test_splits_do_not_mix(data: Path, cache: Path, album: detect_album.Album) -> None:
    assert len(album.pictures) == 12
    assert len(detect_album.Album(data, cache, "val").pictures) == 6


@pytest.mark.parametrize("turn", [0.0, 1.0, -2.5])
def test_the_hull_gives_the_box_under_any_turn(turn: float) -> None:
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    np.testing.assert_allclose(box_of(hull_of(POINTS) @ rotation.T), box_of(POINTS @ rotation.T), atol=1e-3)
    anchors = np.array([[-10.0, 0], [10, 0], [0, 20]]) @ rotation.T
    assert np.angle(np.exp(1j * (upright(anchors) - turn))) == pytest.approx(0, abs=1e-6)


def test_a_face_that_one_model_detects_is_doubtful() -> None:
    rows = np.zeros((3, 22))
    # Both models detect the first face, one the second, with a low score.
    rows[:, 0], rows[:, 1] = [0, 1, 0], [0.8, 0.7, 0.6]
    rows[:, 2:6] = [0, 0, 512, 512]
    points = np.concatenate([POINTS, POINTS[[39, 42, 62]]])
    faces = detect_labels.merged_faces(rows, np.stack([points, points + 2, points + 200]), (512, 512))
    assert [kind for kind, _ in faces] == [AGREED, DOUBTFUL]
    np.testing.assert_allclose(faces[0][1], points + 2 * 0.7 / 1.5, atol=1e-6)


def test_a_trained_network_revises_doubtful_labels() -> None:
    boxes = np.array([[0, 0, 50, 50], [100, 0, 150, 50], [200, 0, 250, 50], [300, 0, 350, 50]], float)
    kinds = np.array([TRUTH, DOUBTFUL, DOUBTFUL, AGREED])
    found = np.array([[101, 1, 150, 50], [400, 100, 450, 150], [500, 0, 540, 40]], float)
    score = np.array([0.8, 0.5, 0.5])
    assert detect_refine.revised_kinds(kinds, boxes, found, score).tolist() == [TRUTH, AGREED, -1, DOUBTFUL]
    # The score of the detection in the middle is too low; that of the one at the edge is enough for a face that is cut.
    assert detect_refine.unlabelled(boxes, found, score, (640, 480)).tolist() == [2]


def test_scenes_repeat_and_show_their_faces_where_they_say(album: detect_album.Album) -> None:
    composer = detect_scenes.Composer(album, 128)
    rng = np.random.default_rng(0)
    scenes = [composer.scene(rng) for _ in range(40)]
    again = np.random.default_rng(0)
    for scene in scenes:
        np.testing.assert_array_equal(scene.image, composer.scene(again).image)
        assert scene.image.shape == (128, 128, 3)
        certain = scene.boxes[~scene.doubtful]
        assert (certain[:, 2:].max(1) >= 8).all()
        middle = scene.centers[~scene.doubtful]
        assert ((middle >= 0) & (middle <= 128)).all()
    sizes = np.concatenate([scene.boxes[:, 2:].max(1) for scene in scenes])
    rolls = np.concatenate([scene.angles for scene in scenes])
    assert sizes.min() < 16 and sizes.max() > 90
    assert np.abs(rolls).max() > 1.5
    assert any(scene.boxes.min() < 0 for scene in scenes if len(scene.boxes))
    assert any(not len(scene.boxes) for scene in scenes)


def test_a_drawn_picture_lies_where_its_map_says(album: detect_album.Album) -> None:
    picture = album.pictures[0]
    for scale in (0.9, 0.3, 0.11):
        matrix = np.array([[scale, 0, 7.0], [0, scale, 3.0]])
        out = np.zeros((300, 320, 3), np.uint8)
        detect_album.draw(picture, matrix, out, (0, 0), cv2.BORDER_CONSTANT)
        rows, columns = np.nonzero(out.max(2) > 8)
        height, width = picture.levels[0].shape[:2]
        assert columns.min() == pytest.approx(7, abs=2) and rows.min() == pytest.approx(3, abs=2)
        assert columns.max() == pytest.approx(7 + scale * width, abs=3)
        assert rows.max() == pytest.approx(3 + scale * height, abs=3)


def test_captions_are_no_faces_and_cover_those_behind(album: detect_album.Album) -> None:
    composer, rng = detect_scenes.Composer(album, 128), np.random.default_rng(3)
    faces = detect_scenes._Faces()
    hull = np.array([[40.0, 40], [80, 40], [80, 80], [40, 80]])
    faces.add(hull, hull[:3], TRUTH, np.array([0, 0, 128, 128.0]))
    canvas = np.zeros((128, 128, 3), np.uint8)
    for _ in range(8):
        composer._caption(canvas, faces, rng)
    assert len(faces.hulls) == 1
    covered = canvas[40:80, 40:80].any(2).mean()
    assert covered > 0.1
    assert faces.hidden[0] >= 0.8 * covered


def padded(*faces: tuple[float, ...]) -> torch.Tensor:
    out = torch.zeros(1, detect_scenes.MOST_FACES, 8)
    out[0, : len(faces)] = torch.tensor(faces)
    return out


def test_faces_go_to_the_stride_of_their_size() -> None:
    centers, strides = map(torch.from_numpy, cell_grid(256, 256))
    for size, stride in ((12, 4), (48, 8), (96, 16), (190, 32)):
        face, away = detect.assign(
            padded((128 - size / 2, 128 - size / 2, size, size, 128, 128, 0, 1)), centers, strides
        )
        chosen = (face >= 0).nonzero()[:, 1]
        assert stride in strides[chosen].tolist()
        assert set(strides[chosen].tolist()) <= {float(s) for s in STRIDES if 0.5 <= s / stride <= 2}
        assert (centers[chosen] - 128).norm(dim=1).max() <= max(0.2 * size, 0.75 * strides[chosen].max())
        assert not away.any()


def test_doubtful_faces_are_neither_wanted_nor_punished() -> None:
    centers, strides = map(torch.from_numpy, cell_grid(64, 64))
    faces = padded((10, 10, 30, 30, 25, 25, 0, -1))
    face, away = detect.assign(faces, centers, strides)
    assert (face < 0).all()
    inside = ((centers >= 10) & (centers <= 40)).all(1) & (strides <= 8)
    assert torch.equal(away[0], inside)
    cells = torch.zeros(1, 7, len(centers))
    cells[:, 0] = -20.0
    cells[:, 0, inside] = 20.0
    assert detect.losses(cells, faces, centers, strides)["score"] == pytest.approx(0, abs=1e-6)


def test_a_doubtful_face_excuses_only_faces_of_its_size() -> None:
    centers, strides = map(torch.from_numpy, cell_grid(256, 256))
    _, away = detect.assign(padded((20, 20, 200, 200, 120, 120, 0, -1)), centers, strides)
    assert away[0, strides >= 16].any()
    # An eye in a large face, taken for a small face, is still a mistake.
    assert not away[0, strides <= 8].any()


def test_a_perfect_answer_costs_nothing() -> None:
    centers, strides = map(torch.from_numpy, cell_grid(64, 64))
    faces = padded((20, 16, 24, 28, 32, 30, 0.7, 1))
    face, _ = detect.assign(faces, centers, strides)
    cells = torch.zeros(1, 7, len(centers))
    cells[:, 0] = -20.0
    cells[0, 0, face[0] >= 0] = 20.0
    cells[0, 1:3] = ((torch.tensor([32.0, 30.0]) - centers) / strides[:, None]).T
    cells[0, 3], cells[0, 4] = (24 / 6 / strides).log(), (28 / 6 / strides).log()
    cells[0, 5], cells[0, 6] = np.cos(0.7), np.sin(0.7)
    for name, loss in detect.losses(cells, faces, centers, strides).items():
        assert loss == pytest.approx(0, abs=1e-4), name


def test_training_runs_resumes_and_exports(
    data: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"cache": cache, "batch": 2, "size": 64, "workers": 0, "every": 2}
    said: list[str] = []
    run = detect.train_detector(data, tmp_path / "run", steps=2, report_line=said.append, **options)  # type: ignore[arg-type]
    first = load_file(run / detect.WEIGHTS)
    detect.train_detector(data, tmp_path / "run", steps=4, report_line=said.append, **options)  # type: ignore[arg-type]
    assert any("resumed at step 2" in line for line in said)
    second = load_file(run / detect.WEIGHTS)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    rows = list(csv.reader((run / "log.csv").open()))
    assert [row[0] for row in rows] == ["step", "2", "4"]
    further = tmp_path / "other"
    train = ["train", "--task", "detect", "--data", str(data), "--out", str(further), "--cache", str(cache)]
    assert main([*train, "--steps", "1", "--batch", "2", "--size", "64", "--start", str(run)]) == 0
    assert (further / detect.WEIGHTS).is_file()
    export = ["export", "--run", str(further), "--name", "mine", "-o", str(tmp_path / "models")]
    assert main(export) == 1
    assert "finds no face yet" in capsys.readouterr().err
    # As if it had been trained for long: the shipped weights.
    shutil.copy(NATIVE_CARD.with_suffix(".safetensors"), further / detect.WEIGHTS)
    assert main([*export, "--overwrite"]) == 0
    assert "AP " in capsys.readouterr().out
    card = tmp_path / "models" / "mine.json"
    assert read_card(card).scores["average_precision"] > 0.5
    assert read_card(card).data.keys() == COUNTS.keys()
    assert check_files(read_card(card), card) == []
    [found] = NativeDetector(card, device="cpu").detect([frame(photograph())])
    assert len(found) >= 1 and found.scores[0] > 0.5


# OpenCV's threads run before the training, as after photographs have been scaled down.
BESIDE_THREADS = """
import sys
from pathlib import Path
import cv2
import numpy as np
from vtrack.training.detector.loop import train_detector

cv2.setNumThreads(4)
cv2.resize(np.zeros((3000, 3000, 3), np.uint8), (700, 700), interpolation=cv2.INTER_AREA)
data, cache, out = map(Path, sys.argv[1:])
train_detector(data, out, cache=cache, steps=1, batch=2, size=64, workers=1, report_line=print)
"""


def test_training_does_not_wait_for_threads_that_a_worker_has_not(data: Path, cache: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BESIDE_THREADS, str(data), str(cache), str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / detect.WEIGHTS).is_file()


def test_mistakes_of_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    train = ["train", "--task", "detect", "--out", str(tmp_path), "--data", "a"]
    assert main([*train, "--data", "b"]) == 2
    assert "takes one --data" in capsys.readouterr().err
    assert main([*train, "--in-memory"]) == 2
    assert "--in-memory applies to landmark models only" in capsys.readouterr().err
    for option in (["--hold-out", "w68"], ["--teacher", "fast"], ["--teacher-share", "0.3"]):
        assert main([*train, *option]) == 2
        assert f"{option[0]} applies to landmark models only" in capsys.readouterr().err


def test_levels_have_their_own_normalisation() -> None:
    """What is learned in training mode must hold in use: each level keeps its own statistics."""
    torch.manual_seed(0)
    net = FaceNet(widths=(4, 6, 8, 10, 12), depths=(1, 1, 1, 1), neck=8)
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 1.0
    images = torch.rand(4, 3, 64, 64) * 255
    with torch.no_grad():
        learning = net.train()(images)
        using = net.eval()(images)
    for i, stride in enumerate(STRIDES):
        cells = slice(sum((64 // s) ** 2 for s in STRIDES[:i]), sum((64 // s) ** 2 for s in STRIDES[: i + 1]))
        difference = (learning[..., cells] - using[..., cells]).abs().max()
        assert difference < 0.15 * learning[..., cells].abs().max() + 1e-3, stride


def test_calibration_rises_and_tells_the_truth() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.9, 6000)
    hits = rng.random(6000) < scores**2
    curve = calibrate(scores, hits)
    assert (np.diff(curve["score"]) > 0).all() and (np.diff(curve["share"]) > 0).all()
    said = np.interp(scores, curve["score"], curve["share"])
    for low in (0.1, 0.3, 0.5, 0.7):
        near = (said >= low) & (said < low + 0.1)
        assert hits[near].mean() == pytest.approx(said[near].mean(), abs=0.06)


def scene(*boxes: tuple[float, ...], ignored: int = 0) -> EvalScene:
    skip = np.arange(len(boxes)) >= len(boxes) - ignored
    table = np.array(boxes, float).reshape(-1, 4)
    return EvalScene(
        frame(np.zeros((480, 640, 3), np.uint8)), "size", table, np.zeros(len(boxes)), skip, np.full(len(boxes), np.nan)
    )


def found(*rows: tuple[float, ...]) -> Detections:
    table = np.array(rows, float).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4], np.zeros(len(table)))


def test_the_report_counts_by_size() -> None:
    scenes = [scene((0, 0, 15, 15), (100, 100, 160, 150), (300, 0, 330, 30), ignored=1), scene((0, 0, 100, 100))]
    finds = [
        # A hit, a second find on the same face, a find on the ignored one, and a false alarm of 30 pixels.
        found((100, 100, 58, 52, 0.9), (101, 102, 58, 50, 0.8), (300, 0, 30, 30, 0.95), (500, 300, 30, 25, 0.7)),
        found((0, 0, 99, 101, 0.3)),
    ]
    outcome = report("toy", scenes, finds, 0.5, 1.0)
    lines = {line.name: line for line in outcome.lines}
    assert (lines["10-20 px"].faces, lines["10-20 px"].recall) == (1, 0)
    assert (lines["40-80 px"].recall, lines["40-80 px"].precision) == (1, 0.5)
    assert lines["20-40 px"].precision == 0
    # Found, but below the threshold that it is used with.
    assert (lines["over 80 px"].recall, lines["over 80 px"].recall_at) == (0, (1, 1))
    assert lines["all"].faces == 3
    assert outcome.average_precision == pytest.approx(1 / 3 + 1 / 3 * 0.5)
    assert "toy: AP 0.500" in outcome.table()


def test_evaluation_scenes_and_a_perfect_detector(data: Path) -> None:
    scenes = list(eval_scenes(validation_pictures(data)))
    again = list(eval_scenes(validation_pictures(data)))
    assert {entry.kind for entry in scenes} == {"size", "roll", "cut", "photo"}
    for one, other in zip(scenes, again, strict=True):
        np.testing.assert_array_equal(one.frame.image, other.frame.image)

    class Oracle:
        name = "oracle"

        def detect(self, frames: object) -> list[Detections]:
            [shot] = frames  # type: ignore[misc]
            boxes = scenes[shot.index].boxes[~scenes[shot.index].ignored]
            xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
            return [Detections(xywh, np.full(len(xywh), 0.9), np.zeros(len(xywh)))]

    outcome = evaluate_detector(Oracle(), scenes, 0.5)
    assert outcome.average_precision == pytest.approx(1)
    cut = next(entry for entry in scenes if entry.kind == "cut")
    assert (cut.boxes.min() < 0) or (cut.boxes[:, 2:] > (640, 480)).any()


def test_faces_turned_in_depth_are_scenes_of_their_own(data: Path, tmp_path: Path) -> None:
    before = list(eval_scenes(validation_pictures(data)))
    folder = Path(shutil.copytree(data, tmp_path / "photographs"))
    shutil.copy(folder / "w68.zip", folder / "turned68.zip")
    scenes = list(eval_scenes(validation_pictures(folder)))
    assert [entry.kind for entry in scenes] == [entry.kind for entry in before] + ["turned"]
    for one, other in zip(before, scenes, strict=False):
        np.testing.assert_array_equal(one.frame.image, other.frame.image)
    assert abs(scenes[-1].yaws[0]) < 15  # the portrait looks into the camera
    outcome = report("blind", scenes, [found() for _ in scenes], 0.5, 1.0)
    counts = {line.name: line.faces for line in outcome.lines if line.name.startswith("yaw")}
    assert counts == {"yaw 0-45": 1, "yaw 45-60": 0, "yaw 60-90": 0}
