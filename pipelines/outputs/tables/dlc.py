"""Tables in DeepLabCut's CSV format: written for scripts that expect them, and read back, those of DeepLabCut too."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vtrack.errors import TableError, UsageError, spelled
from vtrack.pipelines.outputs.tables.columns import (
    FACE,
    HEAD,
    PIXEL_DIGITS,
    POINTS,
    SHARE_DIGITS,
    Field,
    RawTable,
    block_rows,
)
from vtrack.pipelines.outputs.tables.text import TextSink, csv_line, numbers, row_format, without_nan
from vtrack.types import Face, FloatArray, FrameResult, Query

log = logging.getLogger(__name__)

_COORDS = ("x", "y", "likelihood")
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
        self._cells = DeepLabCutCells(query, max_faces)
        digits = (PIXEL_DIGITS, PIXEL_DIGITS, SHARE_DIGITS)
        cells = [Field("", digits=each) for each in digits] * (len(query) * max_faces)
        self._row = row_format([Field("frame", "int"), *cells])

    def _header(self) -> str:
        return "".join(csv_line([level, *names]) for level, names in self._cells.header.items())

    def _rows(self, result: FrameResult) -> str:
        return without_nan(self._row % (result.index, *self._cells.row(result, self.file.path).tolist()))


class DeepLabCutCells:
    """The cells of DeepLabCut's tables, whatever the file: x, y and likelihood of each point of each individual.

    Args:
        query: The points of the faces.
        max_faces: Number of individuals.

    Raises:
        UsageError: `max_faces` is below 1.
    """

    def __init__(self, query: Query, max_faces: int) -> None:
        if max_faces < 1:
            raise UsageError(f"a table of format dlc needs at least one face, got {max_faces}")
        self._individuals = Individuals(max_faces)
        names = [name for name in query.names for _ in _COORDS]
        levels = {
            "scorer": ["vtrack"] * (len(names) * max_faces),
            "individuals": [f"face_{i}" for i in range(max_faces) for _ in names],
            "bodyparts": names * max_faces,
            "coords": [*_COORDS] * (len(query) * max_faces),
        }
        self.header = {level: each for level, each in levels.items() if level != "individuals" or max_faces > 1}
        """Names of the columns by the level of the header."""
        self._absent = np.tile([np.nan, np.nan, 0.0], (len(query), 1))
        self._warned = False

    def row(self, result: FrameResult, path: Path) -> FloatArray:
        """Return the cells (columns,) of a frame; a warning names `path` where it has more faces than individuals."""
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
                    result.index, len(result.faces), path, self._individuals.count, spelled("max_faces"),
                )  # fmt: skip
        return np.concatenate(blocks).ravel()


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
    """Return the probability (points,) that each point is correct; see `DeepLabCutTable`.

    It is 0 for a point without a sigma, and presence where no point has one, as in tables of other programs.
    """
    if np.isnan(face.sigma).all():
        return np.where(np.isfinite(face.points).all(1), np.nan_to_num(face.presence), 0.0)
    size = np.sqrt(max(float(face.box[2] * face.box[3]), 0.0))
    ratio = TOLERANCE * size / np.maximum(face.sigma, 1e-6)
    probability: FloatArray = face.presence * (1.0 - np.exp(-0.5 * ratio**2))
    return np.nan_to_num(probability)


def is_dlc(header: Sequence[str]) -> bool:
    """Return whether a table whose first line has these cells is of DeepLabCut's form."""
    return header[:1] == ["scorer"]


def read_dlc(path: Path, header: Sequence[str], rows: Iterator[list[str]]) -> Iterator[RawTable]:
    """Yield the rows of a table of DeepLabCut's form as those of a wide one.

    It holds no times. The number of an individual is the id of its face, presence the mean of its points'
    likelihoods, and the box the tight one around them. There is no sigma.

    Args:
        path: The file, for messages.
        header: Its first line.
        rows: Its other lines.

    Raises:
        TableError: It is damaged, or holds labels of images.
    """
    heads = {header[0]: header[1:]}
    while "coords" not in heads:
        line = next(rows, [])
        if line[:1] not in (["individuals"], ["bodyparts"], ["coords"]) or len(line) != len(header):
            raise TableError(f"{path}: a table of DeepLabCut's form without its lines bodyparts and coords")
        heads[line[0]] = line[1:]
    if "bodyparts" not in heads:
        raise TableError(f"{path}: a table of DeepLabCut's form without its line bodyparts")
    names, individuals, places = _places(path, heads)
    points = (f"{name}_{field.name}" for name in names for field in POINTS.fields(Query((), ())))
    columns = [HEAD[0].name, *(field.name for field in FACE.fields(Query((), ()))), *points]
    yield RawTable(columns, np.zeros((0, len(columns))))
    while block := list(itertools.islice(rows, block_rows(max(len(header), individuals * len(columns))))):
        if wrong := next((row for row in block if len(row) != len(header)), None):
            raise TableError(
                f"{path}, frame {wrong[0] if wrong else ''}: {len(wrong)} cells instead of {len(header)}; the file is "
                "cut off or damaged"
            )
        if not block[0][0].isdecimal():
            raise TableError(f"{path}: its rows are labels of images ({block[0][0][:80]}); give a table of a video")
        yield RawTable(columns, _faces_of(numbers(block), places, len(columns)))


def _places(path: Path, heads: dict[str, Sequence[str]]) -> tuple[list[str], int, npt.NDArray[np.intp]]:
    """Names of the points, number of individuals, and (individuals, points, 3) the column of each x, y and likelihood; -1
    for none.
    """
    owners = heads.get("individuals", [""] * len(heads["bodyparts"]))
    names, individuals = list(dict.fromkeys(heads["bodyparts"])), list(dict.fromkeys(owners))
    places = np.full((len(individuals), len(names), len(_COORDS)), -1, np.intp)
    number = ({name: i for i, name in enumerate(each)} for each in (individuals, names, _COORDS))
    of_owner, of_name, of_coord = number
    for column, (owner, name, coord) in enumerate(zip(owners, heads["bodyparts"], heads["coords"], strict=True), 1):
        if coord not in of_coord:
            raise TableError(f"{path}: DeepLabCut's coords are x, y and likelihood, got {coord[:80]!r}")
        place = of_owner[owner], of_name[name], of_coord[coord]
        if places[place] >= 0:
            raise TableError(f"{path}: {coord} of {name[:80]!r} stands twice in its header")
        places[place] = column
    return names, len(individuals), places


def _faces_of(read: FloatArray, places: npt.NDArray[np.intp], columns: int) -> FloatArray:
    """(faces, columns) the faces of rows; a row without any gives a face of NaN."""
    # The last column stands for what is not there.
    values = np.column_stack([read, np.full(len(read), np.nan)])[:, places]  # (rows, individuals, points, 3)
    known = np.isfinite(values[..., :2]).all(-1)
    values[~known] = np.nan
    present = known.any(-1)
    wanted = present.copy()
    wanted[:, 0] |= ~present.any(1)
    row, individual = np.nonzero(wanted)
    faces, there = values[row, individual], present[row, individual]
    cells = np.full((len(row), columns), np.nan)
    cells[:, 0] = read[row, 0]
    cells[there, 1], cells[there, 3] = individual[there], 1.0
    likelihoods, rated = faces[there, :, 2], np.isfinite(faces[there, :, 2])
    count = rated.sum(1)
    cells[there, 2] = np.where(rated, likelihoods, 0.0).sum(1) / np.where(count, count, np.nan)
    low, high = np.nanmin(faces[there, :, :2], 1), np.nanmax(faces[there, :, :2], 1)
    cells[there, 4:8] = np.concatenate([low, high - low], -1)
    cells[:, 8::3], cells[:, 9::3] = faces[..., 0], faces[..., 1]
    return cells
