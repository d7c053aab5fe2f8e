"""`refine_table`: what a run does after tracking, done anew from the raw columns of its table, without a model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.anchors import ANCHORS, box_around
from vtrack.errors import TableError, UsageError, spelled
from vtrack.measures import EyeEvent
from vtrack.options import words
from vtrack.parts import GROUPS
from vtrack.pipelines.outputs.base import write_sidecar
from vtrack.pipelines.outputs.group import SinkGroup
from vtrack.pipelines.outputs.open import make_sinks
from vtrack.pipelines.outputs.paths import checked_path
from vtrack.pipelines.outputs.stdout import STDOUT
from vtrack.pipelines.outputs.tables.columns import PIXEL_DIGITS, TIME_DIGITS
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.postprocessing import postprocess
from vtrack.pipelines.registry import CSV_FORMATS, HEAD, MEASURED_GROUPS, OUTPUTS
from vtrack.pipelines.settings import EXPRESSION, SMOOTHING, SPACE, OutputSettings, Settings, plain
from vtrack.pipelines.tables.curves import MissingPointsError, PointWeights
from vtrack.pipelines.tables.targets import TableTarget, check_targets, table_formats, table_target
from vtrack.pipelines.tracking.follower import TrackedFrame
from vtrack.pipelines.tracking.landmarks import Sighting, roll_of
from vtrack.runtime.threads import interruptible
from vtrack.types import FloatArray, Frame, FrameResult, Query

_EVENTS = "events"


@dataclass(frozen=True, slots=True)
class RefinedTable:
    """What was made anew of a table."""

    paths: tuple[Path, ...]
    """The new table and the table of events, those that were asked for; `STDOUT` for stdout."""
    counts: Mapping[str, int]
    """`frames`, `frames_with_faces`, `tracks` and `absurd`, as of a run."""


def refine_table(
    table: str | Path,
    output: str | Path | None = None,
    *,
    to: str | None = None,
    events: str | Path | bool | None = None,
    parts: str | Query | None = None,
    columns: Collection[str] | None = None,
    overwrite: bool = False,
    **chosen: Any,
) -> RefinedTable:
    """Smooth and measure the faces of a table anew, from its raw columns; the result is that of a run with these settings.

    Args:
        table: The table of a run with the columns `raw`, its `.meta.json` beside it.
        output: Table to write; `-` for stdout; None for one beside the table.
        to: Format of the new table: `wide`, `long`, `jsonl` or `parquet`; None for that of the ending of `output`, or of the
            table.
        events: Table of events to write; True for one beside the table. Without `output` and `to` it is the only one.
        parts: Points of the new table: some of the same, or others of the same parts by the curves through them.
        columns: Groups of extra columns; None for those that the table has.
        overwrite: Whether files that exist are replaced.
        **chosen: `smooth`, `strength`, `strengths`, `measures`, `pose`, `points3d`, `fov`, `pose_unit`, `eye_distance`,
            `expressions`, `neutral`, as `Settings` has them; the rest is as the run had it.

    Returns:
        What was written.

    Raises:
        UsageError: The table or an argument is invalid, or a file exists already.
        TableError: The table is damaged.
        SinkError: A file cannot be written.

    Example:
        refine_table("talk.vtrack.csv", smooth="kalman", strengths={"lips": 0.2}).paths  # talk.vtrack.refined.csv
    """
    results = TableResults(table)
    recorded = _recorded_options(results)
    target = _target(results, recorded, output, to) if events in (None, False) or output or to else None
    targets = {target.kind: target.path} if target is not None else {}
    if events is not None and events is not False:
        targets[_EVENTS] = (
            _beside(Path(table)).with_suffix(OUTPUTS[_EVENTS].suffix)
            if events is True
            else checked_path(_EVENTS, events)
        )
    if target is None and columns is not None:
        raise UsageError(
            f"{spelled('columns', ','.join(columns))} applies to tables of faces; add {spelled('output', 'FILE', flag='-o')}"
        )
    groups = (
        *(results.table.groups if columns is None else columns),
        *(name for name in MEASURED_GROUPS if chosen.get(name)),
    )
    form = target.format if target is not None and target.format in CSV_FORMATS else OutputSettings.format
    look = OutputSettings(outputs=tuple(targets), format=form, columns=tuple(dict.fromkeys(groups)))
    if "hidden" in set(look.columns) - set(results.table.groups):
        raise UsageError(
            f"{results.table.path} does not tell which points are hidden; run again with {spelled('columns', 'raw,hidden')}"
        )
    measured = {name: name in look.columns for name in MEASURED_GROUPS}
    measured["measures"] |= _EVENTS in targets
    settings = _settings(recorded, parts or results.query, {**chosen, **measured})
    tracked = _Tracked(results, settings)
    check_targets([*targets.values()], table, overwrite=overwrite)
    sinks = make_sinks(targets, look, settings.query, None, overwrite=overwrite)
    counts, ids, outputs = dict.fromkeys(("frames", "frames_with_faces", "absurd"), 0), set[int](), SinkGroup(sinks)
    with interruptible() as stop, outputs:
        for result in postprocess(settings, tracked):
            if stop.is_set():
                raise KeyboardInterrupt
            outputs.write(result)
            counts["frames"] += 1
            counts["frames_with_faces"] += bool(result.faces)
            counts["absurd"] += sum(int(np.isnan(face.sigma).sum()) for face in result.faces)
            ids.update(face.id for face in result.faces)
    refined = RefinedTable(tuple(outputs.saved), {**counts, "tracks": len(ids)})
    for place in [place for place in outputs.saved if place != STDOUT][:1]:
        facts = {name: results.table.meta.get(name, {}) for name in ("model", "source")}
        written = {"outputs": [*targets], "format": look.format, "columns": [*look.columns]}
        names = {"parts", *SMOOTHING, *MEASURED_GROUPS, *SPACE, *EXPRESSION}
        own = {name: value for name, value in plain(settings, look).items() if name in names}
        write_sidecar(place, options={**recorded, **own, **written}, counts=refined.counts, **facts)
    outputs.check()
    return refined


def events_of(table: str | Path) -> Iterator[EyeEvent]:
    """Yield the events of the faces of a table, as a run finds them; its raw columns are smoothed and measured anew."""
    results = TableResults(table)
    settings = _settings(_recorded_options(results), results.query, {"measures": True, "expressions": False})
    for result in postprocess(settings, _Tracked(results, settings)):
        yield from result.events


class _Tracked:
    """The frames of a table with the sightings that its raw columns hold, as they come from tracking."""

    def __init__(self, results: TableResults, settings: Settings) -> None:
        self._results, self._time_base = results, _time_base(results)
        try:
            self._weights = PointWeights.of(settings.model_query, results.unsmoothed_query, results.query)
        except MissingPointsError as error:
            asked = set(error.parts) & set(settings.query.parts)
            what = f"{spelled('parts')} needs" if asked else "measures, pose, expressions and events need"
            raise UsageError(
                f"{what} more points of {words(error.parts)} than {results.table.path} has; run again with them"
            ) from error

    def __iter__(self) -> Iterator[TrackedFrame]:
        for result in self._results:
            yield self._timed(result.frame), dict(self._sightings(result))

    def _timed(self, frame: Frame) -> Frame:
        """A frame with the time that the source gave it: tables round to microseconds."""
        if self._time_base is None:
            return frame
        pts = round(frame.time / self._time_base)
        return replace(frame, pts=pts, time_base=self._time_base)

    def _sightings(self, result: FrameResult) -> Iterator[tuple[int, Sighting]]:
        """Yield the faces of a frame that were seen, with their ids."""
        for face in result.faces:
            if face.unsmoothed is None:
                continue
            if np.isnan(face.unsmoothed).any():
                raise TableError(
                    f"{self._results.table.path}: frame {result.index} lacks raw columns, as those of earlier versions do; "
                    f"run again with {spelled('columns', 'raw')}"
                )
            # Parquet holds single precision, which the rounding undoes.
            unsmoothed = face.unsmoothed.round(PIXEL_DIGITS)
            points, sigma = self._weights.points @ unsmoothed[:, :2], self._weights.sigma @ unsmoothed[:, 2]
            anchors = points[-len(ANCHORS) :]
            hidden = None if face.hidden is None else self._hidden(face.hidden)
            yield face.id, Sighting(points, sigma, face.presence, box_around(anchors), float(roll_of(anchors)), hidden)

    def _hidden(self, told: FloatArray) -> FloatArray:
        """Whether points are hidden, by what the table tells of the user's; NaN for those that are made of others."""
        of_user, of_others = np.split(self._weights.sigma, [len(told)], axis=1)
        return np.where(of_others.any(1), np.nan, of_user @ told)


def _recorded_options(results: TableResults) -> dict[str, Any]:
    """The options of the run that made a table; raises `UsageError` unless the table tells all that is needed."""
    path = results.table.path
    options: dict[str, Any] | None = results.table.meta.get("options")
    if "raw" not in results.table.groups:
        raise UsageError(
            f"{path} has no raw columns, from which refine starts; run again with {spelled('columns', 'raw')}"
        )
    if results.size is None or results.table.query is None or options is None:
        raise UsageError(
            f"{path}: the .meta.json of the run must lie beside it, which says more of its points and frames"
        )
    if results.photographs:
        raise UsageError(f"{path} is of photographs; only faces in films are smoothed and have events")
    return options


def _time_base(results: TableResults) -> Fraction | None:
    """The unit of the times of the source, if they can be told from those of the table."""
    unit = results.source.get("time_base")
    if not isinstance(unit, float) or not 2 * 10**-TIME_DIGITS < unit < 1:
        return None
    return Fraction(unit).limit_denominator(10**TIME_DIGITS)


def _beside(table: Path) -> Path:
    """The path of what is made of a table, unless told otherwise."""
    return table.with_stem(f"{table.stem}.refined")


def _target(
    results: TableResults, recorded: Mapping[str, Any], output: str | Path | None, to: str | None
) -> TableTarget:
    """The new table: of the same format as the old one, unless told otherwise."""
    beside, formats = _beside(results.table.path), table_formats(columns=True)
    if output is not None or to is not None:
        return table_target(beside, to, output, formats)
    form = recorded.get("format") if beside.suffix.lower() in OUTPUTS["csv"].suffixes else None
    return table_target(beside, form if form in formats else None, beside, formats)


def _settings(recorded: Mapping[str, Any], parts: str | Query, chosen: Mapping[str, Any]) -> Settings:
    """The settings of a run, but for those that are chosen anew."""
    same = {name: recorded[name] for name in SMOOTHING if name in recorded and chosen.get("smooth") != "none"}
    space = {"fov"} if chosen["measures"] or chosen["expressions"] else set()
    if chosen.get("pose") or chosen.get("points3d"):
        space = {*SPACE} if chosen.get("pose_unit") != "eyes" else {"fov"}
    space |= {*EXPRESSION} if chosen.get("expressions") else set()
    same |= {name: recorded[name] for name in space if name in recorded}
    settings = Settings(parts, **{**same, **chosen, "strengths": {}})
    tracked = {HEAD, *settings.landmark_query.parts}
    before = same.get("strengths")
    strengths = {
        name: value
        for name, value in (before if isinstance(before, dict) else {}).items()
        if tracked & {name, *GROUPS.get(name, ())}
    }
    return replace(settings, strengths={**strengths, **chosen.get("strengths", {})}).check_used()
