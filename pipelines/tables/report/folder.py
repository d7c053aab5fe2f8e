"""`report_folder`: a page for each table below a folder, and an index of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vtrack._version import __version__
from vtrack.errors import UsageError, VTrackError, spelled
from vtrack.pipelines.batch.merge import merged_sources
from vtrack.pipelines.outputs.base import OUTPUT_MARK, sidecar_path
from vtrack.pipelines.outputs.files import write_text
from vtrack.pipelines.outputs.quality import SUFFIX as CHECK
from vtrack.pipelines.outputs.quality import current_check
from vtrack.pipelines.registry import OUTPUTS
from vtrack.pipelines.sources.open import natural_key
from vtrack.pipelines.tables.doubts import REASONS
from vtrack.pipelines.tables.report.page import fact_list, html_page, is_ours, read_figures, table_html
from vtrack.pipelines.tables.report.report import SUFFIX, report_table
from vtrack.pipelines.tables.targets import check_targets
from vtrack.pipelines.tables.text import count, duration, percent, safe, whole

INDEX = "report.html"
"""Name of the index in the folder."""
_PICTURES = 200
"""Rows of the index with a picture."""


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A table in the index."""

    name: str
    """Name of the video."""
    page: Path | None = None
    """Its page; None if there is none."""
    figures: Mapping[str, Any] | None = None
    error: str = ""
    """Why there is no page."""


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What was written."""

    index: Path
    rows: list[IndexRow]
    made: int
    """Pages that were made; the others were there and newer than their tables."""


def report_folder(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = lambda tables: tables,
) -> FolderReport:
    """Write a page for each table below a folder, and an index of all.

    A page that is there and newer than its table is kept. It shows the check of the table where one lies beside it. A table
    that cannot be read is named in the index.

    Args:
        folder: The folder, as a batch or several runs have written it.
        output: The index; None for `report.html` in the folder.
        overwrite: Whether pages that are older than their tables, and files that are no pages of ours, are replaced.
        progress: Called with the tables; gives them on and may count them.

    Raises:
        UsageError: There is no table, or a file exists already.
        SinkError: A page cannot be written.

    Example:
        report_folder("out").index  # out/report.html
    """
    tables = find_tables(Path(folder))
    if not tables:
        raise UsageError(f"{folder}: no tables here; give a folder that vtrack run or vtrack batch has written to")
    index = Path(folder, INDEX) if output is None else Path(output)
    _check_index(index, tables[0], overwrite=overwrite)
    if not overwrite and (old := [page for table in tables if _is_old(page := _page_of(table), table)]):
        raise UsageError(f"{old[0]} is older than its table; add {spelled('overwrite', True)} to make it anew")
    rows, made = [], 0
    for table in progress(tables):
        row, new = report_row(table, overwrite=overwrite)
        rows.append(row)
        made += new
    write_index(index, rows, Path(folder).resolve().name)
    return FolderReport(index, rows, made)


def find_tables(folder: Path) -> list[Path]:
    """The tables of videos below a folder, in natural order; of one video that has several the first kind."""
    kinds = [suffix for entry in OUTPUTS.values() if entry.reader for suffix in entry.suffixes]
    events = OUTPUTS["events"].suffix.removesuffix(OUTPUTS["csv"].suffix)
    found: dict[Path, Path] = {}
    for suffix in kinds:
        for path in folder.rglob(f"*{suffix}"):
            named = f"{OUTPUT_MARK}." in path.name or sidecar_path(path).is_file()
            named &= not path.name.endswith(CHECK)
            inside = not any(part.startswith(".") for part in path.relative_to(folder).parts)
            if named and inside and not path.stem.endswith(events) and path.is_file() and merged_sources(path) is None:
                found.setdefault(path.with_suffix(""), path)
    return sorted(found.values(), key=lambda path: [natural_key(part) for part in path.parts])


def report_row(table: Path, *, overwrite: bool, name: str = "") -> tuple[IndexRow, bool]:
    """The row of a table, and whether its page was made now; `overwrite`: whether a file that is no page is replaced."""
    page = _page_of(table)
    if page.exists() and not _is_old(page, table) and (figures := read_figures(page)) is not None:
        return IndexRow(name or str(figures.get("title", table.name)), page, figures), False
    try:
        check = current_check(table.with_suffix(""), table)
        report = report_table(table, page, check=check, overwrite=overwrite or is_ours(page))
    except VTrackError as error:
        return IndexRow(name or table.name, error=str(error)), False
    return IndexRow(name or report.title, report.path, report.figures), True


def write_index(path: Path, rows: Sequence[IndexRow], title: str) -> None:
    """Write the index of pages.

    Raises:
        SinkError: It cannot be written.
    """
    known = [row.figures for row in rows if row.figures is not None]
    seconds = sum(_number(each, "seconds") for each in known)
    doubtful = sum(_number(each, "doubtful") for each in known) / max(sum(_number(each, "rows") for each in known), 1)
    failed = len(rows) - len(known)
    facts = [
        ("Tables", whole(len(rows)), f"{failed} without a page" if failed else ""),
        ("Length", duration(seconds), count(int(sum(_number(each, "frames") for each in known)), "frame")),
        ("Faces", whole(sum(_number(each, "faces") for each in known)), "tracks"),
        ("Doubtful", percent(doubtful), "of rows with a face"),
    ]
    header = [
        "video",
        "",
        "length",
        "frames",
        "with a face",
        "faces",
        "doubtful",
        "most of it",
        "estimated error",
        "blinks",
        "frames/s",
    ]
    names = Counter(row.name for row in rows)
    cells = [_cells(row, path.parent, place, alone=names[row.name] == 1) for place, row in enumerate(rows)]
    table = table_html("", header, cells, kind="index")
    body = "\n".join(
        [
            f"<header><h1>{safe(title)}</h1><p>Tables of a folder, each with a page of its own</p></header>",
            f'<main><section aria-label="Summary">{fact_list(facts)}</section>',
            f'<section aria-labelledby="h-tables"><h2 id="h-tables">Tables</h2>{table}</section></main>',
            f"<footer>Made by vtrack {safe(__version__)}. This page fetches nothing; its links lead to other pages.</footer>",
        ]
    )
    write_text(path, html_page(safe(title), body))


def _cells(row: IndexRow, folder: Path, place: int, *, alone: bool) -> list[str]:
    """The cells of a table in the index; where it is not the only one of its name, its page is named, too."""
    name = safe(row.name)
    if row.page is None or row.figures is None:
        return [name, f'<span class="error">{safe(row.error)}</span>', *["–"] * 9]
    figures = row.figures
    page = _relative(row.page, folder)
    address = quote(page.encode("utf-8", "surrogateescape"))
    picture = figures.get("picture") if place < _PICTURES else ""
    shown = f'<img src="{safe(picture)}" alt="">' if picture else ""
    frames, rows, spent = (_number(figures, key) for key in ("frames", "rows", "spent"))
    seconds, blinks, reason = figures.get("seconds"), figures.get("blinks"), str(figures.get("reason", ""))
    share = _number(figures, "doubtful") / max(rows, 1)
    return [
        f'<a href="{safe(address)}">{name}</a>{"" if alone else f" <small>{safe(page)}</small>"}',
        shown,
        "–" if seconds is None else duration(float(seconds)),
        whole(frames),
        percent(_number(figures, "with_faces") / max(frames, 1)),
        whole(_number(figures, "faces")),
        percent(share),
        safe(REASONS.get(reason, "–")),
        "–" if figures.get("error") is None else f"{_number(figures, 'error'):.1f} %",
        "–" if blinks is None else whole(blinks),
        f"{frames / spent:.1f}" if spent else "–",
    ]


def _relative(page: Path, folder: Path) -> str:
    """The way from the index to a page."""
    return Path(os.path.relpath(page.resolve(), folder.resolve())).as_posix()


def _check_index(index: Path, table: Path, *, overwrite: bool) -> None:
    if index.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{index}: an index is a file of its own; end its name in .html")
    check_targets([index], table, overwrite=overwrite or is_ours(index))


def _page_of(table: Path) -> Path:
    return table.with_suffix(SUFFIX)


def _is_old(page: Path, table: Path) -> bool:
    """Whether there is a page that is older than its table, or than the check of that."""
    made = [path for path in (table, current_check(table.with_suffix(""), table)) if path is not None]
    return page.exists() and page.stat().st_mtime_ns < max(path.stat().st_mtime_ns for path in made)


def _number(figures: Mapping[str, Any], name: str) -> float:
    """A figure; 0 where it is unknown."""
    value = figures.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
