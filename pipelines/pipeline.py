"""The whole product as one sentence: frames come from a source, faces in them are detected, tracked, cropped,
landmarked, smoothed, and go to sinks.

    with open_source("input.mp4") as source:
        for result in Pipeline(Settings("eyes,lips")).results(source):
            print(result.time, [face.id for face in result.faces])

What Python programs call is built on it: `vtrack.pipelines.track`, `tracker` and `run`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from vtrack.detectors import load_detector
from vtrack.detectors.own import own_detector
from vtrack.models import load_model
from vtrack.models.own import own_model
from vtrack.pipelines.measures.measurer import Measurer
from vtrack.pipelines.outputs.base import Sink
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.smoothing.smoother import Smoother
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.scene_cuts import mark_cuts
from vtrack.pipelines.tracking.follower import TrackedFrame
from vtrack.pipelines.tracking.landmarks import Landmarker, Sighting, unique_points
from vtrack.pipelines.tracking.offline import OfflineFollower
from vtrack.runtime.cores import detector_cores
from vtrack.runtime.stopwatch import Stopwatch, Waits
from vtrack.runtime.threads import Ahead, Behind
from vtrack.types import Face, Frame, FrameResult, Query

_MEMORY = 48 * 2**20
"""Bytes of pixels that wait between two threads at most, as RGB; the planes of most video take half of it."""
_DEPTH = 32
"""Frames that wait between two threads at most."""


class ResultMaker(Protocol):
    """Whatever makes results of a source: a pipeline, or what reads results that were kept."""

    spent: float
    """Seconds of work that went into them before."""

    def results(
        self,
        source: Source,
        *,
        stop: threading.Event | None = None,
        pixels: bool = True,
        watch: Stopwatch | None = None,
    ) -> Iterator[FrameResult]:
        """One result for each frame, in order; see `Pipeline.results`."""
        ...


class Pipeline:
    """Models, loaded once, that turn any number of videos into results."""

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
            prepare(unique_points(settings.known)[0])
        self.detector = (
            load_detector(detector, device=settings.device, threads=detector_cores(), **settings.detector_options)
            if isinstance(detector, str)
            else own_detector(detector)
        )

    @property
    def card(self) -> dict[str, Any]:
        """Which landmark model it is, by its card, and what runs it; of a model of one's own its name."""
        card, engine = getattr(self.model, "card", None), getattr(self.model, "engine", None)
        known = {"name": self.model.name} if card is None else card.reference
        return known if engine is None else {**known, "engine": engine}

    def results(
        self,
        source: Source,
        *,
        stop: threading.Event | None = None,
        pixels: bool = True,
        watch: Stopwatch | None = None,
    ) -> Iterator[FrameResult]:
        """One result for each frame of an opened source, in order.

        Setting `stop` ends them early, after what was read until then. Without `pixels` the frames come without their
        pictures, so that frames waiting for the smoother cost nothing. `watch` gets the seconds of each stage.
        """
        watch = watch or Stopwatch()
        with (
            Ahead(watch.each("decode", mark_cuts(source)), room(source), stop) as frames,
            closing(self.follow(frames, watch)) as followed,
        ):
            yield from finished(self.settings, followed, pixels=pixels, watch=watch)
            watch.waits("decoded", *frames.waits)

    def follow(self, frames: Iterable[Frame], watch: Stopwatch | None = None) -> Generator[TrackedFrame]:
        """Every frame with its faces by id, as the model saw them; scene cuts are where the frames say."""
        settings = self.settings
        follower = OfflineFollower(
            self.detector,
            Landmarker(self.model, settings.asked, watch=watch),
            max_faces=settings.max_faces,
            detect_every=settings.detect_every,
        )
        return follower.follow(frames)


def finished(
    settings: Settings,
    followed: Iterable[TrackedFrame],
    *,
    pixels: bool = True,
    watch: Stopwatch | None = None,
) -> Iterator[FrameResult]:
    """Results of frames whose faces are found: smoothed, measured, without the anchors."""
    smoother, finish, watch, query = smoother_of(settings), Finish(settings), watch or Stopwatch(), settings.known
    for frame, sightings in followed:
        kept = frame if pixels else frame.without_pixels()
        with watch("smooth"):
            results = [finish(one) for one in smoother.push(as_result(kept, sightings, query))]
        yield from results
    with watch("smooth"):
        results = [finish(one) for one in smoother.flush()]
    yield from results


def smoother_of(settings: Settings) -> Smoother:
    """A fresh smoother for one video."""
    return Smoother(settings.known, settings.smooth, settings.strength, settings.strengths)


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
    """Faces, counted by their ids."""
    seconds: float
    """From the first frame to the last output."""
    damaged: int
    """Packets or images of the source that could not be decoded."""
    interrupted: bool
    """Whether it was asked to stop before the source's end."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of work of each stage. Stages work side by side, and one that waits for a core is not at rest."""
    waits: Mapping[str, Waits] = field(default_factory=dict)
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
        return f"Summary({', '.join(facts)})"


def send(
    pipeline: ResultMaker,
    source: Source,
    sinks: Sequence[Sink],
    *,
    stop: threading.Event | None = None,
    progress: Callable[[FrameResult], object] = lambda result: None,
    pixels: bool = True,
) -> Summary:
    """Send the results of a source to sinks, which work in a thread of their own.

    When `stop` is set, what was read until then is finished and kept. Without `pixels` the sinks get frames without
    their pictures.
    """
    began, frames, with_faces, ids, watch = time.perf_counter(), 0, 0, set[int](), Stopwatch()

    def write(result: FrameResult) -> None:
        with watch("write"):
            for sink in sinks:
                sink.write(result)

    try:
        with ExitStack() as outputs:
            for sink in sinks:
                outputs.enter_context(sink)
            with Behind(write, room(source)) as out:
                for result in pipeline.results(source, stop=stop, pixels=pixels, watch=watch):
                    out.put(result)
                    progress(result)
                    frames += 1
                    with_faces += bool(result.faces)
                    ids.update(face.id for face in result.faces)
            watch.waits("finished", *out.waits)
            if stop is not None and stop.is_set():
                # Sinks keep what they have when Ctrl-C comes by, and know then that more was to follow.
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        if stop is None or not stop.is_set():
            raise
    interrupted = stop is not None and stop.is_set()
    seconds = time.perf_counter() - began
    return Summary(frames, with_faces, len(ids), seconds, source.damaged, interrupted, watch.seconds, watch.waited)


def room(source: Source) -> int:
    """Frames of this source that may wait between two threads."""
    return int(np.clip(_MEMORY // (source.info.width * source.info.height * 3), 2, _DEPTH))


def as_result(frame: Frame, sightings: Mapping[int, Sighting], query: Query) -> FrameResult:
    """A frame and its faces, with all points asked of the model."""
    faces = tuple(
        Face(
            id=number,
            box=seen.box,
            presence=seen.presence,
            points=seen.points,
            sigma=seen.sigma,
            raw=seen.points,
            query=query,
        )
        for number, seen in sightings.items()
    )
    return FrameResult(frame, faces, query)


class Finish:
    """Makes of the smoother's results what the user asked for: measures if wanted, and no points but the user's."""

    def __init__(self, settings: Settings, measurer: Measurer | None = None) -> None:
        self._asked = settings.asked
        self._measurer = measurer or Measurer() if settings.measures else None

    def renewed(self, settings: Settings) -> Finish:
        """The same for other settings; what is known of the faces goes on."""
        return Finish(settings, self._measurer)

    def __call__(self, result: FrameResult) -> FrameResult:
        """The next result, without the anchors."""
        result = only(result, self._asked)
        return result if self._measurer is None else self._measurer(result)


def only(result: FrameResult, query: Query) -> FrameResult:
    """The result with the points of `query` alone, with which its own query begins."""
    count = len(query)
    faces = tuple(
        replace(face, points=face.points[:count], sigma=face.sigma[:count], raw=face.raw[:count], query=query)
        for face in result.faces
    )
    return FrameResult(result.frame, faces, query)
