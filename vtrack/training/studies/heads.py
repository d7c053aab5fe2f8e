"""Measures poses of heads against mediapipe's mesh, and poses and points in space on persons with a known shape that are turned
before a camera.

    python -m vtrack.training.studies.heads data --model fast      # where mediapipe is installed

The mesh is no truth, but it was made by others for other pictures. The persons are annotated photographs with the depth of the
mesh; their points have independent errors.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.face_modes import in_space
from vtrack.data.mean_face import JAW, align, lifted, mean_face, measured
from vtrack.data.mesh_labels import VERTICES as LAYOUT_VERTICES
from vtrack.data.sources import load_dataset
from vtrack.errors import errors_in_one_line
from vtrack.layouts import load_layout
from vtrack.models import load_model
from vtrack.pipelines.measures.face_fit import rotations
from vtrack.pipelines.measures.head_pose import angles, fit_heads
from vtrack.pipelines.measures.points3d import points_in_space
from vtrack.pipelines.measures.pose import EYES, head_poses
from vtrack.pipelines.measures.shapes import OUTER_CORNERS
from vtrack.training.studies.turns import (
    ANNOTATED_SIGMA,
    measured_places,
    predicted_points,
    rotation_of,
    turn_angle,
)
from vtrack.types import FloatArray, LandmarkModel, Query

log = logging.getLogger(__name__)

DISTANCES = (6.0, 20.0)
"""Distances of the camera, in units of the distance between the outer corners of the eyes."""
YAWS = (0.0, 20.0, 45.0, 60.0, 75.0)
"""Limits of the classes of yaw, in degrees."""
_PITCH, _ROLL = 20.0, 15.0
"""Largest pitch and roll, in degrees."""
_SIGMA = 0.018
"""Standard deviation of a point, in units; that of `fast`."""
_SIZE = (640, 480)
"""Width and height of the frame; the focal length is its width."""
_FOV = float(np.degrees(2 * np.arctan(0.5)))
"""Angle of view along the width, in degrees."""
_ASIDE = (0.25, 0.2)
"""How far a head lies from the middle of the frame at most, in parts of its distance."""


def differences(
    model: LandmarkModel, data: Dataset, meshes: FloatArray, places: np.ndarray
) -> dict[str, tuple[FloatArray, float]]:
    """Compare poses with those of mediapipe's mesh.

    Args:
        model: The landmark model.
        data: Faces in the layout `300w`.
        meshes: (faces, 468, 3) meshes.
        places: (faces,) their places in the data.

    Returns:
        For annotated and for predicted points: mean difference of yaw, pitch and roll in degrees, and slope of yaw.
    """
    truth = angles(np.array([align(mesh, mean_face().vertices).rotation.T for mesh in meshes]))
    chosen = measured_places(data)
    found: dict[str, list[FloatArray]] = {"annotated points": [], f"points of {model.name}": []}
    for place in places:
        image, points = data.image(int(place)), data.points[place : place + 1].astype(np.float64)
        sigma = np.full((1, len(chosen)), ANNOTATED_SIGMA * data.layout.unit(points)[0])
        both = (points[:, chosen], sigma), predicted_points(model, data.layout.face_box(points), image)
        for poses, (located, deviations) in zip(found.values(), both, strict=True):
            poses.append(angles(rotation_of(located, deviations, image)))
    return {
        name: (np.abs(np.array(poses) - truth).mean(0), float(np.polyfit(truth[:, 0], np.array(poses)[:, 0], 1)[0]))
        for name, poses in found.items()
    }


class CameraErrors(NamedTuple):
    """How far poses are off."""

    turn: float
    """Mean error of the rotation in degrees."""
    turn_within: float
    """Share of its components within one standard deviation."""
    known_turn: float
    """Mean error of the rotation in degrees where the angle of view is known."""
    distance: float
    """Mean error of the distance from the camera, as a share of it, where the angle of view is known."""
    place_within: float
    """Share of the components of places within one standard deviation, where the angle of view is known."""


class _Seen(NamedTuple):
    """Persons before a camera."""

    rotation: FloatArray
    """(n, 3, 3)"""
    space: FloatArray
    """(n, points, 3) from the camera."""
    points: FloatArray
    """(n, points, 2) in pixels, with errors."""
    sigma: FloatArray
    """(n, points) standard deviations of these errors."""


def _before_camera(shapes: FloatArray, distance: float, yaws: tuple[float, float], rng: np.random.Generator) -> _Seen:
    """Turn persons (n, points, 3) at random before a camera."""
    count, focal = len(shapes), float(_SIZE[0])
    yaw = rng.uniform(*yaws, count) * rng.choice([-1, 1], count)
    pitch, roll = (rng.uniform(-largest, largest, count) for largest in (_PITCH, _ROLL))
    none = np.zeros(count)
    turns = [np.stack(axes, 1) for axes in ((none, -yaw, none), (pitch, none, none), (none, none, roll))]
    about_y, about_x, about_z = (rotations(np.radians(turn)) for turn in turns)
    made = about_y @ about_x @ about_z
    aside = rng.uniform(-1, 1, (count, 2)) * _ASIDE * distance
    space = shapes @ made.transpose(0, 2, 1) + np.column_stack([aside, np.full(count, distance)])[:, None]
    points = space[..., :2] / space[..., 2:] * focal + (np.array(_SIZE) - 1) / 2
    sigma = np.full(points.shape[:2], _SIGMA * focal / distance)
    points += rng.normal(size=points.shape) * sigma[..., None]
    return _Seen(made, space, points, sigma)


def camera_errors(
    shapes: FloatArray, distance: float, yaws: tuple[float, float], rng: np.random.Generator
) -> CameraErrors:
    """Turn persons (n, points of the measures, 3) at random before a camera, and find their poses."""
    made, space, points, sigma = _before_camera(shapes, distance, yaws, rng)
    fit, _ = fit_heads(points, sigma, _SIZE)
    wrong = fit.rotation @ made.transpose(0, 2, 1)
    skew = (wrong - wrong.transpose(0, 2, 1)) / 2
    components = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], 1)
    deviations = np.sqrt(np.diagonal(fit.covariance, axis1=1, axis2=2)[:, :3])
    known, corners = fit_heads(points, sigma, _SIZE, fov=_FOV)[0], space[:, [*OUTER_CORNERS]]
    eyes = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1, keepdims=True)
    poses = head_poses(known, EYES)
    known_wrong = known.rotation @ made.transpose(0, 2, 1)
    off = np.array([pose.translation for pose in poses]) - corners.mean(1) / eyes
    place_within = np.abs(off) < np.array([pose.translation_sd for pose in poses])
    return CameraErrors(
        float(turn_angle(wrong).mean()),
        float((np.abs(components) < deviations).mean()),
        float(turn_angle(known_wrong).mean()),
        float((np.abs(off[:, 2:]) * eyes / distance).mean()),
        float(place_within.mean()),
    )


class PointErrors(NamedTuple):
    """How far points in space are off where the angle of view is known."""

    place: float
    """Mean distance from the true place, as a share of the distance from the camera."""
    depth: float
    """Mean error of the depth against the mean of the face's points, in distances between the outer corners of the eyes."""
    within: float
    """Share of the components of places within one standard deviation."""


def point_errors(
    shapes: FloatArray,
    further: FloatArray,
    query: Query,
    distance: float,
    yaws: tuple[float, float],
    rng: np.random.Generator,
) -> PointErrors:
    """Turn persons at random before a camera, and find places of further points in space.

    Args:
        shapes: (n, points of the measures, 3) the persons.
        further: (n, points, 3) further points of them.
        query: What these are.
        distance: Distance from the camera in units.
        yaws: Least and largest yaw in degrees.
        rng: Source of chance.
    """
    count = shapes.shape[1]
    _, space, points, sigma = _before_camera(np.concatenate([shapes, further], 1), distance, yaws, rng)
    fit, _ = fit_heads(points[:, :count], sigma[:, :count], _SIZE, fov=_FOV)
    corners = space[:, [*OUTER_CORNERS]]
    eyes = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)[:, None, None]
    found = points_in_space(fit, query, points[:, count:], sigma[:, count:], _SIZE, EYES)
    off = np.array([each.places for each in found]) - space[:, count:] / eyes
    depth = off[..., 2] - off[..., 2].mean(1, keepdims=True)
    within = np.abs(off) < np.array([each.sd for each in found])
    place = np.linalg.norm(off * eyes, axis=-1).mean() / distance
    return PointErrors(float(place), float(np.abs(depth).mean()), float(within.mean()))


def mesh_points(meshes: FloatArray, points: FloatArray) -> tuple[FloatArray, Query]:
    """Vertices of the persons of `in_space`, (n, points, 3), and what they are: the layout `mesh` without irises."""
    layout, face = load_layout("mesh").query, mean_face()
    chosen = np.flatnonzero(len(face.vertices) > LAYOUT_VERTICES)
    shapes = [
        align(lifted(flat, mesh)[JAW:], face.points[JAW:])(mesh[LAYOUT_VERTICES[chosen]])
        for flat, mesh in zip(points, meshes, strict=True)
    ]
    return np.array(shapes), Query(tuple(layout.parts[i] for i in chosen), tuple(layout.positions[i] for i in chosen))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure how well poses of heads are found.")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the zips")
    parser.add_argument("--model", default="fast", help="name of the landmark model")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    data = load_dataset(f"w68:{args.data / 'w68.zip'}", "val")
    meshes, points, places = measured(data)
    log.info("| mean difference from the mesh | yaw | pitch | roll | slope of yaw |\n|---|---|---|---|---|")
    for name, (means, slope) in differences(load_model(args.model), data, meshes, places).items():
        log.info("| %s | %s | %.2f |", name, " | ".join(f"{mean:.1f}°" for mean in means), slope)
    whole, rng = in_space(meshes, points)[0], np.random.default_rng(0)
    shapes = whole[:, measured_places(data)]
    log.info("| distance | yaw | mean error of the rotation | within one standard deviation | error with `--fov` | "
             "error of the distance | place within one standard deviation |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for distance, yaws in itertools.product(DISTANCES, itertools.pairwise(YAWS)):
        errors = camera_errors(shapes, distance, yaws, rng)
        row = "| %g | %g to %g° | %.1f° | %.0f %% | %.1f° | %.1f %% | %.0f %% |"
        shares = 100 * errors.distance, 100 * errors.place_within
        log.info(row, distance, *yaws, errors.turn, 100 * errors.turn_within, errors.known_turn, *shares)
    log.info("| points | distance | yaw | error of the place | error of the depth within the face | "
             "within one standard deviation |\n|---|---|---|---|---|---|")  # fmt: skip
    asked = {"68 annotated": (whole, data.layout.query), "of the mesh": mesh_points(meshes, points)}
    for (name, (further, query)), distance, yaws in itertools.product(
        asked.items(), DISTANCES, itertools.pairwise(YAWS)
    ):
        found = point_errors(shapes, further, query, distance, yaws, rng)
        row = "| %s | %g | %g to %g° | %.1f %% | %.3f | %.0f %% |"
        log.info(row, name, distance, *yaws, 100 * found.place, found.depth, 100 * found.within)


if __name__ == "__main__":
    with errors_in_one_line():
        main()
