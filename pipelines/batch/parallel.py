"""`ParallelPipeline`: one long video followed by several processes, with the results that one process would make."""

from __future__ import annotations

import logging
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.batch.files import Video
from vtrack.pipelines.batch.jobs import PieceJob, VideoJob
from vtrack.pipelines.batch.run import DEFAULT_TIMEOUT
from vtrack.pipelines.batch.schedule import MIN_PIECE_LENGTH, PIECES_PER_WORKER
from vtrack.pipelines.batch.splitting.joining import PieceReplay, cut_video, join_tracks
from vtrack.pipelines.batch.state import Recipe
from vtrack.pipelines.batch.workers.dispatch import Event, Finished, Started, WorkerStartError
from vtrack.pipelines.batch.workers.model_server import shared_model
from vtrack.pipelines.batch.workers.pool import ProcessPool
from vtrack.pipelines.batch.workers.worker import Result, TrackingWork
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.settings import InputSettings, Settings
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.video import VideoFile
from vtrack.runtime.cores import machine_cores
from vtrack.runtime.stopwatch import Stopwatch
from vtrack.types import Detector, FrameResult

log = logging.getLogger(__name__)


class ParallelPipeline:
    """A maker of results in the place of a `Pipeline`: worker processes find the faces of a video in pieces.

    One process does what cannot be cut: a short video, images, a stream, and a video with damaged parts.

    Args:
        settings: What to track and how.
        inputs: How the source was opened.
        workers: Number of processes; None for one per core.
        min_length: Least length of a piece in seconds.
        watch_share: Called with the share of the video, from 0 to 1, that workers have followed.

    Raises:
        UsageError: There are no workers, or a model or detector of the user's own cannot be copied to them.
    """

    spent = 0.0

    def __init__(
        self,
        settings: Settings,
        inputs: InputSettings,
        workers: int | None,
        *,
        min_length: float = MIN_PIECE_LENGTH,
        watch_share: Callable[[float], object] = lambda share: None,
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"workers must be at least 1 or auto, got {workers}")
        try:
            pickle.dumps(settings)
        except Exception as error:
            raise UsageError(
                f"workers need copies of your model and detector, which cannot be pickled: {error}"
            ) from error
        self._settings, self._inputs = settings, inputs
        self._workers = workers or machine_cores()
        self._min_length = min_length
        self._watch_share = watch_share

    @cached_property
    def alone(self) -> Pipeline:
        """The same in one process."""
        return Pipeline(self._settings)

    @property
    def card(self) -> dict[str, Any]:
        """Facts about the landmark model for sidecars."""
        return self.alone.card

    @property
    def detector(self) -> Detector:
        """The face detector."""
        return self.alone.detector

    def results(
        self,
        source: Source,
        *,
        stop: threading.Event | None = None,
        pixels: bool = True,
        watch: Stopwatch | None = None,
    ) -> Iterator[FrameResult]:
        """Yield one result for each frame of a source, in order; see `Pipeline.results`.

        If `stop` is set while workers follow the video, there are results up to the first piece that is not finished.
        """
        stop = stop or threading.Event()
        with ExitStack() as stack:
            pieces = self._cut(source, stack)
            replay = self._follow(pieces, stop) if len(pieces) > 1 else None
            if replay is not None:
                # After an interrupt, what was followed before it is still written.
                heeded = None if stop.is_set() else stop
                yield from replay.results(source, stop=heeded, pixels=pixels, watch=watch)
            elif not stop.is_set():
                yield from self.alone.results(source, stop=stop, pixels=pixels, watch=watch)

    def _cut(self, source: Source, stack: ExitStack) -> list[PieceJob]:
        """The pieces of a video, whose recordings go to a folder that the stack removes; none of what cannot be cut."""
        path = Path(source.info.path).absolute()
        if self._workers == 1 or type(source) is not VideoFile or not path.is_file():
            return []
        try:
            folder = stack.enter_context(TemporaryDirectory(prefix="vtrack-"))
        except OSError as error:
            log.warning("%s: one process finds its faces: no folder for temporary files: %s", source.info.name, error)
            return []
        video = Video(str(path), source.info.name, Path(folder) / "video")
        job = VideoJob(video, self._min_length, self._workers * PIECES_PER_WORKER)
        return [*cut_video(job, source.info, source.selection, self._settings.detect_every)]

    def _follow(self, pieces: list[PieceJob], stop: threading.Event) -> PieceReplay | None:
        """Follow the pieces of a video side by side; None if one fails, workers cannot start, or none is
        finished at an interrupt."""
        workers, waiting = min(self._workers, len(pieces)), deque(pieces)
        with shared_model(self._settings) as model_server:
            pool: ProcessPool[PieceJob, Result] = ProcessPool(
                TrackingWork(Recipe(self._settings, self._inputs), model_server=model_server),
                workers=workers,
                threads=max(1, machine_cores() // workers),
                timeout=DEFAULT_TIMEOUT,
            )
            try:
                with closing(pool.run(waiting, threading.Event())) as events:
                    return self._join(pieces, waiting, events, stop)
            except WorkerStartError as error:
                log.warning("%s: one process finds its faces: %s", pieces[0].video.name, error)
                return None

    def _join(
        self, pieces: list[PieceJob], waiting: deque[PieceJob], events: Iterator[Event], stop: threading.Event
    ) -> PieceReplay | None:
        """Join the pieces when all are followed; one whose lead-in was too short is followed again with a longer one."""
        missing, shares = {piece.number for piece in pieces}, _Shares(len(pieces))
        for event in events:
            if stop.is_set():
                return self._beginning(pieces[: min(missing)])
            self._watch_share(shares.after(event))
            if not isinstance(event, Finished):
                continue
            if not isinstance(event.result, PieceJob):
                if event.lost:
                    log.warning("%s: one process finds its faces anew: %s", event.job.video.name, event.lost)
                return None
            missing.discard(event.job.number)
            if not missing:
                replay = self._replay(pieces)
                if not isinstance(replay, PieceJob):
                    return replay
                pieces[replay.number] = replay.with_longer_lead_in()
                waiting.append(pieces[replay.number])
                missing.add(replay.number)
        return None

    def _beginning(self, pieces: Sequence[PieceJob]) -> PieceReplay | None:
        """As many of these pieces as can be joined as they are."""
        while pieces:
            replay = self._replay(pieces)
            if not isinstance(replay, PieceJob):
                return replay
            pieces = pieces[: replay.number]
        return None

    def _replay(self, pieces: Sequence[PieceJob]) -> PieceReplay | PieceJob | None:
        """Join pieces; a piece whose lead-in is too short, or None if a recording is damaged."""
        try:
            ids = join_tracks(pieces)
        except SourceError:
            log.debug("%s", pieces[0].name, exc_info=True)
            return None
        return ids if isinstance(ids, PieceJob) else PieceReplay(self._settings, pieces, ids)


@dataclass
class _Shares:
    """How much of a video is followed."""

    pieces: int
    """Number of pieces."""
    _followed: dict[int, float] = field(default_factory=dict)
    """Share of each piece, by its number."""
    _numbers: dict[int, int] = field(default_factory=dict)
    """The piece that each worker follows."""

    def after(self, event: Event) -> float:
        """The share of the whole video after an event."""
        if isinstance(event, Started):
            self._numbers[event.worker] = event.job.number
        elif isinstance(event, Finished):
            self._followed[event.job.number] = 1.0
        elif event.expected:
            self._followed[self._numbers[event.worker]] = min(event.frames / event.expected, 1.0)
        return sum(self._followed.values()) / self.pieces
