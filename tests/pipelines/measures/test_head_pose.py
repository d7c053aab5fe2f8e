"""Poses of heads on truth: projected faces of many shapes, whose turn is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from samples.make_samples import CLIPS, actors
from tests.pipelines.measures.heads import SIZE, UNIT, rotation, turned
from tests.pipelines.measures.test_measures import from_68
from vtrack.pipelines.measures.face_fit import face_model
from vtrack.pipelines.measures.head_pose import HeadPoses, angles, fit_heads
from vtrack.pipelines.measures.points import MEASURE_QUERY
from vtrack.types import FloatArray


def pose(points: FloatArray, sigma: float = 1.0, size: tuple[int, int] = SIZE) -> FloatArray:
    """(faces, 3) yaw, pitch and roll."""
    return angles(fit_heads(points, np.full(points.shape[:2], sigma), size)[0].rotation)


@pytest.mark.parametrize(
    "turn", [(0, 0, 0), (30, 0, 0), (-45, 10, 0), (0, 20, 0), (0, -15, 30), (20, 12, -60), (5, 5, 170), (75, -10, 5)]
)
def test_a_turn_of_the_head_is_found_anywhere_in_the_frame(turn: tuple[float, float, float]) -> None:
    for middle in ((320, 240), (80, 400)):
        points = turned(*turn, middle)
        found, unit = fit_heads(points, np.ones(points.shape[:2]), SIZE)
        assert angles(found.rotation)[0] == pytest.approx(turn, abs=0.3)
        assert unit[0] == pytest.approx(UNIT, rel=0.01)


def test_a_positive_yaw_shows_the_nose_to_the_right_and_a_positive_pitch_lower() -> None:
    tip = MEASURE_QUERY.indices("nose_bridge")[-1]
    straight = turned(0, 0, 0)[0, tip]
    assert turned(20, 0, 0)[0, tip][0] > straight[0] + 5
    assert turned(0, 20, 0)[0, tip][1] > straight[1] + 5


def test_a_face_with_too_few_points_has_no_pose_and_one_with_some_missing_has() -> None:
    points = np.concatenate([turned(10, 0, 0), turned(10, 0, 0)])
    points[0, 7:] = np.nan
    points[1, ::4] = np.nan
    fit, unit = fit_heads(points, np.ones(points.shape[:2]), SIZE)
    assert fit.known.tolist() == [False, True]
    assert np.isnan(fit.rotation[0]).all() and np.isnan(fit.translation[0]).all() and np.isnan(unit[0])
    assert angles(fit.rotation)[1] == pytest.approx((10, 0, 0), abs=0.3)


def test_a_fit_does_not_depend_on_the_other_faces_of_the_frame() -> None:
    points = np.concatenate([turned(30, 0, 0), turned(-50, 10, 5, (100, 100)), turned(0, 0, 0)])
    points[2, 5:] = np.nan
    together, unit = fit_heads(points, np.ones(points.shape[:2]), SIZE)
    for i in range(2):
        alone, alone_unit = fit_heads(points[i : i + 1], np.ones((1, points.shape[1])), SIZE)
        for name in ("rotation", "translation", "shape", "covariance"):
            np.testing.assert_allclose(getattr(together, name)[i], getattr(alone, name)[0], rtol=1e-9, atol=1e-12)
        assert unit[i] == pytest.approx(alone_unit[0])


def test_points_that_are_led_astray_hardly_turn_the_head() -> None:
    points = turned(15, 5, 0)
    points[0, MEASURE_QUERY.indices("right_eye")[:3]] += (12, 9)
    points[0, MEASURE_QUERY.indices("inner_lip")[:2]] -= (15, 0)
    assert pose(points)[0] == pytest.approx((15, 5, 0), abs=2.0)


@pytest.mark.parametrize("distance", [20.0, 40.0])
def test_a_turn_does_not_shrink_in_a_picture_that_was_cut_out_of_a_photograph(distance: float) -> None:
    """A camera as wide as the picture would be nearer than anyone stands."""
    points = turned(40, 0, 0, distance=distance)
    size = (200, 200)
    assert pose(points - (220, 140), size=size)[0, 0] == pytest.approx(40, abs=3)


def test_errors_of_many_faces_are_small_and_as_large_as_their_deviations_say() -> None:
    model, rng = face_model(), np.random.default_rng(2)
    within, errors = [], []
    for yaw in np.repeat([-70, -45, -20, 0, 20, 45, 70], 20):
        shape = model.mean + np.tensordot(rng.normal(size=len(model.modes)), model.modes, 1)
        turn = rotation(yaw, *rng.uniform(-15, 15, 2))
        space = shape @ turn.T + (0, 0, 11)
        # One pixel of 58, of which half the variance is shared by neighbours along the query.
        noise = (
            rng.normal(size=(len(shape), 2)) + np.repeat(rng.normal(size=(len(shape) // 2 + 1, 2)), 2, 0)[: len(shape)]
        )
        points = space[:, :2] / space[:, 2:] * 640 + (319.5, 239.5) + noise / np.sqrt(2)
        fit, _ = fit_heads(points[None], np.ones((1, len(shape))), SIZE)
        error = cv2.Rodrigues(fit.rotation[0] @ turn.T)[0][:, 0]
        within.append(np.abs(error) < np.sqrt(np.diag(fit.covariance[0]))[:3])
        errors.append(np.degrees(np.linalg.norm(error)))
    assert 0.6 < np.mean(within) < 0.85
    assert np.mean(errors) < 4


def test_an_opening_mouth_hardly_turns_the_head() -> None:
    poses = [CLIPS["mouth"].faces[0](i / 29) for i in range(30)]
    points = np.stack([from_68(actors()[0].points(each)) for each in poses])
    assert np.ptp([each.mouth for each in poses]) > 0.9
    assert (np.ptp(pose(points), axis=0) < 1.0).all()


def test_the_shape_of_a_person_is_learned_while_the_head_turns_and_kept() -> None:
    model, rng = face_model(), np.random.default_rng(4)
    heads, before, after = HeadPoses(), [], []
    people = range(12)
    shapes = [
        model.mean + np.tensordot(rng.normal(size=len(model.modes)) * np.sqrt(model.person), model.modes, 1)
        for _ in people
    ]
    sigma = np.ones((len(people), len(MEASURE_QUERY)))
    for i in range(50):
        turn = (35 * np.sin(i / 5), 10 * np.cos(i / 7), 0)
        points = np.concatenate([turned(*turn, shape=shape) for shape in shapes])
        fit, _ = heads.update(points, sigma, SIZE, list(people), i / 5)
        alone = fit_heads(points, sigma, SIZE)[0]
        if i >= 40:
            after.append(np.abs(angles(fit.rotation) - turn))
            before.append(np.abs(angles(alone.rotation) - turn))
    assert np.mean(after) < 0.85 * np.mean(before)


def test_a_head_that_keeps_still_does_not_turn_while_it_is_watched() -> None:
    model, rng = face_model(), np.random.default_rng(6)
    shape = model.mean + np.tensordot(rng.normal(size=len(model.modes)), model.modes, 1)
    heads, points = HeadPoses(), turned(5, 5, 0, shape=shape)
    sigma = np.ones((1, len(MEASURE_QUERY)))
    found = [angles(heads.update(points, sigma, SIZE, [1], i / 5)[0].rotation)[0] for i in range(50)]
    np.testing.assert_allclose(found, np.tile(found[0], (50, 1)), atol=1e-6)
