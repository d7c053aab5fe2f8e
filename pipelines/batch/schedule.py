"""What is to be done next: the largest videos first, long ones in pieces, each joined as soon as it has all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vtrack.pipelines.batch.files import Video
from vtrack.pipelines.batch.jobs import Job, Join, Piece, Whole
from vtrack.pipelines.batch.state import Outcome

SHORTEST = 30.0
"""Seconds of a piece, unless the user says otherwise; shorter ones would be lead-in for too large a part."""
_PER_WORKER = 4
"""Pieces that a worker gets of videos which keep all of them busy; so many that none waits long for the last."""


@dataclass
class _Split:
    """A video in pieces."""

    pieces: list[Piece]
    open: set[int] = field(default_factory=set)
    """Numbers of the pieces that are not there yet."""
    given_up: bool = False
    """Whether it will be done in one piece after all."""


class Schedule:
    """The jobs that wait, and what follows from those that are done."""

    def __init__(self, sizes: Mapping[Video, int], workers: int, split: float | None) -> None:
        """`sizes` in bytes tell how long videos are; `split` is the length of pieces, 0 for none, None for a fitting one."""
        self._splits: dict[Video, _Split] = {}
        total = sum(sizes.values())
        largest_first = sorted(sizes, key=lambda video: -sizes[video])
        self.waiting: deque[Job] = deque(
            _first_job(video, sizes[video] / total if total else 0.0, workers, split) for video in largest_first
        )

    @property
    def most(self) -> int:
        """How many workers may find work."""
        return sum(job.most if isinstance(job, Whole) else 1 for job in self.waiting)

    def settle(self, job: Job, result: Outcome | Sequence[Piece] | Piece | None) -> bool:
        """Take note of the end of a job, None if nothing came of it; whether this is the end of its video."""
        if isinstance(job, Piece):
            self._add(job, found=isinstance(result, Piece))
        elif isinstance(result, Piece):
            self._again(result.longer())
        elif isinstance(result, Outcome) or result is None:
            self._splits.pop(job.video, None)
            return True
        else:
            self._splits[job.video] = _Split([*result], {piece.number for piece in result})
            self.waiting.extendleft(reversed(result))
        return False

    def _add(self, piece: Piece, *, found: bool) -> None:
        """A piece is there, or never will be: then its video is done at once, which says best what is wrong."""
        split = self._splits[piece.video]
        split.open.discard(piece.number)
        if not found:
            split.given_up = True
            waiting = [job for job in self.waiting if isinstance(job, Piece) and job.video == piece.video]
            for job in waiting:
                self.waiting.remove(job)
                split.open.discard(job.number)
        if not split.open:
            whole = split.given_up
            self.waiting.appendleft(Whole(piece.video) if whole else Join(piece.video, tuple(split.pieces)))

    def _again(self, piece: Piece) -> None:
        split = self._splits[piece.video]
        split.pieces[piece.number] = piece
        split.open.add(piece.number)
        self.waiting.appendleft(piece)


def _first_job(video: Video, share: float, workers: int, split: float | None) -> Whole:
    """How a video is begun; one that would keep a worker busy when all others are through may be cut."""
    if split == 0 or not video.is_file:
        return Whole(video)
    if split is not None:
        return Whole(video, split, most=10**6)
    pieces = int(share * workers * _PER_WORKER)
    if workers == 1 or pieces <= _PER_WORKER // 2:
        return Whole(video)
    # Powers of two, for pieces of an earlier run to fit although it had other videos beside this one.
    return Whole(video, SHORTEST, most=1 << pieces.bit_length())
