"""Jobs of a batch: a whole video, one piece of a long video, or joining the pieces of a video."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from vtrack.pipelines.batch.files import Video

_LEAD_IN_GROWTH = 4
"""Factor by which a lead-in that was too short is lengthened."""


@dataclass(frozen=True, slots=True)
class VideoJob:
    """Track a whole video; if it turns out to be long and may be cut, its pieces are returned to be done instead."""

    video: Video
    min_length: float = math.inf
    """Least length of a piece in seconds."""
    max_pieces: int = 1
    """Largest number of pieces."""

    @property
    def name(self) -> str:
        """Name in messages."""
        return self.video.name


@dataclass(frozen=True, slots=True)
class PieceJob:
    """Record the faces of one piece of a video. Times are seconds of the video's clock; None means no bound."""

    video: Video
    number: int
    """Number of the piece, from 0."""
    count: int
    """Number of pieces of the video."""
    first: float
    """Start of the video, or of its selected part."""
    lead: float | None
    """Time from which the piece is read: the start of its lead-in."""
    start: float | None
    """Time of its first own frame."""
    stop: float | None
    """Time of the first frame of the next piece."""
    end: float | None
    """Time up to which it is read."""
    overlap: float
    """Seconds for which two pieces are compared: as long as a tracker remembers a face that it does not see."""

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self.video.name} ({self.number + 1}/{self.count})"

    @property
    def path(self) -> Path:
        """Path of its recording, which is kept until the video is done."""
        return self.video.outputs.with_name(f".{self.video.outputs.name}.piece-{self.number:04}.npz")

    @property
    def bounds(self) -> list[float | None]:
        """The times that determine its recording."""
        return [self.lead, self.start, self.stop, self.end]

    def with_longer_lead_in(self) -> PieceJob:
        """The same piece with a longer lead-in."""
        assert self.lead is not None
        assert self.start is not None
        lead = self.start - _LEAD_IN_GROWTH * (self.start - self.lead)
        return replace(self, lead=None if lead <= self.first else lead)


@dataclass(frozen=True, slots=True)
class JoinJob:
    """Join the pieces of a long video into its outputs."""

    video: Video
    pieces: tuple[PieceJob, ...]

    @property
    def name(self) -> str:
        """Name in messages."""
        return self.video.name


Job = VideoJob | PieceJob | JoinJob
