"""What a worker does with one video: the same as `vtrack run`, with every failure caught and written down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtrack.errors import MissingExtraError, SinkError, SourceError, UsageError, VTrackError
from vtrack.pipelines.batch.files import Video, printable
from vtrack.pipelines.batch.jobs import Job, Piece, Whole
from vtrack.pipelines.batch.state import Ledger, Outcome, Recipe, fail, source_facts, unchanged
from vtrack.pipelines.batch.store import Store
from vtrack.pipelines.batch.workers.pool import Report

if TYPE_CHECKING:
    from vtrack.pipelines.batch.splitting.recording import Recording
    from vtrack.pipelines.batch.workers.model_server import Desk
    from vtrack.pipelines.pipeline import Pipeline, ResultMaker

logger = logging.getLogger(__name__)

Result = Outcome | VTrackError | tuple[Piece, ...] | Piece | None
"""Of a whole video its outcome or the pieces to be done instead; of a piece itself, or None if it is better not done; of a
join the outcome, or a piece that needs a longer lead-in."""

_MOST_WARNINGS = 5
"""Of one video that are kept."""


@dataclass(frozen=True)
class Tracking:
    """Tracks faces through videos, by a recipe."""

    recipe: Recipe
    overwrite: bool = False
    """Whether to replace files that this command did not make."""
    store: Store | None = None
    """Where the outputs go, if that is not the folder they are made in."""
    desk: Desk | None = None
    """Where the landmark model is asked, if another process has it."""

    def prepare(self) -> Callable[[Job, Report], Result]:
        """Load the models."""
        import cv2

        from vtrack.pipelines.batch.workers.model_server import SharedModel
        from vtrack.pipelines.pipeline import Pipeline
        from vtrack.runtime.cores import cores

        cv2.setNumThreads(cores())
        settings = self.recipe.settings
        if self.desk is not None:
            # What else there is to load stays off the GPU, which is the owner's.
            settings = replace(settings, model=SharedModel(self.desk), device="cpu")
        pipeline = Pipeline(settings)
        ledger = Ledger(self.recipe, self.store)
        return lambda job, report: self._job(pipeline, ledger, job, report)

    def _job(self, pipeline: Pipeline, ledger: Ledger, job: Job, report: Report) -> Result:
        if isinstance(job, Piece):
            return self._find(pipeline, ledger, job, report)
        if isinstance(job, Whole):
            return self._cut(ledger, job) or self._do(pipeline, ledger, job.video, report)
        from vtrack.pipelines.batch.splitting.joining import Replay, join

        try:
            ids = join(job.pieces)
        except SourceError:  # a recording is gone or damaged
            logger.debug("%s", job.name, exc_info=True)
            return self._do(pipeline, ledger, job.video, report)
        if isinstance(ids, Piece):
            return ids
        replay = Replay(pipeline.settings, job.pieces, ids)
        return self._do(replay, ledger, job.video, report)

    def _cut(self, ledger: Ledger, job: Whole) -> tuple[Piece, ...]:
        """The pieces of a video that is long enough and may be cut."""
        if job.most == 1:
            return ()
        from vtrack.pipelines.batch.splitting.joining import cut
        from vtrack.pipelines.sources.open import open_source

        try:
            with open_source(Path(job.video.source), **vars(self.recipe.input)) as source:
                pieces = cut(job, source.info, source.selection, self.recipe.settings.detect_every)
            if len(pieces) == 1:
                return ()
            self._claim(ledger, job.video)
        except VTrackError:  # said again, and written down, when it is read from beginning to end
            return ()
        return pieces

    def _find(self, pipeline: Pipeline, ledger: Ledger, piece: Piece, report: Report) -> Piece | None:
        """Record the faces of a piece. Where there is anything to be warned of, that is left to the whole video."""
        from vtrack.pipelines.batch.splitting.recording import facts_of

        facts = ledger.recording(piece)
        if facts_of(piece.path) == facts:
            return piece
        with _warnings() as warnings:
            try:
                recording = self._record(pipeline, piece, report)
                if warnings or ledger.recording(piece) != facts:
                    return None
                recording.save(piece.path, facts)
            except Exception:  # it happens again with the whole video, if it matters, and is written down there
                logger.debug("%s", piece.name, exc_info=True)
                return None
        return piece

    def _record(self, pipeline: Pipeline, piece: Piece, report: Report) -> Recording:
        from vtrack.pipelines.batch.splitting.joining import in_step
        from vtrack.pipelines.batch.splitting.recording import Recorder
        from vtrack.pipelines.pipeline import queue_size
        from vtrack.pipelines.sources.open import open_source
        from vtrack.pipelines.sources.scene_cuts import mark_cuts
        from vtrack.runtime.threads import Ahead

        path, wanted = Path(piece.video.source), self.recipe.input
        start = wanted.start if piece.lead is None else in_step(path, wanted, piece.lead)
        stop = wanted.stop if piece.end is None else piece.end
        recorder = Recorder(len(pipeline.settings.model_query))
        with open_source(path, **vars(replace(wanted, start=start, stop=stop))) as source:
            expected = source.expected
            with Ahead(mark_cuts(source), queue_size(source)) as frames, closing(pipeline.follow(frames)) as followed:
                for count, (frame, sightings) in enumerate(followed, start=1):
                    recorder.add(frame, sightings)
                    report(count, expected)
        return recorder.recording()

    def _do(self, tracker: ResultMaker, ledger: Ledger, video: Video, report: Report) -> Outcome | VTrackError:
        """One video. Wrong usage is no fault of the video: it is handed back, for the whole run to end."""
        facts: dict[str, Any] = {}
        with _warnings() as warnings:
            try:
                self._claim(ledger, video)
                outcome = self._track(tracker, video, facts, report)
            except (UsageError, MissingExtraError) as error:
                return error
            except SinkError as error:
                # A full disk is no fault of the video either, and the next run shall try again: nothing is noted.
                return fail(Outcome("failed"), printable(str(error)))
            except MemoryError:
                outcome = fail(Outcome("failed"), "out of memory")
            except VTrackError as error:
                outcome = fail(Outcome("failed"), printable(str(error)))
            except Exception as error:  # whatever a file sets off costs that file alone
                logger.debug("%s", video.name, exc_info=True)
                outcome = fail(Outcome("failed"), printable(f"{type(error).__name__}: {error}"))
        outcome = Outcome(**{**asdict(outcome), "warnings": "; ".join(warnings)})
        try:
            ledger.end(video, facts, outcome)
        except SinkError as error:
            return fail(outcome, printable(str(error)))
        return outcome

    def _claim(self, ledger: Ledger, video: Video) -> None:
        """Make sure that the outputs can be written, and that what is there is ours."""
        from vtrack.pipelines.outputs.base import check_outputs

        try:
            video.outputs.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot make the folder {video.outputs.parent}: {error.strerror or error}") from error
        outputs = list(self.recipe.outputs(video.outputs).values())
        check_outputs(outputs, source=video.source, overwrite=self.overwrite or ledger.owns(video))
        if self.store and not (self.overwrite or ledger.owns(video)):
            for path in outputs:
                if self.store.size(path) is not None:
                    raise SinkError(f"{path.name} exists already at {self.store.address}; add --overwrite")
        ledger.begin(video)

    def _track(self, tracker: ResultMaker, video: Video, facts: dict[str, Any], report: Report) -> Outcome:
        """Outputs of one video; adds to `facts` what is known of it."""
        from vtrack.pipelines.outputs.open import make_sinks
        from vtrack.pipelines.pipeline import send
        from vtrack.pipelines.sources.open import open_source

        recipe, settings = self.recipe, self.recipe.settings
        facts.update(source_facts(video, lambda: report(0, None)))
        outputs = recipe.outputs(video.outputs)
        path = Path(video.source) if video.is_file else video.source
        with open_source(path, **vars(recipe.input)) as source:
            facts.update({**asdict(source.info), "name": video.name, "path": printable(source.info.path)})
            frames = 0

            def count(_: object) -> None:
                nonlocal frames
                frames += 1
                report(frames, source.expected)

            report(0, source.expected)
            sinks = make_sinks(outputs, recipe.output, settings.query, source, max_faces=settings.max_faces)
            summary = send(tracker, source, sinks, progress=count, pixels="video" in outputs)
        if not unchanged(video, facts):
            raise SourceError(f"{video.source}: changed while it was read")
        seconds = summary.seconds + tracker.spent
        return Outcome(
            "done",
            summary.frames,
            summary.frames_with_faces,
            summary.tracks,
            round(seconds, 3),
            round(summary.frames / seconds, 1),
        )


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What is warned of meanwhile, each once, kept instead of printed."""
    kept: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = printable(" ".join(record.getMessage().split()))
            if text not in kept and len(kept) < _MOST_WARNINGS:
                kept.append(text)

    handler, root = Keep(logging.WARNING), logging.getLogger()
    root.addHandler(handler)
    try:
        yield kept
    finally:
        root.removeHandler(handler)
