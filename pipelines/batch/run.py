"""Runs a batch: does the remaining work, retries jobs of lost machines, and records the outcome of each video."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vtrack.errors import UsageError, VTrackError, spelled
from vtrack.pipelines.batch.files import Video
from vtrack.pipelines.batch.jobs import Job, PieceJob
from vtrack.pipelines.batch.lock import FolderLock, lock_folder
from vtrack.pipelines.batch.schedule import Schedule
from vtrack.pipelines.batch.state import BatchState, VideoOutcome, fail, status_facts
from vtrack.pipelines.batch.summary import write_summary
from vtrack.pipelines.batch.workers.cluster import Cluster
from vtrack.pipelines.batch.workers.dispatch import Event, Finished, Started, WorkerPool
from vtrack.pipelines.batch.workers.model_server import shared_model
from vtrack.pipelines.batch.workers.pool import ProcessPool
from vtrack.pipelines.batch.workers.worker import TrackingWork
from vtrack.pipelines.outputs.base import OUTPUT_MARK
from vtrack.pipelines.outputs.files import remove_stale
from vtrack.pipelines.pipeline import check_parts_known
from vtrack.runtime.cores import machine_cores

DEFAULT_TIMEOUT = 300.0
"""Seconds that a video may make no progress."""
_MAX_RETRIES = 2
"""Times that a job is retried after its machine died; a job that kills every machine is itself the cause."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How the work of a batch is done; none of these options changes the outputs.

    Raises:
        UsageError: A value is out of range.
    """

    workers: int | None = None
    """Number of processes; None for one per core, or one per GPU on a cluster that has GPUs."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds without progress after which a video fails."""
    split: float | None = None
    """Length in seconds of the pieces of long videos; 0 for whole videos, None to cut where it keeps workers busy."""
    cluster: str | None = None
    """Address of a Ray cluster, `auto` for the one this machine is part of; None for this machine alone."""
    retry_failed: bool = False
    """Whether to retry videos that failed in an earlier run."""
    fail_fast: bool = False
    """Whether to stop at the first failure."""
    share: bool | None = None
    """Whether one process runs the landmark model for all workers of this machine; None if the model is on a GPU."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be at least 1 or auto, got {self.workers}")
        if self.timeout <= 0:
            raise UsageError(f"timeout must be more than 0 seconds, got {self.timeout:g}")
        if self.split is not None and 0 != self.split < 1:
            raise UsageError(f"pieces must have at least 1 second, or 0 for none, got {self.split:g}")


@dataclass
class BatchRun:
    """One run over the videos of a batch.

    Example:
        batch = BatchRun(videos, TrackingWork(recipe), Path("out"))
        batch.run()
        print(batch.failed, "videos failed")
    """

    videos: Sequence[Video]
    work: TrackingWork
    out: Path
    options: BatchOptions = field(default_factory=BatchOptions)
    outcomes: dict[Video, VideoOutcome] = field(default_factory=dict)
    """Outcome of each video, in their order; `waiting` until it is finished."""
    done_before: int = 0
    """Number of videos that an earlier run has done."""
    failed_before: int = 0
    """Number of videos that failed in an earlier run and are not retried."""

    def run(
        self,
        *,
        stop: threading.Event | None = None,
        on_event: Callable[[Event | Sequence[Video]], object] = lambda _: None,
    ) -> None:
        """Do the remaining work and write the summary, also if the run is interrupted.

        Args:
            stop: Once set, running videos are finished and no more are started.
            on_event: Called first with the videos that have work to do, then with each event.

        Raises:
            VTrackError: The folder is locked or not writable, workers cannot start, or the settings are invalid.
        """
        store = self.work.store
        state = BatchState(self.work.recipe, store)
        with lock_folder(self.out) as lock:
            self.outcomes = dict.fromkeys(self.videos, VideoOutcome("waiting"))
            remaining = self._remaining(state, store.fetch_all(f"{OUTPUT_MARK}.meta.json") if store else None)
            on_event(remaining)
            remove_stale(self.out, recursive=True)
            try:
                if remaining:
                    self._do(remaining, state, lock, stop or threading.Event(), on_event)
            finally:
                remove_stale(self.out, recursive=True)
                summary = write_summary(self.out, self.outcomes)
                if store:
                    store.put(summary)

    @property
    def failed(self) -> int:
        """Number of videos that failed."""
        return sum(outcome.status == "failed" for outcome in self.outcomes.values())

    @property
    def incomplete(self) -> int:
        """Number of folders of images of which some could not be read. A video's damaged packets are a warning only."""
        return sum(bool(video.images and outcome.damaged) for video, outcome in self.outcomes.items())

    def _remaining(self, state: BatchState, sizes: Mapping[Path, int] | None) -> list[Video]:
        """The videos that have work to do."""
        remaining = []
        for video in self.videos:
            outcome = None if self.work.overwrite else state.earlier_outcome(video, sizes)
            if outcome is None or (self.options.retry_failed and outcome.status == "failed"):
                remaining.append(video)
            else:
                self.outcomes[video] = outcome
                self.done_before += outcome.status == "done"
                self.failed_before += outcome.status == "failed"
        return remaining

    def _do(
        self,
        remaining: Sequence[Video],
        state: BatchState,
        lock: FolderLock,
        stop: threading.Event,
        on_event: Callable[[Event], object],
    ) -> None:
        check_parts_known(self.work.recipe.settings)
        sizes = {video: status_facts(video).get("size", 0) for video in remaining}
        options = self.options
        with ExitStack() as stack:
            cluster = None if options.cluster is None else stack.enter_context(Cluster(options.cluster))
            cores = machine_cores()
            workers = options.workers or (cluster.capacity if cluster else cores)
            # Workers pass pieces on in the output folder, which they do not share if outputs go to a remote store.
            schedule = Schedule(sizes, workers, 0.0 if self.work.store else options.split)
            workers = min(workers, schedule.max_workers)
            pool: WorkerPool[Job, Any, Any]
            if cluster:
                shared_lock = None if self.work.store else lock
                pool = cluster.pool(self.work, workers=workers, timeout=options.timeout, lock=shared_lock)
            else:
                pool = ProcessPool(
                    replace(
                        self.work,
                        model_server=stack.enter_context(shared_model(self.work.recipe.settings, options.share)),
                    ),
                    workers=workers,
                    threads=max(1, cores // workers),
                    timeout=options.timeout,
                    inherited_files=lock.files,
                )
            events = stack.enter_context(closing(pool.run(schedule.waiting, stop)))
            self._handle_events(events, schedule, state, on_event)

    def _handle_events(
        self, events: Iterable[Event], schedule: Schedule, state: BatchState, on_event: Callable[[Event], object]
    ) -> None:
        """Update schedule and outcomes by the events of the workers."""
        running: set[Video] = set()
        machine_losses: Counter[Job] = Counter()
        try:
            for event in events:
                if isinstance(event, Finished):
                    running.discard(event.job.video)
                    if isinstance(event.result, VTrackError):
                        raise event.result
                    machine_losses[event.job] += event.machine_lost
                    retries_left = machine_losses[event.job] <= _MAX_RETRIES
                    if event.machine_lost and retries_left and not _is_done(event.job.video, state):
                        schedule.waiting.appendleft(event.job)
                        continue
                    if not schedule.settle(event.job, event.result):
                        continue
                    self.outcomes[event.job.video] = self._outcome(event, state)
                elif isinstance(event, Started) and not isinstance(event.job, PieceJob):
                    running.add(event.job.video)
                on_event(event)
                if isinstance(event, Finished) and self.options.fail_fast and self.outcomes[event.job.video].error:
                    return
        finally:
            # The workers have ended; the next run starts these videos again.
            for video in running:
                state.discard(video)

    def _outcome(self, event: Finished[Job, Any], state: BatchState) -> VideoOutcome:
        """Outcome of a video; if its worker died, that is recorded here in the worker's place."""
        if isinstance(event.result, VideoOutcome):
            return event.result
        video = event.job.video
        earlier = state.earlier_outcome(video)
        if earlier is not None and earlier.status == "done":  # it died after its last output was complete
            return earlier
        hint = f"; {spelled('timeout')} sets how long to wait" * event.stalled
        outcome = fail(VideoOutcome("failed"), event.lost + hint)
        state.end(video, status_facts(video), outcome)
        return outcome


def _is_done(video: Video, state: BatchState) -> bool:
    """Whether a video is done although its worker died."""
    outcome = state.earlier_outcome(video)
    return outcome is not None and outcome.status == "done"
