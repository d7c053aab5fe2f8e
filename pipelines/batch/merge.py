"""Merges the tables of all videos into one, with the video's name in the first column."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vtrack.errors import SinkError, UsageError
from vtrack.options import words
from vtrack.pipelines.batch.files import Video
from vtrack.pipelines.batch.state import Recipe
from vtrack.pipelines.outputs.base import sidecar_path, write_sidecar
from vtrack.pipelines.outputs.files import whole_file
from vtrack.pipelines.registry import CSV_FORMATS, OUTPUTS, load

COLUMN = "video"
"""Name of the column of the video's name."""


def merged_kind(path: Path, format: str) -> str:
    """Kind of the tables to merge, a name in `OUTPUTS`, by the name of the merged one.

    Raises:
        UsageError: The name has another suffix, or tables of this format cannot be stacked.
    """
    kinds = {entry.suffix: name for name, entry in OUTPUTS.items() if entry.stacker}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"--merge {path}: the name must end in {' or '.join(kinds)}")
    if "format" in OUTPUTS[kind].takes and not CSV_FORMATS[format].stacks:
        able = words([name for name, entry in CSV_FORMATS.items() if entry.stacks])
        raise UsageError(f"--merge {path}: tables of format {format} cannot be merged; use --format {able}")
    return kind


def merge_tables(path: Path, videos: Sequence[Video], recipe: Recipe, *, overwrite: bool = False) -> bool:
    """Write the merged table, unless it is up to date.

    Args:
        path: The merged table; its sidecar records which tables it was made of.
        videos: Videos whose tables to merge, in this order.
        recipe: What was done with each video.
        overwrite: Whether to replace a file that is not a merged table.

    Returns:
        Whether the table was written.

    Raises:
        UsageError: Tables of this kind cannot be merged.
        SinkError: The table cannot be written.
    """
    kind = merged_kind(path, recipe.output.format)
    tables = {video.name: recipe.outputs(video.outputs)[kind] for video in videos}
    sources = {name: [table.stat().st_size, table.stat().st_mtime_ns] for name, table in tables.items()}
    previous = merged_sources(path)
    if path.exists() and previous == sources:
        return False
    if path.exists() and previous is None and not overwrite:
        raise SinkError(f"{path} exists already and was not written by --merge; add --overwrite or choose another path")
    with whole_file(path) as part:
        load(OUTPUTS[kind].stacker)(part, COLUMN, tables)
    write_sidecar(path, options={}, model={}, source={}, counts={"merged": sources})
    return True


def merged_sources(path: Path) -> dict[str, list[int]] | None:
    """Size and modification time of the tables that a merged one was made of; None if it is not a merged table."""
    try:
        sources = json.loads(sidecar_path(path).read_text(encoding="utf-8"))["counts"]["merged"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return sources if isinstance(sources, dict) else None
