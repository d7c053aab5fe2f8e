"""DeepLabCut's CSV, so that scripts made for it run on our tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vtrack.errors import UsageError
from vtrack.pipelines.outputs.tables.columns import PIXEL_DIGITS, SHARE_DIGITS, Field
from vtrack.pipelines.outputs.tables.text import TextSink, csv_line, row_format, without_nan
from vtrack.types import Face, FloatArray, FrameResult, Query

log = logging.getLogger(__name__)

NEAR = 0.05
"""Share of the face's size within which DeepLabCut's likelihood counts a point as right."""


class DeepLabCutTable(TextSink):
    """DeepLabCut's CSV: three header rows and a row for each frame; four, with `individuals`, for several faces.

    An individual is a place, not a person: a track keeps its place while it lives, a new one takes the place that has
    been empty longest. Likelihood is the probability that the point lies within 5 % of the face's size (the square root
    of its box's area) of the truth, times presence: presence * (1 - exp(-(0.05 size / sigma)^2 / 2)). Without a face x
    and y are empty and the likelihood is 0 (some readers take a first row without any number for part of the header).
    """

    def __init__(self, path: str | Path, query: Query, *, max_faces: int = 1) -> None:
        super().__init__(path)
        if max_faces < 1:
            raise UsageError(f"a table of format dlc needs at least one face, got {max_faces}")
        self._query, self._places = query, Places(max_faces)
        cells = (Field("x", digits=PIXEL_DIGITS), Field("y", digits=PIXEL_DIGITS), Field("l", digits=SHARE_DIGITS))
        self._row = row_format([Field("frame", "int"), *cells * (len(query) * max_faces)])
        self._absent = np.tile([np.nan, np.nan, 0.0], (len(query), 1))
        self._warned = False

    def _head(self) -> str:
        count, points = self._places.count, len(self._query)
        names = [name for name in self._query.names for _ in range(3)]
        rows = [
            ["scorer", *["vtrack"] * (3 * points * count)],
            ["individuals", *(f"face_{i}" for i in range(count) for _ in names)],
            ["bodyparts", *names * count],
            ["coords", *["x", "y", "likelihood"] * (points * count)],
        ]
        if count == 1:
            del rows[1]
        return "".join(csv_line(row) for row in rows)

    def _rows(self, result: FrameResult) -> str:
        blocks = [self._absent] * self._places.count
        for place, face in zip(self._places.assign([face.id for face in result.faces]), result.faces, strict=True):
            if place is not None:
                blocks[place] = np.column_stack([face.points, likelihood(face)])
            elif not self._warned:
                self._warned = True
                log.warning(
                    "frame %d holds %d faces, %s has columns for %d: further faces are left out; raise --max-faces",
                    result.index, len(result.faces), self.file.path, self._places.count,
                )  # fmt: skip
        return without_nan(self._row % (result.index, *np.concatenate(blocks).ravel().tolist()))


class Places:
    """A fixed number of places that tracks hold while they live."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._holders: list[int | None] = [None] * count
        self._seen = list(range(-count, 0))  # the turn each place was last used in; unused ones first, in order
        self._turn = 0

    def assign(self, ids: Sequence[int]) -> list[int | None]:
        """The place of each id in this frame; None where there are more ids than places."""
        self._turn += 1
        taken = {self._holders.index(name): name for name in ids if name in self._holders}
        for name in ids:
            if name not in taken.values() and len(taken) < self.count:
                place = min((place for place in range(self.count) if place not in taken), key=self._seen.__getitem__)
                taken[place] = name
        for place, name in taken.items():
            self._holders[place], self._seen[place] = name, self._turn
        place_of = {name: place for place, name in taken.items()}
        return [place_of.get(name) for name in ids]


def likelihood(face: Face) -> FloatArray:
    """(points,) probability that each point is right, see `DeepLabCutTable`."""
    size = np.sqrt(max(float(face.box[2] * face.box[3]), 0.0))
    ratio = NEAR * size / np.maximum(face.sigma, 1e-6)
    near: FloatArray = face.presence * (1.0 - np.exp(-0.5 * ratio**2))
    return near
