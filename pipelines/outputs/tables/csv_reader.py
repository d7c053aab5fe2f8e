"""CSV tables of every form, read back block by block as wide ones: what is in memory does not grow with the file.

The header tells the form: wide and long tables, OpenFace's, DeepLabCut's, and dumps of mediapipe's face mesh.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TextIO

import numpy as np

from vtrack.errors import TableError
from vtrack.pipelines.outputs.tables.columns import ADDED, FILE, RAW, RawTable, block_rows
from vtrack.pipelines.outputs.tables.csv import LABELS, point_labels
from vtrack.pipelines.outputs.tables.dlc import is_dlc, read_dlc
from vtrack.pipelines.outputs.tables.mesh.text import is_mesh, read_mesh
from vtrack.pipelines.outputs.tables.openface import is_openface, read_openface
from vtrack.pipelines.outputs.tables.text import numbers, plain_numbers
from vtrack.types import Query

Row = list[str]
_OTHER = ""
"""Stands for lines that hold more than numbers."""


def read_blocks(path: Path) -> Iterator[RawTable]:
    """Read a table block by block; at least one.

    Raises:
        TableError: The table is cut off or damaged.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows: Iterator[Row] = csv.reader(file, skipinitialspace=True)
        header = next(rows, [])
        if is_dlc(header):
            yield from read_dlc(path, header, rows)
            return
        _check_names(path, header)
        if is_openface(header):
            yield from read_openface(path, header, _checked(path, header, rows))
        elif all(label in header for label in LABELS):
            yield from _long(path, header, file)
        elif is_mesh(header):
            yield from read_mesh(path, header, _checked(path, header, rows))
        else:
            yield from _wide(path, header, file)


def _wide(path: Path, header: Row, file: TextIO) -> Iterator[RawTable]:
    """Yield the rows of a wide table."""
    place = header.index(FILE.name) if FILE.name in header else None
    columns = [name for name in header if name != FILE.name]
    yield RawTable(columns, np.zeros((0, len(columns))))
    plain, count = file if place is None else iter([_OTHER]), 0
    while lines := list(itertools.islice(plain, block_rows(len(header)))):
        if (cells := plain_numbers(lines, len(header))) is None:
            break
        yield RawTable(columns, cells)
        count += len(cells)
    else:
        return
    rows = itertools.islice(_rows(path, header, file), count, None)
    while block := list(itertools.islice(rows, block_rows(len(header)))):
        files = () if place is None else tuple(row.pop(place) for row in block)
        yield RawTable(columns, numbers(block), files)


def _long(path: Path, header: Row, file: TextIO) -> Iterator[RawTable]:
    """Yield the rows of a long table as those of a wide one; the rows of one face in one frame stand together."""
    face, first, point = header.index("face"), header.index("part"), header.index("point")
    everything = _long_query(path)
    names, own = list(everything.names), header[point + 1 :]
    # Of the points that `raw` adds to those of the query, there are no other columns.
    raw = {field.name for field in RAW} & {*own}
    added = {name for query in ADDED for name in query.names} if raw else set()
    query = _without(everything, added)
    kept = np.array([name not in added or ending in raw for name in names for ending in own], bool)
    place = header.index(FILE.name) if FILE.name in header else first
    of_face = [name for name in header[:first] if name != FILE.name]
    of_points = [f"{name}_{ending}" for name in names for ending in own]
    columns = [*of_face, *itertools.compress(of_points, kept)]
    yield RawTable(columns, np.zeros((0, len(columns))), query=query)
    size, chosen = block_rows(len(names) * len(header)), np.array([*[True] * len(of_face), *kept])
    plain = _joined(file, header, point_labels(everything)) if names and place == first else iter([_OTHER])
    count = 0
    while lines := list(itertools.islice(plain, size)):
        if (wide := plain_numbers(lines, len(chosen))) is None:
            break
        yield RawTable(columns, wide[:, chosen], query=query)
        count += len(wide)
    else:
        return
    blocks = itertools.islice(_faces(path, _rows(path, header, file), names, face, point), count, None)
    while block := list(itertools.islice(blocks, size)):
        heads = [[*lines[0][:place], *lines[0][place + 1 : first]] for lines in block]
        cells = np.full((len(block), len(columns)), np.nan)
        cells[:, : len(of_face)] = numbers(heads)
        there = np.array([bool(lines[0][point]) for lines in block])
        ends = [line[point + 1 :] for lines in block if lines[0][point] for line in lines]
        if ends:
            cells[there, len(of_face) :] = numbers(ends).reshape(int(there.sum()), -1)[:, kept]
        files = tuple(lines[0][place] for lines in block) if place != first else ()
        yield RawTable(columns, cells, files, query)


def _joined(lines: Iterator[str], header: Row, labels: Sequence[str]) -> Iterator[str]:
    """Yield the lines of each face as one line of a wide table, and `_OTHER` from where they are not as vtrack writes them."""
    first, commas = header.index(LABELS[0]), len(header) - 1
    start, empty = f",{labels[0]},", "," * (len(header) - first)
    more = "," * (len(labels) * (commas - header.index(LABELS[-1])))
    for line in lines:
        of_face, label, _ = line.partition(start)
        if not label and (row := line.rstrip("\r\n")).endswith(empty):
            yield row.removesuffix(empty) + more
            continue
        block = [line, *itertools.islice(lines, len(labels) - 1)]
        starts = [f"{of_face},{label}," for label in labels]
        fits = of_face.count(",") == first - 1 and {each.count(",") for each in block} == {commas}
        if not fits or len(block) < len(labels) or not all(map(str.startswith, block, starts)):
            yield _OTHER
            return
        ends = (each[len(start) :].rstrip("\r\n") for each, start in zip(block, starts, strict=True))
        yield ",".join([of_face, *ends])


def _faces(path: Path, rows: Iterator[Row], names: Sequence[str], face: int, point: int) -> Iterator[list[Row]]:
    """Yield the rows of each face, and the one row of each frame without a face."""
    own, key = itemgetter(point), itemgetter(0, face)
    for row in rows:
        if not row[point]:
            yield [row]
            continue
        lines = [row, *itertools.islice(rows, len(names) - 1)]
        if list(map(own, lines)) != names or len(set(map(key, lines))) != 1:
            raise TableError(f"{path}: a face at {row[1]} s has other points than the first; the file is damaged")
        yield lines


def _long_query(path: Path) -> Query:
    """The points of the first face of a long table."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows: Iterator[Row] = csv.reader(file, skipinitialspace=True)
        header = next(rows)
        part, position, point, face = (header.index(name) for name in (*LABELS, "face"))
        there = (row for row in _checked(path, header, rows) if row[point])
        for _, lines in itertools.groupby(there, key=lambda row: (row[0], row[face])):
            points = [(row[part], float(row[position] or 0), row[point]) for row in lines]
            parts, positions, names = zip(*points, strict=True)
            _check_names(path, names)
            return Query(parts, positions, names)
    return Query((), ())


def _without(query: Query, names: Collection[str]) -> Query:
    """A query without some points."""
    points = zip(query.parts, query.positions, query.names, strict=True)
    kept = [(part, position, name) for part, position, name in points if name not in names]
    return Query(*zip(*kept, strict=True)) if kept else Query((), ())


def _rows(path: Path, header: Row, file: TextIO) -> Iterator[Row]:
    """Yield the rows of a file from its start, but for the header; slower than `plain_numbers`, for cells of any kind."""
    file.seek(0)
    rows: Iterator[Row] = csv.reader(file, skipinitialspace=True)
    next(rows)
    yield from _checked(path, header, rows)


def _checked(path: Path, header: Sequence[str], rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows, all of them as long as the header."""
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise TableError(
                f"{path}, row {number}: {len(row)} cells instead of {len(header)}; the file is cut off or damaged"
            )
        yield row


def _check_names(path: Path, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise TableError(f"{path}: {twice[:80]!r} stands twice in its header; every column needs a name of its own")
