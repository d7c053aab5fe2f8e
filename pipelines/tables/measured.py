"""Measures for the faces of a table whose run did not ask for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from vtrack.pipelines.measures.lookahead import BlinkLookahead
from vtrack.pipelines.measures.measurer import Measurer
from vtrack.pipelines.measures.points import MEASURE_QUERY
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.tables.curves import MissingPointsError, PointWeights
from vtrack.types import Face, FrameResult

_NOMINAL = 0.01
"""Sigma of points whose table has none, in sides of the box."""


class MeasuredResults(Iterator[FrameResult]):
    """The results of a table with measures: its own, or measured here on the curves through its smoothed points.

    Photographs have none.

    Args:
        results: The table, not yet read.
    """

    def __init__(self, results: TableResults) -> None:
        self.computed = False
        """Whether the measures are not those of the table."""
        self.lacking: tuple[str, ...] = ()
        """Parts of which the table has too few points for measures."""
        self.groups: tuple[str, ...] = results.table.groups
        """Groups of extra columns, those that are computed here included."""
        self._results: Iterator[FrameResult] = results
        if "measures" in results.table.groups or results.size is None or results.photographs:
            return
        try:
            weights = PointWeights.of(MEASURE_QUERY, results.query, results.query)
        except MissingPointsError as error:
            self.lacking = error.parts
            return
        self.computed, self.groups = True, (*self.groups, "measures")
        self._results = _measured(results, weights)

    def __next__(self) -> FrameResult:
        return next(self._results)


def _measured(results: TableResults, weights: PointWeights) -> Iterator[FrameResult]:
    """Yield results with measures."""
    measurer, lookahead, longer = Measurer(), BlinkLookahead(), results.query + MEASURE_QUERY
    waiting: deque[FrameResult] = deque()

    def lengthened(face: Face) -> Face:
        points = np.concatenate([face.points, weights.points @ face.points])
        nominal = np.full(len(face.sigma), _NOMINAL * np.sqrt(face.box[2] * face.box[3]))
        known = nominal if np.isnan(face.sigma).all() else face.sigma
        sigma = np.concatenate([known, weights.sigma @ known])
        hidden = None if face.hidden is None else np.append(face.hidden, np.full(len(MEASURE_QUERY), np.nan))
        return replace(face, points=points, sigma=sigma, raw=points, hidden=hidden, query=longer)

    def with_measures(measured: Iterable[FrameResult]) -> Iterator[FrameResult]:
        for each in measured:
            result = waiting.popleft()
            faces = (replace(face, measures=of.measures) for face, of in zip(result.faces, each.faces, strict=True))
            yield replace(result, faces=tuple(faces))

    for result in results:
        waiting.append(result)
        longer_result = replace(result, faces=tuple(map(lengthened, result.faces)), query=longer)
        yield from with_measures(lookahead.push([measurer(longer_result)]))
    yield from with_measures(lookahead.flush(measurer.finish()))
