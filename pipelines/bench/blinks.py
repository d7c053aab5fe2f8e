"""How many of the blinks that a person marked in video a landmark model lets the measures find, and how many false ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtrack.errors import DataError
from vtrack.pipelines.measures.events import Counts, Interval, compare, intervals, matches
from vtrack.pipelines.track import track
from vtrack.types import FloatArray, FrameResult, LandmarkModel

SLACK = 0.2
"""Seconds by which a blink may lie beside its mark: people mark where the lids begin to move, a frame or two early."""


def marked_clips(folder: Path) -> list[Path]:
    """The videos of a folder that have marks: a `.csv` of the same name beside them."""
    return sorted(path for path in folder.glob("*.*") if path.suffix != ".csv" and path.with_suffix(".csv").exists())


@dataclass(frozen=True, slots=True)
class BlinkScore:
    """The blinks that were found in clips, beside those that are marked."""

    counts: Counts
    onsets: tuple[float, ...]
    """Frames by which each true blink starts after its mark."""

    def __add__(self, other: BlinkScore) -> BlinkScore:
        return BlinkScore(self.counts + other.counts, self.onsets + other.onsets)


def score(model: str | LandmarkModel, clip: Path, engine: str = "auto") -> BlinkScore:
    """The blinks that the longest track of a clip has, beside those that are marked.

    Args:
        model: A shipped model, the .json of another, or a model that is loaded.
        clip: A video with a `.csv` beside it that has a line for each frame: 1 during a blink, else 0.
        engine: What runs the model, if it is named.

    Returns:
        How many blinks are found, false and missed, and when they start.
    """
    times, blinks = _watched(track(clip, "eyes", model=model, engine=engine, measures=True))
    marks = intervals(_marks(clip.with_suffix(".csv"), len(times)), times)
    pairs = matches(blinks, marks, SLACK)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    return BlinkScore(compare(blinks, marks, SLACK), tuple((blink[0] - mark[0]) / step for blink, mark in pairs))


def _watched(results: Iterator[FrameResult]) -> tuple[FloatArray, list[Interval]]:
    """The time of each frame, and the blinks of the track that lasts longest."""
    times, lengths, events = [], Counter[int](), []
    for result in results:
        times.append(result.time)
        lengths.update(face.id for face in result.faces)
        events += [event for event in result.events if event.kind == "blink"]
    longest = lengths.most_common(1)[0][0] if lengths else None
    return np.array(times), [(event.lids.start, event.lids.end) for event in events if event.face == longest]


def _marks(path: Path, frames: int) -> list[bool]:
    """The marks of a clip of so many frames."""
    try:
        marks = [bool(int(line)) for line in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a line of 0 or 1 for each frame: {error}") from error
    if len(marks) != frames:
        raise DataError(f"{path}: {len(marks)} lines for a clip of {frames} frames")
    return marks
