"""Poses of heads in OpenFace's axes: signs, units, standard deviations, and the camera's angle of view."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.pipelines.measures.heads import SIZE, rotation, turned
from vtrack.measures import HeadPose
from vtrack.pipelines.measures.face_fit import FaceFit, face_model
from vtrack.pipelines.measures.head_pose import fit_heads
from vtrack.pipelines.measures.points import MEASURE_QUERY
from vtrack.pipelines.measures.pose import ADULTS, EYES, EyeDistance, head_poses
from vtrack.pipelines.measures.shapes import OUTER_CORNERS
from vtrack.types import FloatArray

FOV = float(np.degrees(2 * np.arctan(320 / 640)))
"""Angle of view with which the focal length is the longer side of `SIZE`."""


def posed(points: FloatArray, distance: EyeDistance = EYES, fov: float | None = None) -> HeadPose:
    """The pose of the one head."""
    fit, _ = fit_heads(points, np.ones(points.shape[:2]), SIZE, fov=fov)
    (pose,) = head_poses(fit, distance)
    return pose


def eye_distance(shape: FloatArray) -> float:
    """In units, of a face in space."""
    left, right = OUTER_CORNERS
    return float(np.linalg.norm(shape[right] - shape[left]))


def fit_of(turn: FloatArray, place: FloatArray) -> FaceFit:
    """The mean face at a known place, as if it had been fitted."""
    model = face_model()
    zeros = np.zeros((1, len(model.modes)))
    covariance = np.zeros((1, 6 + len(model.modes), 6 + len(model.modes)))
    unit = eye_distance(model.mean)
    origin = place * unit - turn @ model.mean[[*OUTER_CORNERS]].mean(0)
    return FaceFit(turn[None], origin[None], zeros, covariance, np.ones(1), np.ones(1, bool))


def seen(space: FloatArray, focal: float, rng: np.random.Generator | None = None) -> FloatArray:
    """(1, points, 2) points in space in pixels, with errors of one pixel, half of which a neighbour shares."""
    points = space[:, :2] / space[:, 2:] * focal + (np.array(SIZE) - 1) / 2
    if rng is not None:
        shared = np.repeat(rng.normal(size=(len(space) // 2 + 1, 2)), 2, 0)[: len(space)]
        points = points + (rng.normal(size=points.shape) + shared) / np.sqrt(2)
    return points[None]


@pytest.mark.parametrize(
    "turn", [(0, 0, 0), (30, 0, 0), (-45, 10, 0), (0, 20, 0), (20, 12, -60), (5, 5, 170), (-60, -20, 100), (0, 0, 180)]
)
def test_angles_and_quaternion_are_the_same_turn(turn: tuple[float, float, float]) -> None:
    fit, _ = fit_heads(turned(*turn), np.ones((1, len(MEASURE_QUERY))), SIZE)
    (pose,) = head_poses(fit, EYES)
    x, y, z = (cv2.Rodrigues(axis * angle)[0] for axis, angle in zip(np.eye(3), pose.angles, strict=True))
    np.testing.assert_allclose(x @ y @ z, fit.rotation[0], atol=1e-9)
    np.testing.assert_allclose(pose.rotation, fit.rotation[0], atol=1e-9)
    assert pose.quaternion[0] >= 0 and np.linalg.norm(pose.quaternion) == pytest.approx(1)
    assert np.linalg.norm(cv2.Rodrigues(pose.rotation @ rotation(*turn).T)[0]) < np.radians(0.5)


def test_signs_are_those_of_openface() -> None:
    """About y a head turns to the left of the image, about x down, about z clockwise."""
    aside, down, tilted = (posed(turned(*turn)).angles for turn in ((-30, 0, 0), (0, 20, 0), (0, 0, 40)))
    assert np.degrees(aside) == pytest.approx((0, 30, 0), abs=0.5)
    assert np.degrees(down) == pytest.approx((20, 0, 0), abs=0.5)
    assert np.degrees(tilted) == pytest.approx((0, 0, 40), abs=0.5)


def test_a_place_is_told_in_eye_distances_of_the_person_and_in_mm() -> None:
    model = face_model()
    widths = [eye_distance(model.mean + mode) for mode in model.modes]
    shape = 1.2 * (model.mean + 1.5 * model.modes[np.argmax(widths)])
    assert eye_distance(shape) > 1.2 * eye_distance(model.mean)
    shape -= shape[[*OUTER_CORNERS]].mean(0)
    space = shape @ rotation(10, 5, 5).T + (2, -1, 15)
    pose = posed(seen(space, 640.0), fov=FOV)
    assert pose.focal == pytest.approx(640)
    assert pose.translation == pytest.approx(np.array([2, -1, 15]) / eye_distance(shape), rel=0.03)
    ruler = posed(seen(space, 640.0), EyeDistance(95.0), fov=FOV)
    np.testing.assert_allclose(ruler.translation, 95 * pose.translation)
    np.testing.assert_allclose(ruler.translation_sd, 95 * pose.translation_sd)
    anyone = posed(seen(space, 640.0), ADULTS, fov=FOV)
    np.testing.assert_allclose(anyone.translation, ADULTS.mean * pose.translation)
    whole = np.hypot(ADULTS.mean * pose.translation_sd, ADULTS.sd * pose.translation)
    np.testing.assert_allclose(anyone.translation_sd, whole)
    np.testing.assert_array_equal(anyone.angles, pose.angles)


def test_points_of_the_head_are_projected_to_where_they_are_seen() -> None:
    points = turned(25, -10, 15, (200, 150))
    pose = posed(points)
    left, right = OUTER_CORNERS
    corners = pose.project(np.array([[-0.5, 0, 0], [0.5, 0, 0]]), SIZE)
    np.testing.assert_allclose(corners, points[0, [left, right]], atol=1)


def test_a_mirrored_pose_is_that_of_the_mirrored_head() -> None:
    pose = posed(turned(25, -10, 15, (200, 150)))
    mirrored, head = pose.mirrored(), np.array([[0.3, 0.2, -0.1], [0.0, 0.5, 0.2]])
    seen_there = pose.project(head * (-1, 1, 1), SIZE)
    np.testing.assert_allclose(mirrored.project(head, SIZE), seen_there * (-1, 1) + (SIZE[0] - 1, 0), atol=1e-6)
    x, y, z = (cv2.Rodrigues(axis * angle)[0] for axis, angle in zip(np.eye(3), mirrored.angles, strict=True))
    np.testing.assert_allclose(mirrored.rotation, x @ y @ z, atol=1e-9)
    np.testing.assert_array_equal(mirrored.mirrored().array, pose.array)


def test_the_angle_of_view_tells_where_a_near_head_is_and_how_it_is_turned() -> None:
    space = face_model().mean @ rotation(0, 0, 0).T + (2.5, 0, 5.5)
    points = seen(space, 640.0)
    near = posed(points, fov=FOV)
    assert near.translation == pytest.approx((2.5, 0, 5.5), rel=0.02, abs=0.02)
    assert np.degrees(near.angles) == pytest.approx((0, 0, 0), abs=0.5)
    # Without it the frame is taken to be cut out of a larger one.
    assumed = posed(points)
    assert assumed.focal > 800 and assumed.translation[2] > 7 and abs(np.degrees(assumed.angles[1])) > 3


def test_a_face_with_too_few_points_has_no_pose() -> None:
    points = turned(10, 0, 0)
    points[0, 7:] = np.nan
    assert np.isnan(posed(points).array).all()


@pytest.mark.parametrize("yaws", [(-15, 0, 15), (-60, -40, 40, 60)])
def test_numbers_of_many_persons_are_as_far_off_as_their_deviations_say(yaws: tuple[int, ...]) -> None:
    model, rng = face_model(), np.random.default_rng(3)
    errors, deviations = [], []
    for yaw in np.repeat(yaws, 120 // len(yaws)):
        shape = model.mean + np.tensordot(rng.normal(size=len(model.modes)), model.modes, 1)
        turn, far = rotation(yaw, *rng.uniform(-15, 15, 2)), rng.uniform(9, 16)
        place = np.array([*rng.uniform(-0.2, 0.2, 2), 1.0]) * far
        middle = place + turn @ shape[[*OUTER_CORNERS]].mean(0)
        pose = posed(seen(shape @ turn.T + place, 640.0, rng), fov=FOV)
        truth = head_poses(fit_of(turn, middle / eye_distance(shape)), EYES)[0]
        errors.append(pose.array[:10] - truth.array[:10])
        deviations.append(pose.array[10:20])
    within = (np.abs(errors) < deviations).mean(0)
    assert 0.6 < within.mean() < 0.85 and within.min() > 0.5
    assert (np.mean(deviations, 0)[:3] < (0.4, 0.4, 1.5)).all()


def test_places_lie_within_their_deviations_for_persons_who_differ_from_the_fitted_face() -> None:
    """Places are told in distances between the corners of the eyes, which no face of the modes has exactly."""
    model, rng, count = face_model(), np.random.default_rng(0), 300
    faces = model.mean + np.tensordot(rng.normal(size=(count, len(model.modes))), model.modes, 1)
    corners = [*OUTER_CORNERS]
    faces[:, corners] += rng.normal(size=(count, 2, 3)) * model.residual[corners, None]
    space = faces + np.array([1.0, -0.5, 11.0])
    points = space[..., :2] / space[..., 2:] * 640 + (319.5, 239.5) + rng.normal(size=(count, len(model.mean), 2)) * 0.3
    fit, _ = fit_heads(points, np.full(points.shape[:2], 0.3), SIZE, fov=FOV)
    eyes = np.linalg.norm(np.diff(space[:, corners], axis=1)[:, 0], axis=1, keepdims=True)
    poses, true = head_poses(fit, EYES), space[:, corners].mean(1) / eyes
    inside = [np.abs(pose.translation - place) < pose.translation_sd for pose, place in zip(poses, true, strict=True)]
    assert 0.6 < np.mean(inside) < 0.8
