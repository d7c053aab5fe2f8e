"""Order of the jobs of a batch: largest videos first, long ones in pieces, joined as soon as all pieces are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vtrack.pipelines.batch.files import Video
from vtrack.pipelines.batch.jobs import Job, JoinJob, PieceJob, VideoJob
from vtrack.pipelines.batch.state import VideoOutcome

MIN_PIECE_LENGTH = 30.0
"""Seconds of a piece, unless the user chooses another length; the lead-in is too large a part of shorter ones."""
PIECES_PER_WORKER = 4
"""Pieces for each worker if one video keeps all of them busy; enough that no worker waits long for the last piece."""


@dataclass
class _SplitVideo:
    """State of a video that is done in pieces."""

    pieces: list[PieceJob]
    missing: set[int] = field(default_factory=set)
    """Numbers of the pieces that are not recorded yet."""
    failed: bool = False
    """Whether a piece failed, so that the video is done as a whole."""


class Schedule:
    """The jobs that are waiting, and those that follow from finished ones.

    Args:
        sizes: Size of each video in bytes, as an estimate of its length.
        workers: Number of workers.
        split: Length of pieces in seconds, 0 for whole videos, None to cut videos that would keep one worker busy alone.
    """

    def __init__(self, sizes: Mapping[Video, int], workers: int, split: float | None) -> None:
        self._split_videos: dict[Video, _SplitVideo] = {}
        total = sum(sizes.values())
        largest_first = sorted(sizes, key=lambda video: -sizes[video])
        self.waiting: deque[Job] = deque(
            _first_job(video, sizes[video] / total if total else 0.0, workers, split) for video in largest_first
        )

    @property
    def max_workers(self) -> int:
        """Largest number of workers that can be busy."""
        return sum(job.max_pieces if isinstance(job, VideoJob) else 1 for job in self.waiting)

    def settle(self, job: Job, result: VideoOutcome | Sequence[PieceJob] | PieceJob | None) -> bool:
        """Add the jobs that follow from a finished one.

        Args:
            job: The finished job.
            result: Its result (see `worker.Result`); None if the worker died or the piece failed.

        Returns:
            Whether the job's video is finished.
        """
        if isinstance(job, PieceJob):
            self._settle_piece(job, recorded=isinstance(result, PieceJob))
        elif isinstance(result, PieceJob):
            self._repeat(result.with_longer_lead_in())
        elif isinstance(result, VideoOutcome) or result is None:
            self._split_videos.pop(job.video, None)
            return True
        else:
            self._split_videos[job.video] = _SplitVideo([*result], {piece.number for piece in result})
            self.waiting.extendleft(reversed(result))
        return False

    def _settle_piece(self, piece: PieceJob, *, recorded: bool) -> None:
        """Join the pieces if this was the last one; if one failed, do the whole video, which reports the error best."""
        split = self._split_videos[piece.video]
        split.missing.discard(piece.number)
        if not recorded:
            split.failed = True
            siblings = [job for job in self.waiting if isinstance(job, PieceJob) and job.video == piece.video]
            for sibling in siblings:
                self.waiting.remove(sibling)
                split.missing.discard(sibling.number)
        if not split.missing:
            job = VideoJob(piece.video) if split.failed else JoinJob(piece.video, tuple(split.pieces))
            self.waiting.appendleft(job)

    def _repeat(self, piece: PieceJob) -> None:
        split = self._split_videos[piece.video]
        split.pieces[piece.number] = piece
        split.missing.add(piece.number)
        self.waiting.appendleft(piece)


def _first_job(video: Video, share: float, workers: int, split: float | None) -> VideoJob:
    """First job of a video; `share` is its share of the size of all videos."""
    if split == 0 or not video.is_file or video.images:
        return VideoJob(video)
    if split is not None:
        return VideoJob(video, split, max_pieces=10**6)
    pieces = int(share * workers * PIECES_PER_WORKER)
    if workers == 1 or pieces <= PIECES_PER_WORKER // 2:
        return VideoJob(video)
    # Powers of two, so that pieces of an earlier run with other videos beside this one can be used again.
    return VideoJob(video, MIN_PIECE_LENGTH, max_pieces=1 << pieces.bit_length())
