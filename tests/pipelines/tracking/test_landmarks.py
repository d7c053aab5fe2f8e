"""Looking at faces: points in frame pixels, second looks at faces that lie beyond their box."""

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


def look(model: ToyModel, box: tuple[float, float, float, float], angle: float = 0.0) -> Sighting:
    landmarker = Landmarker(model, QUERY)
    return landmarker.look([frame_of(FACE)], [0], np.array([box]), np.array([angle]))[0]


def box_of(face: ToyFace, shift: tuple[float, float] = (0, 0), scale: float = 1.0) -> tuple[float, float, float, float]:
    width, height = 0.8 * face.side * scale, face.side * scale
    return (face.center[0] + shift[0] - width / 2, face.center[1] + shift[1] - height / 2, width, height)


def test_points_are_in_frame_pixels_users_first() -> None:
    model = ToyModel()
    seen = look(model, box_of(FACE), FACE.angle)
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
def test_a_face_beyond_its_box_is_looked_at_again(shift: tuple[float, float], scale: float, angle: float) -> None:
    model = ToyModel()
    seen = look(model, box_of(FACE, shift, scale), angle)
    assert len(model.calls) > 1
    np.testing.assert_allclose(seen.points, true_points(FACE, QUERY + ANCHORS), atol=0.7)


def test_only_slipped_faces_are_looked_at_again_and_in_one_batch() -> None:
    model, faces = ToyModel(), [ToyFace((60, 90), 50), ToyFace((160, 90), 50), ToyFace((250, 90), 50)]
    boxes = np.array([box_of(faces[0]), box_of(faces[1], (14, 0)), box_of(faces[2], (0, -14))])
    seen = Landmarker(model, QUERY).look([frame_of(*faces)], [0, 0, 0], boxes, np.zeros(3))
    assert model.calls[:2] == [3, 2]
    for sighting, face in zip(seen, faces, strict=True):
        np.testing.assert_allclose(sighting.points, true_points(face, QUERY + ANCHORS), atol=0.7)


def test_batches_hold_as_many_crops_as_allowed() -> None:
    model = ToyModel()
    boxes = np.tile(box_of(FACE), (10, 1))
    seen = Landmarker(model, QUERY, batch=4).look([frame_of(FACE)] * 2, [0, 1] * 5, boxes, np.full(10, FACE.angle))
    assert model.calls == [4, 4, 2]
    assert len(seen) == 10


@pytest.mark.parametrize(("faces", "parts"), [(3, [3]), (7, [3, 3, 1]), (100, [32, 32, 32, 4])])
def test_a_batch_is_divided_between_as_many_as_may_ask_at_once(faces: int, parts: list[int]) -> None:
    class Sociable(ToyModel):
        callers = 3

    model = Sociable()
    landmarker = Landmarker(model, QUERY)
    boxes = np.tile(box_of(FACE), (faces, 1))
    seen = landmarker.begin([frame_of(FACE)], [0] * faces, boxes, np.full(faces, FACE.angle))
    expected = true_points(FACE, QUERY + ANCHORS)
    assert all(np.allclose(one.points, expected, atol=0.5) for one in seen())
    assert sorted(model.calls, reverse=True) == parts
    landmarker.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        landmarker.look([frame_of(FACE)], [0], boxes[:1], np.zeros(1))


def test_the_crops_of_a_crowd_are_not_all_cut_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, cut, most = ToyModel(), [0], [0]

    def counted(images: Sequence[Pixels], which: Places, crops: Crops, size: int, device: str | None) -> Any:
        cut[0] += len(crops)
        most[0] = max(most[0], cut[0] - sum(model.calls))
        return warp(images, which, crops, size, device)

    monkeypatch.setattr(landmarks, "warp", counted)
    boxes = np.tile(box_of(FACE), (40, 1))
    seen = Landmarker(model, QUERY, batch=4).look([frame_of(FACE)], [0] * 40, boxes, np.full(40, FACE.angle))
    assert len(seen) == 40
    assert most[0] <= 3 * 4


class Blind(ToyModel):
    """A model that sees a face wherever it looks, and each time a little larger."""

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        points = np.tile(np.random.default_rng(0).uniform(0.1, 0.9, (len(query), 2)), (len(crops), 1, 1))
        return Prediction(points, np.full(points.shape[:2], 0.01), np.ones(len(crops)))


@pytest.mark.parametrize(
    ("box", "shown"),
    [((120, 60, 50, 60), True), ((-30, 60, 50, 60), True), ((400, 60, 50, 60), False), ((-4e4, -5e4, 8e4, 1e5), False)],
)
def test_what_is_beyond_the_picture_is_no_face(box: tuple[float, float, float, float], shown: bool) -> None:
    assert (look(Blind(), box).presence > 0.5) is shown


def test_nothing_to_look_at() -> None:
    model = ToyModel()
    assert Landmarker(model, QUERY).look([], [], np.zeros((0, 4)), np.zeros(0)) == []
    assert model.calls == []


class Wild(ToyModel):
    """A model that says nonsense, and is sure of it."""

    answer = 40.0

    def predict(self, crops: np.ndarray, query: Query) -> Prediction:
        self.calls.append(len(crops))
        points = np.full((len(crops), len(query), 2), self.answer)
        return Prediction(points, np.ones(points.shape[:2]), np.ones(len(crops)))


@pytest.mark.parametrize("answer", [40.0, np.nan])
def test_nonsense_is_not_run_after(answer: float) -> None:
    """Points that make no box, or are no numbers, are no place to look again and no face."""
    model = Wild()
    model.answer = answer
    assert look(model, box_of(FACE)).presence == 0.0
    assert model.calls == [1]


@pytest.mark.parametrize("angle", [-3.0, -1.2, 0.0, 0.4, 2.5])
def test_roll_of_a_turned_face(angle: float) -> None:
    anchors = true_points(ToyFace((10, 20), 100, angle), ANCHORS)
    assert roll_of(anchors) == pytest.approx(angle, abs=1e-9)


def test_the_model_is_asked_for_each_place_once() -> None:
    class Asked(ToyModel):
        queries: list[Query] = []  # noqa: RUF012

        def predict(self, crops: np.ndarray, query: Query) -> Prediction:
            self.queries.append(query)
            return super().predict(crops, query)

    query = Query(ANCHORS.parts[:3], ANCHORS.positions[:3])
    landmarker = Landmarker(Asked(), query)
    seen = landmarker.look([frame_of(FACE)], [0], np.array([box_of(FACE)]), np.array([FACE.angle]))[0]
    assert len(Asked.queries[0]) == len(ANCHORS)
    assert len(seen.points) == len(query) + len(ANCHORS)
    np.testing.assert_array_equal(seen.points[:3], seen.anchors[:3])
