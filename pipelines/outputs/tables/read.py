"""`read_table`: the project's own tables read back, whatever their format."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.errors import DataError, MissingExtraError, UsageError
from vtrack.pipelines.outputs.base import sidecar_path
from vtrack.pipelines.outputs.tables.columns import EXTRAS, HEAD, MEASURED, Columns, RawTable
from vtrack.pipelines.outputs.tables.table import Table
from vtrack.pipelines.registry import OUTPUTS, load
from vtrack.query import parse_query
from vtrack.types import FloatArray, Query

_DAMAGE = (ValueError, ArithmeticError, LookupError, NotImplementedError, RecursionError, csv.Error)
"""What readers of files and numbers raise where a table is damaged."""
_LARGEST = 2.0**53
"""Frames and seconds beyond it cannot be told from their neighbours."""


def read_table(path: str | Path) -> Table:
    """Read a table that vtrack wrote: CSV (wide or long), Parquet or JSON lines.

    Args:
        path: The file; its ending says what it is (`.csv`, `.parquet`, `.jsonl`). A `.meta.json` beside it is read too and
            tells what the points are.

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
    path, readers = Path(path), _readers()
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: read_table reads {', '.join(readers)} files")
    try:
        header, cells, files = RawTable(*load(readers[path.suffix.lower()])(path))
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot read this table: {error.strerror or _short(error)}") from error
    except _DAMAGE as error:
        raise DataError(f"{path}: damaged table: {_short(error)}") from error
    meta = _meta(path)
    return replace(_table(path, header, cells, meta), file=files)


def _short(error: object) -> str:
    """The first line of a text, without its end where that is long: it may hold the table."""
    line = str(error).partition("\n")[0]
    return line if len(line) <= 120 else f"{line[:120]}…"


def _readers() -> dict[str, str]:
    """What reads files of each ending."""
    return {suffix: entry.reader for entry in OUTPUTS.values() if entry.reader for suffix in entry.suffixes}


def _table(path: Path, header: Sequence[str], cells: FloatArray, meta: dict[str, Any]) -> Table:
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
    if set(wanted) != set(places) or not (np.abs(cells[:, [places[name.name] for name in HEAD]]) < _LARGEST).all():
        unknown = [_short(name) for name in sorted(set(places) ^ set(wanted))[:3]]
        raise DataError(f"{path}: not a table that read_table knows ({', '.join(unknown) or 'frame or time missing'}); "
                        "it reads vtrack's wide and long tables")  # fmt: skip
    cells = cells[:, [places[name] for name in wanted]]
    return Table(names, fields, cells[:, 0].astype(np.int64), cells[:, 1], cells[:, 2:], query, meta)


def _meta(path: Path) -> dict[str, Any]:
    """The facts beside a table, or beside another table of the same run; empty where there are none."""
    for table in (path, *(path.with_suffix(suffix) for suffix in _readers())):
        try:
            meta: dict[str, Any] = json.loads(sidecar_path(table).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{sidecar_path(table)}: cannot be read: {_short(error)}") from error
        if not isinstance(meta, dict):
            raise DataError(f"{sidecar_path(table)}: cannot be read: it is no JSON object")
        return meta
    return {}


def _told(meta: dict[str, Any]) -> Query | None:
    """The query that made a table, by its facts."""
    try:
        return parse_query(meta["options"]["parts"])
    except (KeyError, TypeError, UsageError, MissingExtraError):
        return None
