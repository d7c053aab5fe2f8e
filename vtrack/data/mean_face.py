"""A mean face in space: vertices of mediapipe's mesh and the points of the layout `300w`, fitted to training photographs.

Axes: x to the right of the image, y down, z away from the viewer. The outer corners of the eyes are 1 apart and the middle
between them is the origin.

    python -m vtrack.data.mean_face data vtrack/data/mean_face.csv        # where mediapipe is installed
"""

from __future__ import annotations

import csv
import logging
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay
from scipy.spatial.distance import cdist

from vtrack.data.dataset import Dataset
from vtrack.data.mesh_labels import MARGIN, SIDE, Mesh
from vtrack.data.sources import load_dataset
from vtrack.errors import UsageError, errors_in_one_line
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.layouts import load_layout
from vtrack.types import FloatArray

log = logging.getLogger(__name__)

VERTICES = 468
"""Vertices of mediapipe's mesh without the irises."""
_OUTER_CORNERS = (36, 45)
"""Points of the layout `300w` that are 1 apart."""
_EYES, _MIDLINE = (33, 263), (10, 152)
"""Vertices of the mesh: outer corners of the eyes; top of the forehead and chin."""
JAW = 17
"""The first points of the layout are the jaw, which is a silhouette and slides over a head that turns."""
_JAW_WEIGHT = 0.1
"""Weight of a point of the jaw in a pose, relative to the other points."""
_MAX_TURN = np.radians(12)
"""Largest turn of the faces from which the depth of annotated points is read."""
_MAX_DISTANCE = 0.03
"""Largest mean distance of a mesh from the annotated points, in sides of its picture, to use the face."""
_CHECKED = {33: 36, 263: 45, 61: 48, 291: 54, 152: 8}
"""Vertices compared with points: outer corners of the eyes, corners of the mouth, chin."""
_ROUNDS = 10
"""Rounds of aligning meshes and averaging them."""
_FILE = Path(__file__).with_name("mean_face.csv")


@dataclass(frozen=True, eq=False, slots=True)
class Pose:
    """A scaled orthographic view: a point X of the head is seen at `scale * (rotation @ X) + offset`."""

    scale: float
    rotation: FloatArray
    """(3, 3) from the axes of the head to those of the camera."""
    offset: FloatArray
    """(2,) in pixels."""

    def place(self, points: FloatArray) -> FloatArray:
        """(n, 3) position in the image and depth, in pixels, of points (n, 3) of the head."""
        return self.scale * points @ self.rotation.T + np.append(self.offset, 0.0)

    @property
    def yaw(self) -> float:
        """Turn to the right of the image in radians."""
        return float(np.arctan2(-self.rotation[0, 2], self.rotation[2, 2]))


@dataclass(frozen=True, eq=False, slots=True)
class MeanFace:
    """The mean face."""

    vertices: FloatArray
    """(468, 3)"""
    points: FloatArray
    """(68, 3)"""

    def pose(self, points: FloatArray) -> Pose:
        """The view in which the mean face fits 68 annotated points (68, 2) best, by least squares."""
        weights = np.where(np.arange(len(self.points)) < JAW, _JAW_WEIGHT, 1.0)
        weights /= weights.sum()
        middle, center = weights @ self.points, weights @ points
        root = np.sqrt(weights)[:, None]
        affine = np.linalg.lstsq(root * (self.points - middle), root * (points - center), rcond=None)[0].T  # (2, 3)
        left, sizes, right = np.linalg.svd(affine, full_matrices=False)
        rows = left @ right
        rotation = np.stack([*rows, np.cross(*rows)])
        scale = float(sizes.mean())
        return Pose(scale, rotation, center - scale * rows @ middle)


@cache
def mean_face() -> MeanFace:
    """The mean face that comes with the project."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        rows = np.array([[float(row[axis]) for axis in "xyz"] for row in csv.DictReader(file)])
    return MeanFace(rows[:VERTICES], rows[VERTICES:])


@cache
def mean_triangles() -> np.ndarray:
    """(n, 3) indices of triangles between the vertices of the mean face, by a Delaunay triangulation seen from the front."""
    return np.asarray(Delaunay(mean_face().vertices[:, :2]).simplices)


def fit(meshes: FloatArray, points: FloatArray) -> MeanFace:
    """Fit the mean face.

    Args:
        meshes: (faces, 468, 3) meshes in pixels, with depth in the same unit.
        points: (faces, 68, 2) annotated points of the same faces in pixels.
    """
    mean = _upright(meshes[0])
    for _ in range(_ROUNDS):
        moves = [align(mesh, mean) for mesh in meshes]
        mean = _upright(np.median([move(mesh) for move, mesh in zip(moves, meshes, strict=True)], axis=0))
        mean = _symmetric(mean, _mirror(mean))
    frontal = [i for i, move in enumerate(moves) if abs(move.yaw) < _MAX_TURN]
    marked = np.median([moves[i](lifted(points[i], meshes[i])) for i in frontal], axis=0)
    marked = _symmetric(marked, load_layout("300w").mirror)
    corners = marked[list(_OUTER_CORNERS)]
    unit = np.linalg.norm(corners[1] - corners[0])
    log.info("%d meshes, of which %d look straight ahead", len(meshes), len(frontal))
    return MeanFace((mean - corners.mean(0)) / unit, (marked - corners.mean(0)) / unit)


@dataclass(frozen=True, eq=False, slots=True)
class Similarity:
    """A rotation, scaling and shift in space."""

    scale: float
    rotation: FloatArray
    middles: tuple[FloatArray, FloatArray]

    def __call__(self, points: FloatArray) -> FloatArray:
        return self.scale * (points - self.middles[0]) @ self.rotation.T + self.middles[1]

    @property
    def yaw(self) -> float:
        return float(np.arctan2(self.rotation[0, 2], self.rotation[2, 2]))


def align(points: FloatArray, target: FloatArray) -> Similarity:
    """The similarity that moves points (n, 3) onto others by least squares (Umeyama's method)."""
    middles = points.mean(0), target.mean(0)
    here, there = points - middles[0], target - middles[1]
    left, sizes, right = np.linalg.svd(there.T @ here)
    sign = np.array([1.0, 1.0, np.linalg.det(left @ right)])
    return Similarity(float((sizes * sign).sum() / np.square(here).sum()), left * sign @ right, middles)


def _upright(vertices: FloatArray) -> FloatArray:
    """Rotate vertices so that x runs through the outer corners of the eyes, and the chin lies below the forehead."""
    across, down = (vertices[b] - vertices[a] for a, b in (_EYES, _MIDLINE))
    across = across / np.linalg.norm(across)
    down = down - (down @ across) * across
    down = down / np.linalg.norm(down)
    return np.asarray(vertices @ np.stack([across, down, np.cross(across, down)]).T)


def _mirror(vertices: FloatArray) -> np.ndarray:
    """Index of the mirror image of each vertex: the nearest one after a reflection about the vertical plane."""
    flipped = vertices.copy()
    flipped[:, 0] = 2 * vertices[:, 0].mean() - flipped[:, 0]
    return np.asarray(cdist(flipped, vertices).argmin(1))


def _symmetric(points: FloatArray, mirror: np.ndarray) -> FloatArray:
    """The mean of points (n, 3) and their mirror image, about x = 0."""
    points = points - (points[:, 0].mean(), 0, 0)
    return np.asarray((points + points[mirror] * (-1, 1, 1)) / 2)


def lifted(points: FloatArray, mesh: FloatArray) -> FloatArray:
    """(68, 3) annotated points with the depth of the mesh where they are; beside the mesh, that of the nearest vertex."""
    depth = LinearNDInterpolator(mesh[:, :2], mesh[:, 2])(points)
    nearest = mesh[cdist(points, mesh[:, :2]).argmin(1), 2]
    return np.column_stack([points, np.where(np.isnan(depth), nearest, depth)])


def write(face: MeanFace, path: Path) -> None:
    """Write a mean face as a table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["kind", "x", "y", "z"])
        for kind, points in (("vertex", face.vertices), ("point", face.points)):
            rows.writerows([kind, *(f"{value:.4f}" for value in point)] for point in points)


def measured(data: Dataset) -> tuple[FloatArray, FloatArray, npt.NDArray[np.intp]]:
    """Run mediapipe's mesh on the faces of a data set, and keep those on which it agrees with the annotated points.

    Returns:
        (faces, 468, 3) meshes and (faces, 68, 2) annotated points, in pixels of the same pictures, and the places of
        these faces in the data set.
    """
    mesh, crops = Mesh(), Crops.around(data.layout.face_box(data.points), MARGIN)
    meshes = np.stack(
        [
            mesh.vertices(warp([data.image(i)], [0], crops[i : i + 1], SIDE)[0].transpose(1, 2, 0))[:VERTICES]
            for i in range(len(data))
        ]
    )
    points = crops.to_crop(data.points)
    offsets = meshes[:, list(_CHECKED), :2] - points[:, list(_CHECKED.values())]
    good = np.linalg.norm(offsets, axis=-1).mean(1) < _MAX_DISTANCE  # False for NaN
    return meshes[good] * SIDE, points[good] * SIDE, np.flatnonzero(good)


def main() -> None:
    """Fit the mean face to the training photographs of `w68` and write it."""
    if len(sys.argv) != 3:
        raise UsageError("usage: python -m vtrack.data.mean_face DATA OUT.csv")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    meshes, points, _ = measured(load_dataset(f"w68:{Path(sys.argv[1]) / 'w68.zip'}", "train"))
    write(fit(meshes, points), Path(sys.argv[2]))


if __name__ == "__main__":
    with errors_in_one_line():
        main()
