"""One pass over a table: the course of its faces, what is doubtful, and which frames a report shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.tables.doubts import BRIEF, Doubt, DoubtFinder, FaceRows, worst_faces
from vtrack.pipelines.tables.measured import MeasuredResults
from vtrack.pipelines.tables.quality.error_model import error_model
from vtrack.pipelines.tables.quality.seconds import CheckedSeconds
from vtrack.pipelines.tables.report.course import Course
from vtrack.pipelines.tracking.doubt import WorstFace
from vtrack.types import FloatArray, FrameResult

COLUMNS = ("presence", "sigma", "error", "doubt", *MEASURES)
"""Values of a face that are kept over time."""
_BATCH = 256
"""Frames that are taken into account at once."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A frame of a face to show."""

    face: int
    frame: int
    time: float
    file: str
    box: FloatArray
    points: FloatArray
    quality: float


@dataclass(frozen=True, eq=False, slots=True)
class Survey:
    """What a table says."""

    course: Course
    doubts: list[Doubt]
    """The worst stretches, the worst first."""
    stretches: int
    """Number of all stretches."""
    seconds: dict[str, float]
    """Seconds for each reason; faces of photographs, frames of a table without times."""
    rows: int
    """Rows with a face."""
    doubtful: int
    """Rows that are doubtful."""
    frames_with_faces: int
    portraits: dict[int, Portrait]
    """The frame of each kept face in which it is seen best."""
    least: dict[int, Portrait]
    """The frame of each kept face in which its points are least certain."""
    blinks: dict[int, int]
    """Blinks of each kept face."""
    worst: WorstFace
    error: float | None
    """Mean of the estimated errors of the rows, in % of the distance between the outer corners of the eyes; None if there are
    none."""
    measured_here: bool
    """Whether measures are not those of the table."""
    lacking: tuple[str, ...]
    """Parts of which there are too few points for measures."""
    timed: bool
    photographs: bool


def survey_table(
    results: TableResults,
    progress: Callable[[Iterator[FrameResult]], Iterator[FrameResult]] = lambda results: results,
    checked: CheckedSeconds | None = None,
) -> Survey:
    """Read a table, once.

    Args:
        results: The table, not yet read.
        progress: Called with its results; gives them on and may count them.
        checked: What a check of the table found; None if there was none.

    Raises:
        TableError: It is damaged.
        UsageError: The check is of another table.
    """
    photographs = results.photographs
    measured, worst = MeasuredResults(results), worst_faces(results.table.meta.get("model", {}))
    course, finder = (
        Course(COLUMNS),
        DoubtFinder(worst, results.size, timed=results.table.timed, photographs=photographs),
    )
    portraits: dict[int, Portrait] = {}
    least: dict[int, Portrait] = {}
    blinks: dict[int, int] = {}
    rows = with_faces = estimated = 0
    interval = errors = 0.0
    for batch in _batches(progress(measured)):
        times = np.array([result.time for result in batch])
        counts = np.array([len(result.faces) for result in batch], np.intp)
        cuts = np.array([result.frame.cut for result in batch])
        names = [result.frame.file for result in batch]
        places = course.add_frames(times, np.array([result.index for result in batch], np.int64), counts, cuts, names)
        span = course.end - float(course.time[0])
        interval = 1.0 if photographs else span / max(course.frames - 1, 1)
        with_faces += int(np.count_nonzero(counts))
        if not counts.any():
            continue
        faces = [face for result in batch for face in result.faces]
        yaw = np.array([face.measures["yaw"] if face.measures else np.nan for face in faces])
        table, further = FaceRows.of(batch, yaw), {}
        if checked is not None:
            error, signals = checked.of(table.time, table.face)
            table, further = replace(table, error=error), error_model().reasons(signals)
            errors, estimated = errors + float(np.nansum(error)), estimated + int(np.isfinite(error).sum())
        weights = finder.add(table, interval, further)
        measures = np.array([face.measures.array if face.measures else [np.nan] * len(MEASURES) for face in faces])
        values = np.column_stack([table.presence, 100 * table.sigma, table.error, weights > 0, measures])
        # Photographs number their faces anew, so that faces have no course.
        if photographs:
            course.tracks.update(((table.frame << 20) + table.face).tolist())
        else:
            course.add_faces(np.repeat(places, counts), table.time, table.face, values)
            _choose(portraits, table, _quality(table, weights))
            _choose(least, table, np.nan_to_num(table.sigma))
            kept = {face.number for face in course.faces}
            for chosen in (portraits, least):
                for number in chosen.keys() - kept:
                    del chosen[number]
            last = measures[:, MEASURES.index("blinks")]
            known = np.isfinite(last)
            blinks |= zip(table.face[known].tolist(), last[known].astype(int).tolist(), strict=True)
            blinks = {number: count for number, count in blinks.items() if number in kept}
        rows += len(faces)
    if checked is not None and rows:
        checked.check_found(results.table.path)
    if not photographs and results.table.timed:
        _add_brief(finder, course, portraits)
    return Survey(
        course,
        finder.finish(),
        finder.stretches,
        finder.seconds,
        rows,
        finder.doubtful,
        with_faces,
        portraits,
        least,
        blinks,
        worst,
        errors / estimated if estimated else None,
        measured.computed,
        measured.lacking,
        results.table.timed,
        photographs,
    )


def _batches(results: Iterator[FrameResult]) -> Iterator[list[FrameResult]]:
    while batch := list(islice(results, _BATCH)):
        yield batch


def _quality(rows: FaceRows, weights: FloatArray) -> FloatArray:
    """(rows,) how well a face is seen: large, certain, frontal and not doubtful; in steps, so that the first one counts."""
    quality = np.log2(np.maximum(rows.side, 1)) - weights * 4 - np.nan_to_num(np.abs(rows.yaw)) / 45
    steps: FloatArray = np.rint((quality - 20 * np.nan_to_num(rows.sigma)) / 0.05)
    return steps


def _choose(portraits: dict[int, Portrait], rows: FaceRows, quality: FloatArray) -> None:
    """Keep the frame of each face with the most of a quality, the first of several."""
    for number in np.unique(rows.face).tolist():
        own = np.flatnonzero(rows.face == number)
        row = int(own[quality[own].argmax()])
        if number not in portraits or quality[row] > portraits[number].quality:
            portraits[number] = Portrait(
                number,
                int(rows.frame[row]),
                float(rows.time[row]),
                rows.file[row],
                rows.box[row].copy(),
                rows.points[row].copy(),
                float(quality[row]),
            )


def _add_brief(finder: DoubtFinder, course: Course, portraits: dict[int, Portrait]) -> None:
    """Add the faces that were seen for a moment only, unless the video or the picture's edge cut them."""
    if not course.used:
        return
    begin = float(course.time[0])
    for face in course.faces:
        portrait = portraits[face.number]
        if face.end - face.start < BRIEF and face.start - begin > BRIEF and course.end - face.end > BRIEF:
            finder.add_brief(
                Doubt(
                    face.number,
                    face.start,
                    face.end,
                    {"brief": 0.6},
                    0.6,
                    portrait.frame,
                    portrait.time,
                    portrait.file,
                    portrait.box,
                    portrait.points,
                )
            )
