"""The jobs that make up a batch: a video at once, or, if it is long, its pieces and what is made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from vtrack.pipelines.batch.files import Video

_LONGER = 4
"""By what factor a lead-in grows that was too short."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A video from beginning to end; or, where it turns out to be long and may be cut, the pieces of it to be done instead."""

    video: Video
    shortest: float = math.inf
    """Seconds that a piece has at least."""
    most: int = 1
    """Pieces that it may be cut into."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.video.name


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a video; times are seconds on its own clock, None from where and to where all of it is wanted."""

    video: Video
    number: int
    """From 0."""
    count: int
    """Of all pieces of the video."""
    first: float
    """When the video, or what is wanted of it, begins."""
    lead: float | None
    """From when it is read."""
    start: float | None
    """From when its frames count."""
    stop: float | None
    """Where the next piece's begin."""
    end: float | None
    """Until when it is read."""
    memory: float
    """For how many seconds a tracker remembers a face it does not see, so for how long pieces are compared."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.video.name} ({self.number + 1}/{self.count})"

    @property
    def path(self) -> Path:
        """Where its recording is kept until the video is done."""
        return self.video.outputs.with_name(f".{self.video.outputs.name}.piece-{self.number:04}.npz")

    @property
    def bounds(self) -> list[float | None]:
        """What decides what its recording holds."""
        return [self.lead, self.start, self.stop, self.end]

    def longer(self) -> Piece:
        """The same with a longer lead-in."""
        assert self.lead is not None
        assert self.start is not None
        lead = self.start - _LONGER * (self.start - self.lead)
        return replace(self, lead=None if lead <= self.first else lead)


@dataclass(frozen=True, slots=True)
class Join:
    """The last job for a long video: make its outputs of its pieces."""

    video: Video
    pieces: tuple[Piece, ...]

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.video.name


Job = Whole | Piece | Join
