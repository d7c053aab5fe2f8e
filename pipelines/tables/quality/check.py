"""`check_table`: how far off the points of a table probably are, for each face and second, without labels and models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import groupby
from math import floor
from pathlib import Path
from typing import Any

import numpy as np

from vtrack._version import __version__
from vtrack.errors import UsageError
from vtrack.imaging.crops import Crops
from vtrack.pipelines.outputs.files import text_file
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.settings import CropSettings, InputSettings
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.tables.comparison.statistics import DistanceHistogram
from vtrack.pipelines.tables.crops.alignment import FaceAligner
from vtrack.pipelines.tables.doubts import Doubt, DoubtFinder, FaceRows, worst_faces
from vtrack.pipelines.tables.draw import TablePlayer, selection_of
from vtrack.pipelines.tables.fit import check_size
from vtrack.pipelines.tables.quality.error_model import ErrorEstimate, error_model
from vtrack.pipelines.tables.quality.flow import FlowMeter
from vtrack.pipelines.tables.quality.likeness import likenesses
from vtrack.pipelines.tables.quality.seconds import COLUMNS, second_line
from vtrack.pipelines.tables.quality.signals import SIGNALS, FaceSecond, SeenFrame, SignalMeter
from vtrack.pipelines.tables.targets import check_targets
from vtrack.runtime.threads import interruptible
from vtrack.types import FloatArray, FrameResult, Query

_MARGIN = 1.4
"""Side of a crop over the longer side of the box around points of which nothing tells where they lie on a face."""


@dataclass(slots=True)
class FaceQuality:
    """What the seconds of one face add up to."""

    start: float
    end: float = 0.0
    seconds: int = 0
    """Those of which the error is estimated."""
    frames: int = 0
    total: float = 0.0
    worst: float = np.nan
    worst_start: float = np.nan

    @property
    def error(self) -> float:
        """Mean of the estimated errors of its seconds; NaN where nothing tells of any."""
        return self.total / self.seconds if self.seconds else np.nan

    def add(self, rows: FaceSecond, error: float) -> None:
        """Add a second; NaN where nothing tells of its error."""
        self.end, self.frames = float(rows.time[-1]), self.frames + len(rows.time)
        if np.isnan(error):
            return
        self.seconds, self.total = self.seconds + 1, self.total + error
        if not error <= self.worst:
            self.worst, self.worst_start = error, float(rows.start)


@dataclass(frozen=True, eq=False, slots=True)
class TableCheck:
    """How good a table is, as far as it and its video tell.

    Errors are mean distances of points from where they should be, in % of the distance between the outer corners of the eyes.
    """

    faces: Mapping[int, FaceQuality]
    doubts: list[Doubt]
    """The worst doubtful stretches, the worst first."""
    stretches: int
    """Number of all doubtful stretches."""
    frames: int
    errors: Mapping[str, float]
    """`mean`, `median`, `p95` and `max` of the estimated errors of all faces and seconds; NaN without faces."""
    signals: tuple[str, ...]
    """The signals that the table and the video had."""
    video: str | None

    def to_json(self) -> str:
        """All figures as JSON."""
        figures: dict[str, Any] = {
            "vtrack": __version__,
            "video": self.video,
            "frames": self.frames,
            "unit": "% of the distance between the outer corners of the eyes",
            "signals": list(self.signals),
            "error": {name: _rounded(value) for name, value in self.errors.items()},
            "faces": [
                {
                    "face": number,
                    "start_s": face.start,
                    "end_s": face.end,
                    "frames": face.frames,
                    "error": _rounded(face.error),
                    "worst": _rounded(face.worst),
                    "worst_start_s": _rounded(face.worst_start),
                }
                for number, face in self.faces.items()
            ],
            "stretches": self.stretches,
            "doubtful": [
                {
                    "face": doubt.face,
                    "start_s": doubt.start,
                    "end_s": doubt.end,
                    "frame": doubt.frame,
                    "error": _rounded(doubt.error),
                    "reasons": doubt.texts,
                }
                for doubt in self.doubts
            ],
        }
        return json.dumps(figures, indent=2, ensure_ascii=False) + "\n"


def check_table(
    table: str | Path,
    video: str | None = None,
    *,
    csv: str | Path | None = None,
    parts: str = "",
    fps: float | None = None,
    worst: int = 12,
    overwrite: bool = False,
    progress: Callable[[Iterator[FrameResult]], Iterator[FrameResult]] = lambda results: results,
) -> TableCheck:
    """Estimate how far off the points of a table are, for each face and second.

    The table is read once, with its video if it is given; what is in memory grows with the number of faces alone.

    Args:
        table: The table, as `read_table` takes it.
        video: What it was made of; None to judge by the table alone.
        csv: Table of faces and seconds to write, with the estimated errors and the signals; None for none.
        parts: What the points are, if the facts beside the table do not tell.
        fps: Frames per second of a table without times.
        worst: Number of the worst doubtful stretches that are kept.
        overwrite: Whether a file that exists is replaced.
        progress: Called with the results of the table; gives them on and may count them.

    Raises:
        UsageError: An argument is invalid, the file exists or is read itself, the table is of photographs, or it is not of
            this video.
        TableError: The table is damaged.
        SourceError: The video cannot be read.
        SinkError: The file cannot be written.

    Example:
        check_table("talk.vtrack.csv", "talk.mp4").errors["median"]
    """
    if csv is not None:
        check_targets([Path(csv)], table, video, overwrite=overwrite)
    results = TableResults(table, parts=parts, fps=fps)
    if results.photographs:
        raise UsageError(f"{table} is of photographs, and check judges motion; vtrack report shows which are doubtful")
    with ExitStack() as stack:
        stop = stack.enter_context(interruptible())
        write = stack.enter_context(text_file(csv, overwrite=overwrite)) if csv is not None else lambda text: None
        write(",".join(COLUMNS) + "\n")
        size, name = results.size, None
        measured: Iterator[SeenFrame] = (SeenFrame(result, {}, {}) for result in progress(results))
        if video is not None:
            source = stack.enter_context(open_source(video, **vars(InputSettings(**vars(selection_of(results))))))
            if source.info.photographs:
                raise UsageError(f"check judges motion, and {video} is photographs")
            check_size(results, source)
            # Whatever fails, the thread that decodes ends before the source is closed.
            frames = stack.enter_context(closing(TablePlayer(results).results(source, stop=stop)))
            measured = _measured(progress(frames), _aligner(results.query))
            size, name = source.info.size, source.info.name
        finder = DoubtFinder(worst_faces(results.table.meta.get("model", {})), size, most=worst)
        counter = _Counter(SignalMeter(results.query, size), finder)
        for start, second in groupby(measured, key=lambda frame: floor(frame.result.time)):
            if stop.is_set():
                raise KeyboardInterrupt
            write("".join(second_line(*face) for face in counter.add(start, [*second])))
        return counter.check(name)


def _aligner(query: Query) -> FaceAligner | None:
    """What finds upright crops of faces; None where too few points are on the face template."""
    try:
        return FaceAligner(query, CropSettings(align="face"))
    except UsageError:
        return None


def _measured(results: Iterator[FrameResult], aligner: FaceAligner | None) -> Iterator[SeenFrame]:
    """Yield results without their pictures, and what these tell of the faces."""
    flow = FlowMeter()
    for result in results:
        crops = {face.id: crop for face in result.faces if (crop := _crop(face.points, aligner)) is not None}
        likeness = {} if aligner is None else likenesses(result.frame, crops, aligner.side)
        yield SeenFrame(replace(result, frame=result.frame.without_pixels()), flow(result, crops), likeness)


def _crop(points: FloatArray, aligner: FaceAligner | None) -> Crops | None:
    """The crop of a face with points (points, 2), upright if they tell how it lies; None where too few of them are known."""
    if aligner is not None:
        alignment = aligner.align(points)
        return None if alignment is None else aligner.crop(alignment)
    known = points[np.isfinite(points).all(1)]
    if not len(known):
        return None
    low = known.min(0)
    return Crops.around(np.concatenate([low, known.max(0) - low])[None], _MARGIN)


class _Counter:
    """Adds up the seconds of a table."""

    def __init__(self, meter: SignalMeter, finder: DoubtFinder) -> None:
        self._meter, self._finder, self._model = meter, finder, error_model()
        self._faces: dict[int, FaceQuality] = {}
        self._errors = DistanceHistogram(1)
        self._told = np.zeros(len(SIGNALS), bool)
        self._frames = 0

    def add(self, start: int, second: list[SeenFrame]) -> list[tuple[FaceSecond, ErrorEstimate, FloatArray]]:
        """Add the next second; return its faces with their errors and signals."""
        results = [frame.result for frame in second]
        self._frames += len(results)
        ids = np.array([face.id for result in results for face in result.faces])
        if not len(ids):
            return []
        faces = []
        yaw, error, values = np.empty(len(ids)), np.empty(len(ids)), np.empty((len(ids), len(SIGNALS)))
        for number in np.unique(ids).tolist():
            rows, own = FaceSecond.of(number, start, second), ids == number
            signals, yaw[own] = self._meter(rows)
            estimate = self._model.estimate(signals)
            error[own], values[own] = estimate.error, signals
            self._told |= np.isfinite(signals)
            self._errors.add(np.zeros(1, np.intp), np.array([estimate.error]))
            self._faces.setdefault(rows.face, FaceQuality(float(rows.time[0]))).add(rows, estimate.error)
            faces.append((rows, estimate, signals))
        self._finder.add(FaceRows.of(results, yaw, error), 1 / len(results), self._model.reasons(values))
        return faces

    def check(self, video: str | None) -> TableCheck:
        """What was counted."""
        told = tuple(name for name, known in zip(SIGNALS, self._told, strict=True) if known)
        errors = self._errors.figures()
        doubts = self._finder.finish()
        return TableCheck(self._faces, doubts, self._finder.stretches, self._frames, errors, told, video)


def _rounded(value: float) -> float | None:
    """A figure with three decimals; None where it is unknown."""
    return None if np.isnan(value) else round(value, 3)
