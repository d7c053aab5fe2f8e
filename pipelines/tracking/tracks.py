"""The live tracks of a video: when they start, when they are confirmed, and when they end.

A track starts with a detection that the landmark model confirms as a face. It is confirmed, and gets its id, after one
certain detection or several less certain ones. Its prediction bridges short gaps, and it ends after `TRACK_TIMEOUT`
without a sighting, or when its last second shows no face (`vtrack.pipelines.tracking.doubt`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from vtrack.pipelines.tracking.doubt import LEAST_CERTAIN, WorstFace
from vtrack.pipelines.tracking.matching import Match, match_detections
from vtrack.pipelines.tracking.track import CONFIRMATION, TRACK_TIMEOUT, Detection, Track


class Tracks:
    """All live tracks, oldest first.

    Args:
        max_faces: Largest number of tracks; None for no limit.
        min_score: Detector score from which a detection may start a track; a lower one may only continue one.
        worst: How uncertain the landmark model is of true faces.
    """

    def __init__(self, max_faces: int | None = None, min_score: float = 0.0, worst: WorstFace = LEAST_CERTAIN) -> None:
        self.max_faces = max_faces
        self.min_score = min_score
        self.worst = worst
        self.live: list[Track] = []
        self._next_id = 0

    def match(
        self,
        detections: Sequence[Detection],
        time: float,
        tracks: Sequence[Track] | None = None,
        reach: float | None = None,
    ) -> Match:
        """Assign detections to tracks, by default to all live ones; see `match_detections`."""
        return match_detections(detections, self.live if tracks is None else tracks, time, reach)

    def start(self, detections: Sequence[Detection], time: float) -> list[Track]:
        """Start tracks for detections, the largest first as far as `max_faces` allows; missing tracks make room."""
        seen = sum(track.seen == time for track in self.live)
        room = len(detections) if self.max_faces is None else max(self.max_faces - seen, 0)
        started: list[Track] = []
        detections = [detection for detection in detections if detection.score >= self.min_score]
        for detection in sorted(detections, key=lambda one: -one.sighting.side):
            track = Track(time, self.worst)
            track.add(time, detection.sighting)
            track.add_detection(time, detection)
            if len(started) < room and not track.is_doubtful:
                started.append(track)
        self.live += started
        if self.max_faces is not None and len(self.live) > self.max_faces:
            newest_seen = sorted(self.live, key=lambda track: (-track.seen, track.born))[: self.max_faces]
            self.live = [track for track in self.live if track in newest_seen]
        return started

    def end(self, tracks: Collection[Track]) -> None:
        """End tracks whose faces have certainly left."""
        self.live = [track for track in self.live if track not in tracks]

    def end_stale(self, time: float) -> None:
        """End tracks that were not seen for `TRACK_TIMEOUT` or became doubtful; unconfirmed ones end at their first miss."""
        self.live = [
            track
            for track in self.live
            if not track.is_doubtful
            and (track.seen == time or (self.is_confirmed(track) and time - track.seen <= TRACK_TIMEOUT))
        ]

    @property
    def full(self) -> bool:
        """Whether `max_faces` allows no new track."""
        return len(self.live) == self.max_faces

    def needs_no_detection(
        self, time: float, interval: float, detected: Mapping[Track, float] = MappingProxyType({})
    ) -> bool:
        """Return whether a detection now would change nothing: no new track is allowed, and all were detected lately.

        Args:
            time: Time of the frame in seconds.
            interval: Seconds until the next possible detection.
            detected: Time of the last detection for tracks that are not updated yet.
        """
        return (
            self.full
            and all(self.is_confirmed(track) for track in self.live)
            and all(time + interval - detected.get(track, track.detected) <= TRACK_TIMEOUT for track in self.live)
        )

    def is_confirmed(self, track: Track) -> bool:
        """Return whether a track is certainly a face."""
        return track.id is not None or track.evidence >= CONFIRMATION

    def id_of(self, track: Track) -> int:
        """Return the track's id; the first call assigns it."""
        if track.id is None:
            track.id, self._next_id = self._next_id, self._next_id + 1
        return track.id
