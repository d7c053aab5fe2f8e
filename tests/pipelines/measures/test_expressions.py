"""Expressions: movements of a face in space that come back from its points, relative to what it is at rest."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.pipelines.measures.heads import SIZE, UNIT, rotation
from vtrack.measures import EXPRESSIONS, SHAPES, Expressions
from vtrack.pipelines.measures.expressions.finder import ExpressionFinder
from vtrack.pipelines.measures.expressions.movements import frontal, matrices
from vtrack.pipelines.measures.face_fit import face_model, rotations
from vtrack.pipelines.measures.head_pose import HeadPoses, fit_heads
from vtrack.pipelines.measures.points import EXPRESSION_QUERY, MEASURE_QUERY
from vtrack.training.studies.expressions import rig
from vtrack.types import FloatArray

COUNT = len(MEASURE_QUERY)
SMILE = SHAPES.index("mouthSmileLeft"), SHAPES.index("mouthSmileRight")


def at_rest() -> FloatArray:
    """(points, 3) the mean face with shut lips."""
    face = face_model(EXPRESSION_QUERY).mean.copy()
    lip = EXPRESSION_QUERY.indices("inner_lip")
    face[[lip[7], lip[6], lip[5]], 1] = face[lip[1:4], 1]
    return face


def seen(face: FloatArray, yaw: float = 0.0, pitch: float = 0.0) -> FloatArray:
    """(1, points, 2) a face in the middle of a frame of `SIZE`."""
    space = face @ rotation(yaw, pitch, 0).T + (0, 0, 11)
    return np.asarray(space[:, :2] / space[:, 2:] * UNIT * 11 + (319.5, 239.5))[None]


class Watcher:
    """Expressions of a face, frame by frame."""

    def __init__(self, neutral: float | None = None) -> None:
        self.heads, self.finder, self.time = HeadPoses(), ExpressionFinder(neutral), 0.0

    def __call__(self, points: FloatArray, sigma: float = 0.5) -> Expressions:
        deviations = np.full(points.shape[:2], sigma)
        fit, _ = self.heads.update(points[:, :COUNT], deviations[:, :COUNT], SIZE, [7], self.time)
        (found,) = self.finder.update(points, deviations, SIZE, fit, [7], self.time)
        self.time += 0.04
        return found

    def rest(self, face: FloatArray, frames: int = 75) -> None:
        for _ in range(frames):
            self(seen(face))


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_of_a_rig_is_found_by_its_name_and_its_side(shape: str) -> None:
    watch, move = Watcher(), rig()[SHAPES.index(shape)]
    watch.rest(at_rest())
    found = watch(seen(at_rest() + 0.8 * move)).shapes
    assert found[shape] == pytest.approx(0.8, abs=0.2)
    assert found[shape] >= max(found.values()) - 0.02
    mirrored = shape.replace("Left", "?").replace("Right", "Left").replace("?", "Right")
    if mirrored != shape:
        assert found[mirrored] < 0.2


def test_a_face_at_rest_is_neutral_however_it_is_turned() -> None:
    watch = Watcher()
    watch.rest(at_rest())
    for yaw, pitch in ((25, 0), (-25, 0), (15, 12), (0, -12)):
        assert max(watch(seen(at_rest(), yaw, pitch)).shapes.values()) < 0.1


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        (("mouthSmileLeft", "mouthSmileRight"), "AU12_proxy"),
        (("mouthStretchLeft",), "mouthStretchLeft"),
        (("mouthStretchRight",), "mouthStretchRight"),
        (("mouthFrownLeft",), "mouthFrownLeft"),
        (("browDownRight",), "browDownRight"),
    ],
)
def test_turning_the_head_by_25_degrees_changes_a_shape_by_less_than_a_tenth(
    shapes: tuple[str, ...], name: str
) -> None:
    moves = rig()[[SHAPES.index(shape) for shape in shapes]].sum(0)
    watch, face = Watcher(), at_rest() + 0.7 * moves
    watch.rest(at_rest())
    ahead = watch(seen(face))[name]
    assert ahead == pytest.approx(0.7, abs=0.1)
    assert [watch(seen(face, yaw))[name] for yaw in (-25, 25)] == pytest.approx([ahead, ahead], abs=0.1 * ahead)


def test_a_person_s_own_neutral_is_learnt_and_known_better_with_time() -> None:
    brows = rig()[SHAPES.index("browInnerUp")]
    watch, high = Watcher(), at_rest() + 0.5 * brows  # a person whose brows are high
    first = watch(seen(high))
    watch.rest(high)
    later = watch(seen(high))
    assert first["browInnerUp"] > 0.3 and later["browInnerUp"] < 0.05
    assert later["browInnerUp_sd"] < 0.6 * first["browInnerUp_sd"]
    assert watch(seen(high + 0.8 * brows))["browInnerUp"] == pytest.approx(0.8, abs=0.1)


def test_blinks_and_a_mouth_that_talks_do_not_become_the_neutral() -> None:
    watch, moves = Watcher(), rig()
    jaw, blink = moves[SHAPES.index("jawOpen")], moves[:2].sum(0)
    for i in range(150):
        watch(seen(at_rest() + (0.5 * jaw if i % 50 < 30 else 0) + (blink if i % 50 > 44 else 0)))
    rest = watch(seen(at_rest()))
    assert rest["jawOpen"] < 0.05 and rest["eyeBlinkLeft"] < 0.1
    assert watch(seen(at_rest() + blink))["AU43_proxy"] > 0.9


def test_a_moment_that_is_told_to_be_neutral_is_so_from_there_on() -> None:
    smile = at_rest() + rig()[[*SMILE]].sum(0)
    watch = Watcher(neutral=1.0)
    for i in range(100):
        watch(seen(at_rest() if 25 <= i < 40 else smile))
    assert watch(seen(smile))["AU12_proxy"] > 0.8
    first = Watcher(neutral=0.0)(seen(smile))  # compared with the mean face still, as its deviation says
    assert first["AU12_proxy"] > 0.8 and first["AU12_proxy_sd"] > 0.3
    guessing = Watcher()
    for i in range(100):
        guessing(seen(at_rest() if 25 <= i < 40 else smile))
    assert guessing(seen(smile))["AU12_proxy"] < 0.2


def test_a_warning_tells_if_no_face_is_seen_when_faces_are_neutral(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watcher(neutral=1.0)
    watch.rest(at_rest(), 20)
    watch.finder.check(watch.time)
    assert not caplog.records
    watch.finder.check(1.6)
    watch.finder.check(math.inf)
    assert [record.getMessage() for record in caplog.records] == [
        "neutral=1.0 has no effect: no face was seen in the 0.5 s from there on"
    ]
    caplog.clear()
    for neutral in (None, 0.5):
        watch = Watcher(neutral)
        watch.rest(at_rest(), 20)
        watch.finder.check(math.inf)
    assert not caplog.records


def test_asymmetry_and_speed_have_a_sign() -> None:
    watch, moves = Watcher(), rig()
    watch.rest(at_rest())
    lopsided = watch(seen(at_rest() + 0.8 * moves[SMILE[0]]))
    assert lopsided["asymmetry_mouth"] == pytest.approx(0.8, abs=0.1)
    assert lopsided["speed_smile"] == pytest.approx(0.4 / 0.04, rel=0.15)
    assert watch(seen(at_rest()))["speed_smile"] < -5
    assert np.isnan(Watcher()(seen(at_rest()))["speed_jaw"])


def test_deviations_grow_with_those_of_the_points() -> None:
    precise, rough = Watcher(), Watcher()
    for _ in range(50):
        good, bad = precise(seen(at_rest()), 0.2), rough(seen(at_rest()), 2.0)
    own = slice(len(EXPRESSIONS), None)
    # Those of the neutral, which was watched for two seconds, are in both.
    assert (bad.array[own] > 1.2 * good.array[own]).all() and bad["speed_jaw_sd"] > 5 * good["speed_jaw_sd"]


def test_features_change_with_pixels_as_is_told() -> None:
    points = seen(at_rest() + 0.3 * rig()[SHAPES.index("jawOpen")], 20, 8)
    fit, _ = fit_heads(points[:, :COUNT], np.ones((1, COUNT)), SIZE)
    view = frontal(points, SIZE, fit)
    for axis in (0, 1):
        moved = points.copy()
        moved[..., axis] += 1e-3
        change = (frontal(moved, SIZE, fit).offsets - view.offsets) / 1e-3
        np.testing.assert_allclose(change, view.slope[..., axis], atol=1e-6)
    # Depth matters as much as the head is turned.
    np.testing.assert_allclose(view.aside.mean((0, 1)), np.tan(np.radians((20, 8))), atol=0.1)


@pytest.mark.parametrize("turn", [(0.035, 0, 0), (0, 0.035, 0), (0, 0, 0.01)])
@pytest.mark.parametrize("yaw", [0, 25, -25])
def test_a_pose_that_is_wrong_by_2_degrees_hardly_changes_expressions(turn: tuple[float, ...], yaw: float) -> None:
    points, (features, sums, *_) = seen(at_rest(), yaw), matrices()
    fit, _ = fit_heads(points[:, :COUNT], np.ones((1, COUNT)), SIZE)
    wrong = replace(fit, rotation=rotations(np.array([turn])) @ fit.rotation)
    right, other = (np.tensordot(features, frontal(points, SIZE, each).offsets[0], 2) for each in (fit, wrong))
    assert np.abs(sums[: len(SHAPES)] @ (other - right)).max() < 0.075


def test_without_a_pose_or_with_missing_points_nothing_is_known() -> None:
    watch = Watcher()
    watch.rest(at_rest(), 5)
    points = seen(at_rest())
    points[0, -1] = np.nan
    assert np.isnan(watch(points).array).all()
    assert np.isnan(watch(np.full_like(points, np.nan)).array).all()
    assert np.isfinite(watch(seen(at_rest())).array[: len(SHAPES)]).all()


def test_faces_of_one_frame_do_not_mix() -> None:
    smile = seen(at_rest() + rig()[[*SMILE]].sum(0))
    both = np.concatenate([smile, seen(at_rest())])
    heads, finder, alone = HeadPoses(), ExpressionFinder(), Watcher()
    sigma = np.full(both.shape[:2], 0.5)
    fit, _ = heads.update(both[:, :COUNT], sigma[:, :COUNT], SIZE, [7, 8], 0.0)
    first, second = finder.update(both, sigma, SIZE, fit, [7, 8], 0.0)
    np.testing.assert_allclose(first.array, alone(smile).array, atol=1e-6)
    assert first["AU12_proxy"] > 0.8 and second["AU12_proxy"] < 0.2
    finder.forget(0.0)
    assert not finder._people
