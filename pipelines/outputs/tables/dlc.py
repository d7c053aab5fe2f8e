"""Tables in DeepLabCut's CSV format, for scripts written for DeepLabCut."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vtrack.errors import UsageError, spelled
from vtrack.pipelines.outputs.tables.columns import PIXEL_DIGITS, SHARE_DIGITS, Field
from vtrack.pipelines.outputs.tables.text import TextSink, csv_line, row_format, without_nan
from vtrack.types import Face, FloatArray, FrameResult, Query

log = logging.getLogger(__name__)

TOLERANCE = 0.05
"""Share of the face's size within which a point counts as correct in the likelihood."""


class DeepLabCutTable(TextSink):
    """DeepLabCut's CSV table: three header rows and a row for each frame; four, with `individuals`, for several faces.

    An individual is a set of columns, not a person: a track keeps its columns while it lives, and a new one takes those
    that have been empty longest. The likelihood is the probability that the point lies within 5 % of the face's size (the
    square root of its box's area) of the truth, times presence: presence * (1 - exp(-(0.05 size / sigma)^2 / 2)). Without
    a face x and y are empty and the likelihood is 0: some readers take a first row without numbers for a header row.

    Args:
        path: File to write.
        query: The points of the faces.
        max_faces: Number of individuals; further faces of a frame are left out.

    Raises:
        UsageError: `max_faces` is below 1.
    """

    def __init__(self, path: str | Path, query: Query, *, max_faces: int = 1) -> None:
        super().__init__(path)
        if max_faces < 1:
            raise UsageError(f"a table of format dlc needs at least one face, got {max_faces}")
        self._query, self._individuals = query, Individuals(max_faces)
        cells = (Field("x", digits=PIXEL_DIGITS), Field("y", digits=PIXEL_DIGITS), Field("l", digits=SHARE_DIGITS))
        self._row = row_format([Field("frame", "int"), *cells * (len(query) * max_faces)])
        self._absent = np.tile([np.nan, np.nan, 0.0], (len(query), 1))
        self._warned = False

    def _header(self) -> str:
        count, points = self._individuals.count, len(self._query)
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
        blocks = [self._absent] * self._individuals.count
        for individual, face in zip(
            self._individuals.assign([face.id for face in result.faces]), result.faces, strict=True
        ):
            if individual is not None:
                blocks[individual] = np.column_stack([face.points, likelihood(face)])
            elif not self._warned:
                self._warned = True
                log.warning(
                    "frame %d has %d faces but %s has columns for %d; other faces are left out, raise %s",
                    result.index, len(result.faces), self.file.path, self._individuals.count,
                    spelled("max_faces"),
                )  # fmt: skip
        return without_nan(self._row % (result.index, *np.concatenate(blocks).ravel().tolist()))


class Individuals:
    """Assigns tracks to a fixed number of individuals.

    Args:
        count: Number of individuals.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._tracks: list[int | None] = [None] * count
        self._last_used = list(range(-count, 0))
        """Number of the frame in which each was used last; unused ones come first, in order."""
        self._frame = 0

    def assign(self, ids: Sequence[int]) -> list[int | None]:
        """Return the individual of each track id in the next frame; None where there are more tracks than individuals."""
        self._frame += 1
        tracks = {self._tracks.index(track): track for track in ids if track in self._tracks}
        for track in ids:
            if track not in tracks.values() and len(tracks) < self.count:
                free = (individual for individual in range(self.count) if individual not in tracks)
                tracks[min(free, key=self._last_used.__getitem__)] = track
        for individual, track in tracks.items():
            self._tracks[individual], self._last_used[individual] = track, self._frame
        individuals = {track: individual for individual, track in tracks.items()}
        return [individuals.get(track) for track in ids]


def likelihood(face: Face) -> FloatArray:
    """Return the probability (points,) that each point is correct, 0 without a sigma; see `DeepLabCutTable`."""
    size = np.sqrt(max(float(face.box[2] * face.box[3]), 0.0))
    ratio = TOLERANCE * size / np.maximum(face.sigma, 1e-6)
    probability: FloatArray = face.presence * (1.0 - np.exp(-0.5 * ratio**2))
    return np.nan_to_num(probability)
