"""The landmarker: points in frame pixels, and new crops of faces outside their box."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests.pipelines.toys import ToyFace, ToyModel, painter, true_points
from vtrack.anchors import ANCHORS
from vtrack.imaging.crops import Crops
from vtrack.imaging.planes import Pixels
from vtrack.imaging.warp import Places, warp
from vtrack.pipelines.tracking import landmarks
from vtrack.pipelines.tracking.landmarks import Landmarker, Sighting, roll_of
from vtrack.types import Frame, ImageArray, Prediction, Query

QUERY = Query(("jaw", "left_eye", "inner_lip"), (0.5, 0.5, 0.3))
FACE = ToyFace((150, 95), 60, 0.3)


def frame_of(*faces: ToyFace) -> Frame:
    return Frame(painter(lambda i: faces)(0, 320, 180), 0, 0, Fraction(1, 25))


def locate(model: ToyModel, box: tuple[float, float, float, float], angle: float = 0.0) -> Sighting:
    landmarker = Landmarker(model, QUERY)
    return landmarker.locate([frame_of(FACE)], [0], np.array([box]), np.array([angle]))[0]


def box_of(face: ToyFace, shift: tuple[float, float] = (0, 0), scale: float = 1.0) -> tuple[float, float, float, float]:
    width, height = 0.8 * face.side * scale, face.side * scale
    return (face.center[0] + shift[0] - width / 2, face.center[1] + shift[1] - height / 2, width, height)


def test_points_are_in_frame_pixels_and_the_users_come_first() -> None:
    model = ToyModel()
    seen = locate(model, box_of(FACE), FACE.angle)
    assert model.calls == [1]
    np.testing.assert_allclose(seen.points, true_points(FACE, QUERY + ANCHORS), atol=0.5)
    np.testing.assert_allclose(seen.anchors, true_points(FACE, ANCHORS), atol=0.5)
    assert seen.angle == pytest.approx(FACE.angle, abs=0.02)
    assert seen.presence > 0.9
    # One hundredth of a crop of 1.6 times the box.
    np.testing.assert_allclose(seen.sigma, 0.01 * 1.6 * 60, rtol=0.05)


@pytest.mark.parametrize(
    ("shift", "scale", "angle"),
    [((25, 0), 1.0, 0.3), ((-15, 20), 1.0, 0.3), ((0, 0), 0.55, 0.3), ((0, 0), 2.2, 0.3), ((0, 0), 1.0, -0.5)],
)
def test_a_face_outside_its_box_is_cropped_again(shift: tuple[float, float], scale: float, angle: float) -> None:
    model = ToyModel()
    seen = locate(model, box_of(FACE, shift, scale), angle)
    assert len(model.calls) > 1
    np.testing.assert_allclose(seen.points, true_points(FACE, QUERY + ANCHORS), atol=0.7)


def test_only_misplaced_faces_are_cropped_again_in_one_batch() -> None:
    model, faces = ToyModel(), [ToyFace((60, 90), 50), ToyFace((160, 90), 50), ToyFace((250, 90), 50)]
    boxes = np.array([box_of(faces[0]), box_of(faces[1], (14, 0)), box_of(faces[2], (0, -14))])
    seen = Landmarker(model, QUERY).locate([frame_of(*faces)], [0, 0, 0], boxes, np.zeros(3))
    assert model.calls[:2] == [3, 2]
    for sighting, face in zip(seen, faces, strict=True):
        np.testing.assert_allclose(sighting.points, true_points(face, QUERY + ANCHORS), atol=0.7)


def test_batches_have_the_size_that_is_set() -> None:
    model = ToyModel()
    boxes = np.tile(box_of(FACE), (10, 1))
    seen = Landmarker(model, QUERY, batch=4).locate([frame_of(FACE)] * 2, [0, 1] * 5, boxes, np.full(10, FACE.angle))
    assert model.calls == [4, 4, 2]
    assert len(seen) == 10


@pytest.mark.parametrize(("faces", "parts"), [(3, [3]), (7, [3, 3, 1]), (100, [32, 32, 32, 4])])
def test_crops_are_split_between_the_threads_of_the_model(faces: int, parts: list[int]) -> None:
    class ThreadedModel(ToyModel):
        concurrency = 3

    model = ThreadedModel()
    landmarker = Landmarker(model, QUERY)
    boxes = np.tile(box_of(FACE), (faces, 1))
    seen = landmarker.submit([frame_of(FACE)], [0] * faces, boxes, np.full(faces, FACE.angle))
    expected = true_points(FACE, QUERY + ANCHORS)
    assert all(np.allclose(one.points, expected, atol=0.5) for one in seen())
    assert sorted(model.calls, reverse=True) == parts
    landmarker.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        landmarker.locate([frame_of(FACE)], [0], boxes[:1], np.zeros(1))


def test_the_crops_of_a_crowd_are_not_all_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, cut, most = ToyModel(), [0], [0]

    def counted(images: Sequence[Pixels], which: Places, crops: Crops, size: int, device: str | None) -> Any:
        cut[0] += len(crops)
        most[0] = max(most[0], cut[0] - sum(model.calls))
        return warp(images, which, crops, size, device)

    monkeypatch.setattr(landmarks, "warp", counted)
    boxes = np.tile(box_of(FACE), (40, 1))
    seen = Landmarker(model, QUERY, batch=4).locate([frame_of(FACE)], [0] * 40, boxes, np.full(40, FACE.angle))
    assert len(seen) == 40
    assert most[0] <= 3 * 4


class CredulousModel(ToyModel):
    """A model that reports a face in every crop, larger with each."""

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        points = np.tile(np.random.default_rng(0).uniform(0.1, 0.9, (len(query), 2)), (len(crops), 1, 1))
        return Prediction(points, np.full(points.shape[:2], 0.01), np.ones(len(crops)))


@pytest.mark.parametrize(
    ("box", "expected"),
    [((120, 60, 50, 60), True), ((-30, 60, 50, 60), True), ((400, 60, 50, 60), False), ((-4e4, -5e4, 8e4, 1e5), False)],
)
def test_a_face_outside_the_frame_is_none(box: tuple[float, float, float, float], expected: bool) -> None:
    assert (locate(CredulousModel(), box).presence > 0.5) is expected


def test_where_two_crops_show_no_face_there_is_no_third() -> None:
    model = ToyModel()
    assert locate(model, (250, 10, 50, 60)).presence < 0.1
    assert model.calls == [1, 1]


def test_no_boxes() -> None:
    model = ToyModel()
    assert Landmarker(model, QUERY).locate([], [], np.zeros((0, 4)), np.zeros(0)) == []
    assert model.calls == []


class InvalidModel(ToyModel):
    """A model that returns invalid points with full presence."""

    answer = 40.0

    def predict(self, crops: np.ndarray, query: Query) -> Prediction:
        self.calls.append(len(crops))
        points = np.full((len(crops), len(query), 2), self.answer)
        return Prediction(points, np.ones(points.shape[:2]), np.ones(len(crops)))


@pytest.mark.parametrize("answer", [40.0, np.nan])
def test_invalid_points_are_not_cropped_again(answer: float) -> None:
    """Points without a valid box, or not finite, are not cropped again and are no face."""
    model = InvalidModel()
    model.answer = answer
    assert locate(model, box_of(FACE)).presence == 0.0
    assert model.calls == [1]


@pytest.mark.parametrize("angle", [-3.0, -1.2, 0.0, 0.4, 2.5])
def test_roll_of_a_turned_face(angle: float) -> None:
    anchors = true_points(ToyFace((10, 20), 100, angle), ANCHORS)
    assert roll_of(anchors) == pytest.approx(angle, abs=1e-9)


def test_the_model_predicts_each_distinct_point_once() -> None:
    class RecordingModel(ToyModel):
        queries: list[Query] = []  # noqa: RUF012

        def predict(self, crops: np.ndarray, query: Query) -> Prediction:
            self.queries.append(query)
            return super().predict(crops, query)

    query = Query(ANCHORS.parts[:3], ANCHORS.positions[:3])
    landmarker = Landmarker(RecordingModel(), query)
    seen = landmarker.locate([frame_of(FACE)], [0], np.array([box_of(FACE)]), np.array([FACE.angle]))[0]
    assert len(RecordingModel.queries[0]) == len(ANCHORS)
    assert len(seen.points) == len(query) + len(ANCHORS)
    np.testing.assert_array_equal(seen.points[:3], seen.anchors[:3])
