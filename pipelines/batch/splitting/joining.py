"""Long videos in pieces: where they are cut, and how what was found in the pieces becomes one again.

Only faces are found in pieces. A piece is read from a few seconds before its own frames, its lead-in, to a few seconds
after them. What a tracker does depends on little but the last second, so where two pieces overlap they have found the same.
That is not believed but checked: at each seam both must have the same faces, at the same points, for longer than a face that
is out of sight is remembered. Then the later one has gone on as the earlier one would have. Where they differ, the later
piece is done again with a longer lead-in, in the end from the video's beginning. Smoothing, which remembers for longer, and
all that comes after it is done with the joined faces, in order, as for a video in one piece.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from vtrack.errors import SourceError
from vtrack.pipelines.batch.jobs import Piece, Whole
from vtrack.pipelines.batch.splitting.recording import Recording
from vtrack.pipelines.pipeline import queue_size
from vtrack.pipelines.postprocessing import postprocess
from vtrack.pipelines.settings import Selection, Settings
from vtrack.pipelines.sources.base import Source, SourceInfo
from vtrack.pipelines.sources.decoder import Decoder
from vtrack.pipelines.tracking.follower import TrackedFrame
from vtrack.pipelines.tracking.track import TRACK_TIMEOUT
from vtrack.runtime.stopwatch import Stopwatch
from vtrack.runtime.threads import Ahead
from vtrack.types import FrameResult

TOLERANCE = 0.01
"""Pixels that a point may differ by where two pieces overlap."""
_FOUND = 16
"""Detections that a lead-in has time for; a face that is seen each time counts after three or four."""
_LEAST_LEAD = 3.0
"""Seconds."""
_LEAST_FRAMES = 16
"""Of a lead-in: the detector of scene cuts remembers twelve."""


def cut(job: Whole, info: SourceInfo, selection: Selection, detect_every: float) -> tuple[Piece, ...]:
    """The pieces of a video, all of about one length; a single one where it is too short or has no known end."""
    first = info.start_time if selection.start is None else max(selection.start, info.start_time)
    last = first if info.duration is None else info.start_time + info.duration
    last = last if selection.stop is None else min(selection.stop, last)
    length = max(job.shortest, (last - first) / job.most)
    seams: list[float] = (first + length * np.arange(1, max(round((last - first) / length), 1))).tolist()
    step = selection.every / float(info.average_rate or 1)
    lead = max(_LEAST_LEAD, _FOUND * detect_every, _LEAST_FRAMES * step)
    segment = max(detect_every, step)
    # A track may go on for a segment longer than it outlives its last sighting.
    memory = TRACK_TIMEOUT + segment
    tail = memory + 3 * segment  # what a piece ends with is no whole segment
    return tuple(
        Piece(
            job.video,
            number,
            len(seams) + 1,
            first,
            lead=None if start is None or start - lead <= first else start - lead,
            start=start,
            stop=stop,
            end=None if stop is None or stop + tail >= last else stop + tail,
            memory=memory,
        )
        for number, (start, stop) in enumerate(zip([None, *seams], [*seams, None], strict=True))
    )


def in_step(source: Path, selection: Selection, time: float) -> float:
    """From when to read so that `every` takes the same frames as from the beginning, a little before `time`."""
    if selection.every == 1:
        return time
    with closing(Decoder(source, timeout=0)) as decoder:
        base = decoder.time_base
        pts: list[int] = []
        for packet in decoder.container.demux(decoder.stream):
            if not packet.size or packet.is_discard:
                continue
            if packet.pts is None or packet.dts is None:
                raise SourceError(f"{source}: its packets do not say when they are shown")
            if packet.dts * base > time:
                break
            pts.append(packet.pts)
    times = [float(one * base) for one in sorted(pts)]
    first = 0 if selection.start is None else bisect_left(times, selection.start)
    place = bisect_right(times, time) - 1
    return times[max(place - (place - first) % selection.every, first)]


def join(pieces: Sequence[Piece]) -> list[dict[int, int]] | Piece:
    """For each piece, what the ids of its faces are in the whole; or a piece whose lead-in is too short.

    Ids count tracks by their first appearance, as the tracker itself does.
    """
    ids: list[dict[int, int]] = []
    earlier, following = None, 0
    for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
        recording = Recording.load(piece.path)
        shared = None if after is None else _window(recording, after)
        rows = range(recording.place(piece.start), len(recording) if shared is None else shared.stop)
        tracks = np.unique(recording.id[np.isin(recording.owner, rows)]).tolist()
        if piece.lead is None or earlier is None:
            # Read from the video's beginning: its ids are right as they are.
            known = {track: track for track in tracks}
        else:
            same = _same_faces(earlier, recording, piece)
            if same is None:
                return piece
            known = {track: ids[-1][other] for track, other in same.items()}
            new = [track for track in tracks if track not in known]
            known.update(zip(new, range(following, following + len(new)), strict=True))
        following = max([following, *(track + 1 for track in known.values())])
        ids.append(known)
        earlier = recording
    return ids


class Replay:
    """Makes results of the pieces of a video, as `Pipeline` does of the whole."""

    def __init__(self, settings: Settings, pieces: Sequence[Piece], ids: Sequence[dict[int, int]]) -> None:
        self._settings = settings
        self._pieces = pieces
        self._ids = ids
        self.spent = sum(Recording.load(piece.path).seconds for piece in pieces)

    def results(
        self,
        source: Source,
        *,
        stop: threading.Event | None = None,
        pixels: bool = True,
        watch: Stopwatch | None = None,
    ) -> Iterator[FrameResult]:
        """One result for each frame. Only for their `pixels` are the frames read again."""
        followed = self._shown(source, stop) if pixels else self._remembered()
        return postprocess(self._settings, followed, pixels=pixels, watch=watch)

    def _remembered(self) -> Iterator[TrackedFrame]:
        for piece, ids in zip(self._pieces, self._ids, strict=True):
            recording = Recording.load(piece.path)
            for row in range(recording.place(piece.start), recording.place(piece.stop, len(recording))):
                sightings = {ids[track]: sighting for track, sighting in recording.sightings(row).items()}
                yield recording.frame(row), dict(sorted(sightings.items()))

    def _shown(self, source: Source, stop: threading.Event | None) -> Iterator[TrackedFrame]:
        with Ahead(source, queue_size(source), stop) as frames:
            for frame, (remembered, sightings) in zip(frames, self._remembered(), strict=True):
                if frame.pts != remembered.pts:
                    raise SourceError(f"{source.info.name}: its frames are not those that its pieces had")
                yield replace(frame, cut=remembered.cut), sightings


def _window(recording: Recording, piece: Piece) -> range | None:
    """The frames in which a piece is compared with the one before; None where they do not last long enough."""
    assert piece.start is not None
    last = recording.place(piece.start + piece.memory)
    return range(recording.place(piece.start), last + 1) if last < len(recording) else None


def _same_faces(earlier: Recording, later: Recording, piece: Piece) -> dict[int, int] | None:
    """Which id of the earlier recording each one of the later has where `piece`, the later, begins; None if they differ."""
    before, after = _window(earlier, piece), _window(later, piece)
    if before is None or after is None or earlier.size != later.size:
        return None
    if not np.array_equal(earlier.pts[before], later.pts[after]):
        return None
    same: dict[int, int] = {}
    for one, other in zip(before, after, strict=True):
        faces, others = earlier.faces_of(one), later.faces_of(other)
        points, other_points = earlier.points[faces], later.points[others]
        if len(points) != len(other_points):
            return None
        if not len(points):
            continue
        # (faces, faces) largest distance of two points
        apart = np.linalg.norm(other_points[:, None] - points[None], axis=-1).max(-1)
        near = apart < TOLERANCE
        if not ((near.sum(0) == 1).all() and (near.sum(1) == 1).all()):
            return None
        pairs = zip(later.id[others].tolist(), earlier.id[faces][near.argmax(1)].tolist(), strict=True)
        if any(same.setdefault(track, known) != known for track, known in pairs):
            return None
    return same if len(set(same.values())) == len(same) else None
