"""The whole of it: what is left to do is done, what came of it is remembered, whatever happens on the way."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vtrack.errors import UsageError, VTrackError
from vtrack.models import pick_device
from vtrack.pipelines.batch.files import MARK, Video
from vtrack.pipelines.batch.jobs import Job, Piece
from vtrack.pipelines.batch.lock import Held, locked
from vtrack.pipelines.batch.schedule import Schedule
from vtrack.pipelines.batch.state import Ledger, Outcome, fail, status_facts
from vtrack.pipelines.batch.summary import write_summary
from vtrack.pipelines.batch.workers.cluster import Cluster
from vtrack.pipelines.batch.workers.model_server import Desk, Owner
from vtrack.pipelines.batch.workers.pool import Event, Finished, Pool, Started
from vtrack.pipelines.batch.workers.worker import Tracking
from vtrack.runtime.cores import machine_cores

PATIENCE = 300.0
"""Seconds that a video may make no headway."""
_MOVES = 2
"""How often a job whose machine died is done again on another; one that kills every machine is itself to blame."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the work is done; nothing of it changes what comes out."""

    workers: int | None = None
    """Processes; None for one for each core (of the machine or cluster) or, on a cluster that has any, GPU."""
    timeout: float = PATIENCE
    split: float | None = None
    """Seconds of the pieces that long videos are cut into, 0 for none; None to cut where it keeps workers busy."""
    cluster: str | None = None
    """Address of a Ray cluster to work on, `auto` for the one this machine is part of; None for this machine alone."""
    retry_failed: bool = False
    fail_fast: bool = False
    share: bool | None = None
    """Whether one process runs the landmark model for all workers of this machine; None where that is on a GPU."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be at least 1 or auto, got {self.workers}")
        if self.timeout <= 0:
            raise UsageError(f"timeout must be more than 0 seconds, got {self.timeout:g}")
        if self.split is not None and 0 != self.split < 1:
            raise UsageError(f"pieces must have at least 1 second, or 0 for none, got {self.split:g}")


@dataclass
class Batch:
    """Videos on their way: what is known of each."""

    videos: Sequence[Video]
    work: Tracking
    out: Path
    plan: Plan = field(default_factory=Plan)
    outcomes: dict[Video, Outcome] = field(default_factory=dict)
    """Of every video, in their order; `waiting` until there is more to say."""
    done_before: int = 0
    failed_before: int = 0
    """How many had failed before and were not tried again."""

    def run(
        self,
        *,
        stop: threading.Event | None = None,
        watch: Callable[[Event | Sequence[Video]], object] = lambda _: None,
    ) -> None:
        """Do what is left to do. `watch` is first told which videos those are, then all that happens.

        After `stop` running videos are finished and no more are begun. However this ends, the summary is written.
        """
        store = self.work.store
        ledger = Ledger(self.work.recipe, store)
        with locked(self.out) as held:
            self.outcomes = dict.fromkeys(self.videos, Outcome("waiting"))
            left = self._left(ledger, store.look(f"{MARK}.meta.json") if store else None)
            watch(left)
            try:
                if left:
                    self._do(left, ledger, held, stop or threading.Event(), watch)
            finally:
                summary = write_summary(self.out, self.outcomes)
                if store:
                    store.put(summary)

    @property
    def failed(self) -> int:
        """How many videos failed."""
        return sum(outcome.status == "failed" for outcome in self.outcomes.values())

    def _left(self, ledger: Ledger, sizes: Mapping[Path, int] | None) -> list[Video]:
        """The videos with work to do."""
        left = []
        for video in self.videos:
            known = None if self.work.overwrite else ledger.known(video, sizes)
            if known is None or (self.plan.retry_failed and known.status == "failed"):
                left.append(video)
            else:
                self.outcomes[video] = known
                self.done_before += known.status == "done"
                self.failed_before += known.status == "failed"
        return left

    def _do(
        self,
        left: Sequence[Video],
        ledger: Ledger,
        held: Held,
        stop: threading.Event,
        watch: Callable[[Event], object],
    ) -> None:
        sizes = {video: status_facts(video).get("size", 0) for video in left}
        with ExitStack() as ends:
            cluster = None if self.plan.cluster is None else ends.enter_context(Cluster(self.plan.cluster))
            cores = machine_cores()
            workers = self.plan.workers or (cluster.places if cluster else cores)
            # Pieces are handed on in the folder, which the workers do not share where the outputs go elsewhere.
            schedule = Schedule(sizes, workers, 0.0 if self.work.store else self.plan.split)
            workers = min(workers, schedule.most)
            timeout = self.plan.timeout
            if cluster:
                events = cluster.pool(
                    self.work, workers=workers, timeout=timeout, held=None if self.work.store else held
                ).run(schedule.waiting, stop)
            else:
                work = replace(self.work, desk=self._desk(ends))
                pool = Pool[Job, Any](work, workers=workers, threads=max(1, cores // workers), timeout=timeout)
                events = pool.run(schedule.waiting, stop, held.files)
            self._watch(ends.enter_context(closing(events)), schedule, ledger, watch)

    def _desk(self, ends: ExitStack) -> Desk | None:
        """Where workers ask for landmarks, if one process answers them all. It lives until `ends`."""
        settings = self.work.recipe.settings
        model = settings.model
        if self.plan.share is False or (self.plan.share is None and not isinstance(model, str)):
            return None
        device = pick_device(settings.device)
        if device == "cpu" and not self.plan.share:
            return None
        return ends.enter_context(Owner(model, device, settings.engine)).desk

    def _watch(
        self, events: Iterable[Event], schedule: Schedule, ledger: Ledger, watch: Callable[[Event], object]
    ) -> None:
        """Draw the consequences of what happens."""
        running: set[Video] = set()
        deaths: Counter[Job] = Counter()
        try:
            for event in events:
                if isinstance(event, Finished):
                    running.discard(event.job.video)
                    if isinstance(event.result, VTrackError):
                        raise event.result
                    deaths[event.job] += event.elsewhere
                    if event.elsewhere and deaths[event.job] <= _MOVES and not _is_done(event.job, ledger):
                        schedule.waiting.appendleft(event.job)
                        continue
                    if not schedule.settle(event.job, event.result):
                        continue
                    self.outcomes[event.job.video] = self._settle(event, ledger)
                elif isinstance(event, Started) and not isinstance(event.job, Piece):
                    running.add(event.job.video)
                watch(event)
                if isinstance(event, Finished) and self.plan.fail_fast and self.outcomes[event.job.video].error:
                    return
        finally:
            # The workers are dead by now; what they were at starts over next time.
            for video in running:
                ledger.discard(video)

    def _settle(self, event: Finished[Job, Any], ledger: Ledger) -> Outcome:
        """What came of a video. For a worker that died, its death is written down in its place."""
        if isinstance(event.result, Outcome):
            return event.result
        video = event.job.video
        known = ledger.known(video)
        if known is not None and known.status == "done":  # it died with nothing left to do but say so
            return known
        outcome = fail(Outcome("failed"), event.lost)
        ledger.end(video, status_facts(video), outcome)
        return outcome


def _is_done(job: Job, ledger: Ledger) -> bool:
    """Whether a video is done although its worker died."""
    known = ledger.known(job.video)
    return known is not None and known.status == "done"
