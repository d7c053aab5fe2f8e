"""From sightings to results: smoothing, a last check, all measures, and removal of points that nobody asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vtrack.anchors import ANCHORS, box_around
from vtrack.measures import EyeEvent
from vtrack.pipelines.outputs.tables.columns import PIXEL_DIGITS
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.smoothing.smoother import Smoother
from vtrack.pipelines.tracking.follower import TrackedFrame
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.runtime.stopwatch import Stopwatch
from vtrack.types import BoolArray, Face, FloatArray, Frame, FrameResult, Query

if TYPE_CHECKING:
    from vtrack.pipelines.measures.lookahead import BlinkLookahead
    from vtrack.pipelines.measures.measurer import Measurer

log = logging.getLogger(__name__)

_FAR = 4.0
"""Longest way of a point beyond the edge of its frame, and largest sigma, in longer sides of the frame. A face of which a
tenth is visible reaches no farther."""


def postprocess(
    settings: Settings,
    tracked: Iterable[TrackedFrame],
    *,
    pixels: bool = True,
    watch: Stopwatch | None = None,
) -> Iterator[FrameResult]:
    """Smooth and measure tracked frames, and remove the anchors.

    Args:
        settings: Settings of the run.
        tracked: Frames and their sightings by track id, in order.
        pixels: Whether results keep the pixels of their frames.
        watch: Stopwatch for the stage "smooth".

    Returns:
        An iterator of the results, in order.
    """
    smoother, finish, watch = make_smoother(settings), Postprocessor(settings), watch or Stopwatch()
    query, lookahead = settings.model_query, _make_lookahead() if settings.measures else None
    for frame, sightings in tracked:
        kept = frame if pixels else frame.without_pixels()
        with watch("smooth"):
            results = [finish(one) for one in smoother.push(to_result(kept, sightings, query))]
            results = results if lookahead is None else lookahead.push(results)
        yield from results
    with watch("smooth"):
        results, events = [finish(one) for one in smoother.flush()], finish.events()
        results = results if lookahead is None else [*lookahead.push(results), *lookahead.flush(events)]
    yield from results


def postprocess_photographs(
    settings: Settings,
    tracked: Iterable[TrackedFrame],
    *,
    pixels: bool = True,
    watch: Stopwatch | None = None,
) -> Iterator[FrameResult]:
    """Measure the faces of photographs, each by itself and not smoothed, and remove the anchors; see `postprocess`."""
    watch = watch or Stopwatch()
    for frame, sightings in tracked:
        kept = frame if pixels else frame.without_pixels()
        with watch("smooth"):
            result = Postprocessor(settings, photographs=True)(to_result(kept, sightings, settings.model_query))
        yield result


def make_smoother(settings: Settings) -> Smoother:
    """Return a new smoother for one video."""
    return Smoother(settings.model_query, settings.smooth, settings.strength, settings.strengths)


def to_result(frame: Frame, sightings: Mapping[int, Sighting], query: Query) -> FrameResult:
    """Convert a tracked frame to a result with all points of the model, rounded as tables have them.

    Smoothing amplifies differences: on the sample clip the last bit of a raw point decides on half a pixel of smooth points,
    seconds later. So it begins with the numbers that tables hold, and gives the same when it begins with a table.

    Args:
        frame: The frame.
        sightings: Its sightings by track id.
        query: The points of the sightings; the last ones are the anchors.
    """
    return FrameResult(frame, tuple(_to_face(*each, query) for each in sightings.items()), query)


def _to_face(track: int, sighting: Sighting, query: Query) -> Face:
    """The face of a sighting."""
    unsmoothed = np.empty((len(sighting.sigma), 3))
    unsmoothed[:, :2], unsmoothed[:, 2] = sighting.points, sighting.sigma
    unsmoothed.round(PIXEL_DIGITS, out=unsmoothed)
    points = unsmoothed[:, :2]
    return Face(
        id=track,
        box=box_around(points[-len(ANCHORS) :]),
        presence=sighting.presence,
        points=points,
        sigma=unsmoothed[:, 2],
        raw=points,
        query=query,
        unsmoothed=unsmoothed,
        hidden=sighting.hidden,
    )


class Postprocessor:
    """Checks smoothed results, adds what the settings ask for, and removes all points but the user's.

    Args:
        settings: Settings of the run.
        measurer: Measurer that already knows the faces; None for a new one.
        photographs: Whether the results are photographs, which tell nothing of each other.
    """

    def __init__(self, settings: Settings, measurer: Measurer | None = None, *, photographs: bool = False) -> None:
        self._query = settings.landmark_query
        self._measurer = (measurer or _make_measurer(settings, photographs)) if settings.measured_groups else None

    def with_settings(self, settings: Settings) -> Postprocessor:
        """Return a postprocessor for other settings that continues to count the blinks of the same faces."""
        return Postprocessor(settings, self._measurer)

    def __call__(self, result: FrameResult) -> FrameResult:
        """Return the next result, checked, measured and without anchors."""
        result = keep_points(without_absurd(result), self._query)
        return result if self._measurer is None else self._measurer(result)

    def events(self) -> tuple[EyeEvent, ...]:
        """Return the events that go on when the video ends."""
        return () if self._measurer is None else self._measurer.finish()


def _make_lookahead() -> BlinkLookahead:
    """A lookahead for one video."""
    from vtrack.pipelines.measures.lookahead import BlinkLookahead  # not needed where nothing is measured

    return BlinkLookahead()


def _make_measurer(settings: Settings, photographs: bool) -> Measurer:
    """A measurer for one video."""
    from vtrack.pipelines.measures.measurer import Measurer  # not needed where nothing is measured
    from vtrack.pipelines.measures.pose import eye_distance

    return Measurer(
        measures=settings.measures,
        pose=settings.pose,
        points3d=settings.points3d,
        distance=eye_distance(settings.pose_unit, settings.eye_distance),
        expressions=settings.expressions,
        neutral=settings.neutral,
        fov=settings.fov,
        photographs=photographs,
    )


def without_absurd(result: FrameResult) -> FrameResult:
    """Return a smoothed result, anchors included, without points or sigmas that are not finite or far beyond the frame.

    Such a point becomes the raw one, or NaN where that is absurd, too; sigma becomes NaN. An absurd box becomes the box
    around the anchors. A face without a box is left out.
    """
    if not result.faces:
        return result
    size = np.array(result.frame.size, np.float64)
    far = _FAR * size.max()
    if all(_is_sound(face, -far, float(size.min() + far)) for face in result.faces):
        return result
    points, raw = (np.stack([getattr(face, name) for face in result.faces]) for name in ("points", "raw"))
    sigma, boxes = np.stack([face.sigma for face in result.faces]), np.stack([face.box for face in result.faces])

    def near(places: FloatArray) -> BoolArray:
        return np.asarray(((places >= -far) & (places <= size + far)).all(-1))

    sound = near(points) & (sigma >= 0) & (sigma <= far)
    sound_boxes = near(boxes[:, :2]) & near(boxes[:, :2] + boxes[:, 2:]) & (boxes[:, 2:] > 0).all(-1)
    if sound.all() and sound_boxes.all():
        return result
    points = np.where(sound[..., None], points, np.where(near(raw)[..., None], raw, np.nan))
    sigma = np.where(sound, sigma, np.nan)
    boxes = np.where(sound_boxes[:, None], boxes, box_around(points[:, -len(ANCHORS) :]))
    faces = []
    for i, face in enumerate(result.faces):
        if np.isfinite(boxes[i]).all():
            faces.append(replace(face, points=points[i], sigma=sigma[i], box=boxes[i]))
        else:
            log.warning("frame %d: face %d is left out, since its place is unknown", result.index, face.id)
    return replace(result, faces=tuple(faces))


def _is_sound(face: Face, low: float, high: float) -> bool:
    """Whether all coordinates of a face lie between these bounds, which are those of the shorter side of its frame.

    So it is for nearly all faces, which need no closer look. NaN compares as false.
    """
    x, y, width, height = face.box.tolist()
    return bool(
        face.points.min() >= low
        and face.points.max() <= high
        and face.sigma.min() >= 0
        and face.sigma.max() <= -low
        and x >= low
        and y >= low
        and width > 0
        and height > 0
        and x + width <= high
        and y + height <= high
    )


def keep_points(result: FrameResult, query: Query) -> FrameResult:
    """Return the result with only the points of `query`, which must be the first ones of the result's query."""
    return replace(
        result, faces=tuple(cut_points(face, slice(len(query)), query) for face in result.faces), query=query
    )


def cut_points(face: Face, chosen: slice, query: Query) -> Face:
    """Return the face with only some of its points, which are those of `query`."""
    return replace(
        face,
        points=face.points[chosen],
        sigma=face.sigma[chosen],
        raw=face.raw[chosen],
        query=query,
        hidden=None if face.hidden is None else face.hidden[chosen],
        points3d=None if face.points3d is None else face.points3d[chosen],
    )
