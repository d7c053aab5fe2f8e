"""One table of all videos: the tables one after the other, with the video's name in a column before the others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from vtrack.errors import MissingExtraError, SinkError, UsageError
from vtrack.pipelines.batch.files import Video
from vtrack.pipelines.batch.state import Recipe
from vtrack.pipelines.outputs.base import PartFile, sidecar_path, write_sidecar
from vtrack.pipelines.registry import CSV_FORMATS, OUTPUTS

COLUMN = "video"
_KINDS = {entry.suffix: name for name, entry in OUTPUTS.items() if entry.stacks}
_FORMATS = tuple(name for name, entry in CSV_FORMATS.items() if entry.stacks)


def merged_kind(path: Path, format: str) -> str:
    """Which table of each video goes into a merged one of this name."""
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"--merge {path}: the name must end in {' or '.join(_KINDS)}")
    if kind == "csv" and format not in _FORMATS:
        raise UsageError(f"--merge {path}: tables of format {format} cannot be stacked; use {' or '.join(_FORMATS)}")
    return kind


def merge(path: Path, videos: Sequence[Video], recipe: Recipe, *, overwrite: bool = False) -> bool:
    """Write the merged table, unless it is there and of these very tables; whether there was something to do."""
    kind = merged_kind(path, recipe.output.format)
    tables = {video.name: recipe.outputs(video.outputs)[kind] for video in videos}
    state = {name: [table.stat().st_size, table.stat().st_mtime_ns] for name, table in tables.items()}
    before = _state(path)
    if path.exists() and before == state:
        return False
    if path.exists() and before is None and not overwrite:
        raise SinkError(f"{path} exists already and is no merged table of ours; add --overwrite or choose another path")
    file, whole = PartFile(path), False
    try:
        with file.guarded():
            (_merge_csv if kind == "csv" else _merge_parquet)(file.part, tables)
        whole = True
    finally:
        file.settle(whole)
    write_sidecar(path, options={}, model={}, source={}, counts={"merged": state})
    return True


def _state(path: Path) -> dict[str, list[int]] | None:
    """Of which tables, in which state, a merged one was made; None where it was not us."""
    try:
        state = json.loads(sidecar_path(path).read_text(encoding="utf-8"))["counts"]["merged"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state if isinstance(state, dict) else None


def _merge_csv(part: Path, tables: dict[str, Path]) -> None:
    with part.open("w", encoding="utf-8", newline="") as out:
        head = ""
        for name, table in tables.items():
            with table.open(encoding="utf-8", newline="") as lines:
                first = f"{COLUMN},{next(lines, '')}"
                if not head:
                    head = first
                    out.write(head)
                cell = io.StringIO()
                csv.writer(cell, lineterminator="").writerow([name])
                prefix = cell.getvalue() + ","
                out.writelines(prefix + line for line in lines)


def _merge_parquet(part: Path, tables: dict[str, Path]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError('Parquet tables need pyarrow; pip install "vtrack[parquet]"') from error
    writer = None
    try:
        for name, table in tables.items():
            with pyarrow.parquet.ParquetFile(table) as file:
                schema = file.schema_arrow.insert(0, pyarrow.field(COLUMN, pyarrow.string()))
                writer = writer or pyarrow.parquet.ParquetWriter(part, schema, compression="zstd")
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group)
                    names = pyarrow.repeat(pyarrow.scalar(name), len(rows))
                    writer.write_table(rows.add_column(0, COLUMN, names).cast(schema))
    finally:
        if writer is not None:
            writer.close()
