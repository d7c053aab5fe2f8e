"""What a worker does with one video: the same as `vtrack run`, with every failure caught and written down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.batch.files import Video, printable
from pipelines.batch.ledger import Ledger, Outcome, Recipe, fail, source_facts, unchanged
from pipelines.batch.pool import Report
from vtrack.errors import MissingExtraError, SinkError, SourceError, UsageError, VTrackError

if TYPE_CHECKING:
    from pipelines.video import Pipeline

_MOST_WARNINGS = 5
"""Of one video that are kept."""


@dataclass(frozen=True)
class Tracking:
    """Tracks faces through videos, by a recipe."""

    recipe: Recipe
    overwrite: bool = False
    """Whether to replace files that this command did not make."""

    def prepare(self) -> Callable[[Video, Report], Outcome | VTrackError]:
        """Load the models."""
        import cv2

        from pipelines.video import Pipeline, Settings
        from vtrack.cores import cores

        cv2.setNumThreads(cores())
        pipeline = Pipeline(Settings(self.recipe.query, **self.recipe.settings))
        ledger = Ledger(self.recipe)
        return lambda video, report: self._do(pipeline, ledger, video, report)

    def _do(self, pipeline: Pipeline, ledger: Ledger, video: Video, report: Report) -> Outcome | VTrackError:
        """One video. Wrong usage is no fault of the video: it is handed back, for the whole run to end."""
        facts: dict[str, Any] = {}
        with _warnings() as warnings:
            try:
                self._claim(ledger, video)
                outcome = self._track(pipeline, video, facts, report)
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
                logging.getLogger(__name__).debug("%s", video.name, exc_info=True)
                outcome = fail(Outcome("failed"), printable(f"{type(error).__name__}: {error}"))
        outcome = Outcome(**{**asdict(outcome), "warnings": "; ".join(warnings)})
        try:
            ledger.end(video, facts, outcome)
        except SinkError as error:
            return fail(outcome, printable(str(error)))
        return outcome

    def _claim(self, ledger: Ledger, video: Video) -> None:
        """Make sure that the outputs can be written, and that what is there is ours."""
        from pipelines.sinks import check_outputs

        try:
            video.outputs.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot make the folder {video.outputs.parent}: {error.strerror or error}") from error
        outputs = list(self.recipe.outputs(video.outputs).values())
        check_outputs(outputs, source=video.source, overwrite=self.overwrite or ledger.owns(video))
        ledger.begin(video)

    def _track(self, pipeline: Pipeline, video: Video, facts: dict[str, Any], report: Report) -> Outcome:
        """Outputs of one video; adds to `facts` what is known of it."""
        from pipelines.outputs import make_sinks
        from pipelines.source import open_source
        from pipelines.video import run

        recipe = self.recipe
        facts.update(source_facts(video, lambda: report(0, None)))
        outputs = recipe.outputs(video.outputs)
        with open_source(Path(video.source) if video.is_file else video.source, **recipe.selection) as source:
            facts.update({**asdict(source.info), "name": video.name, "path": printable(source.info.path)})
            frames = 0

            def count(_: object) -> None:
                nonlocal frames
                frames += 1
                report(frames, source.expected)

            report(0, source.expected)
            sinks = make_sinks(outputs, recipe.looks, recipe.query, source)
            summary = run(pipeline, source, sinks, progress=count, pixels="video" in outputs)
        if not unchanged(video, facts):
            raise SourceError(f"{video.source}: changed while it was read")
        return Outcome(
            "done",
            summary.frames,
            summary.frames_with_faces,
            summary.tracks,
            round(summary.seconds, 3),
            round(summary.fps, 1),
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
