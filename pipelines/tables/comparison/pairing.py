"""Rows of two tables in pairs: frames by their numbers, faces by their positions, and what becomes of their ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from vtrack.errors import UsageError, spelled
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.tables.comparison.points import CommonPoints
from vtrack.pipelines.tables.fit import TOLERANCE
from vtrack.pipelines.tracking.assignment import cheapest_pairs
from vtrack.types import Face, FloatArray, FrameResult

_REACH = 0.5
"""Mean distance of the points of a pair, in sides of the face, below which they may be of one face."""
_LOYALTY = 0.05
"""How much nearer, in sides of the face, another face must be for a pair to part."""


@dataclass(frozen=True, eq=False, slots=True)
class FacePair:
    """One face in both tables."""

    first: Face
    second: Face
    points: tuple[FloatArray, FloatArray]
    """(points, 2) the common points in either table."""
    side: float
    """Side of the face box in pixels, the larger of both."""


@dataclass(slots=True)
class FacePairing:
    """Pairs the faces of frames by position, and counts pairs and changes of ids."""

    common: CommonPoints
    frames: dict[tuple[int, int], int] = field(default_factory=dict)
    """Number of frames of each pair of ids."""
    switches: list[int] = field(default_factory=lambda: [0, 0])
    """How often a face keeps its id in the other table and gets another one in this: in the first, in the second."""
    _last: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    """The id in the other table that each id was paired with last."""

    def pairs(self, first: tuple[Face, ...], second: tuple[Face, ...]) -> list[FacePair]:
        """The faces that two rows of one frame have in common."""
        if not first or not second:
            return []
        ones = self.common.first.of(np.stack([face.points for face in first]))
        others = self.common.second.of(np.stack([face.points for face in second]))
        sides = np.maximum(_sides(first)[:, None], _sides(second)[None])
        distances = np.linalg.norm(ones[:, None] - others[None], axis=-1)
        known = np.isfinite(distances)
        count = known.sum(-1)
        mean = np.where(known, distances, 0.0).sum(-1) / np.maximum(count, 1)
        cost = np.where(count > 0, mean / sides, np.inf)
        allowed = cost < _REACH
        for i, face in enumerate(first):
            for j, other in enumerate(second):
                if self._last[0].get(face.id) == other.id:
                    cost[i, j] -= _LOYALTY
        found = []
        for i, j in cheapest_pairs(np.where(allowed, cost, 1e3)):
            if allowed[i, j]:
                self._remember(first[i].id, second[j].id)
                found.append(FacePair(first[i], second[j], (ones[i], others[j]), float(sides[i, j])))
        return found

    def forget(self) -> None:
        """Begin anew: ids that follow have nothing to do with those before."""
        for ids in self._last:
            ids.clear()

    def _remember(self, one: int, other: int) -> None:
        self.frames[one, other] = self.frames.get((one, other), 0) + 1
        self.switches[1] += self._last[0].get(one, other) != other
        self.switches[0] += self._last[1].get(other, one) != one
        self._last[0][one], self._last[1][other] = other, one


def paired_frames(
    first: TableResults,
    second: TableResults,
    results: Sequence[Iterator[FrameResult]],
    *,
    times: bool = True,
    shift: int = 0,
) -> Iterator[tuple[FrameResult | None, FrameResult | None]]:
    """Yield the frames of two tables in order, those with the same number together; None where a table has none.

    Args:
        first: One table.
        second: The other.
        results: What their faces are taken from: the tables themselves, or these with measures.
        times: Whether frames with the same number must have the same time, where both tables have times.
        shift: By how many frames the second lags; its frames belong to those of the first with a number smaller by that.

    Raises:
        UsageError: The tables are not of the same video.
    """
    times = times and not shift and first.table.timed and second.table.timed
    ones, others = results
    one, other = next(ones, None), next(others, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.index < other.index - shift):
            yield one, None
            one = next(ones, None)
        elif one is None or other.index - shift < one.index:
            yield None, other
            other = next(others, None)
        else:
            if one.frame.file and other.frame.file and one.frame.file != other.frame.file:
                raise UsageError(
                    f"picture {one.index} is {one.frame.file} in {first.table.path} and {other.frame.file} in "
                    f"{second.table.path}; compare tables of the same pictures"
                )
            if times and abs(one.time - other.time) > TOLERANCE:
                raise UsageError(
                    f"frame {one.index} is at {one.time:.3f} s in {first.table.path} and at {other.time:.3f} s in "
                    f"{second.table.path}; compare tables of the same video, or add {spelled('ignore_times', True)}"
                )
            yield one, other
            one, other = next(ones, None), next(others, None)


def _sides(faces: tuple[Face, ...]) -> FloatArray:
    """(faces,) sides of squares with the area of the face boxes, at least a pixel."""
    boxes = np.stack([face.box for face in faces])
    return np.sqrt(np.maximum(np.nan_to_num(boxes[:, 2] * boxes[:, 3]), 1.0))
