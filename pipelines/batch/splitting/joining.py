"""Cutting long videos into pieces, and joining the faces tracked in the pieces.

Only tracking is done in pieces. Each piece is read from a few seconds before its own frames (its lead-in) to a few seconds
after them. A tracker's state depends mostly on the last second, so two pieces should agree where they overlap. This is
checked: at each seam both must have the same faces at the same points for longer than a tracker remembers a face that it
does not see. From there on the later piece continues exactly as the earlier one would have. If they differ, the later piece
is tracked again with a longer lead-in, ultimately from the start of the video. Smoothing, which depends on more of the
past, and everything after it run on the joined faces in order, as for a whole video.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import numpy as np

from vtrack.errors import SourceError
from vtrack.pipelines.batch.jobs import PieceJob, VideoJob
from vtrack.pipelines.batch.splitting.recording import PieceRecording
from vtrack.pipelines.pipeline import queue_size
from vtrack.pipelines.postprocessing import postprocess
from vtrack.pipelines.settings import Selection, Settings
from vtrack.pipelines.sources.base import Source, SourceInfo
from vtrack.pipelines.sources.decoder import Decoder
from vtrack.pipelines.tracking.follower import TrackedFrame
from vtrack.pipelines.tracking.track import TRACK_TIMEOUT
from vtrack.runtime.stopwatch import Stopwatch
from vtrack.runtime.threads import ReadAhead
from vtrack.types import FrameResult

TOLERANCE = 0.01
"""Pixels by which a point may differ where two pieces overlap."""
_LEAD_IN_DETECTIONS = 16
"""Detections in a lead-in, at least; a face that is detected each time is confirmed after three or four."""
_MIN_LEAD_IN = 3.0
"""Least length of a lead-in in seconds."""
_MIN_LEAD_IN_FRAMES = 16
"""Least number of frames of a lead-in; the detection of scene cuts depends on the last twelve."""


def cut_video(job: VideoJob, info: SourceInfo, selection: Selection, detect_every: float) -> tuple[PieceJob, ...]:
    """Cut a video into pieces of about equal length.

    Args:
        job: The video, and the limits of the pieces.
        info: Start time, duration and frame rate of the video.
        selection: The frames to track.
        detect_every: Seconds between detections.

    Returns:
        The pieces; a single one if the video is too short or its duration is unknown.
    """
    first = info.start_time if selection.start is None else max(selection.start, info.start_time)
    last = first if info.duration is None else info.start_time + info.duration
    last = last if selection.stop is None else min(selection.stop, last)
    length = max(job.min_length, (last - first) / job.max_pieces)
    seams: list[float] = (first + length * np.arange(1, max(round((last - first) / length), 1))).tolist()
    step = selection.every / float(info.average_rate or 1)
    lead = max(_MIN_LEAD_IN, _LEAD_IN_DETECTIONS * detect_every, _MIN_LEAD_IN_FRAMES * step)
    segment = max(detect_every, step)
    # A track may live for one segment longer than its timeout.
    overlap = TRACK_TIMEOUT + segment
    tail = overlap + 3 * segment  # the last segment of a piece is incomplete
    return tuple(
        PieceJob(
            job.video,
            number,
            len(seams) + 1,
            first,
            lead=None if start is None or start - lead <= first else start - lead,
            start=start,
            stop=stop,
            end=None if stop is None or stop + tail >= last else stop + tail,
            overlap=overlap,
        )
        for number, (start, stop) in enumerate(zip([None, *seams], [*seams, None], strict=True))
    )


def aligned_start(source: Path, selection: Selection, time: float) -> float:
    """Time at or shortly before `time` from which `selection.every` takes the same frames as from the start of the video.

    Raises:
        SourceError: The packets of the video have no timestamps.
    """
    if selection.every == 1:
        return time
    with closing(Decoder(source, timeout=0)) as decoder:
        base = decoder.time_base
        pts: list[int] = []
        for packet in decoder.container.demux(decoder.stream):
            if not packet.size or packet.is_discard:
                continue
            if packet.pts is None or packet.dts is None:
                raise SourceError(f"{source}: its packets have no timestamps")
            if packet.dts * base > time:
                break
            pts.append(packet.pts)
    times = [float(value * base) for value in sorted(pts)]
    first = 0 if selection.start is None else bisect_left(times, selection.start)
    index = bisect_right(times, time) - 1
    return times[max(index - (index - first) % selection.every, first)]


def join_tracks(pieces: Sequence[PieceJob]) -> list[dict[int, int]] | PieceJob:
    """Match the track ids of all pieces.

    Args:
        pieces: The pieces of a video, all recorded.

    Returns:
        For each piece, the id in the whole video of each of its tracks, numbered by first appearance as the tracker does; or a
        piece whose lead-in is too short.

    Raises:
        SourceError: A recording is missing or damaged.
    """
    ids: list[dict[int, int]] = []
    earlier, next_id = None, 0
    for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
        recording = PieceRecording.load(piece.path)
        overlap = None if after is None else _overlap(recording, after)
        frames = range(recording.index_at(piece.start), len(recording) if overlap is None else overlap.stop)
        tracks = np.unique(recording.id[np.isin(recording.owner, frames)]).tolist()
        if piece.lead is None or earlier is None:
            # Tracked from the start of the video: its ids are those of the whole video.
            piece_ids = {track: track for track in tracks}
        else:
            matches = _match_faces(earlier, recording, piece)
            if matches is None:
                return piece
            piece_ids = {track: ids[-1][other] for track, other in matches.items()}
            new = [track for track in tracks if track not in piece_ids]
            piece_ids.update(zip(new, range(next_id, next_id + len(new)), strict=True))
        next_id = max([next_id, *(track + 1 for track in piece_ids.values())])
        ids.append(piece_ids)
        earlier = recording
    return ids


class PieceReplay:
    """Makes the results of a video from its recorded pieces, as `Pipeline` does from its frames.

    Attributes:
        spent: Seconds that tracking the pieces took.
    """

    def __init__(self, settings: Settings, pieces: Sequence[PieceJob], ids: Sequence[dict[int, int]]) -> None:
        self._settings = settings
        self._pieces = pieces
        self._ids = ids
        self.spent = sum(PieceRecording.load(piece.path).seconds for piece in pieces)

    def results(
        self,
        source: Source,
        *,
        stop: threading.Event | None = None,
        pixels: bool = True,
        watch: Stopwatch | None = None,
    ) -> Iterator[FrameResult]:
        """Yield one result per frame. The video is read again only if results need `pixels`."""
        tracked = self._frames_with_pixels(source, stop) if pixels else self._recorded_frames()
        if stop is not None:
            tracked = takewhile(lambda _: not stop.is_set(), tracked)
        return postprocess(self._settings, tracked, pixels=pixels, watch=watch)

    def _recorded_frames(self) -> Iterator[TrackedFrame]:
        for piece, ids in zip(self._pieces, self._ids, strict=True):
            recording = PieceRecording.load(piece.path)
            for i in range(recording.index_at(piece.start), recording.index_at(piece.stop, len(recording))):
                sightings = {ids[track]: sighting for track, sighting in recording.sightings(i).items()}
                yield recording.frame(i), dict(sorted(sightings.items()))

    def _frames_with_pixels(self, source: Source, stop: threading.Event | None) -> Iterator[TrackedFrame]:
        with ReadAhead(source, queue_size(source), stop) as frames:
            for recorded, sightings in self._recorded_frames():
                frame = next(frames, None)
                if stop is not None and stop.is_set():
                    return
                if frame is None or frame.pts != recorded.pts:
                    raise _changed(source)
                yield replace(frame, cut=recorded.cut), sightings
            whole = self._pieces[-1].stop is None
            if whole and next(frames, None) is not None:
                raise _changed(source)


def _changed(source: Source) -> SourceError:
    return SourceError(f"{source.info.name}: its frames differ from those of its pieces")


def _overlap(recording: PieceRecording, piece: PieceJob) -> range | None:
    """The frames of a recording in which `piece` is compared with the piece before; None if the recording ends too early."""
    assert piece.start is not None
    last = recording.index_at(piece.start + piece.overlap)
    return range(recording.index_at(piece.start), last + 1) if last < len(recording) else None


def _match_faces(earlier: PieceRecording, later: PieceRecording, piece: PieceJob) -> dict[int, int] | None:
    """Match tracks at the seam before `piece`: the earlier id by each later id; None if the recordings differ."""
    before, after = _overlap(earlier, piece), _overlap(later, piece)
    if before is None or after is None or earlier.size != later.size:
        return None
    if not np.array_equal(earlier.pts[before], later.pts[after]):
        return None
    matches: dict[int, int] = {}
    for i, j in zip(before, after, strict=True):
        faces, others = earlier.faces_of(i), later.faces_of(j)
        points, other_points = earlier.points[faces], later.points[others]
        if len(points) != len(other_points):
            return None
        if not len(points):
            continue
        # (faces, faces) largest distance between two corresponding points
        distance = np.linalg.norm(other_points[:, None] - points[None], axis=-1).max(-1)
        near = distance < TOLERANCE
        if not ((near.sum(0) == 1).all() and (near.sum(1) == 1).all()):
            return None
        pairs = zip(later.id[others].tolist(), earlier.id[faces][near.argmax(1)].tolist(), strict=True)
        if any(matches.setdefault(track, other) != other for track, other in pairs):
            return None
    return matches if len(set(matches.values())) == len(matches) else None
