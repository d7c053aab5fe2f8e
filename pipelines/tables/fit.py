"""Whether a table is of a video: the checks of everything that reads both."""

from __future__ import annotations

from vtrack.errors import UsageError
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.sources.base import Source
from vtrack.types import Frame


def misfit(results: TableResults, source: Source, reason: str) -> UsageError:
    """The error that says why a table is not of a video."""
    return UsageError(f"{results.table.path} is not of {source.info.name}: {reason}")


def check_size(results: TableResults, source: Source) -> None:
    """Raise `UsageError` if the frames of a table have another size than those of a video."""
    if results.size is not None and results.size != source.info.size:
        size, other = ("x".join(map(str, each)) for each in (results.size, source.info.size))
        raise misfit(results, source, f"its frames have {size} pixels, those of the video {other}")


def check_time(results: TableResults, source: Source, time: float, frame: Frame, tolerance: float) -> None:
    """Raise `UsageError` if a frame has another time in a video than in its table, where that has times."""
    if results.table.timed and abs(time - frame.time) > tolerance:
        times = f"at {time:.3f} s in the table, at {frame.time:.3f} s in the video"
        raise misfit(results, source, f"frame {frame.index} is {times}")
