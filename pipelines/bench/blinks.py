"""How many of the blinks that a person marked in video a landmark model lets the measures find, and how many false ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from vtrack.errors import DataError
from vtrack.pipelines.measures.events import Counts, Interval, compare, intervals
from vtrack.pipelines.track import track
from vtrack.types import Face, FloatArray, FrameResult, LandmarkModel

SLACK = 0.2
"""Seconds by which a blink may lie beside its mark: people mark where the lids begin to move, a frame or two early."""


def marked_clips(folder: Path) -> list[Path]:
    """The videos of a folder that have marks: a `.csv` of the same name beside them."""
    return sorted(path for path in folder.glob("*.*") if path.suffix != ".csv" and path.with_suffix(".csv").exists())


def score(model: str | LandmarkModel, clip: Path, engine: str = "auto") -> Counts:
    """The blinks that the longest track of a clip has, beside those that are marked.

    Args:
        model: A shipped model, the .json of another, or a model that is loaded.
        clip: A video with a `.csv` beside it that has a line for each frame: 1 during a blink, else 0.
        engine: What runs the model, if it is named.

    Returns:
        How many blinks are found, false and missed.
    """
    times, faces = _watched(track(clip, "eyes", model=model, engine=engine, measures=True))
    return compare(blinks(faces), intervals(_marks(clip.with_suffix(".csv"), len(times)), times), SLACK)


def blinks(faces: Iterable[tuple[float, Face]]) -> list[Interval]:
    """The blinks of one face, seen at these times: runs of `blink`."""
    flags, times = [], []
    for time, face in faces:
        flags.append(bool(face.measures["blink"]))
        times.append(time)
    return intervals(flags, np.array(times))


def _watched(results: Iterator[FrameResult]) -> tuple[FloatArray, list[tuple[float, Face]]]:
    """The time of each frame, and the track that lasts longest."""
    times, seen = [], []
    for result in results:
        times.append(result.time)
        seen += [(result.time, face) for face in result.faces]
    lengths = Counter(face.id for _, face in seen)
    longest = lengths.most_common(1)[0][0] if lengths else None
    return np.array(times), [(time, face) for time, face in seen if face.id == longest]


def _marks(path: Path, frames: int) -> list[bool]:
    """The marks of a clip of so many frames."""
    try:
        marks = [bool(int(line)) for line in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a line of 0 or 1 for each frame: {error}") from error
    if len(marks) != frames:
        raise DataError(f"{path}: {len(marks)} lines for a clip of {frames} frames")
    return marks
