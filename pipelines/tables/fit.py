"""Whether a table is of a video: the checks of everything that reads both."""

from __future__ import annotations

from pathlib import Path

from vtrack.errors import UsageError
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.sources.base import Source
from vtrack.types import Frame

TOLERANCE = 2e-3
"""Seconds by which times of a frame may differ: tables of OpenFace have three decimals."""


def misfit(table: str | Path, source: Source, reason: str) -> UsageError:
    """The error that says why a table is not of a video."""
    return UsageError(f"{table} is not of {source.info.name}: {reason}")


def check_size(results: TableResults, source: Source) -> None:
    """Raise `UsageError` if the frames of a table have another size than those of a video."""
    if results.size is not None and results.size != source.info.size:
        size, other = ("x".join(map(str, each)) for each in (results.size, source.info.size))
        raise misfit(results.table.path, source, f"its frames have {size} pixels, those of the video {other}")


def check_frame(table: str | Path, source: Source, frame: Frame, time: float | None, file: str = "") -> None:
    """Raise `UsageError` if a frame of a video is another one than its table says.

    Args:
        table: The table, for the message.
        source: The video.
        frame: Its frame.
        time: The time of the frame in the table; None where that has no times.
        file: The name of the photograph in the table.
    """
    if file:
        if frame.file == file:
            return
    elif frame.file or time is None or abs(time - frame.time) <= TOLERANCE:
        return
    there, here = file or f"at {time:.3f} s", frame.file or f"at {frame.time:.3f} s"
    raise misfit(table, source, f"frame {frame.index} is {there} in the table, {here} in the video")
