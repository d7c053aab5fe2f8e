"""Measures for the faces of a table whose run did not ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vtrack.pipelines.measures.lookahead import BlinkLookahead
from vtrack.pipelines.measures.measurer import Measurer
from vtrack.pipelines.measures.points import MEASURE_QUERY
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.tables.curves import MissingPointsError, PointWeights
from vtrack.types import Face, FrameResult


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
        self._results: Iterator[FrameResult] = results
        if "measures" in results.table.groups or results.size is None or results.photographs:
            return
        try:
            weights = PointWeights.of(MEASURE_QUERY, results.query, results.query)
        except MissingPointsError as error:
            self.lacking = error.parts
            return
        self.computed = True
        self._results = _measured(results, weights)

    def __next__(self) -> FrameResult:
        return next(self._results)


def _measured(results: TableResults, weights: PointWeights) -> Iterator[FrameResult]:
    """Yield results with measures."""
    measurer, lookahead, longer = Measurer(), BlinkLookahead(), results.query + MEASURE_QUERY

    def lengthened(face: Face) -> Face:
        points = np.concatenate([face.points, weights.points @ face.points])
        sigma = np.concatenate([face.sigma, weights.sigma @ face.sigma])
        return replace(face, points=points, sigma=sigma, raw=points, query=longer)

    for result in results:
        faces = tuple(map(lengthened, result.faces))
        yield from lookahead.push([measurer(replace(result, faces=faces, query=longer))])
    yield from lookahead.flush(measurer.finish())
