"""Detectors and landmark models of one's own: functions and objects, and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import write_clip
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter, true_points
from vtrack.detectors.own import own_detector
from vtrack.errors import UsageError
from vtrack.models.own import own_model
from vtrack.pipelines.track import track
from vtrack.types import Detections, Detector, Frame, ImageArray, LandmarkModel, Prediction, Query

QUERY = Query(("jaw", "left_eye"), (0.5, 0.5))


def scene(i: int) -> list[ToyFace]:
    return [ToyFace((90 + i, 90), 50)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("own") / "toys.mp4", 12, (240, 180), draw=painter(scene))


def follow(clip: Path, **changes: Any) -> list[Any]:
    return list(track(clip, QUERY, **{"model": ToyModel(), "detector": ToyDetector(), "smooth": "none", **changes}))


def boxes_of(image: ImageArray) -> Any:
    return ToyDetector()._detect(image).boxes


def test_a_function_finds_faces(clip: Path) -> None:
    functions = [
        boxes_of,
        lambda image: boxes_of(image).tolist(),
        lambda image: [(*box, 0.9) for box in boxes_of(image)],
        lambda image: ToyDetector()._detect(image),
    ]
    for function in functions:
        for i, result in enumerate(follow(clip, detector=function)):
            np.testing.assert_allclose(result.faces[0].points, true_points(scene(i)[0], QUERY), atol=2.0)


def test_a_function_that_finds_nothing(clip: Path) -> None:
    for nothing in ([], np.zeros((0, 4)), np.zeros((0, 5))):
        assert all(not result.faces for result in follow(clip, detector=lambda image, nothing=nothing: nothing))


def test_scores_put_faces_in_order() -> None:
    detector = own_detector(lambda image: [(0, 0, 9, 9, 0.2), (5, 5, 8, 8, 0.8)])
    (found,) = detector.detect([Frame(np.zeros((20, 20, 3), np.uint8), 0, 0, 1)])  # type: ignore[arg-type]
    assert found.scores.tolist() == [0.8, 0.2] and found.boxes[0].tolist() == [5, 5, 8, 8]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned None; expected boxes of shape"),
        ([1, 2, 3, 4], r"returned shape \(4,\); expected boxes"),
        ([(1, 2, 3)], r"returned shape \(1, 3\); expected boxes"),
        ("face", "returned 'face'; expected boxes"),
        ([(0, 0, -5, 5)], r"returned the box \[0.0, 0.0, -5.0, 5.0\]; expected boxes"),
        ([(0, 0, 5, 5, 7)], r"returned the box \[0.0, 0.0, 5.0, 5.0, 7.0\]"),
        ([(0, 0, np.nan, 5)], r"returned the box \[0.0, 0.0, nan, 5.0\]"),
    ],
)
def test_a_function_that_returns_something_else(clip: Path, returned: Any, message: str) -> None:
    def finder(image: ImageArray) -> Any:
        return returned

    with pytest.raises(UsageError, match="the detector finder " + message):
        follow(clip, detector=finder)


class Mine(Detector):
    """The smallest detector that there is."""

    def __init__(self, returned: Any) -> None:
        self._returned = returned

    def detect(self, frames: Sequence[Frame]) -> Any:
        return self._returned if self._returned is not None else ToyDetector().detect(frames)


def test_an_object_of_ones_own_class(clip: Path) -> None:
    assert all(len(result.faces) == 1 for result in follow(clip, detector=Mine(None)))
    for wrong, kind in ((Detections.none(), "a Detections"), ([], "a list of 0"), ([[1, 2, 3, 4]], "a list of 1")):
        with pytest.raises(
            UsageError, match=rf"own.detect returned {kind}; expected a list with one vtrack.Detections"
        ):
            follow(clip, detector=Mine(wrong))


@pytest.mark.parametrize(
    ("detector", "message"),
    [(7, "detector must be a name, a function"), (Mine, r"is the class Mine; give an object of it: Mine\(\)")],
)
def test_what_is_no_detector(detector: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        own_detector(detector)

    class Half:
        def detect(self, frames: Sequence[Frame]) -> None: ...

    with pytest.raises(UsageError, match=r"the detector Half lacks name; derive it from vtrack.Detector"):
        own_detector(Half())


class Model(LandmarkModel):
    """A toy model that says something else of its points."""

    input_size, margin = 64, 1.6

    def __init__(self, spoil: Any) -> None:
        self._spoil = spoil

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        spoiled: Prediction = self._spoil(ToyModel().predict(crops, query))
        return spoiled


def test_a_model_of_ones_own_class(clip: Path) -> None:
    for i, result in enumerate(follow(clip, model=Model(lambda prediction: prediction))):
        np.testing.assert_allclose(result.faces[0].points, true_points(scene(i)[0], QUERY), atol=2.0)
    with pytest.raises(UsageError, match=r"own.predict returned a ndarray; expected a vtrack.Prediction"):
        follow(clip, model=Model(lambda prediction: prediction.points))
    with pytest.raises(UsageError, match=r"returned points of shape \(1, 2, 2\); expected \(1, \d+, 2\): 1 crops"):
        follow(clip, model=Model(lambda p: Prediction(p.points[:, :2], p.sigma[:, :2], p.presence)))


def test_what_is_no_model() -> None:
    with pytest.raises(UsageError, match=r"is the class Model; give an object of it: Model\(\)"):
        own_model(Model)
    with pytest.raises(UsageError, match=r"model must be a name, the path of a model's card or a vtrack.LandmarkModel"):
        own_model(lambda crops, query: crops)

    class Sizeless(LandmarkModel):
        margin = 1.5

        def predict(self, crops: ImageArray, query: Query) -> Prediction: ...  # type: ignore[empty-body]

    with pytest.raises(
        UsageError, match="the model Sizeless needs input_size, the side of its crops in pixels, got None"
    ):
        own_model(Sizeless())
