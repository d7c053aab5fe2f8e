"""Tables read back, whatever their format: `read_table` gives a whole one, `open_blocks` its rows block by block."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vtrack.errors import MissingExtraError, TableError, UsageError, VTrackError, spelled
from vtrack.layouts import layout_names, load_layout
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.base import OUTPUT_MARK, sidecar_path
from vtrack.pipelines.outputs.tables.columns import (
    ADDED,
    BOX,
    CUT,
    EXTRAS,
    HEAD,
    MEASURED,
    RAW,
    Columns,
    Field,
    RawTable,
    frame_fields,
)
from vtrack.pipelines.outputs.tables.table import Table
from vtrack.pipelines.outputs.tables.text import LARGEST, check_numbers
from vtrack.pipelines.registry import DUMPS, OUTPUTS, load
from vtrack.query import parse_query
from vtrack.types import FloatArray, Query

_DAMAGE = (ValueError, ArithmeticError, LookupError, NotImplementedError, RecursionError, csv.Error)
"""What readers of files and numbers raise where a table is damaged."""
_SECTIONS = ("options", "model", "source", "counts")
"""Objects in the facts beside a table."""
_ROUNDING = 1e-4
"""Positions in tables have four decimals."""


def read_table(path: str | Path, *, fps: float | None = None) -> Table:
    """Read a table: CSV of any form, Parquet or JSON lines, as vtrack writes them, or the CSV of OpenFace and DeepLabCut.

    Dumps of mediapipe's face mesh are read, too, if their coordinates are pixels; `vtrack convert` makes tables of others.

    Args:
        path: The file; its ending says what it is (`.csv`, `.parquet`, `.jsonl`; of dumps also `.json`, `.npy`). A `.meta.json`
            beside it is read too and tells what the points are.
        fps: Frames per second of a table without times, which DeepLabCut's is.

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
    table = open_blocks(path, fps=fps)
    blocks = list(table.blocks)
    cells = np.concatenate([np.zeros((0, len(HEAD) + len(table.fields))), *(cells for cells, _ in blocks)])
    files = tuple(name for _, names in blocks for name in names)
    frame, time = cells[:, 0].astype(np.int64), cells[:, 1]
    return Table(table.names, table.fields, frame, time, cells[:, 2:], table.query, table.meta, file=files)


@dataclass(frozen=True, eq=False)
class TableBlocks:
    """A table whose rows are read block by block."""

    path: Path
    names: tuple[str, ...]
    """Name of each point."""
    fields: tuple[Field, ...]
    """Columns of the blocks after `frame` and `time_s`, in the order in which all tables have them."""
    query: Query | None
    """What the points are; None if nothing tells."""
    meta: dict[str, Any]
    """The facts beside the table; empty where there are none."""
    timed: bool
    """Whether the file holds times."""
    blocks: Iterator[tuple[FloatArray, tuple[str, ...]]]
    """Cells (rows, columns), `frame` and `time_s` before `fields`, and names of image files. Read once."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups of extra columns that it has."""
        names = {field.name for field in self.fields}
        return tuple(name for name in EXTRAS if _group_columns(name, self.names) <= names)


def open_blocks(
    path: str | Path,
    *,
    fps: float | None = None,
    parts: str = "",
    untimed: bool = False,
    size: tuple[int, int] | None = None,
) -> TableBlocks:
    """Open a table, to read it block by block; what is in memory does not grow with it.

    Args:
        path: The file, as `read_table` takes it.
        fps: Frames per second of a table without times.
        parts: What the points are, if the facts beside the table do not tell.
        untimed: Whether a table without times is taken without `fps`, too; the times of its frames are their numbers then.
        size: Width and height of the frames in pixels, for coordinates that are shares of them.

    Raises:
        TableError: The file cannot be read, is damaged or is not such a table.
        UsageError: The table has times and needs no `fps`, or has other points than `parts`.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    path, readers = Path(path), _readers()
    if path.suffix.lower() not in readers:
        raise TableError(f"{path}: not a table; vtrack reads {', '.join(readers)} files")
    raw = _guarded(path, load(readers[path.suffix.lower()])(path))
    first = next(raw, RawTable([], np.zeros((0, 0))))
    meta = _meta(path)
    timed = HEAD[1].name in first.columns
    names, fields, order = _arrangement(path, [*([] if timed else [HEAD[1].name]), *first.columns], meta)
    query = _points(path, names, meta, first.query, parts)
    if timed and fps is not None:
        raise UsageError(f"{spelled('fps')} applies to tables without times, and {path} has times; leave it out")
    if not timed and fps is None and not untimed:
        raise TableError(f"{path}: a table without times; give its frames per second, {spelled('fps', 25)}")
    rate = None if timed else fps or 1.0
    return TableBlocks(path, names, fields, query, meta, timed, _arranged(path, raw, order, rate, size))


@contextmanager
def _as_table_error(path: Path) -> Iterator[None]:
    """Turn what readers raise into an error that names the table."""
    try:
        yield
    except VTrackError:
        raise
    except OSError as error:
        raise TableError(f"{path}: cannot read this table: {error.strerror or _short(error)}") from error
    except _DAMAGE as error:
        raise TableError(f"{path}: damaged table: {_short(error)}") from error


def _guarded(path: Path, blocks: Iterator[RawTable]) -> Iterator[RawTable]:
    """Yield blocks; whatever reading them raises names the table."""
    while True:
        with _as_table_error(path):
            block = next(blocks, None)
            if block is None:
                return
            raw = RawTable(*block)
        yield raw


def _short(error: object) -> str:
    """The first line of a text, without its end where that is long: it may hold the table."""
    line = str(error).partition("\n")[0]
    return line if len(line) <= 120 else f"{line[:120]}…"


def _readers() -> dict[str, str]:
    """What reads files of each ending."""
    return {
        **{suffix: entry.reader for entry in OUTPUTS.values() if entry.reader for suffix in entry.suffixes},
        **DUMPS,
    }


def _group_columns(group: str, names: Sequence[str]) -> set[str]:
    """Names of columns of a group of a table with these points, by which it is known."""
    first = EXTRAS[group][0]
    fields = first.fields(Query((), ()))
    return {f"{names[0]}_{field.name}" if first.of_points and names else field.name for field in fields}


def _frame_columns(group: str) -> set[str]:
    """Names of the columns of the frame that come with a group."""
    return {field.name for field in frame_fields([group])}


def _arrangement(
    path: Path, header: Sequence[str], meta: dict[str, Any]
) -> tuple[tuple[str, ...], tuple[Field, ...], npt.NDArray[np.intp]]:
    """Names of the points, the columns in the order in which all tables have them, and where each stands in the file; -1
    for those that no row of the file has.
    """
    raw_sigma = f"_{RAW[2].name}"
    names = tuple(
        name.removesuffix("_sigma") for name in header if name.endswith("_sigma") and not name.endswith(raw_sigma)
    )
    faceless = [name for name in header if name != CUT.name] == [field.name for field in HEAD]
    if faceless and (recorded := _recorded_query(meta)) is not None:
        names = recorded.names  # JSON lines without a single face
    extras = [name for name in EXTRAS if (_group_columns(name, names) | _frame_columns(name)) & set(header)]
    # Names alone make the columns; where on their parts the points lie does not matter for that.
    fields = Columns(Query(names, (0.0,) * len(names), names), extras).fields
    if not faceless and MEASURED.name not in header:
        fields = tuple(field for field in fields if field != MEASURED)
    places = {name: i for i, name in enumerate(header)}
    wanted = [field.name for field in (*HEAD, *fields)]
    # Tables of earlier versions have fewer measures, and of raw points the places alone; the rest is unknown.
    added = {f"{name}_{field.name}" for query in ADDED for name in query.names for field in RAW}
    later = {name for name in wanted if name == CUT.name or name.endswith(raw_sigma) or name in added}
    lacking = {*MEASURES, *(() if later & set(places) else later)}
    foreign = (set(wanted) ^ set(places)) - (lacking & set(wanted))
    if not faceless and (foreign or len(places) != len(header)):
        unknown = [_short(name) for name in sorted(foreign)[:3]]
        raise TableError(f"{path}: not a table that vtrack knows ({', '.join(unknown) or 'a column stands twice'}); "
                         "it reads vtrack's tables, OpenFace's, DeepLabCut's and dumps of mediapipe's mesh")  # fmt: skip
    return names, fields, np.array([places.get(name, -1) for name in wanted], np.intp)


def _arranged(
    path: Path,
    blocks: Iterator[RawTable],
    order: npt.NDArray[np.intp],
    rate: float | None,
    size: tuple[int, int] | None,
) -> Iterator[tuple[FloatArray, tuple[str, ...]]]:
    """Yield the cells of blocks in this order of columns, and names of files; `rate` makes times of numbers of frames."""
    for block in blocks:
        empty = [np.full(len(block.cells), np.nan)]
        cells = np.column_stack([*empty * (rate is not None), _in_pixels(path, block, size), *empty])[:, order]
        frame = cells[:, 0]
        if rate is not None:
            cells[:, 1] = frame / rate
        # NaN compares false, too.
        if not ((np.abs(cells[:, :2]) < LARGEST).all() and (frame == np.floor(frame)).all() and (frame >= 0).all()):
            raise TableError(f"{path}: not a table that vtrack knows (frame or time missing)")
        with _as_table_error(path):
            check_numbers(cells)
        yield cells, block.file


def _in_pixels(path: Path, block: RawTable, size: tuple[int, int] | None) -> FloatArray:
    """The cells of a block with coordinates in pixels."""
    if not block.normalised:
        return block.cells
    if size is None:
        raise UsageError(
            f"{path} has coordinates from 0 to 1; make a table of it by the size of its frames: "
            f"vtrack convert {path} {spelled('size', '640x480')} -o TABLE.csv"
        )
    cells = block.cells.copy()
    for axis, length, side in zip("xy", size, (BOX[2], BOX[3]), strict=True):
        places = [i for i, name in enumerate(block.columns) if name.endswith(f"_{axis}")]
        cells[:, places] = cells[:, places] * length - 0.5
        cells[:, block.columns.index(side.name)] *= length
    return cells


def _meta(path: Path) -> dict[str, Any]:
    """The facts beside a table, or beside another output of the same run or batch; empty where there are none.

    Each of `_SECTIONS` is an object or missing, and numbers are finite: what is damaged by hand is left out.
    """
    stem = path.with_suffix("")
    of_batch = [stem] if stem.suffix == OUTPUT_MARK else []
    for table in (path, *(path.with_suffix(suffix) for suffix in _readers()), *of_batch):
        try:
            text = sidecar_path(table).read_text(encoding="utf-8")
            meta: dict[str, Any] = json.loads(text, parse_float=_finite, parse_constant=_finite)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise TableError(f"{sidecar_path(table)}: cannot be read: {_short(error)}") from error
        if not isinstance(meta, dict):
            raise TableError(f"{sidecar_path(table)}: cannot be read: it is no JSON object")
        return {name: value for name, value in meta.items() if name not in _SECTIONS or isinstance(value, dict)}
    return {}


def _finite(text: str) -> float | None:
    """A number of JSON; None for NaN, infinity, and what is as large."""
    number = float(text)
    return number if math.isfinite(number) else None


def _recorded_query(meta: dict[str, Any]) -> Query | None:
    """The query that made a table, by its facts."""
    try:
        return parse_query(meta["options"]["parts"])
    except (KeyError, TypeError, UsageError, MissingExtraError):
        return None


def _points(path: Path, names: tuple[str, ...], meta: dict[str, Any], own: Query | None, parts: str) -> Query | None:
    """What the points of a table are: as it is `parts`, by its facts, by itself, or by the names of a layout's points."""
    if parts:
        asked = parse_query(parts)
        if asked.names != names:
            here = f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
            raise UsageError(
                f"{spelled('parts', parts)}: {path} has {len(names)} other points than these {len(asked)}: {here}"
            )
        return asked
    recorded = _recorded_query(meta)
    if recorded is not None and recorded.names == names:
        return recorded
    layouts = (load_layout(name).query for name in layout_names())
    same = (query for query in layouts if query.names == names and (own is None or _agree(query, own)))
    return next(same, own if own is not None and own.names == names else None)


def _agree(query: Query, own: Query) -> bool:
    """Whether positions with four decimals may be those of a query."""
    return query.parts == own.parts and np.allclose(query.positions, own.positions, rtol=0, atol=_ROUNDING)
