"""The layout class: the fixed list of points of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.anchors import widened_box
from vtrack.types import FloatArray, Query


@dataclass(frozen=True, eq=False, slots=True)
class Layout:
    """The fixed list of points of a data set. Points are counted from 0 here, from 1 in the files."""

    name: str
    title: str
    query: Query
    """Part and position of each point."""
    mirror: npt.NDArray[np.intp]
    """(points,) index of each point's mirror image: in a flipped image point i is the former point `mirror[i]`."""
    inter_ocular: tuple[int, ...]
    """The two outer eye corners, whose distance normalises errors; empty where the layout has no eyes."""
    inter_pupil: tuple[tuple[int, ...], ...]
    """The points of the left and of the right eye whose means are the pupils; empty where there are none."""
    core: npt.NDArray[np.intp]
    """Indices of the points that define the face box."""
    box_shares: tuple[float, float, float, float]
    """From the tight box of the core points to that of the 68: left, top, right, bottom."""

    def __len__(self) -> int:
        return len(self.query)

    def face_box(self, points: FloatArray) -> FloatArray:
        """(n, 4) tight 68-point boxes x, y, w, h of faces (n, points, 2), so that crops look alike in all data sets."""
        return widened_box(np.asarray(points)[..., self.core, :], self.box_shares)

    def unit(self, points: FloatArray) -> FloatArray:
        """(n,) what errors of faces (n, points, 2) are divided by: the distance of the outer eye corners, or, where the
        layout has none, the longer side of the face box.
        """
        if self.inter_ocular:
            left, right = self.inter_ocular
            return np.linalg.norm(points[..., left, :] - points[..., right, :], axis=-1)
        return self.face_box(points)[..., 2:].max(-1)

    @property
    def every_second(self) -> npt.NDArray[np.bool_]:
        """(points,) whether a point is the second, fourth … of its part, on both sides of the face."""
        second = np.zeros(len(self), bool)
        for part in dict.fromkeys(self.query.parts):
            ids = sorted(self.query.indices(part), key=lambda i: self.query.positions[i])
            if not second[ids].any():  # else its twin on the other side came first
                if len(ids) > 1 and self.mirror[ids[1]] in ids[::2]:  # counted from both ends, all would be chosen
                    ids = ids[: (len(ids) + 1) // 2]
                second[ids[1::2]] = True
                second[self.mirror[ids[1::2]]] = True
        return second

    def flip(self, points: FloatArray, width: float) -> FloatArray:
        """Points (..., points, 2) after their image, `width` pixels wide, is flipped left to right."""
        flipped = np.array(points, copy=True)[..., self.mirror, :]
        flipped[..., 0] = width - 1 - flipped[..., 0]
        return flipped


def points_of(query: Query) -> list[tuple[str, float]]:
    """A query as pairs of part and position."""
    return list(zip(query.parts, query.positions, strict=True))
