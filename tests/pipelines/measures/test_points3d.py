"""Points of faces in space: heads whose places are known, and the deviations that are told of them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pipelines.measures.heads import SIZE, UNIT, rotation, turned
from vtrack.data.mean_face import mean_face
from vtrack.data.mesh_labels import VERTICES
from vtrack.layouts import load_layout
from vtrack.measures import Points3d
from vtrack.pipelines.measures.face_fit import FaceFit, face_model, rotations
from vtrack.pipelines.measures.head_pose import fit_heads
from vtrack.pipelines.measures.points3d import points_in_space, surface_points
from vtrack.pipelines.measures.pose import ADULTS, EYES, EyeDistance, head_poses, span_sd
from vtrack.query import parse_query
from vtrack.types import FloatArray, Query

LAYOUT = load_layout("300w").query
DISTANCE, SIGMA = 11.0, 0.3
FOV = float(np.degrees(2 * np.arctan(max(SIZE) / 2 / (UNIT * DISTANCE))))


def fit_of(angles: tuple[float, float, float]) -> FaceFit:
    """The mean face, turned by yaw, pitch and roll in degrees, as it is fitted to its points."""
    points = turned(*angles)
    return fit_heads(points, np.full(points.shape[:2], SIGMA), SIZE, fov=FOV)[0]


def placed(
    angles: tuple[float, float, float],
    shape: FloatArray,
    query: Query,
    distance: EyeDistance = EYES,
    sigma: float = SIGMA,
) -> Points3d:
    """Points (points, 3) of the same head in space, as they are found."""
    points = turned(*angles, shape=shape)
    (found,) = points_in_space(fit_of(angles), query, points, np.full(points.shape[:2], sigma), SIZE, distance)
    return found


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 10, 5), (-60, -10, 20)])
def test_places_of_a_known_head_are_found(angles: tuple[float, float, float]) -> None:
    mean = face_model(LAYOUT).mean
    found = placed(angles, mean, LAYOUT)
    corners = np.linalg.norm(mean[45] - mean[36])
    truth = (mean @ rotation(*angles).T + (0.5 / UNIT, 0.5 / UNIT, DISTANCE)) / corners
    assert np.abs(found.places - truth).max() < 0.03
    assert (np.abs(found.places - truth) < found.sd).all()


def test_a_point_in_space_is_seen_where_the_point_was_found() -> None:
    query = parse_query("eyes:20,lips:30,nose,jaw:9,left_iris:4")
    surface = surface_points(query)
    points, fit = turned(20, 5, -10, shape=surface.mean), fit_of((20, 5, -10))
    (found,) = points_in_space(fit, query, points, np.full(points.shape[:2], SIGMA), SIZE, ADULTS)
    (pose,) = head_poses(fit, ADULTS)
    seen = found.places[:, :2] / found.places[:, 2:] * pose.focal + (np.array(SIZE) - 1) / 2
    np.testing.assert_allclose(seen, points[0], atol=1e-6)
    assert 800 < found.places[:, 2].mean() < 1200  # 11 times 90.7 mm


def test_any_part_of_the_face_has_the_depth_of_the_mean_face() -> None:
    query = load_layout("mesh").query
    kept = np.flatnonzero(len(mean_face().vertices) > VERTICES)
    depth = surface_points(query).mean[kept, 2]
    assert np.abs(depth - mean_face().vertices[VERTICES[kept], 2]).mean() < 0.03
    # Between two of the 68 points of a part lies the middle of their depths, over the end of a closed one too.
    eye = surface_points(Query(("left_eye",) * 3, (5 / 6, 11 / 12, 0.0))).mean[:, 2]
    assert eye[1] == pytest.approx((eye[0] + eye[2]) / 2)


def test_of_the_rest_of_the_head_and_of_free_text_nothing_is_known() -> None:
    query = parse_query("ears,hairline,neck") + Query(('"a mole"', "nose_bridge"), (0.0, 0.5))
    found = placed((0, 0, 0), np.zeros((len(query), 3)), query)
    assert np.isnan(found.array[:-1]).all() and np.isfinite(found.array[-1]).all()


def test_deviations_are_those_of_fits_that_differ_as_their_covariance_says() -> None:
    angles, query, rng = (25.0, 10.0, 5.0), parse_query("eyes:2,nose_bridge,chin"), np.random.default_rng(0)
    surface, fit, count = surface_points(query), fit_of(angles), 4000
    draws = rng.multivariate_normal(np.zeros(fit.covariance.shape[-1]), fit.covariance[0], count)
    several = FaceFit(
        rotations(draws[:, :3]) @ fit.rotation,
        fit.translation + draws[:, 3:6],
        fit.shape + draws[:, 6:],
        np.tile(fit.covariance, (count, 1, 1)),
        np.tile(fit.focal, count),
        np.ones(count, bool),
    )
    points = turned(*angles, shape=surface.mean)
    seen, sigma = np.tile(points, (count, 1, 1)), np.full((count, len(query)), SIGMA)
    places = np.array([each.places for each in points_in_space(several, query, seen, sigma, SIZE, EYES)])
    (found,) = points_in_space(fit, query, points, sigma[:1], SIZE, EYES)
    of_eyes = span_sd() * found.places[:, 2]  # places are told in the distance between the eyes, about 1 unit here
    expected = np.hypot(np.hypot(places[..., 2].std(0), surface.residual), of_eyes)
    np.testing.assert_allclose(found.sd[:, 2], expected, rtol=0.08)


def test_deviations_hold_the_point_s_own_and_the_unit_s() -> None:
    mean = face_model(LAYOUT).mean
    sure, unsure = (placed((0, 0, 0), mean, LAYOUT, sigma=sigma) for sigma in (0.3, 6.0))
    assert (unsure.sd[:, :2] > 5 * sure.sd[:, :2]).any(1).all()
    np.testing.assert_allclose(unsure.sd[:, 2], sure.sd[:, 2])
    exact, adult = (placed((0, 0, 0), mean, LAYOUT, EyeDistance(90.7, sd)) for sd in (0.0, ADULTS.sd))
    further = np.sqrt(np.square(adult.sd) - np.square(exact.sd))
    np.testing.assert_allclose(further, np.abs(adult.places) * ADULTS.sd / 90.7, rtol=1e-6)


def test_in_a_mirrored_frame_only_x_changes_its_sign() -> None:
    found = placed((20, 0, 0), face_model(LAYOUT).mean, LAYOUT)
    assert (found.mirrored().array == found.array * (-1, 1, 1, 1, 1, 1)).all()
    assert repr(found[:3]) == "Points3d(3 points)"
    with pytest.raises(ValueError, match=r"shape \(n, 6\)"):
        Points3d(np.zeros((4, 3)))
