"""Following faces in live video, where each frame knows only the frames before it.

A face is located where its last landmarks and its motion predict it. The detector runs on key frames, and sooner when a
face is lost.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing

from vtrack.pipelines.tracking.follower import Follower, TrackedFrame
from vtrack.pipelines.tracking.matching import Match, same_face
from vtrack.types import Frame

_LOST_INTERVAL = 0.1
"""Seconds between detections while a face is lost."""


class OnlineFollower(Follower):
    """Follows the faces of live video; see `Follower` for its arguments."""

    _last_detection = float("-inf")
    """Time of the last detection in seconds."""

    def follow(self, frames: Iterable[Frame]) -> Generator[TrackedFrame]:
        """Yield every frame with its sightings by track id, as soon as it comes; `Frame.cut` begins a new scene."""
        with closing(self):
            for frame in frames:
                yield self.step(frame)

    def step(self, frame: Frame) -> TrackedFrame:
        """Return the next frame with its sightings by track id; close the follower after the last one."""
        if frame.cut:
            self._last_detection = frame.time
            self._update(self.cross_cut(frame), frame)
        else:
            self._continue(frame)
        self.tracks.end_stale(frame.time)
        seen = [track for track in self.tracks.live if track.seen == frame.time and self.tracks.is_confirmed(track)]
        return frame, dict(sorted((self.tracks.id_of(track), track.last) for track in seen))

    def _continue(self, frame: Frame) -> None:
        """Follow known faces, and detect new ones when it is time."""
        candidates = self.locate(self.tracks.live, frame)
        for candidate in candidates:
            candidate.track.add(frame.time, candidate.sighting)
        lost = len(candidates) < len(self.tracks.live)
        due = frame.time - self._last_detection >= (_LOST_INTERVAL if lost else self.detect_every) - 1e-6
        if due and (lost or not self.tracks.needs_no_detection(frame.time, self.detect_every)):
            self._match_detections(frame)

    def _match_detections(self, frame: Frame) -> None:
        """Detect faces, give lost tracks theirs back, and start tracks for new ones."""
        self._last_detection = frame.time
        seen = [track for track in self.tracks.live if track.seen == frame.time]
        lost = [track for track in self.tracks.live if track.seen != frame.time]
        unmatched = []
        for detection in self.detect(frame):
            same = [track for track in seen if same_face(detection.sighting, track.last)]
            if same:
                same[0].add_detection(frame.time, detection)
            else:
                unmatched.append(detection)
        self._update(self.tracks.match(unmatched, frame.time, lost), frame)

    def _update(self, match: Match, frame: Frame) -> None:
        """Add matched detections to their tracks, and start tracks for the others."""
        for track, detection in match.pairs:
            track.add(frame.time, detection.sighting)
            track.add_detection(frame.time, detection)
        self.tracks.start(self.refine(match.new, frame), frame.time)
