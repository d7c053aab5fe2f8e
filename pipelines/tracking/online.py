"""Following faces as they come: each frame knows only those before it.

A face is looked for where its landmarks of the frame before and its motion point. Detection runs on key frames, and
sooner when a face is lost.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing

from vtrack.pipelines.tracking.follower import Followed, Follower
from vtrack.pipelines.tracking.tracks import Match, same_face
from vtrack.types import Frame

_SOONER = 0.1
"""Seconds between detections while a face is lost."""


class CausalFollower(Follower):
    """Follows the faces of a live picture."""

    _detected = float("-inf")
    """When detection ran last."""

    def follow(self, frames: Iterable[Frame]) -> Generator[Followed]:
        """Every frame with its faces by id, once, each as soon as it comes; scenes begin where the frames say so."""
        with closing(self):
            for frame in frames:
                if frame.cut:
                    self._cross(frame)
                else:
                    self._go_on(frame)
                self.tracks.bury(frame.time)
                seen = [track for track in self.tracks.live if track.seen == frame.time and self.tracks.counts(track)]
                yield frame, dict(sorted((self.tracks.name(track), track.last) for track in seen))

    def _cross(self, frame: Frame) -> None:
        """Begin a new scene."""
        self._detected = frame.time
        self._accept(self.cross(frame), frame)

    def _go_on(self, frame: Frame) -> None:
        """Follow known faces, and look for others when it is time."""
        found = self.step(self.tracks.live, frame)
        for candidate in found:
            candidate.track.add(frame.time, candidate.sighting)
        lost = len(found) < len(self.tracks.live)
        due = frame.time - self._detected >= (_SOONER if lost else self.detect_every) - 1e-6
        if due and (lost or not self.tracks.complete(frame.time, self.detect_every)):
            self._detect(frame)

    def _detect(self, frame: Frame) -> None:
        """Give lost tracks their faces back, and begin tracks for faces that are new."""
        self._detected = frame.time
        seen = [track for track in self.tracks.live if track.seen == frame.time]
        lost = [track for track in self.tracks.live if track.seen != frame.time]
        unknown = []
        for seed in self.seek(frame):
            known = [track for track in seen if same_face(seed.sighting, track.last)]
            if known:
                known[0].believe(frame.time, seed)
            else:
                unknown.append(seed)
        self._accept(self.tracks.match(unknown, frame.time, lost), frame)

    def _accept(self, match: Match, frame: Frame) -> None:
        """Record the faces that a detection found."""
        for track, seed in match.pairs:
            track.add(frame.time, seed.sighting)
            track.believe(frame.time, seed)
        self.tracks.begin(self.settle(match.new, frame), frame.time)
