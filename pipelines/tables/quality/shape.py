"""Whether points have the shape of a face, and keep it: distances on the rigid part of the face, and the size of irises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtrack.pipelines.measures.face_fit import FaceFit, face_model
from vtrack.pipelines.measures.head_pose import angles, fit_heads
from vtrack.pipelines.measures.points import MEASURE_QUERY
from vtrack.pipelines.tables.curves import MissingPointsError, PointWeights
from vtrack.types import FloatArray, Query

_CORNERS = ("left_eye", "right_eye"), (0.0, 0.5)
_NOSE = ("nose_bridge", "nose_base")
_RIGID = np.array(
    [
        i
        for i, (part, position) in enumerate(zip(MEASURE_QUERY.parts, MEASURE_QUERY.positions, strict=True))
        if part in _NOSE or (part in _CORNERS[0] and position in _CORNERS[1])
    ]
)
"""Places in `MEASURE_QUERY` of the points that no expression moves much."""
_PAIRS = np.triu_indices(len(_RIGID), 1)
_IRISES = ("left_iris", "right_iris")
_NOMINAL = 0.02
"""Sigma of points whose table has none, in distances between the outer corners of the eyes."""
_MEMORY = 10
"""Seconds over which the shape of a face is averaged."""
_FORGOTTEN = 60.0
"""Seconds after which a face that left is forgotten."""


@dataclass(eq=False, slots=True)
class _Constants:
    """What stays the same on one face."""

    mean: FloatArray
    """(pairs + 1,) distances and the size of the irises, in units of the face."""
    seconds: int
    time: float


class ShapeMeter:
    """Measures how well points fit a face in space, and how constant the face is.

    Args:
        query: The points of the faces.
        size: Width and height of the frames; None if unknown.
    """

    def __init__(self, query: Query, size: tuple[int, int] | None) -> None:
        self._size = size
        self._irises = [places for part in _IRISES if len(places := query.indices(part)) > 3]
        self._constants: dict[int, _Constants] = {}
        try:
            self._weights = None if size is None else PointWeights.of(MEASURE_QUERY, query, query)
        except MissingPointsError:
            self._weights = None

    def __call__(
        self, face: int, time: FloatArray, points: FloatArray, sigma: FloatArray, unit: float
    ) -> tuple[tuple[float, float, float], FloatArray]:
        """The signals `shape`, `rigid` and `iris` of the rows of a face, and their yaw.

        Args:
            face: Its id.
            time: (rows,)
            points: (rows, points, 2) in pixels.
            sigma: (rows, points) in pixels.
            unit: Pixels between the outer corners of the eyes.

        Returns:
            The signals in % of that distance, NaN where points are missing; (rows,) degrees.
        """
        if self._weights is None or self._size is None:
            return (np.nan, np.nan, np.nan), np.full(len(time), np.nan)
        wanted, spread = self._weights.points @ points, sigma @ self._weights.sigma.T
        spread = np.where(np.isnan(spread).all(), _NOMINAL * unit, spread)
        heads, pixels = fit_heads(wanted, spread, self._size)
        centred = wanted - (np.array(self._size) - 1) / 2
        off, frontal = _seen_by(heads, centred)
        known = heads.known & np.isfinite(frontal[:, _RIGID]).all((1, 2))
        if not known.any():
            return (np.nan, np.nan, np.nan), np.full(len(time), np.nan)
        shape = 100 * float(np.sqrt(np.nanmean(np.square(off / pixels[:, None, None]))))
        first, second = (frontal[known][:, _RIGID[pair]] for pair in _PAIRS)
        constants = np.column_stack([np.linalg.norm(first - second, axis=-1), self._iris_size(points, pixels)[known]])
        change = self._change(face, float(time[-1]), constants)
        rigid, iris = 100 * np.sqrt([change[:-1].mean(), change[-1]])
        return (shape, float(rigid), float(iris)), angles(heads.rotation)[:, 0]

    def _iris_size(self, points: FloatArray, pixels: FloatArray) -> FloatArray:
        """(rows,) mean radius of the irises in units of the face; NaN where the table has none."""
        if not self._irises:
            return np.full(len(points), np.nan)
        circles = np.stack([points[:, places] for places in self._irises])  # (irises, rows, points, 2)
        radii = np.linalg.norm(circles - circles.mean(2, keepdims=True), axis=-1)
        size: FloatArray = radii.mean((0, 2)) / pixels
        return size

    def _change(self, face: int, time: float, values: FloatArray) -> FloatArray:
        """(constants,) mean square of the change of constants (rows, constants): within the rows, and from the past."""
        self._constants = {
            each: past for each, past in self._constants.items() if each == face or time - past.time < _FORGOTTEN
        }
        mean = values.mean(0)
        past = self._constants.setdefault(face, _Constants(mean, 0, time))
        change: FloatArray = values.var(0) + np.square(mean - past.mean)
        past.seconds, past.time = min(past.seconds + 1, _MEMORY), time
        past.mean = past.mean + (mean - past.mean) / past.seconds
        return change


def _seen_by(heads: FaceFit, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points (rows, points, 2) against the fitted faces, from where the camera's axis meets the image.

    Returns:
        (rows, points, 2) pixels from the points of the faces, and (rows, points, 2) the points in the axes of the heads, seen
        from the front, at the depth of the faces.
    """
    model = face_model()
    shapes = model.mean + np.tensordot(heads.shape, model.modes, 1)
    turned, translation, focal = (
        heads.rotation.transpose(0, 2, 1),
        heads.translation[:, None],
        heads.focal[:, None, None],
    )
    # A face that looks away shows its mirror image; no camera sees that, and points with left and right swapped are so.
    facing = np.where(heads.rotation[:, 2, 2] < 0, -1.0, 1.0)[:, None, None]
    seen = (shapes * np.concatenate([facing, np.ones_like(facing), facing], -1)) @ turned + translation
    off = points - focal * seen[..., :2] / seen[..., 2:]
    depth = (shapes @ turned + translation)[..., 2:]
    rays = np.concatenate([points / focal, np.ones_like(depth)], -1)
    frontal = (rays * depth - translation) @ heads.rotation
    return off, frontal[..., :2]
