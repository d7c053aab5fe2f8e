"""Checks of the tables of a batch: how far off their points probably are, by as many processes as the batch has workers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vtrack.errors import VTrackError
from vtrack.pipelines.batch.files import Video
from vtrack.pipelines.batch.run import BatchOptions
from vtrack.pipelines.batch.state import Recipe, VideoOutcome
from vtrack.pipelines.batch.workers.dispatch import Finished, Report
from vtrack.pipelines.batch.workers.pool import ProcessPool
from vtrack.pipelines.outputs.quality import SUFFIX, current_check
from vtrack.pipelines.registry import OUTPUTS
from vtrack.runtime.cores import cores, machine_cores

if TYPE_CHECKING:
    from vtrack.types import FrameResult


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Check the table of a video."""

    video: Video
    table: Path

    @property
    def name(self) -> str:
        """Name in messages."""
        return self.video.name


@dataclass(frozen=True, slots=True)
class CheckWork:
    """Checks tables with their videos; see `dispatch.Work`."""

    overwrite: bool
    """Whether a file in the place of a check that is none may be replaced."""

    def prepare(self) -> Callable[[CheckJob, Report], str]:
        """Load what checks need; the result of a job is its error, empty if there is none."""
        # Imported late, so that the number of threads is known first; see `worker`.
        import cv2

        cv2.setNumThreads(cores())
        return self._check

    def _check(self, job: CheckJob, report: Report) -> str:
        """Write the check of a table beside it; of photographs there is none."""
        # Imported late; see `prepare`.
        from vtrack.pipelines.outputs.tables.results import TableResults
        from vtrack.pipelines.tables.quality.check import check_table
        from vtrack.pipelines.tables.quality.seconds import is_check

        def counted(results: Iterator[FrameResult]) -> Iterator[FrameResult]:
            for count, result in enumerate(results, 1):
                report(count, None)
                yield result

        path = job.table.with_suffix(SUFFIX)
        # The images of a folder need not be all that it has, so that they are judged by their table alone.
        video = None if job.video.images else job.video.source
        try:
            if not TableResults(job.table).photographs:
                check_table(job.table, video, csv=path, overwrite=self.overwrite or is_check(path), progress=counted)
        except VTrackError as error:
            return str(error)
        return ""


def needed_checks(outcomes: Mapping[Video, VideoOutcome], recipe: Recipe, *, anew: bool = False) -> list[CheckJob]:
    """The tables of videos that are done, but for those whose check is up to date.

    Args:
        outcomes: What came of each video.
        recipe: What was done with it.
        anew: Whether tables are checked again.
    """
    jobs = []
    for video, outcome in outcomes.items():
        tables = [path for name, path in recipe.outputs(video.outputs).items() if OUTPUTS[name].reader]
        if outcome.status == "done" and tables and (anew or current_check(video.outputs, tables[0]) is None):
            jobs.append(CheckJob(video, tables[0]))
    return jobs


def check_tables(
    jobs: Sequence[CheckJob], options: BatchOptions, stop: threading.Event, *, overwrite: bool = False
) -> Iterator[tuple[Video, str]]:
    """Check tables, and yield each video when it is done, with the error if there was one.

    Args:
        jobs: The tables, at least one.
        options: How many workers there are, and how long they may be silent.
        stop: Once set, running checks are finished and no more are started.
        overwrite: Whether files in the place of checks that are none may be replaced.
    """
    workers = min(options.workers or machine_cores(), len(jobs))
    pool: ProcessPool[CheckJob, str] = ProcessPool(
        CheckWork(overwrite), workers=workers, threads=max(1, machine_cores() // workers), timeout=options.timeout
    )
    with closing(pool.run(deque(jobs), stop)) as events:
        for event in events:
            if isinstance(event, Finished):
                yield event.job.video, event.lost if event.result is None else event.result
