"""What a worker does with a job: the same as `vtrack run`, with every failure recorded as the video's outcome.

Imports inside functions keep this module light: a worker process imports it before the number of its threads is set, which
torch, NumPy and OpenCV read when they are imported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtrack.errors import MissingExtraError, SinkError, SourceError, UsageError, VTrackError, settings_as_flags
from vtrack.pipelines.batch.files import Video
from vtrack.pipelines.batch.jobs import Job, PieceJob, VideoJob
from vtrack.pipelines.batch.state import BatchState, Recipe, VideoOutcome, fail, source_facts, unchanged
from vtrack.pipelines.batch.store import RemoteStore
from vtrack.pipelines.batch.workers.dispatch import Report
from vtrack.pipelines.registry import OUTPUTS
from vtrack.pipelines.sources.images.files import printable

if TYPE_CHECKING:
    from vtrack.pipelines.batch.splitting.recording import PieceRecording
    from vtrack.pipelines.batch.workers.model_server import Address
    from vtrack.pipelines.pipeline import Pipeline, ResultMaker
    from vtrack.pipelines.settings import InputSettings
    from vtrack.pipelines.sources.base import Source

log = logging.getLogger(__name__)

Result = VideoOutcome | VTrackError | tuple[PieceJob, ...] | PieceJob | None
"""Result of a job.

- `VideoJob`: the outcome, or the pieces to be done instead.
- `PieceJob`: the piece itself, or None if the video has to be done as a whole.
- `JoinJob`: the outcome, or a piece that needs a longer lead-in.
- An error that ends the whole batch.
"""

_MAX_WARNINGS = 5
"""Largest number of warnings kept of one video."""


@dataclass(frozen=True)
class TrackingWork:
    """Tracks faces in videos; see `dispatch.Work`."""

    recipe: Recipe
    """What to do with each video."""
    overwrite: bool = False
    """Whether to replace files that `vtrack batch` did not write."""
    store: RemoteStore | None = None
    """Where the outputs go, if not into the folder that they are written in."""
    model_server: Address | None = None
    """Address of the process that runs the landmark model, if it is not loaded here."""

    def prepare(self) -> Callable[[Job, Report], Result]:
        """Load the models."""
        # Imported late; see the module's docstring.
        import cv2

        from vtrack.pipelines.batch.workers.model_server import ModelClient
        from vtrack.pipelines.pipeline import Pipeline
        from vtrack.pipelines.settings import drawable
        from vtrack.runtime.cores import cores

        cv2.setNumThreads(cores())
        settings = drawable(self.recipe.settings, self.recipe.output)
        if self.model_server is not None:
            # The GPU is used by the model server; everything else runs on the CPU.
            settings = replace(settings, model=ModelClient(self.model_server), device="cpu")
        pipeline = Pipeline(settings)
        state = BatchState(self.recipe, self.store)

        def do(job: Job, report: Report) -> Result:
            with settings_as_flags():  # batches are run from the command line, and read by its users
                return self._do_job(pipeline, state, job, report)

        return do

    def _do_job(self, pipeline: Pipeline, state: BatchState, job: Job, report: Report) -> Result:
        if isinstance(job, PieceJob):
            return self._record_piece(pipeline, state, job, report)
        if isinstance(job, VideoJob):
            return self._cut(state, job) or self._track_video(pipeline, state, job.video, report)
        # Imported late; see the module's docstring.
        from vtrack.pipelines.batch.splitting.joining import PieceReplay, join_tracks

        try:
            ids = join_tracks(job.pieces)
        except SourceError:  # a recording is missing or damaged
            log.debug("%s", job.name, exc_info=True)
            return self._track_video(pipeline, state, job.video, report)
        if isinstance(ids, PieceJob):
            return ids
        replay = PieceReplay(pipeline.settings, job.pieces, ids)
        return self._track_video(replay, state, job.video, report)

    def _cut(self, state: BatchState, job: VideoJob) -> tuple[PieceJob, ...]:
        """The pieces of a video; none if it is too short or must not be cut."""
        if job.max_pieces == 1:
            return ()
        # Imported late; see the module's docstring.
        from vtrack.pipelines.batch.splitting.joining import cut_video
        from vtrack.pipelines.sources.open import open_source

        try:
            with open_source(Path(job.video.source), **vars(self.recipe.input)) as source:
                pieces = cut_video(job, source.info, source.selection, self.recipe.settings.detect_every)
            if len(pieces) == 1:
                return ()
            self._claim(state, job.video)
        except VTrackError:  # raised again, and recorded, when the whole video is tracked
            return ()
        return pieces

    def _record_piece(self, pipeline: Pipeline, state: BatchState, piece: PieceJob, report: Report) -> PieceJob | None:
        """Record the faces of a piece; None on an error or warning, which are reported when the whole video is tracked."""
        # Imported late; see the module's docstring.
        from vtrack.pipelines.batch.splitting.recording import read_facts

        facts = state.recording_facts(piece)
        if read_facts(piece.path) == facts:
            return piece
        with _warnings() as warnings:
            try:
                recording = self._record(pipeline, piece, report)
                if warnings or state.recording_facts(piece) != facts:
                    return None
                recording.save(piece.path, facts)
            except Exception:  # raised again, and recorded, when the whole video is tracked
                log.debug("%s", piece.name, exc_info=True)
                return None
        return piece

    def _record(self, pipeline: Pipeline, piece: PieceJob, report: Report) -> PieceRecording:
        # Imported late; see the module's docstring.
        from vtrack.pipelines.batch.splitting.joining import aligned_start
        from vtrack.pipelines.batch.splitting.recording import PieceRecorder
        from vtrack.pipelines.pipeline import queue_size
        from vtrack.pipelines.sources.open import open_source
        from vtrack.pipelines.sources.scene_cuts import mark_cuts
        from vtrack.runtime.threads import ReadAhead

        path, wanted = Path(piece.video.source), self.recipe.input
        start = wanted.start if piece.lead is None else aligned_start(path, wanted, piece.lead)
        stop = wanted.stop if piece.end is None else piece.end
        recorder = PieceRecorder(len(pipeline.settings.model_query))
        with open_source(path, **vars(replace(wanted, start=start, stop=stop))) as source:
            expected = source.expected
            with (
                ReadAhead(mark_cuts(source), queue_size(source)) as frames,
                closing(pipeline.follow(frames)) as followed,
            ):
                for count, (frame, sightings) in enumerate(followed, start=1):
                    recorder.add(frame, sightings)
                    report(count, expected)
        return recorder.recording()

    def _track_video(
        self, tracker: ResultMaker, state: BatchState, video: Video, report: Report
    ) -> VideoOutcome | VTrackError:
        """Track a video and record its outcome; an error that concerns all videos is returned and ends the batch."""
        facts: dict[str, Any] = {}
        with _warnings() as warnings:
            try:
                self._claim(state, video)
                outcome = self._write_outputs(tracker, video, facts, report)
            except (UsageError, MissingExtraError) as error:
                if not video.images or isinstance(error, MissingExtraError):
                    return error
                # What does not apply to photographs may be of use for the videos of the batch.
                outcome = fail(VideoOutcome("failed"), printable(str(error)))
            except SinkError as error:
                # For example a full disk: not recorded, so that the next run tries again.
                return fail(VideoOutcome("failed"), printable(str(error)))
            except MemoryError:
                outcome = fail(VideoOutcome("failed"), "out of memory")
            except VTrackError as error:
                outcome = fail(VideoOutcome("failed"), printable(str(error)))
            except Exception as error:  # any other error fails this video alone
                log.debug("%s", video.name, exc_info=True)
                outcome = fail(VideoOutcome("failed"), printable(f"{type(error).__name__}: {error}"))
        outcome = VideoOutcome(**{**asdict(outcome), "warnings": "; ".join(warnings)})
        try:
            state.end(video, facts, outcome)
        except SinkError as error:
            return fail(outcome, printable(str(error)))
        return outcome

    def _claim(self, state: BatchState, video: Video) -> None:
        """Check that the outputs can be written and may replace existing files, and record that work starts."""
        # Imported late; see the module's docstring.
        from vtrack.pipelines.outputs.base import check_outputs

        try:
            video.outputs.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot create the folder {video.outputs.parent}: {error.strerror or error}") from error
        outputs = self.recipe.outputs(video.outputs)
        files = [path for name, path in outputs.items() if not OUTPUTS[name].folder]
        allowed = self.overwrite or state.owns(video)
        check_outputs(files, source=video.source, overwrite=allowed)
        for path in outputs.values():
            if path not in files and path.exists() and not allowed:
                raise SinkError(f"{path} exists already; add --overwrite")
        if self.store and not (self.overwrite or state.owns(video)):
            for path in files:
                if self.store.size(path) is not None:
                    raise SinkError(f"{path.name} exists already at {self.store.address}; add --overwrite")
        state.begin(video)

    def _write_outputs(self, tracker: ResultMaker, video: Video, facts: dict[str, Any], report: Report) -> VideoOutcome:
        """Write the outputs of a video; adds its properties to `facts`."""
        # Imported late; see the module's docstring.
        from vtrack.pipelines.outputs.open import make_sinks, needs_pixels
        from vtrack.pipelines.pipeline import send

        recipe, settings = self.recipe, self.recipe.settings
        facts.update(source_facts(video, lambda: report(0, None)))
        outputs = recipe.outputs(video.outputs)
        with _open_video(video, recipe.input) as source:
            facts.update({**asdict(source.info), "name": video.name, "path": printable(source.info.path)})
            frames = 0

            def count(_: object) -> None:
                nonlocal frames
                frames += 1
                report(frames, source.expected)

            report(0, source.expected)
            sinks = make_sinks(outputs, recipe.output, settings.query, source, max_faces=settings.max_faces)
            summary = send(tracker, source, sinks, progress=count, pixels=needs_pixels(outputs))
        if not unchanged(video, facts):
            raise SourceError(f"{video.source}: changed while it was read")
        seconds = summary.seconds + tracker.spent
        return VideoOutcome(
            "done",
            summary.frames,
            summary.frames_with_faces,
            summary.tracks,
            round(seconds, 3),
            round(summary.frames / seconds, 1),
            summary.damaged,
        )


def _open_video(video: Video, inputs: InputSettings) -> Source:
    """Open a video, or the images of a folder."""
    # Imported late; see the module's docstring.
    from vtrack.pipelines.sources.open import open_images, open_source

    if not video.images:
        return open_source(Path(video.source) if video.is_file else video.source, **vars(inputs))
    return open_images(Path(video.source), video.files, inputs)


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect the warnings logged meanwhile, each once."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = printable(" ".join(record.getMessage().split()))
            if text not in messages and len(messages) < _MAX_WARNINGS:
                messages.append(text)

    handler, root = Collector(logging.WARNING), logging.getLogger()
    root.addHandler(handler)
    try:
        yield messages
    finally:
        root.removeHandler(handler)
