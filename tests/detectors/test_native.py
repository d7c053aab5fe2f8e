"""The shipped detector, on real photographs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.detectors.pictures import astronaut, frame, overlap, photographs
from vtrack.data.scenes.labels import COLLECTIONS, DOUBTFUL, Photograph, box_of, upright
from vtrack.data.scenes.validation import eval_scenes, validation_pictures
from vtrack.detectors import engines, load_detector
from vtrack.detectors.native import NATIVE_CARD, NativeDetector
from vtrack.errors import ModelError, UsageError
from vtrack.evaluation.detector import matched, timed_detections
from vtrack.imaging.boxes import iou
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.layouts import load_layout
from vtrack.models import load_model
from vtrack.models.card import read_card
from vtrack.types import Detections, Detector, FloatArray, ImageArray, Query

NATIVE = NATIVE_CARD


@pytest.fixture(scope="module")
def native() -> Detector:
    return load_detector("native", device="cpu")


@pytest.fixture(params=["frl189", pytest.param("w68", marks=pytest.mark.data)])
def known(request: pytest.FixtureRequest) -> list[Photograph]:
    """Annotated faces: sixteen in a studio, and where the large sets are at hand two dozen out in the wild."""
    if request.param == "w68":
        return photographs(request.getfixturevalue("data_dir"), "w68", "val")[:24]
    return photographs(request.getfixturevalue("faces_dir"), request.param)


def test_finds_the_face_and_nothing_else(native: Detector) -> None:
    picture, box = astronaut()
    [found] = native.detect([frame(picture)])
    assert len(found) == 1
    assert overlap(found, box) > 0.6
    assert found.scores[0] > 0.9
    assert abs(found.angles[0]) < np.radians(15)


def test_torch_says_what_the_graph_says() -> None:
    """As it would on a device that has no graphs of its own."""
    card = read_card(NATIVE)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3), dtype=np.uint8)
    here, there = (
        engines._torch(card, NATIVE.with_suffix(".safetensors"), "cpu"),
        engines.load_engine(card, NATIVE, "cpu"),
    )
    np.testing.assert_allclose(here.run(pictures), there.run(pictures), atol=1e-4)


@pytest.mark.cuda
def test_a_gpu_finds_what_the_cpu_finds(native: Detector) -> None:
    """As it comes, from a recorded graph, and from one that more pictures than it takes go through in pieces."""
    picture, _ = astronaut()
    there = load_detector("native", device="cuda")
    smaller = [frame(picture[: 360 + 2 * i]) for i in range(2)]
    for pictures in ([frame(picture)] * 3, [frame(picture)] * 3, [frame(picture)] * 19, smaller):
        for here, found in zip(native.detect(pictures), there.detect(pictures), strict=True):
            np.testing.assert_allclose(found.boxes, here.boxes, atol=0.5)
            np.testing.assert_allclose(found.scores, here.scores, atol=0.01)
            np.testing.assert_allclose(found.angles, here.angles, atol=0.02)


def test_finds_annotated_faces(native: Detector, known: list[Photograph]) -> None:
    found = native.detect([frame(photograph.image) for photograph in known])
    shared = [overlap(faces, box_of(photograph.points)) for faces, photograph in zip(found, known, strict=True)]
    assert sum(value > 0.5 for value in shared) >= len(known) - 1
    assert np.median(shared) > 0.75


@pytest.mark.parametrize("turn", [-90, -45, 45, 90])
def test_rolled_faces_and_their_angle(native: Detector, known: list[Photograph], turn: int) -> None:
    hits, errors = 0, []
    for photograph in known[:12]:
        height, width = photograph.image.shape[:2]
        angle = np.radians(turn)
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = np.array([400, 400]) - matrix @ (width / 2, height / 2)
        picture = cv2.warpAffine(photograph.image, np.concatenate([matrix, shift[:, None]], 1), (800, 800))
        points, eyes = photograph.points @ matrix.T + shift, photograph.anchors @ matrix.T + shift
        [found] = native.detect([frame(picture)])
        hits += overlap(found, box_of(points)) > 0.5
        if len(found):
            away = found.angles[0] - upright(eyes)
            errors.append(abs(np.degrees(np.arctan2(np.sin(away), np.cos(away)))))
    assert hits >= 10
    assert np.median(errors) < 10


@pytest.mark.parametrize("turn", [-90, 90])
def test_crops_of_rolled_faces_are_upright_and_landmarks_work_on_them(
    native: Detector, known: list[Photograph], turn: int
) -> None:
    model = load_model("fast", device="cpu")
    query, eyes = load_layout("300w").query, (36, 45)
    if len(known[0].points) != 68:
        [core] = [collection.core for collection in COLLECTIONS if collection.name == "frl189"]
        numbers = [number - 1 for first, last in core for number in range(first, last + 1)]
        whole, eyes = load_layout("frl189").query, (18, 27)
        query = Query(tuple(whole.parts[i] for i in numbers), tuple(whole.positions[i] for i in numbers))
    errors = []
    for photograph in known[:12]:
        height, width = photograph.image.shape[:2]
        picture = np.rot90(photograph.image, -turn // 90)
        x, y = photograph.points.T
        points = np.stack([height - 1 - y, x] if turn > 0 else [y, width - 1 - x], -1)
        [found] = native.detect([frame(picture)])
        shared = [overlap(Detections(box[None], np.ones(1), np.zeros(1)), box_of(points)) for box in found.boxes]
        best = [int(np.argmax(shared))]
        crops = Crops.around(found.boxes[best], model.margin, found.angles[best])
        told = model.predict(warp([picture], [0], crops, model.input_size), query)
        away = np.linalg.norm(crops.to_frame(told.points)[0] - points, axis=-1).mean()
        errors.append(away / np.linalg.norm(points[eyes[0]] - points[eyes[1]]))
    assert np.median(errors) < 0.06


@pytest.mark.data
def test_real_faces_that_overlap_are_both_kept(native: Detector, data_dir: Path) -> None:
    found, pairs = 0, 0
    for picture in validation_pictures(data_dir):
        boxes = np.concatenate([picture.hulls.min(1), picture.hulls.max(1)], 1)[picture.kinds != DOUBTFUL]
        one, other = np.nonzero(np.triu(iou(boxes, boxes), 1) > 0.02)
        if len(one):
            [faces] = native.detect([frame(picture.levels[0])])
            corners = np.concatenate([faces.boxes[:, :2], faces.boxes[:, :2] + faces.boxes[:, 2:]], 1)
            seen = (iou(boxes, corners) > 0.5).any(1)
            pairs, found = pairs + len(one), found + int((seen[one] & seen[other]).sum())
    assert pairs >= 5
    assert found >= 0.8 * pairs


@pytest.mark.data
def test_scores_are_the_share_that_are_faces(data_dir: Path) -> None:
    """A score of 0.8 is right four times of five, on scenes that hold every size, roll and cut, and whole photographs."""
    detector = load_detector("native", device="cpu", threshold=0.1)
    scenes = list(eval_scenes(validation_pictures(data_dir)))[::2]
    finds, _ = matched(scenes, timed_detections(scenes, detector)[0])
    for low, high in ((0.2, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.0)):
        told = (finds["score"] >= low) & (finds["score"] < high)
        assert told.sum() > 30
        assert finds["hit"][told].mean() == pytest.approx(finds["score"][told].mean(), abs=0.1)


@pytest.mark.parametrize("pixels", [14, 20, 40, 90, 180, 360])
def test_faces_of_every_size(native: Detector, pixels: int) -> None:
    picture, box = astronaut(scale=pixels / 91, size=(640, 480))
    [found] = native.detect([frame(picture)])
    assert overlap(found, box) > 0.5


def test_small_faces_in_large_frames_need_tiles(native: Detector) -> None:
    picture, box = astronaut(scale=20 / 91, size=(3840, 2160))
    shot = frame(picture)
    [shrunken] = native.detect([shot])
    [tiled] = load_detector("native", device="cpu", small_faces=True).detect([shot])
    assert overlap(shrunken, box) < 0.5 < overlap(tiled, box)
    assert len(tiled) == 1


def test_large_face_in_a_4k_frame(native: Detector) -> None:
    picture, box = astronaut(scale=12, size=(3840, 2160))
    [found] = native.detect([frame(picture)])
    assert len(found) == 1
    assert overlap(found, box) > 0.6


def test_tiles_do_not_double_a_large_face() -> None:
    picture, box = astronaut(scale=4, size=(1920, 1080))
    [found] = load_detector("native", device="cpu", small_faces=True).detect([frame(picture)])
    assert len(found) == 1
    assert overlap(found, box) > 0.6


def test_a_batch_says_what_single_frames_say(native: Detector) -> None:
    sizes = [(640, 480), (333, 251), (640, 480), (1280, 720), (120, 700)]
    frames = [frame(astronaut(0.6 + 0.2 * i, size=size)[0], i) for i, size in enumerate(sizes)]
    together = native.detect(frames)
    for shot, found in zip(frames, together, strict=True):
        [alone] = native.detect([shot])
        assert len(alone) == len(found) > 0
        np.testing.assert_allclose(alone.boxes, found.boxes, atol=0.05)
        np.testing.assert_allclose(alone.scores, found.scores, atol=1e-3)
        np.testing.assert_allclose(alone.angles, found.angles, atol=1e-3)


def test_two_overlapping_faces_are_both_kept(native: Detector) -> None:
    behind, behind_box = astronaut(1.6, size=(640, 480))
    front, front_box = astronaut(1.6, size=(640, 480))
    step = int(front_box[2] * 0.62)
    picture, edge = behind.copy(), int(front_box[0])
    picture[:, edge + step :] = front[:, edge : 640 - step]
    moved = front_box + np.array([step, 0, 0, 0])
    [found] = native.detect([frame(picture)])
    assert len(found) == 2
    assert overlap(found, behind_box) > 0.5
    assert overlap(found, moved) > 0.5


def test_frames_without_faces(native: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    stripes = np.where(np.arange(640)[None, :, None] // 8 % 2, np.full((360, 640, 3), 230), 30).astype(np.uint8)
    frames = [frame(np.full((360, 640, 3), shade, np.uint8)) for shade in (0, 114, 255)]
    for found in native.detect([*frames, frame(noise), frame(stripes)]):
        assert len(found) == 0
        assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (3, 500), (500, 3), (31, 33)])
def test_tiny_and_thin_frames(native: Detector, size: tuple[int, int]) -> None:
    [found] = native.detect([frame(np.zeros((size[1], size[0], 3), np.uint8))])
    assert len(found) == 0


def test_a_face_as_large_as_a_16_pixel_frame(native: Detector) -> None:
    picture, box = astronaut(scale=13 / 91, size=(16, 16))
    [found] = native.detect([frame(picture)])
    assert overlap(found, box) > 0.4


def test_no_frames(native: Detector) -> None:
    assert native.detect([]) == []


def test_a_face_cut_by_the_edge_keeps_its_whole_box(native: Detector) -> None:
    picture, box = astronaut(1.5, size=(640, 480))
    cut = picture[:, int(box[0] + 0.3 * box[2]) :]
    [found] = native.detect([frame(cut)])
    whole = box - np.array([int(box[0] + 0.3 * box[2]), 0, 0, 0])
    assert overlap(found, whole) > 0.5
    assert found.boxes[0, 0] < 0


def test_boxes_keep_their_place_at_any_scale(native: Detector) -> None:
    small, _ = astronaut(1.0, size=(640, 360))
    large = cv2.resize(small, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    [found], [found_large] = native.detect([frame(small)]), native.detect([frame(large)])
    # Pixel centres: the frame is three times as large about its corner at (-1/2, -1/2).
    expected = (found.boxes[0, :2] + 0.5) * 3 - 0.5
    np.testing.assert_allclose(found_large.boxes[0, :2], expected, atol=6)
    np.testing.assert_allclose(found_large.boxes[0, 2:], found.boxes[0, 2:] * 3, rtol=0.05)


def test_a_higher_threshold_finds_no_more(native: Detector) -> None:
    shot = frame(astronaut(0.25, size=(640, 480))[0])
    counts = [len(load_detector("native", device="cpu", threshold=t).detect([shot])[0]) for t in (0.05, 0.5, 0.98)]
    assert counts == sorted(counts, reverse=True)
    for found in load_detector("native", device="cpu", threshold=0.05).detect([shot]):
        assert (found.scores >= 0.05 - 1e-3).all()
        assert (np.diff(found.scores) <= 0).all()


def test_both_engines_agree() -> None:
    import torch

    from vtrack.detectors.engines import load_engine
    from vtrack.detectors.network import FaceNetGraph, load_facenet

    path = NATIVE_CARD
    net = FaceNetGraph(load_facenet(read_card(path), path.with_suffix(".safetensors")))
    onnx = load_engine(read_card(path), path, "cpu").run
    for shape in ((2, 96, 160, 3), (1, 320, 64, 3)):
        pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        with torch.inference_mode():
            np.testing.assert_allclose(onnx(pictures), net(torch.from_numpy(pictures)).numpy(), atol=2e-3)


def test_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in NATIVE_CARD.parent.glob("native.*")) < 8e6


def _copy(folder: Path) -> Path:
    for path in NATIVE_CARD.parent.glob("native.*"):
        shutil.copy(path, folder)
    return folder / "native.json"


def test_missing_weights(tmp_path: Path) -> None:
    card = _copy(tmp_path)
    card.with_suffix(".onnx").unlink()
    with pytest.raises(ModelError, match="weights are not there"):
        NativeDetector(card, device="cpu")
    card.unlink()
    with pytest.raises(ModelError, match="card cannot be read"):
        NativeDetector(card, device="cpu")


def test_truncated_weights(tmp_path: Path) -> None:
    from vtrack.detectors.network import load_facenet

    card = _copy(tmp_path)
    replace(read_card(card), checksums={}).write(card)
    for suffix in (".onnx", ".safetensors"):
        path = card.with_suffix(suffix)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match="not a network that onnxruntime can run"):
        NativeDetector(card, device="cpu")
    with pytest.raises(ModelError, match="not the weights of this detector"):
        load_facenet(read_card(card), card.with_suffix(".safetensors"))


def test_the_card_of_another_model(tmp_path: Path) -> None:
    card = _copy(tmp_path)
    card.write_text(card.read_text().replace('"system": "detector"', '"system": "udfld"'))
    with pytest.raises(ModelError, match="not of a detector"):
        NativeDetector(card, device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "retina"}, "choose from auto, native, mediapipe, yunet, boxes"),
        ({"threshold": 1.5}, "between 0 and 1"),
        ({"size": 8}, "64 to 8192"),
        ({"name": "boxes", "size": 640}, "native and yunet do"),
        ({"name": "yunet", "small_faces": True}, "native and mediapipe do"),
        ({"name": "yunet"}, "needs its model file"),
        ({"name": "boxes"}, "needs its table"),
        ({"device": "toaster"}, "no device"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_detector(**options)  # type: ignore[arg-type]


def test_auto_is_native_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="vtrack.detectors"):
        assert load_detector("auto", device="cpu").name == "native"
    assert "detector: native" in caplog.text


def test_a_glance_takes_a_quarter_of_the_pixels_and_finds_the_face(
    native: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(native, NativeDetector)
    picture, box = astronaut()
    pixels, engine = list[int](), native._engine

    def run(images: ImageArray) -> FloatArray:
        pixels.append(images.shape[1] * images.shape[2])
        return engine.run(images)

    monkeypatch.setattr(native, "_engine", replace(engine, run=run))
    for scale in (1.0, 0.6):
        pixels.clear()
        view = frame(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        found, [whole] = native.glance(view), native.detect([view])
        assert 3 * pixels[0] < pixels[1]
        assert len(found) == len(whole) == 1
        assert overlap(found, box * scale) > 0.6
