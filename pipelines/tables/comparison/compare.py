"""`compare_tables`: how far apart the faces and points of two tables of one video are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from vtrack._version import __version__
from vtrack.errors import UsageError, spelled
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.tables.comparison.agreement import ValueComparison
from vtrack.pipelines.tables.comparison.pairing import FacePair, FacePairing, paired_frames
from vtrack.pipelines.tables.comparison.points import CommonPoints, Places, common_points, eye_corners, names_by_part
from vtrack.pipelines.tables.comparison.shift import estimate_shift
from vtrack.pipelines.tables.comparison.statistics import DistanceHistogram, JitterSums, OffsetSums
from vtrack.pipelines.tables.comparison.timeline import Timeline, WorstFrame, WorstFrames
from vtrack.pipelines.tables.measured import MeasuredResults
from vtrack.runtime.threads import interruptible
from vtrack.types import FloatArray, Frame

_BLOCK = 256
"""Pairs of faces whose points are counted at once."""
ALL = "all"
"""The name of all points together."""


@dataclass(frozen=True, eq=False, slots=True)
class TableComparison:
    """What two tables have in common, and how far apart they are."""

    figures: dict[str, Any]
    """All figures by name, as `--json` writes them; NaN where there are none."""
    worst: list[WorstFrame]
    """The worst frames, the worst first."""
    common: CommonPoints
    timed: bool
    """Whether a table has times."""

    def to_json(self) -> str:
        """The figures as JSON; null where there are none."""
        return json.dumps(_without_nan(self.figures), indent=2, ensure_ascii=False) + "\n"


class _Row(NamedTuple):
    """A pair of faces with the frame that it is in."""

    frame: Frame
    pair: FacePair
    unit: float
    bends: tuple[FloatArray, FloatArray] | None


def open_pair(
    first: str | Path, second: str | Path, *, fps: float | None = None, parts: str = "", other_parts: str = ""
) -> tuple[TableResults, TableResults]:
    """Open two tables of one video, of which any may be without times.

    Args:
        first: One table, as `read_table` takes it.
        second: The other.
        fps: Frames per second of tables without times, where neither has times.
        parts: What the points of the first are, if the facts beside it do not tell.
        other_parts: What those of the second are.

    Raises:
        TableError: A table cannot be read.
        UsageError: Neither has times, and there is no `fps`; or both have, and there is one.
    """

    one, other = TableResults(first, parts=parts, untimed=True), TableResults(second, parts=other_parts, untimed=True)
    timed = one.table.timed, other.table.timed
    if fps is not None and any(timed):
        raise UsageError(f"{spelled('fps')} applies where neither table has times, and one has; leave it out")
    if fps is None and not any(timed):
        raise UsageError(f"{first} and {second} have no times; give their frames per second, {spelled('fps', 25)}")
    # Both are of one video, so that either tells the size of its frames.
    size = one.size or other.size
    one = TableResults(first, parts=parts, fps=fps, untimed=True, size=size)
    return one, TableResults(second, parts=other_parts, fps=fps, untimed=True, size=size)


def compare_tables(
    first: str | Path,
    second: str | Path,
    *,
    fps: float | None = None,
    parts: str = "",
    other_parts: str = "",
    same: Mapping[str, str] | None = None,
    ignore_times: bool = False,
    shift: int | Literal["auto"] = 0,
    measure: bool = False,
    worst: int = 12,
) -> TableComparison:
    """Compare two tables of one video, reading each once; what is in memory does not grow with them.

    Args:
        first: One table, as `read_table` takes it. Offsets are its points minus those of the other.
        second: The other: of another run, model or program, or labels by hand.
        fps: Frames per second, where neither table has times.
        parts: What the points of the first are, if the facts beside it do not tell.
        other_parts: What those of the second are.
        same: Names of points of the first that are called differently in the second.
        ignore_times: Whether frames are matched by their numbers alone.
        shift: By how many frames the second lags behind the first; `auto` finds the shift at which faces move most alike.
        measure: Whether tables without measures are measured, on the curves through their points.
        worst: Number of the worst frames that are kept.

    Raises:
        TableError: A table cannot be read or is damaged.
        UsageError: An argument is invalid, the tables are of different videos, or have no points in common.

    Example:
        compare_tables("fast.csv", "accurate.csv").figures["distances"]["all"]["percent"]["mean"]
    """
    one, other = open_pair(first, second, fps=fps, parts=parts, other_parts=other_parts)
    common, estimate = common_points(one, other, same), None
    if shift == "auto":
        estimate = estimate_shift(*open_pair(first, second, fps=fps, parts=parts, other_parts=other_parts), common)
        shift = estimate.frames
    measured = [MeasuredResults(each) for each in (one, other)] if measure else []
    groups = [each.groups for each in measured] or [each.table.groups for each in (one, other)]
    counter = _Counter(one, other, common, worst, ValueComparison(groups))
    clock = 0 if one.table.timed or not other.table.timed else 1
    with interruptible() as stop:
        for results in paired_frames(one, other, measured or (one, other), times=not ignore_times, shift=shift):
            if stop.is_set():
                raise KeyboardInterrupt
            timed = results[clock] or results[1 - clock]
            assert timed is not None
            counter.add(timed.frame, *(result.faces if result is not None else None for result in results))
    return counter.comparison({"frames": shift, **({} if estimate is None else estimate.figures())})


class _Counter:
    """Adds up two tables, frame by frame."""

    def __init__(
        self,
        first: TableResults,
        second: TableResults,
        common: CommonPoints,
        worst: int,
        values: ValueComparison,
    ) -> None:
        self._tables, self._common, self._values = (first, second), common, values
        self._pairing = FacePairing(common)
        self._corners: tuple[int, Places] | None = next(
            ((i, places) for i in (1, 0) if (places := eye_corners(self._tables[i].query)) is not None), None
        )
        names = common.part_names
        self._group = np.array([names.index(part) for part in common.parts], np.intp)
        self._pixels, self._percent = DistanceHistogram(len(names)), DistanceHistogram(len(names))
        self._offsets, self._shares = OffsetSums(len(names)), OffsetSums(len(names))
        self._jitter = tuple((JitterSums(len(names)), JitterSums(len(names))) for _ in self._tables)
        self._timeline, self._worst = Timeline(), WorstFrames(worst)
        self._frames = {"both": 0, "only_first": 0, "only_second": 0}
        self._faces = {"matched": 0, "only_first": 0, "only_second": 0}
        self._counts: list[dict[str, Any]] = [{"frames": 0, "faces": 0, "ids": set()} for _ in self._tables]
        self._past: dict[tuple[int, int], list[tuple[int, tuple[FloatArray, FloatArray]]]] = {}
        self._rows: list[_Row] = []
        self._units = 0.0

    def add(self, frame: Frame, first: tuple[Any, ...] | None, second: tuple[Any, ...] | None) -> None:
        """Count one frame; None for a table that does not have it."""
        for count, faces in zip(self._counts, (first, second), strict=True):
            if faces is not None:
                count["frames"] += 1
                count["faces"] += len(faces)
                count["ids"].update(face.id for face in faces)
        if first is None or second is None:
            self._frames["only_second" if first is None else "only_first"] += 1
            return
        self._frames["both"] += 1
        pairs = self._pairing.pairs(first, second)
        for table, (name, faces) in enumerate((("only_first", first), ("only_second", second))):
            if single := len(faces) - len(pairs):
                self._faces[name] += single
                self._timeline.add_single(frame.time, table, single)
        self._faces["matched"] += len(pairs)
        if frame.file:  # photographs: what is in one does not go on in the next
            self._pairing.forget()
        past, self._past = {} if frame.file else self._past, {}
        for pair in pairs:
            ids = pair.first.id, pair.second.id
            history = [*past.get(ids, []), (frame.index, pair.points)][-3:]
            self._past[ids] = history
            self._rows.append(_Row(frame, pair, self._unit(pair), _bends(history)))
        if len(self._rows) >= _BLOCK:
            self._flush()

    def _unit(self, pair: FacePair) -> float:
        """What distances of a pair are shown in percent of."""
        if self._corners is None:
            return pair.side
        table, places = self._corners
        left, right = places.of((pair.first, pair.second)[table].points)
        distance = float(np.hypot(*(right - left)))
        return distance if distance > 0 else float("nan")

    def _flush(self) -> None:
        """Count the points of the rows that wait."""
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        ones, others = (np.stack([row.pair.points[i] for row in rows]) for i in (0, 1))
        units = np.array([row.unit for row in rows])
        self._units += float(np.nansum(units))
        offsets = ones - others
        distances = np.linalg.norm(offsets, axis=-1)
        percent = 100 * distances / units[:, None]
        self._values.add([row.pair for row in rows])
        groups = np.tile(self._group, len(rows))
        self._pixels.add(groups, distances.ravel())
        self._percent.add(groups, percent.ravel())
        self._offsets.add(groups, offsets.reshape(-1, 2))
        self._shares.add(groups, (100 * offsets / units[:, None, None]).reshape(-1, 2))
        for row, far, share in zip(rows, distances, percent, strict=True):
            self._timeline.add_pair(row.frame.time, far, share)
            self._note(row, far, share)
        bent = [row for row in rows if row.bends is not None]
        if bent:
            scale = 100 / np.array([row.unit for row in bent])
            for table, (pixels, shares) in enumerate(self._jitter):
                bends = np.stack([row.bends[table] for row in bent if row.bends is not None])
                groups = np.tile(self._group, len(bent))
                pixels.add(groups, bends.reshape(-1, 2))
                shares.add(groups, (bends * scale[:, None, None]).reshape(-1, 2))

    def _note(self, row: _Row, far: FloatArray, share: FloatArray) -> None:
        """Remember a pair, if it belongs to the worst."""
        known = np.isfinite(far)
        if not known.any() or np.isnan(row.unit):
            return
        sums = np.bincount(self._group[known], far[known], len(self._common.part_names))
        means = sums / np.maximum(np.bincount(self._group[known], minlength=len(sums)), 1)
        self._worst.add(
            WorstFrame(
                row.frame.index,
                row.frame.time,
                row.pair.first.id,
                row.pair.second.id,
                float(share[known].mean()),
                float(far[known].mean()),
                self._common.part_names[int(means.argmax())],
                row.pair.points,
                row.frame.file,
            )
        )

    def comparison(self, shift: Mapping[str, Any]) -> TableComparison:
        """What was counted; `shift` is how the second table lags behind the first."""
        self._flush()
        if not self._frames["both"]:
            one, other = (table.table.path for table in self._tables)
            raise UsageError(f"{one} and {other} have no frame in common; compare tables of the same video")
        worst = self._worst.listed()
        common, names = self._common, self._common.part_names
        tables = {
            name: {
                "path": str(table.table.path),
                "frames": count["frames"],
                "faces": count["faces"],
                "ids": len(count["ids"]),
                "points": len(table.query),
            }
            for name, table, count in zip(("first", "second"), self._tables, self._counts, strict=True)
        }
        per_part = {part: common.parts.count(part) for part in names}
        figures = {
            "vtrack": __version__,
            **tables,
            "frames": self._frames,
            "shift": shift,
            "faces": self._faces,
            "ids": {
                "pairs": [
                    {"first": one, "second": other, "frames": frames}
                    for (one, other), frames in sorted(
                        self._pairing.frames.items(), key=lambda item: (-item[1], item[0])
                    )
                ],
                "switches_first": self._pairing.switches[0],
                "switches_second": self._pairing.switches[1],
            },
            "points": {
                "compared": len(common.names),
                "by_curve": int(common.by_curve.sum()),
                "parts": per_part,
                "only_first": names_by_part(self._tables[0].query, common.only_first),
                "only_second": names_by_part(self._tables[1].query, common.only_second),
            },
            "unit": {
                "name": "box" if self._corners is None else "eyes",
                "of": None if self._corners is None else ("first", "second")[self._corners[0]],
                "mean_px": self._units / self._faces["matched"] if self._faces["matched"] else float("nan"),
            },
            "distances": {
                ALL: self._distances(None),
                **{part: self._distances(group) for group, part in enumerate(names)},
            },
            "values": self._values.figures(),
            "over_time": self._timeline.stretches(),
            "worst": [
                {
                    "frame": each.frame,
                    "time_s": each.time,
                    **({"file": each.file} if each.file else {}),
                    "first": each.first,
                    "second": each.second,
                    "percent": each.percent,
                    "pixels": each.pixels,
                    "part": each.part,
                }
                for each in worst
            ],
        }
        return TableComparison(figures, worst, common, any(table.table.timed for table in self._tables))

    def _distances(self, group: int | None) -> dict[str, Any]:
        """The figures of a part, or of all points."""
        (pixels, shares), (other_pixels, other_shares) = self._jitter
        return {
            "count": self._pixels.count(group),
            "pixels": {**self._pixels.figures(group), **self._offsets.figures(group)},
            "percent": {**self._percent.figures(group), **self._shares.figures(group)},
            "jitter": {
                "pixels": [pixels.figure(group), other_pixels.figure(group)],
                "percent": [shares.figure(group), other_shares.figure(group)],
            },
        }


def _bends(
    history: list[tuple[int, tuple[FloatArray, FloatArray]]],
) -> tuple[FloatArray, FloatArray] | None:
    """Second differences of the points of either table over three frames at even distances; None before that."""
    if len(history) < 3:
        return None
    (a, first), (b, second), (c, third) = history
    if b - a != c - b:
        return None
    one, other = (first[i] - 2 * second[i] + third[i] for i in (0, 1))
    return one, other


def _without_nan(value: Any) -> Any:
    """The value with None in the place of what is no number."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def dominant_pairs(figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The pairs of ids, each id of the first table once, with the id that it shares most frames with."""
    seen: set[int] = set()
    for pair in figures["ids"]["pairs"]:
        if pair["first"] not in seen:
            seen.add(pair["first"])
            yield pair
