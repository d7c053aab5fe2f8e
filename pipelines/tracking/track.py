"""A track: one face through time, and the detections that confirm it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vtrack.filters.boxes import BoxFilter
from vtrack.imaging.boxes import differences
from vtrack.pipelines.tracking.doubt import LEAST_CERTAIN, DoubtWindow, WorstFace
from vtrack.pipelines.tracking.flow import Flow
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.types import FloatArray, Frame

CERTAIN = 0.9
"""Presence and detector score of a certain face: one such detection confirms a track."""
CONFIRMATION = 1.2
"""Evidence that confirms any track: the sum of score times presence over its detections."""
TRACK_TIMEOUT = 1.0
"""Seconds that a track continues after its last sighting, and that landmarks alone may continue it without certainty."""

_REACH = 0.6
"""Distance from its predicted position at which a face may be found, in box sides ..."""
_REACH_GROWTH = 0.5
"""... and how much this grows per second without a sighting."""
_LARGEST_ERROR = (0.2, 0.25, 0.3)
"""Largest `differences` of a predicted box from that of a face that is not too fast to predict."""
_FILTER_DETECTIONS = 6
"""Number of detections from which the box filter is rebuilt."""


@dataclass(frozen=True, eq=False, slots=True)
class Detection:
    """A face of a key frame, located by the landmark model."""

    sighting: Sighting
    score: float
    """Score of the detector, 0..1; presence where no detector ran."""
    from_detector: bool = True
    """False where no detector ran because the track predicted where the face is."""

    @property
    def certain(self) -> bool:
        """Whether both the detector and the landmark model are certain."""
        return min(self.score, self.sighting.presence) >= CERTAIN


class Track:
    """One face through time.

    Args:
        time: Time of its first sighting in seconds.
        worst: How uncertain the landmark model is of true faces.
    """

    def __init__(self, time: float, worst: WorstFace = LEAST_CERTAIN) -> None:
        self.id: int | None = None
        """Number that users see; None until the track is confirmed."""
        self.boxes = BoxFilter()
        """Filter that predicts the box for the next crop."""
        self.flow: Flow | None = None
        """Where optical flow saw it in the newest frames; None unless it is too fast to predict."""
        self._worst, self._doubt = worst, DoubtWindow(worst)
        self._detections: deque[tuple[float, Sighting]] = deque(maxlen=_FILTER_DETECTIONS)
        self.last: Sighting
        """Newest sighting."""
        self.born = time
        """Time of its first sighting."""
        self.seen = time
        """Time of its last sighting."""
        self.detected = time
        """Time of its last detection by the detector."""
        self.evidence = 0.0
        """Sum of score times presence over its detections."""

    def add(self, time: float, sighting: Sighting) -> None:
        """Add the newest sighting."""
        self.boxes.add(time, sighting.box, sighting.angle)
        self._doubt.add(time, sighting)
        self.last, self.seen = sighting, time

    @property
    def is_doubtful(self) -> bool:
        """Whether what was seen in the last second is no face."""
        return self._doubt.is_doubtful

    def add_detection(self, time: float, detection: Detection) -> None:
        """Count a detection of its face as evidence; one without a detector does not count."""
        if not detection.from_detector:
            return
        self.detected = time
        self._detections.append((time, detection.sighting))
        self.evidence += CONFIRMATION if detection.certain else detection.score * detection.sighting.presence

    def prepend(self, sightings: Sequence[tuple[float, Sighting]]) -> None:
        """Add (time, sighting) pairs from before its first sighting, oldest first."""
        self.boxes, self._doubt = _filter_boxes((*sightings, (self.seen, self.last))), DoubtWindow(self._worst)
        for time, sighting in (*sightings, (self.seen, self.last)):
            self._doubt.add(time, sighting)
        self.born = sightings[0][0] if sightings else self.born

    def rebuild_filter(self) -> None:
        """Rebuild the box filter from the newest detections alone, if there are enough and the last one is of now.

        The sightings between detections depend on crops that were placed by the filter itself. Without rebuilding, the
        first second of a face would influence all later frames, and a piece of a video could not be tracked by itself.
        """
        if len(self._detections) == _FILTER_DETECTIONS and self._detections[-1][0] == self.seen:
            self.boxes, self.flow = _filter_boxes(self._detections), None

    def watch(self, frames: Sequence[Frame]) -> None:
        """See by optical flow whether it is fast in these frames, in the first of which it was seen last."""
        flow = Flow.through(frames, *self.boxes.predict(frames[0].time))
        fast = flow is not None and any(map(self.misses, flow.times, flow.boxes, flow.angles))
        self.flow = flow if fast else None

    def misses(self, time: float, box: FloatArray, angle: float) -> bool:
        """Return whether its motion leads far from a box (4,) and an angle at that time."""
        return bool((differences(box, angle, *self.boxes.predict(time)) > _LARGEST_ERROR).any())

    def predict(self, time: float) -> tuple[FloatArray, float]:
        """Return its box (4,) and angle where optical flow saw it, or else where its motion leads."""
        return (self.flow and self.flow.at(time)) or self.boxes.predict(time)

    def way(self, time: float, box: FloatArray, angle: float, times: Sequence[float]) -> tuple[FloatArray, FloatArray]:
        """Return its boxes (n, 4) and angles (n,) on the way to a later box; see `BoxFilter.way`."""
        course = (self.flow.boxes, self.flow.angles) if self.flow and self.flow.times[1:] == times else None
        return self.boxes.way(time, box, angle, times, course)

    def predicted_anchors(self, time: float) -> FloatArray:
        """Return the predicted positions (anchors, 2) of its anchors."""
        (here, _), (there, _) = self.boxes.predict(self.seen), self.predict(time)
        return self.last.anchors + (there[:2] + there[2:] / 2) - (here[:2] + here[2:] / 2)

    def reach(self, time: float) -> float:
        """Return how far from there the face may be found, in box sides."""
        return _REACH + _REACH_GROWTH * abs(time - self.seen)


def _filter_boxes(sightings: Iterable[tuple[float, Sighting]]) -> BoxFilter:
    """Build the box filter of (time, sighting) pairs, oldest first."""
    boxes = BoxFilter()
    for time, sighting in sightings:
        boxes.add(time, sighting.box, sighting.angle)
    return boxes
