"""The faces of photographs, each by itself: a face of one is not looked for in the next."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing

from vtrack.pipelines.tracking.follower import Follower, TrackedFrame
from vtrack.pipelines.tracking.tracks import Tracks
from vtrack.types import Frame


class PhotographFinder(Follower):
    """Finds the faces of photographs; see `Follower` for its arguments."""

    def follow(self, frames: Iterable[Frame]) -> Generator[TrackedFrame]:
        """Yield every photograph with its faces, numbered from 0, the largest first.

        The detector works on the next photograph meanwhile.
        """
        with closing(self):
            waiting: Frame | None = None
            for frame in frames:
                self.prefetcher.request(frame)
                if waiting is not None:
                    yield self._find(waiting)
                waiting = frame
            if waiting is not None:
                yield self._find(waiting)

    def _find(self, frame: Frame) -> TrackedFrame:
        tracks = Tracks(self.tracks.max_faces, self.tracks.min_score)
        started = tracks.start(self.refine(self.detect(frame), frame), frame.time)
        # There is no second detection that could confirm a face.
        return frame, {tracks.id_of(track): track.last for track in started}
