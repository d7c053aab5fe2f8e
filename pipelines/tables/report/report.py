"""`report_table`: a table as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtrack._version import __version__
from vtrack.errors import SourceError, UsageError, spelled
from vtrack.pipelines.outputs.files import write_text
from vtrack.pipelines.outputs.paths import given_path
from vtrack.pipelines.outputs.stdout import STDOUT
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.sources.images.files import printable
from vtrack.pipelines.sources.open import is_address
from vtrack.pipelines.tables.quality.seconds import CheckedSeconds
from vtrack.pipelines.tables.report.faces import faces_section
from vtrack.pipelines.tables.report.page import html_page, web_file
from vtrack.pipelines.tables.report.plots import PLOTS, Scale, has_values, numbers, scale_of
from vtrack.pipelines.tables.report.sections import (
    SHOWN,
    doubts_section,
    run_section,
    summary_section,
    timeline_section,
)
from vtrack.pipelines.tables.report.stills import Still, StillRequest, take_stills
from vtrack.pipelines.tables.report.survey import Survey, survey_table
from vtrack.pipelines.tables.targets import check_targets, named_after
from vtrack.pipelines.tables.text import safe
from vtrack.types import FrameResult

SUFFIX = ".report.html"
_THUMBNAILS = 10
_THUMBNAIL, _FACE, _PORTRAIT = 192, 288, 176
"""Sides of pictures in pixels."""


@dataclass(frozen=True, slots=True)
class TableReport:
    """What was written, and the figures of an index."""

    path: Path
    title: str
    """Name of the video, or of the table if nothing tells."""
    survey: Survey
    stills: Mapping[str, Still]
    note: str
    """Why there are no pictures; empty if there are."""
    figures: Mapping[str, str | float | None]
    """What an index says of it."""


def report_table(
    table: str | Path,
    output: str | Path | None = None,
    *,
    video: str | None = None,
    check: str | Path | None = None,
    parts: str = "",
    overwrite: bool = False,
    progress: Callable[[Iterator[FrameResult]], Iterator[FrameResult]] = lambda results: results,
) -> TableReport:
    """Write a page about a table: what is doubtful, a timeline, plots of each face, settings and speed of the run.

    Args:
        table: The table, as `read_table` takes it.
        output: The page to write; None for `TABLE.report.html` beside the table.
        video: What the table was made of, for pictures; None for what the facts beside the table say, if it is there.
        check: What `vtrack check --csv` wrote about the table, whose estimated errors and reasons are shown then.
        parts: What the points are, if the facts beside the table do not tell.
        overwrite: Whether a page that exists is replaced.
        progress: Called with the results of the table; gives them on and may count them.

    Raises:
        UsageError: An argument is invalid, the page exists already, or the table is not of this video.
        TableError: The table is damaged.
        SourceError: The video cannot be read.
        SinkError: The page cannot be written.

    Example:
        report_table("talk.vtrack.csv").path  # talk.vtrack.report.html
    """
    path = named_after(Path(table), SUFFIX) if output is None else given_path(output)
    if path == STDOUT or path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path}: a report is a file of its own; end its name in .html")
    results = TableResults(table, parts=parts, untimed=True)
    check_targets([path], table, check, overwrite=overwrite)
    if check is not None and not results.table.timed:
        raise UsageError(f"{spelled('check')} needs a table with times, and {table} has none")
    survey = survey_table(results, progress, None if check is None else CheckedSeconds(check))
    stills, note = _stills(results, survey, video)
    meta = results.table.meta
    title = _title(results)
    figures = _figures(title, survey, meta, stills)
    write_text(path, _page(title, Path(table).name, survey, meta, stills, note, figures), overwrite=overwrite)
    return TableReport(path, title, survey, stills, note, figures)


def _figures(
    title: str, survey: Survey, meta: Mapping[str, Any], stills: Mapping[str, Still]
) -> dict[str, str | float | None]:
    """What an index says of the page."""
    course, spent = survey.course, meta.get("counts", {}).get("seconds")
    timed = survey.timed and not survey.photographs and course.used > 0
    middle = stills.get(f"thumbnail-{_THUMBNAILS // 2}") or next(iter(stills.values()), None)
    return {
        "title": printable(title),
        "frames": course.frames,
        "seconds": round(course.length, 3) if timed else None,
        "with_faces": survey.frames_with_faces,
        "faces": len(course.tracks),
        "rows": survey.rows,
        "doubtful": survey.doubtful,
        "error": survey.error,
        "reason": max(survey.seconds, key=lambda name: survey.seconds[name]) if survey.stretches else "",
        "blinks": sum(survey.blinks.values()) if survey.blinks else None,
        "spent": float(spent) if isinstance(spent, int | float) else None,
        "picture": middle.address if middle is not None else "",
    }


def _page(
    title: str,
    table: str,
    survey: Survey,
    meta: Mapping[str, Any],
    stills: Mapping[str, Still],
    note: str,
    figures: Mapping[str, Any],
) -> str:
    """The page as HTML."""
    faces = [] if survey.photographs else survey.course.faces[:SHOWN]
    plots = [plot for plot in PLOTS if any(has_values(plot, face) for face in faces)]
    scales: dict[str, Scale] = {plot.name: scale_of(plot, faces) for plot in plots}
    least = {request.face: request.time for request in survey.least.values()}
    thumbnails = [(request.name, request.time, request.file) for request in _thumbnails(survey)]
    body = "\n".join(
        [
            f"<header><h1>{safe(title)}</h1><p>Faces of {safe(table)}, tracked by vtrack</p></header>",
            "<main>",
            summary_section(survey, meta),
            doubts_section(survey, stills, note),
            timeline_section(survey, stills, thumbnails),
            faces_section(survey, scales, stills, least),
            run_section(meta),
            "</main>",
            f"<footer>Made by vtrack {safe(__version__)}. This page holds all that it shows, and fetches nothing.</footer>",
        ]
    )
    if not faces:
        return html_page(safe(title), body, figures=figures)
    data = {**numbers(survey.course, faces, plots), "timed": survey.timed}
    return html_page(safe(title), body, script=web_file("report.js"), data=data, figures=figures)


def _title(results: TableResults) -> str:
    """The name of the video."""
    name = results.source.get("name")
    return name if isinstance(name, str) and name else results.table.path.name


def _stills(results: TableResults, survey: Survey, video: str | None) -> tuple[dict[str, Still], str]:
    """The pictures, and why there are none."""
    requests = _requests(survey)
    if video is not None:
        return take_stills(requests, results, video), ""
    found = _recorded_video(results)
    if found is None:
        return {}, (
            "There are no pictures: the video was not found where the run read it. "
            "<code>vtrack report TABLE --video VIDEO</code> takes them from elsewhere."
        )
    try:
        return take_stills(requests, results, str(found)), ""
    except (UsageError, SourceError) as error:
        return {}, f"There are no pictures: {safe(error)}."


def _recorded_video(results: TableResults) -> Path | None:
    """The video of a table by the facts beside it, or of that name beside the table."""
    path, name = results.source.get("path"), results.source.get("name")
    places = [Path(path)] if isinstance(path, str) and path and not is_address(path) else []
    if isinstance(name, str) and name and Path(name).name == name:
        places.append(results.table.path.parent / name)
    return next((place for place in places if _exists(place)), None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _requests(survey: Survey) -> list[StillRequest]:
    """The pictures that a page shows."""
    requests = _thumbnails(survey)
    for rank, doubt in enumerate(survey.doubts):
        requests.append(
            StillRequest(f"doubt-{rank}", doubt.frame, doubt.time, doubt.file, _FACE, doubt.box, doubt.points)
        )
    for face in [] if survey.photographs else survey.course.faces[:SHOWN]:
        for kind, portraits in (("portrait", survey.portraits), ("least", survey.least)):
            if (shown := portraits.get(face.number)) is not None:
                requests.append(
                    StillRequest(
                        f"{kind}-{face.number}", shown.frame, shown.time, shown.file, _PORTRAIT, shown.box, shown.points
                    )
                )
    return [request for request in requests if request.box is None or np.isfinite(request.box).all()]


def _thumbnails(survey: Survey) -> list[StillRequest]:
    """Frames at even steps of time; of photographs at even steps of their numbers."""
    course = survey.course
    if not course.used:
        return []
    edges = course.edges
    even = (np.arange(_THUMBNAILS) + 0.5) / _THUMBNAILS
    if survey.photographs or edges[-1] <= edges[0]:
        places = (even * course.used).astype(np.intp)
    else:
        wanted = edges[0] + even * (edges[-1] - edges[0])
        places = np.clip(np.searchsorted(edges, wanted, "right") - 1, 0, course.used - 1)
    return [
        StillRequest(
            f"thumbnail-{i}",
            int(course.index[place]),
            float(course.time[place]),
            course.files.get(place, ""),
            _THUMBNAIL,
        )
        for i, place in enumerate(np.unique(places).tolist())
    ]
