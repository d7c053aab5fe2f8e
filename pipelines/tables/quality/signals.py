"""Signals of how good the points of a face are in one second: from a table alone, and from the optical flow of its video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from vtrack.filters.rigid import fit, to_complex
from vtrack.layouts import load_layout
from vtrack.pipelines.tables.comparison.points import eye_corners
from vtrack.pipelines.tables.doubts import box_sides
from vtrack.pipelines.tables.quality.shape import ShapeMeter
from vtrack.template import load_template
from vtrack.types import FloatArray, FrameResult, Query

SIGNALS: Mapping[str, str] = {
    "sigma": "sigma of the points",
    "smoothing": "distance between raw and smoothed points",
    "tremble": "distance of points from the middle of those before and after them, without the motion of the head",
    "half_rate": "the same with the motion of the head",
    "shape": "distance of points from the nearest face in space",
    "rigid": "change of distances that stay the same on a face, after the pose was removed",
    "iris": "change of the size of the irises",
    "flow": "motion of points against the optical flow, from its mean over the second",
    "lost": "share of points whose optical flow is not trusted",
    "place": "distance from where the picture is most like a face",
    "unlike": "1 minus the correlation with the mean picture of faces there",
}
"""What is told of a face and second; in % of the distance between the outer eye corners, but for `lost` and `unlike`."""
_BEND = 1.5
"""Variance of the distance between a noisy point and the middle of its neighbours, over that of the noise."""


_FRONTAL = 30.0
"""Degrees of yaw up to which a face is compared with the mean face, which looks ahead."""
_NO_LIKENESS = np.full(3, np.nan)


class SeenFrame(NamedTuple):
    """A frame with its faces, and what its picture tells of them by their ids."""

    result: FrameResult
    flow: Mapping[int, FloatArray]
    likeness: Mapping[int, FloatArray]


@dataclass(frozen=True, eq=False, slots=True)
class FaceSecond:
    """The rows of one face in one second."""

    face: int
    start: int
    """Seconds at which the second begins."""
    time: FloatArray
    points: FloatArray
    """(rows, points, 2)"""
    raw: FloatArray
    """(rows, points, 2) NaN where the table has none."""
    sigma: FloatArray
    """(rows, points)"""
    box: FloatArray
    """(rows, 4)"""
    flow: FloatArray
    """(rows with a flow, points, 2) what `FlowMeter` gives."""
    likeness: FloatArray
    """(rows, 3) what `likenesses` gives; NaN where it gives nothing."""

    @classmethod
    def of(cls, number: int, start: int, frames: Sequence[SeenFrame]) -> Self:
        """The rows of a face in the frames of one second; it is in one of them at least."""
        rows = [(frame, face) for frame in frames for face in frame.result.faces if face.id == number]
        faces, flows = [face for _, face in rows], [frame.flow[number] for frame in frames if number in frame.flow]
        return cls(
            face=number,
            start=start,
            time=np.array([frame.result.time for frame, _ in rows]),
            points=np.array([face.points for face in faces]),
            raw=np.array([face.raw for face in faces]),
            sigma=np.array([face.sigma for face in faces]),
            box=np.array([face.box for face in faces]),
            flow=np.array(flows).reshape(len(flows), len(faces[0].points), 2),
            likeness=np.array([frame.likeness.get(number, _NO_LIKENESS) for frame, _ in rows]),
        )


class SignalMeter:
    """Measures the signals of faces, second by second.

    Args:
        query: The points of the faces.
        size: Width and height of the frames; None if unknown, without which there are no signals of the shape.
    """

    def __init__(self, query: Query, size: tuple[int, int] | None) -> None:
        self._corners, self._shape = eye_corners(query), ShapeMeter(query, size)
        low, high = (edge(load_template().locate(load_layout("300w").query), 0) for edge in (np.min, np.max))
        self._side = float(box_sides(np.concatenate([low, high - low])[None])[0])

    def __call__(self, rows: FaceSecond) -> tuple[FloatArray, FloatArray]:
        """The signals of a second, and the yaw of its rows.

        Args:
            rows: The next second of the face.

        Returns:
            (signals,) in the order of `SIGNALS`, NaN where the table does not tell; (rows,) degrees.
        """
        unit = self._unit(rows)
        tremble, half_rate = _bends(rows.time, rows.points)
        shape, yaw = self._shape(rows.face, rows.time, rows.points, rows.sigma, unit)
        smoothing = _root_mean_square(rows.raw - rows.points)
        drift, lost = _drift(rows.flow)
        sigma, smoothing, tremble, half_rate, flow = (
            100 / unit * np.array([_root_mean_square(rows.sigma), smoothing, tremble, half_rate, drift])
        ).tolist()
        frontal = rows.likeness[np.isfinite(rows.likeness).all(1) & ~(np.abs(yaw) > _FRONTAL)]
        right, down, correlation = np.median(frontal, axis=0) if len(frontal) else np.full(3, np.nan)
        place, unlike = 100 * float(np.hypot(right, down)), 1 - float(correlation)
        return np.array([sigma, smoothing, tremble, half_rate, *shape, flow, lost, place, unlike]), yaw

    def _unit(self, rows: FaceSecond) -> float:
        """Pixels between the outer corners of the eyes, by the side of the box where the table lacks them."""
        if self._corners is not None:
            left, right = np.moveaxis(self._corners.of(rows.points), -2, 0)
            distances = np.linalg.norm(right - left, axis=-1)
            if (distances > 0).any():
                return float(np.median(distances[distances > 0]))
        return float(np.median(box_sides(rows.box))) / self._side


def _bends(time: FloatArray, points: FloatArray) -> tuple[float, float]:
    """How far points lie from the middle of their neighbours in time, with the motion of the whole removed and with it.

    For noise that is independent from frame to frame it is the standard deviation of a coordinate.

    Args:
        time: (rows,)
        points: (rows, points, 2)
    """
    steps = np.diff(time)
    if len(steps) < 2 or not (steps > 0).all():
        return np.nan, np.nan
    share = (steps[:-1] / (steps[:-1] + steps[1:]))[:, None]
    there = to_complex(points)
    expected, there = (1 - share) * there[:-2] + share * there[2:], there[1:-1]
    known = np.isfinite(expected) & np.isfinite(there)
    known &= (known.sum(1) >= 3)[:, None]
    first = np.take_along_axis(expected, known.argmax(1)[:, None], 1)
    rows = (known & (expected != first)).any(1)  # points that coincide have no motion to remove
    if not rows.any():
        return np.nan, np.nan
    known = known[rows]
    expected, there = np.where(known, expected[rows], 0), np.where(known, there[rows], 0)
    shift, turn = fit(expected, there, known.astype(np.float64))
    alone, whole = (
        float(np.sqrt(np.square(np.abs(rest[known])).mean() / 2 / _BEND))
        for rest in (there - shift[:, None] - turn[:, None] * expected, there - expected)
    )
    return alone, whole


def _drift(flow: FloatArray) -> tuple[float, float]:
    """How far points drift from the picture in one second, and the share of them whose flow is not trusted.

    Args:
        flow: (rows, points, 2) offset of the motion of points from the flow since the row before.

    Returns:
        Median over the points that are trusted in half of the rows of the root mean square distance, over the rows, of the sums
        of the offsets from their mean.
    """
    trusted = np.isfinite(flow[..., 0])
    known = trusted.mean(0) >= 0.5 if len(flow) else np.zeros(0, bool)
    lost = 1 - float(trusted.mean()) if trusted.size else np.nan
    path = np.nan_to_num(flow[:, known]).cumsum(0)
    distances = np.sqrt(np.square(path - path.mean(0)).sum(-1).mean(0)) if path.size else np.full(1, np.nan)
    return float(np.median(distances)), lost


def _root_mean_square(values: FloatArray) -> float:
    """Root mean square of what is known; NaN of nothing."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.square(known).mean())) if len(known) else np.nan
