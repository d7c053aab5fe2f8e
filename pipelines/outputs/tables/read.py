"""`read_table`: the project's own tables read back, whatever their format."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vtrack.errors import DataError, MissingExtraError, UsageError
from vtrack.pipelines.outputs.base import sidecar_path
from vtrack.pipelines.outputs.tables.columns import EXTRAS, HEAD, MEASURED, Columns
from vtrack.pipelines.outputs.tables.table import Table
from vtrack.query import parse_query
from vtrack.types import Query

Cells = npt.NDArray[np.float64]
"""(rows, columns) NaN where a cell is empty."""
_LABELS = ("part", "position", "point")
"""Columns of the long table that say which point a row is about."""


def read_table(path: str | Path) -> Table:
    """Read a table that vtrack wrote: CSV (wide or long), Parquet or JSON lines.

    Args:
        path: The file, `.csv`, `.parquet` or `.jsonl`. A `.meta.json` beside it is read too and tells what the points are.

    Returns:
        The table, with the same `to_pandas`, `to_numpy` and `to_xarray` as the results of `track`.

    Raises:
        DataError: The file cannot be read, is damaged or is not such a table.
        MissingExtraError: It is Parquet, and pyarrow is not installed.

    Examples:
        >>> import vtrack
        >>> summary = vtrack.run("samples/sample.mp4", parts="eyes", stop=0.2, csv="eyes.csv")
        >>> table = vtrack.read_table("eyes.csv")
        >>> table
        Table(6 rows, 6 frames, 1 face, 16 points)
        >>> table.meta["counts"]["frames"]
        6
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], tuple[list[str], Cells]]] = {
        ".csv": _read_csv,
        ".parquet": _read_parquet,
        ".jsonl": _read_jsonl,
    }
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: read_table reads {', '.join(readers)} files")
    try:
        header, cells = readers[path.suffix.lower()](path)
    except OSError as error:
        raise DataError(f"{path}: cannot read this table: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: damaged table: {error}") from error
    meta = _meta(path)
    return _table(path, header, cells, meta)


def _table(path: Path, header: Sequence[str], cells: Cells, meta: dict[str, Any]) -> Table:
    """The table of these columns, in the order in which all tables have them."""
    names = tuple(name.removesuffix("_sigma") for name in header if name.endswith("_sigma"))
    told = _told(meta)
    faceless = list(header) == [field.name for field in HEAD]
    if faceless and told is not None:
        names = told.names  # JSON lines without a single face
    query = told if told is not None and told.names == names else None
    # Names alone make the columns; where on their parts the points lie does not matter for that.
    points = Query(names, (0.0,) * len(names), names)
    extras = [
        name for name, group in EXTRAS.items()
        if {f"{names[0]}_{field.name}" if group.of_points and names else field.name for field in group.fields(points)}
        <= set(header)
    ]  # fmt: skip
    fields = Columns(points, extras).of_face
    if not faceless and MEASURED.name not in header:
        fields = tuple(field for field in fields if field != MEASURED)
    places = {name: i for i, name in enumerate(header)}
    wanted = [field.name for field in (*HEAD, *fields)]
    if faceless:
        cells = np.column_stack([cells, np.full((len(cells), len(fields)), np.nan)])
        places = {name: i for i, name in enumerate(wanted)}
    if set(wanted) != set(places) or not np.isfinite(cells[:, [places[name.name] for name in HEAD]]).all():
        unknown = sorted(set(places) ^ set(wanted))[:3]
        raise DataError(f"{path}: not a table that read_table knows ({', '.join(unknown) or 'frame or time missing'}); "
                        "it reads vtrack's wide and long tables")  # fmt: skip
    cells = cells[:, [places[name] for name in wanted]]
    return Table(names, fields, cells[:, 0].astype(np.int64), cells[:, 1], cells[:, 2:], query, meta)


def _meta(path: Path) -> dict[str, Any]:
    """The facts beside a table, or beside another table of the same run; empty where there are none."""
    for table in (path, *(path.with_suffix(suffix) for suffix in (".csv", ".jsonl", ".parquet"))):
        try:
            meta: dict[str, Any] = json.loads(sidecar_path(table).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise DataError(f"{sidecar_path(table)}: cannot be read: {error}") from error
        return meta
    return {}


def _told(meta: dict[str, Any]) -> Query | None:
    """The query that made a table, by its facts."""
    try:
        return parse_query(meta["options"]["parts"])
    except (KeyError, TypeError, UsageError, MissingExtraError):
        return None


def _number(cell: str | None) -> float:
    return float(cell) if cell else np.nan


def _read_csv(path: Path) -> tuple[list[str], Cells]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if all(label in header for label in _LABELS):
            return _from_long(path, header, list(rows))
        cells = [[_number(cell) for cell in row] for row in rows]
    _check_rows(path, header, cells)
    return header, np.array(cells).reshape(len(cells), len(header))


def _check_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise DataError(
                f"{path}, row {i + 1}: {len(row)} cells instead of {len(header)}; the file is cut off or damaged"
            )


def _from_long(path: Path, header: list[str], rows: list[list[str]]) -> tuple[list[str], Cells]:
    """The wide table of a long one, whose rows of one face in one frame stand together."""
    _check_rows(path, header, rows)
    face, first, point = header.index("face"), header.index("part"), header.index("point")
    names: list[str] = []
    wide: list[list[float]] = []
    for _, block in itertools.groupby(rows, key=lambda row: (row[0], row[face])):
        lines = list(block)
        here = [line[point] for line in lines if line[point]]
        names = names or here
        if here and here != names:
            raise DataError(f"{path}: a face at {lines[0][1]} s has other points than the first; the file is damaged")
        values = [_number(cell) for line in lines if line[point] for cell in line[point + 1 :]]
        wide.append([_number(cell) for cell in lines[0][:first]] + values)
    columns = header[:first] + [f"{name}_{ending}" for name in names for ending in header[point + 1 :]]
    cells = np.full((len(wide), len(columns)), np.nan)
    for place, row in zip(cells, wide, strict=True):
        place[: len(row)] = row
    return columns, cells


def _read_jsonl(path: Path) -> tuple[list[str], Cells]:
    frames = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    try:
        rows = [(frame, face) for frame in frames for face in frame["faces"] or [{}]]
        of_face = list(next((face for _, face in rows if face), {}))
        cells = [
            [frame["frame"], frame["time_s"], *(np.nan if face.get(name) is None else face[name] for name in of_face)]
            for frame, face in rows
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not vtrack's JSON lines: {error!r}") from error
    header = [*(field.name for field in HEAD), *of_face]
    return header, np.array(cells, np.float64).reshape(len(cells), len(header))


def _read_parquet(path: Path) -> tuple[list[str], Cells]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError('Parquet tables need pyarrow; pip install "vtrack[parquet]"') from error
    with path.open("rb") as file:
        table = pyarrow.parquet.read_table(file)
    columns = [column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False) for column in table.columns]
    return table.column_names, np.column_stack([*columns, np.zeros((table.num_rows, 0))])
