"""The pipeline: frames come from a source; faces are detected, tracked, located and smoothed; results go to sinks.

    with open_source("input.mp4") as source:
        for result in Pipeline(Settings("eyes,lips")).results(source):
            print(result.time, [face.id for face in result.faces])

The public functions for Python programs are built on it: `vtrack.pipelines.track`, `tracker` and `run`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vtrack.detectors import load_detector
from vtrack.detectors.own import own_detector
from vtrack.errors import SinkError
from vtrack.models import card_path, load_model
from vtrack.models.card import Card, check_parts, read_landmark_card
from vtrack.models.own import own_model
from vtrack.pipelines.outputs.base import Sink
from vtrack.pipelines.outputs.group import SinkGroup
from vtrack.pipelines.postprocessing import postprocess, postprocess_photographs
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.scene_cuts import mark_cuts
from vtrack.pipelines.tracking.follower import TrackedFrame
from vtrack.pipelines.tracking.landmarks import Landmarker, unique_points
from vtrack.pipelines.tracking.offline import OfflineFollower
from vtrack.pipelines.tracking.photographs import PhotographFinder
from vtrack.runtime.cores import detector_cores
from vtrack.runtime.stopwatch import QueueWaits, Stopwatch
from vtrack.runtime.threads import ReadAhead, WriteBehind
from vtrack.types import Frame, FrameResult

_QUEUE_MEMORY = 48 * 2**20
"""Largest number of bytes of pixels in a queue between two threads, as RGB; the planes of most video need half of it."""
_MIN_QUEUE_SIZE, _MAX_QUEUE_SIZE = 2, 32
"""Smallest and largest number of frames in a queue between two threads."""


class ResultMaker(Protocol):
    """Makes results of a source: a pipeline, or a reader of recorded results."""

    spent: float
    """Seconds of work that were spent on the results before."""

    def results(
        self,
        source: Source,
        *,
        stop: threading.Event | None = None,
        pixels: bool = True,
        watch: Stopwatch | None = None,
    ) -> Iterator[FrameResult]:
        """Yield one result for each frame, in order; see `Pipeline.results`."""
        ...


class Pipeline:
    """A detector and a landmark model, loaded once, that make results of any number of videos.

    Args:
        settings: What to track and how.
    """

    spent = 0.0

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        model, detector = settings.model, settings.detector
        self.model = (
            load_model(model, device=settings.device, engine=settings.engine, shared=True)
            if isinstance(model, str)
            else own_model(model)
        )
        if prepare := getattr(self.model, "prepare", None):
            prepare(unique_points(settings.model_query)[0])
        if settings.points3d:
            # Imports the mean face and more, which takes a second, before a camera is opened rather than at its first face.
            from vtrack.pipelines.measures.points3d import surface_points

            surface_points(settings.query)
        self.detector = (
            load_detector(detector, device=settings.device, threads=detector_cores(), **settings.detector_options)
            if isinstance(detector, str)
            else own_detector(detector)
        )

    @property
    def card(self) -> dict[str, Any]:
        """Facts about the landmark model for sidecars: reference to its card, parts that it guesses, and engine; of a user's
        model its name.
        """
        card, engine = getattr(self.model, "card", None), getattr(self.model, "engine", None)
        facts = {"name": self.model.name} if card is None else card.describe(self.settings.query)
        return facts if engine is None else {**facts, "engine": engine}

    def results(
        self,
        source: Source,
        *,
        stop: threading.Event | None = None,
        pixels: bool = True,
        watch: Stopwatch | None = None,
    ) -> Iterator[FrameResult]:
        """Yield one result for each frame of a source, in order.

        Args:
            source: An opened source.
            stop: Setting this event ends reading; frames that were read until then still get their results.
            pixels: Whether results keep the pixels of their frames; without them, frames that wait for the smoother
                take no memory.
            watch: Stopwatch that gets the seconds of each stage.
        """
        watch, single = watch or Stopwatch(), source.info.photographs
        decoded = iter(source) if single else mark_cuts(source)
        finish = postprocess_photographs if single else postprocess
        with (
            ReadAhead(watch.time_items("decode", decoded), queue_size(source), stop, source.abandon) as frames,
            closing(self.follow(frames, watch, photographs=single)) as tracked,
        ):
            yield from finish(self.settings, tracked, pixels=pixels, watch=watch)
            watch.add_waits("decoded", *frames.waits)

    def follow(
        self, frames: Iterable[Frame], watch: Stopwatch | None = None, *, photographs: bool = False
    ) -> Generator[TrackedFrame]:
        """Yield every frame with its sightings by track id, not smoothed.

        Args:
            frames: Frames in order, with `Frame.cut` where a scene begins.
            watch: Stopwatch that gets the seconds of each stage.
            photographs: Whether each frame is a photograph by itself.
        """
        settings = self.settings
        follower = (PhotographFinder if photographs else OfflineFollower)(
            self.detector,
            Landmarker(self.model, settings.landmark_query, watch=watch),
            max_faces=settings.max_faces,
            detect_every=settings.detect_every,
            confidence=settings.confidence,
        )
        return follower.follow(frames)


def check_parts_known(settings: Settings) -> None:
    """Warn of parts that the landmark model does not know, before it is loaded.

    Raises:
        ModelError: There is no such model.
        UsageError: The model knows none of the parts.
    """
    model = settings.model
    card = read_landmark_card(card_path(model)) if isinstance(model, str) else getattr(model, "card", None)
    if isinstance(card, Card):
        check_parts(card, settings.query)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did.

    Examples:
        >>> import vtrack
        >>> summary = vtrack.run("samples/sample.mp4", parts="eyes", stop=0.5, csv="eyes.csv")
        >>> summary.frames, summary.frames_with_faces, summary.tracks, summary.interrupted
        (15, 15, 1, False)
    """

    frames: int
    """Frames that were read."""
    frames_with_faces: int
    tracks: int
    """Faces, counted by their ids; of photographs each face of each one."""
    seconds: float
    """From the first frame to the last output."""
    damaged: int
    """Packets or images of the source that could not be decoded."""
    interrupted: bool
    """Whether it was asked to stop before the source's end."""
    absurd: int
    """Points that smoothing placed far beyond the frame: they are given as the model predicted them, with a sigma of NaN."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of work of each stage. Stages work side by side, and one that waits for a core is not at rest."""
    waits: Mapping[str, QueueWaits] = field(default_factory=dict)
    """Seconds that threads waited at each of the queues between them."""

    @property
    def fps(self) -> float:
        """Frames per second of work."""
        return self.frames / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        tracks = f"{self.tracks} track{'s' * (self.tracks != 1)}"
        facts = [f"{self.frames} frames", f"{self.frames_with_faces} with faces", tracks]
        facts += [f"{self.seconds:.1f} s", f"{self.fps:.1f} fps"]
        facts += [f"{self.damaged} damaged parts skipped"] * bool(self.damaged) + ["interrupted"] * self.interrupted
        facts += [f"{self.absurd} absurd points replaced"] * bool(self.absurd)
        return f"Summary({', '.join(facts)})"


class LostOutputError(SinkError):
    """An output could not be written; the others are complete, and the message names them."""

    def __init__(self, message: str, saved: Sequence[Path], summary: Summary) -> None:
        super().__init__(message)
        self.saved, self.summary = saved, summary


def send(
    pipeline: ResultMaker,
    source: Source,
    sinks: Sequence[Sink],
    *,
    stop: threading.Event | None = None,
    progress: Callable[[FrameResult], object] = lambda result: None,
    pixels: bool = True,
) -> Summary:
    """Write the results of a source to sinks, in a thread of its own. If one fails, the others go on.

    Args:
        pipeline: Makes the results.
        source: An opened source.
        sinks: The outputs.
        stop: Setting this event ends the run; the frames read until then are written and the outputs kept.
        progress: Called with each result.
        pixels: Whether the sinks get frames with pixels.

    Returns:
        Counts and times of the run.

    Raises:
        LostOutputError: An output could not be written, and others are saved.
        SinkError: No output could be written.
    """
    outputs = SinkGroup(sinks)
    began, watch = time.perf_counter(), Stopwatch()
    frames, with_faces, faces, absurd, ids = 0, 0, 0, 0, set[int]()

    def write(result: FrameResult) -> None:
        with watch("write"):
            outputs.write(result)

    try:
        with outputs:
            with WriteBehind(write, queue_size(source)) as out:
                for result in pipeline.results(source, stop=stop, pixels=pixels, watch=watch):
                    out.put(result)
                    progress(result)
                    frames += 1
                    with_faces += bool(result.faces)
                    faces += len(result.faces)
                    ids.update(face.id for face in result.faces)
                    absurd += sum(int(np.isnan(face.sigma).sum()) for face in result.faces)
            watch.add_waits("finished", *out.waits)
            if stop is not None and stop.is_set():
                # On KeyboardInterrupt sinks keep what they have, and know that it is not the whole video.
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        if stop is None or not stop.is_set():
            raise
    interrupted = stop is not None and stop.is_set()
    seconds = time.perf_counter() - began
    tracks = faces if source.info.photographs else len(ids)
    summary = Summary(
        frames, with_faces, tracks, seconds, source.damaged, interrupted, absurd, watch.seconds, watch.waits
    )
    try:
        outputs.check()
    except SinkError as error:
        raise LostOutputError(str(error), outputs.saved, summary) from error
    return summary


def queue_size(source: Source) -> int:
    """Return how many frames of a source may wait in a queue between two threads; photographs may be of any size."""
    if source.info.photographs:
        return _MIN_QUEUE_SIZE
    return int(np.clip(_QUEUE_MEMORY // (source.info.width * source.info.height * 3), _MIN_QUEUE_SIZE, _MAX_QUEUE_SIZE))
