"""Following faces through a file: detections on key frames, the frames between them from both sides.

A segment runs from one key frame to the next. Faces found at both ends are looked for on the way from one to the other,
all in one batch. A face that is only there at the start is followed forwards until it is gone, one that is only there
at the end backwards. Where both happen at once, or a face seems to have leapt, a detection in the middle halves the
segment until things are clear.

Key frames go by the recording's own clock, not by the time since the last one. So a video that is read from its middle
has them on the same frames, and after a moment the same faces in the same places: what pieces of a video are joined by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from vtrack.pipelines.tracking.follower import Followed, Follower
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.pipelines.tracking.tracks import Candidate, Match, Seed, Track, same_face
from vtrack.types import Frame

_MEMORY = 64 * 2**20
"""Bytes of pixels that a segment holds at most; large frames make short segments."""
_LONGEST = 32
"""Frames that a segment holds at most."""
_RENEWED = 4
"""Turns of the detection clock after which tracks forget all but their newest detections."""
_MISSES = 2
"""Frames in a row that a face is looked for in vain before it is given up until the next key frame."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a video."""

    frames: list[Frame]
    opens: bool
    """Whether a scene begins with its first frame, of which nothing is known yet; else the last segment ended there."""
    closes: bool
    """Whether a scene ends with its last frame."""


class SegmentFollower(Follower):
    """Follows the faces of a video whose future is at hand."""

    def follow(self, frames: Iterable[Frame]) -> Generator[Followed]:
        """Every frame with its faces by id, once; frames come out two segments later than they go in.

        They come while the model works on the next, so that the reader has something to do meanwhile. Scenes begin where
        the frames say so (`vtrack.pipelines.sources.scene_cuts.mark_cuts`).
        """
        self._found: defaultdict[int, list[Candidate]] = defaultdict(list)
        self._settled: list[Followed] = []
        self._glimpsed: dict[int, list[Candidate]] = {}
        self._keys = 0
        with closing(self):
            segments = self._segments(frames)
            segment = next(segments, None)
            while segment is not None:
                following = next(segments, None)
                self._foresee(segment, following)
                yield from self._followed(segment, following)
                segment = following
            yield from self._ready()

    def _segments(self, frames: Iterable[Frame]) -> Iterator[Segment]:
        """The video in segments. The last frame of one is the first of the next as well, unless a scene ends there."""
        held: list[Frame] = []
        opens = True
        for frame in frames:
            if frame.cut and held:
                yield Segment(held, opens, closes=True)
                held, opens = [], True
            held.append(frame)
            if len(held) > 1 and (self._turn(frame) != self._turn(held[0]) or len(held) > _room(frame)):
                yield Segment(held, opens, closes=False)
                held, opens = [frame], False
        if held:
            yield Segment(held, opens, closes=True)

    def _foresee(self, segment: Segment, following: Segment | None) -> None:
        """Have the detector begin with what will be wanted of it while this segment is followed, and soon after."""
        if segment.opens:
            self.lookout.ask(segment.frames[0])
        due = not self.tracks.complete(segment.frames[-1].time, self.detect_every)
        if due and len(segment.frames) > 1:
            self.lookout.ask(segment.frames[-1])
        if following is None:
            return
        if following.opens:
            self.lookout.ask(following.frames[0])
        elif not (due and self.tracks.full) and not self.tracks.complete(following.frames[-1].time, self.detect_every):
            self.lookout.ask(following.frames[-1])

    def _followed(self, segment: Segment, following: Segment | None) -> Iterator[Followed]:
        """Find the faces of a segment; gives the frames of the one before."""
        frames = segment.frames
        if segment.opens:
            self._enter(frames[0])
        if len(frames) > 1:
            yield from self._finish(frames, self._beyond(frames, following))
        yield from self._ready()
        # A last frame that the next segment begins with waits for it: it may add what it tells of this one's births.
        self._settle(frames if segment.closes else frames[:-1])

    def _beyond(self, frames: Sequence[Frame], following: Segment | None) -> Frame | None:
        """The key frame after these frames, if faces can be glimpsed there already.

        Not where tracks are renewed now, and so forget their first second: what was glimpsed before would remember it.
        """
        if following is None or following.opens or len(following.frames) == 1 or self._renews(frames):
            return None
        return following.frames[-1]

    def _renews(self, segment: Sequence[Frame]) -> bool:
        return self._turn(segment[0]) // _RENEWED != self._turn(segment[-1]) // _RENEWED

    def _ready(self) -> Iterator[Followed]:
        """Frames about which nothing more will be learnt, once."""
        ready, self._settled = self._settled, []
        yield from ready

    def _turn(self, frame: Frame) -> int:
        """In which turn of the detection clock a frame is; the first of each is a key frame."""
        return int((frame.time + 1e-6) // self.detect_every) if self.detect_every else frame.index

    def _enter(self, frame: Frame) -> None:
        """The faces of the first frame of a scene."""
        self._keys += 1
        match = self.cross(frame)
        for track, seed in match.pairs:
            track.believe(frame.time, seed)
            self._record(frame, Candidate(track, seed.sighting, seed.sighting.box))
        for track in self.tracks.begin(self.settle(match.new, frame), frame.time):
            self._record(frame, Candidate(track, track.last, track.last.box), new=False)

    def _finish(self, segment: Sequence[Frame], beyond: Frame | None) -> Iterator[Followed]:
        """Find the faces of a segment, which ends with a key frame; `beyond` is the next if they can be glimpsed there."""
        yield from self._solve(segment, self._seeds(segment[-1]), beyond)
        if self._renews(segment):
            for track in self.tracks.live:
                track.renew()

    def _seeds(self, frame: Frame) -> list[Seed]:
        """The faces of a key frame: where their tracks expect them if no others may be followed, else detected."""
        glimpsed = self._glimpsed.pop(frame.index, [])
        if self.tracks.complete(frame.time, self.detect_every):
            known = {one.track for one in glimpsed} == set(self.tracks.live)
            found = self.claimed(glimpsed, frame) if known else self.step(self.tracks.live, frame)
            if len(found) == len(self.tracks.live):
                self.lookout.forget(frame)
                return [Seed(one.sighting, one.sighting.presence, detected=False) for one in found]
        return self.seek(frame)

    def _solve(self, frames: Sequence[Frame], seeds: Sequence[Seed], beyond: Frame | None = None) -> Iterator[Followed]:
        """Find every face in all frames but the first, which is known; `seeds` are those of the last."""
        self._keys += 1
        start, end = frames[0], frames[-1]
        match = self.tracks.match(seeds, end.time)
        vanished = any(track.seen == start.time for track in match.lost)
        if len(frames) > 2 and (match.strained or (vanished and match.new)):
            middle = len(frames) // 2
            yield from self._solve(frames[: middle + 1], self.seek(frames[middle]))
            yield from self._solve(frames[middle:], seeds, beyond)
            return
        yield from self._fill(frames, match, beyond)
        self._forwards(frames, match)
        self._births(frames, match)
        self.tracks.bury(end.time)

    def _fill(self, frames: Sequence[Frame], match: Match, beyond: Frame | None) -> Iterator[Followed]:
        """Faces that are there at both ends: all frames after the first at once.

        The last is among them: its faces were looked at where the detector put them, and crops taken otherwise than
        those of the frames before would make the points twitch on every key frame. So is the key frame `beyond` where they
        alone will be wanted there: a look at it later would cost a call of the model.
        """
        end = frames[-1]
        places = range(1, len(frames))
        times = [frames[place].time for place in places]
        ways = [
            (track, *track.boxes.way(end.time, seed.sighting.box, seed.sighting.angle, times))
            for track, seed in match.pairs
        ]
        wanted = [
            (place, track, boxes[place - 1], angles[place - 1]) for place in places for track, boxes, angles in ways
        ]
        detected = {track: end.time for track, seed in match.pairs if seed.detected}
        if beyond is not None and self.tracks.complete(beyond.time, self.detect_every, detected):
            frames = [*frames, beyond]
            for track, seed in match.pairs:
                then = track.boxes.after(end.time, seed.sighting.box, seed.sighting.angle)
                wanted.append((len(places) + 1, track, *then.predict(beyond.time)))
        sightings = self.landmarker.begin(
            frames,
            [place for place, *_ in wanted],
            np.array([box for *_, box, _ in wanted]).reshape(-1, 4),
            np.array([angle for *_, angle in wanted]),
        )
        yield from self._ready()
        candidates: list[list[Candidate]] = [[] for _ in frames]
        for (place, track, box, _), sighting in zip(wanted, sightings(), strict=True):
            candidates[place].append(Candidate(track, sighting, box))
        if frames[-1] is beyond:
            self._glimpsed = {beyond.index: candidates[-1]}
        for place in places:
            for candidate in self.claimed(candidates[place], frames[place]):
                self._record(frames[place], candidate)
        for track, seed in match.pairs:
            track.believe(end.time, seed)
            if track.seen != end.time:
                self._record(end, Candidate(track, seed.sighting, seed.sighting.box))

    def _forwards(self, frames: Sequence[Frame], match: Match) -> None:
        """Faces that the detector no longer finds: frame by frame, while they are there."""
        misses = {track: 0 if track.seen == frames[0].time else _MISSES for track in match.lost}
        for frame in frames[1:]:
            tracks = [track for track in match.lost if misses[track] < _MISSES or frame is frames[-1]]
            found = self.step(tracks, frame, self._found[frame.index])
            for track in tracks:
                misses[track] += 1
            for candidate in found:
                misses[candidate.track] = 0
                self._record(frame, candidate)

    def _births(self, frames: Sequence[Frame], match: Match) -> None:
        """Faces that the detector newly finds: backwards, to where they came from."""
        end = frames[-1]
        known = self._found[end.index]
        new = [seed for seed in match.new if not any(same_face(seed.sighting, one.sighting) for one in known)]
        begun = self.tracks.begin(self.settle(new, end), end.time)
        walkers: dict[Track, Track] = {}
        pasts: dict[Track, list[tuple[float, Sighting]]] = {track: [] for track in begun}
        for track in begun:
            self._record(end, Candidate(track, track.last, track.last.box), new=False)
            walker = Track(end.time)
            walker.add(end.time, track.last)
            walkers[walker] = track
        for frame in reversed(frames[:-1]):
            found = self.step(list(walkers), frame, self._found[frame.index])
            walkers = {candidate.track: walkers[candidate.track] for candidate in found}
            for candidate in found:
                candidate.track.add(frame.time, candidate.sighting)
                track = walkers[candidate.track]
                pasts[track].insert(0, (frame.time, candidate.sighting))
                self._record(frame, Candidate(track, candidate.sighting, candidate.expected), new=False)
        for track, past in pasts.items():
            track.begin_with(past)

    def _record(self, frame: Frame, candidate: Candidate, *, new: bool = True) -> None:
        """Keep a sighting for its frame; a `new` one is also news to its track."""
        if new:
            candidate.track.add(frame.time, candidate.sighting)
        self._found[frame.index].append(candidate)

    def _settle(self, frames: Sequence[Frame]) -> None:
        """Put down the faces of frames about which nothing more will be learnt."""
        for frame in frames:
            found = self._found.pop(frame.index, [])
            # Where there is but one key frame, in a photograph for example, there is no second to wait for.
            sure = [one for one in found if self.tracks.counts(one.track) or self._keys == 1]
            faces = {self.tracks.name(one.track): one.sighting for one in sure}
            self._settled.append((frame, dict(sorted(faces.items())[: self.tracks.max_faces])))


def _room(frame: Frame) -> int:
    """Frames of this size that a segment may hold."""
    return int(np.clip(_MEMORY // frame.pixels.nbytes, 2, _LONGEST))
