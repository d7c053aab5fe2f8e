"""Following faces through a file: detections on key frames, and the frames between them from both sides.

A segment runs from one key frame to the next. A face found at both ends is located in all frames between, on the way
from one end to the other, in one batch. A face found only at the start is followed forwards until it is gone; one found
only at the end is followed backwards. A face that is too fast to predict is followed by optical flow, which costs less than
a detection. Where a face still seems to have jumped, or one is gone and another new, a detection in the middle halves the
segment.

Key frames follow the recording's own clock, not the time since the last one. So a video that is read from its middle has
the same key frames, and after a moment the same faces in the same places; pieces of a video are joined by this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from vtrack.imaging.boxes import iou, xywh_to_corners
from vtrack.pipelines.tracking.follower import Follower, TrackedFrame
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.pipelines.tracking.matching import Candidate, Match, same_face
from vtrack.pipelines.tracking.track import Detection, Track
from vtrack.types import Frame

_MEMORY = 64 * 2**20
"""Largest number of bytes of pixels in a segment; large frames make short segments."""
_MAX_FRAMES = 32
"""Largest number of frames in a segment."""
_REBUILD_PERIODS = 4
"""Detection periods after which tracks forget all but their newest detections."""
_SMALLEST_GLANCED = 0.04
"""Side of a face, in longer sides of the frame, from which a detector sees it at a glance."""
_HIDDEN = 0.3
"""Overlap (IoU) with another face from which a face may be hidden."""
_MAX_MISSES = 2
"""Frames in a row without a lost face before its search pauses until the next key frame."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The frames from one key frame to the next."""

    frames: list[Frame]
    opens: bool
    """Whether a scene begins with its first frame; otherwise the segment before ended there, and its faces are known."""
    closes: bool
    """Whether a scene ends with its last frame."""


class OfflineFollower(Follower):
    """Follows the faces of a file, whose next frames can be read; see `Follower` for its arguments."""

    def follow(self, frames: Iterable[Frame]) -> Generator[TrackedFrame]:
        """Yield every frame once with its sightings by track id, two segments later than it is read.

        The frames of one segment come while the model works on the next, so that the reader can work meanwhile. Scenes
        begin at frames with `Frame.cut` (`vtrack.pipelines.sources.scene_cuts.mark_cuts`).
        """
        self._candidates: defaultdict[int, list[Candidate]] = defaultdict(list)
        """Candidates by frame index."""
        self._finished: list[TrackedFrame] = []
        """Frames whose sightings are final."""
        self._previews: dict[int, list[Candidate]] = {}
        """Candidates of the next key frame by its index, located together with the segment before it."""
        self._key_frames = 0
        with closing(self):
            segments = self._segments(frames)
            segment = next(segments, None)
            while segment is not None:
                following = next(segments, None)
                self._prefetch(segment, following)
                yield from self._follow_segment(segment, following)
                segment = following
            yield from self._pop_finished()

    def _segments(self, frames: Iterable[Frame]) -> Iterator[Segment]:
        """Split the video. The last frame of a segment is also the first of the next, unless a scene ends there."""
        members: list[Frame] = []
        opens = True
        for frame in frames:
            if frame.cut and members:
                yield Segment(members, opens, closes=True)
                members, opens = [], True
            members.append(frame)
            new_period = self._period(frame) != self._period(members[0])
            if len(members) > 1 and (new_period or len(members) > _capacity(frame)):
                yield Segment(members, opens, closes=False)
                members, opens = [frame], False
        if members:
            yield Segment(members, opens, closes=True)

    def _prefetch(self, segment: Segment, following: Segment | None) -> None:
        """Request the detections that this segment and the following one will need."""
        if segment.opens:
            self.prefetcher.request(segment.frames[0])
        due = not self.tracks.needs_no_detection(segment.frames[-1].time, self.detect_every)
        if due and len(segment.frames) > 1:
            self._request(segment.frames, segment)
        if following is None:
            return
        if following.opens:
            self.prefetcher.request(following.frames[0])
        elif not (due and self.tracks.full) and not self.tracks.needs_no_detection(
            following.frames[-1].time, self.detect_every
        ):
            self._request(following.frames, segment)

    def _request(self, frames: Sequence[Frame], current: Segment) -> None:
        """Request the detection of the last of these frames, by a glance where large faces are followed and no others.

        Where box filters are rebuilt it is a whole search, which also finds small new faces.
        """
        frame, live, now = frames[-1], self.tracks.live, current.frames[0].time
        least = _SMALLEST_GLANCED * max(frame.size)
        known = [self.tracks.is_confirmed(one) and one.seen == now and one.last.side >= least for one in live]
        settled = bool(known) and all(known) and not self.tracks.full and not current.opens
        self.prefetcher.request(frame, glance=settled and not self._rebuilds(frames))

    def _follow_segment(self, segment: Segment, following: Segment | None) -> Iterator[TrackedFrame]:
        """Locate the faces of a segment; yield the frames of the segment before."""
        frames = segment.frames
        if segment.opens:
            self._open_scene(frames[0])
        if len(frames) > 1:
            yield from self._solve(frames, self._detections(frames), self._preview_frame(frames, following))
            if self._rebuilds(frames):
                for track in self.tracks.live:
                    track.rebuild_filter()
        yield from self._pop_finished()
        # The next segment may still add new faces to a last frame that it begins with, so that frame is not final.
        self._finish(frames if segment.closes else frames[:-1])

    def _preview_frame(self, frames: Sequence[Frame], following: Segment | None) -> Frame | None:
        """Return the key frame after these frames if its faces can be located together with theirs.

        Not where box filters are rebuilt, and so forget their first second: the preview's boxes would depend on it.
        """
        if following is None or following.opens or len(following.frames) == 1 or self._rebuilds(frames):
            return None
        return following.frames[-1]

    def _rebuilds(self, frames: Sequence[Frame]) -> bool:
        """Return whether tracks rebuild their box filters at the end of these frames."""
        return self._period(frames[0]) // _REBUILD_PERIODS != self._period(frames[-1]) // _REBUILD_PERIODS

    def _pop_finished(self) -> Iterator[TrackedFrame]:
        """Yield the final frames, each once."""
        frames, self._finished = self._finished, []
        yield from frames

    def _period(self, frame: Frame) -> int:
        """Return the number of the detection period of a frame; the first frame of each period is a key frame."""
        return int((frame.time + 1e-6) // self.detect_every) if self.detect_every else frame.index

    def _open_scene(self, frame: Frame) -> None:
        """Find the faces of the first frame of a scene."""
        self._key_frames += 1
        match = self.cross_cut(frame)
        for track, detection in match.pairs:
            track.add_detection(frame.time, detection)
            self._add_to_track(frame, Candidate(track, detection.sighting, detection.sighting.box))
        for track in self.tracks.start(self.refine(match.new, frame), frame.time):
            self._record(frame, Candidate(track, track.last, track.last.box))

    def _detections(self, frames: Sequence[Frame]) -> list[Detection]:
        """Find the faces of the last frame: where their tracks predict them if no others may be followed, else detected."""
        frame = frames[-1]
        preview = self._previews.pop(frame.index, [])
        if self.tracks.needs_no_detection(frame.time, self.detect_every):
            if not preview:
                self._watch(frames, self.tracks.live)
            complete = {one.track for one in preview} == set(self.tracks.live)
            candidates = self.resolve(preview, frame) if complete else self.locate(self.tracks.live, frame)
            if len(candidates) == len(self.tracks.live):
                self.prefetcher.cancel(frame)
                return [Detection(one.sighting, one.sighting.presence, from_detector=False) for one in candidates]
        return self.detect(frame)

    def _solve(
        self, frames: Sequence[Frame], detections: Sequence[Detection], preview: Frame | None = None
    ) -> Iterator[TrackedFrame]:
        """Locate every face in all frames but the first, which is done; `detections` are those of the last frame."""
        self._key_frames += 1
        start, end = frames[0], frames[-1]
        match = self.tracks.match(detections, end.time)
        fast = [track for track in self.tracks.live if track.flow] + match.lost * bool(match.new)
        fast += [track for track, one in match.pairs if track.misses(end.time, one.sighting.box, one.sighting.angle)]
        if self._watch(frames, fast):
            match = self.tracks.match(detections, end.time)
        vanished = any(track.seen == start.time for track in match.lost)
        if len(frames) > 2 and (match.uncertain or (vanished and match.new)):
            middle = len(frames) // 2
            yield from self._solve(frames[: middle + 1], self.detect(frames[middle]))
            yield from self._solve(frames[middle:], detections, preview)
            return
        yield from self._locate_between(frames, match, preview)
        self._follow_forwards(frames, match)
        self._follow_backwards(frames, match)
        self.tracks.end_stale(end.time)

    def _watch(self, frames: Sequence[Frame], tracks: Sequence[Track]) -> bool:
        """See by optical flow which of these tracks are fast, unless that is done; return whether any is.

        Where a face passes behind another, its flow goes on with the one in front, and is not used.
        """
        times = [frame.time for frame in frames]
        found = False
        for track in tracks:
            if track.flow is not None and track.flow.times == times:
                continue
            track.flow = None
            if track.seen == times[0]:
                track.watch(frames)
            if track.flow is not None and self._is_hidden(track, times[-1]):
                track.flow = None
            found = found or track.flow is not None
        return found

    def _is_hidden(self, track: Track, time: float) -> bool:
        """Return whether a track is predicted where another one is."""
        box = track.predict(time)[0][None]
        others = np.array([other.predict(time)[0] for other in self.tracks.live if other is not track]).reshape(-1, 4)
        return bool((iou(xywh_to_corners(box), xywh_to_corners(others)) > _HIDDEN).any())

    def _locate_between(self, frames: Sequence[Frame], match: Match, preview: Frame | None) -> Iterator[TrackedFrame]:
        """Locate faces that are there at both ends, in all frames after the first at once.

        The last frame is among them: its faces were located in the detector's boxes, and crops placed in another way than
        in the frames before would make the points twitch on every key frame. So is the key frame `preview` where only
        these faces will be needed there: locating them later would cost another call of the model.
        """
        end = frames[-1]
        indices = range(1, len(frames))
        times = [frames[i].time for i in indices]
        paths = [
            (track, *track.way(end.time, detection.sighting.box, detection.sighting.angle, times))
            for track, detection in match.pairs
        ]
        requests = [(i, track, boxes[i - 1], angles[i - 1]) for i in indices for track, boxes, angles in paths]
        detected = {track: end.time for track, detection in match.pairs if detection.from_detector}
        predictable = not any(track.flow for track, _ in match.pairs)
        if preview and predictable and self.tracks.needs_no_detection(preview.time, self.detect_every, detected):
            frames = [*frames, preview]
            for track, detection in match.pairs:
                boxes = track.boxes.after(end.time, detection.sighting.box, detection.sighting.angle)
                requests.append((len(indices) + 1, track, *boxes.predict(preview.time)))
        sightings = self.landmarker.submit(
            frames,
            [i for i, *_ in requests],
            np.array([box for *_, box, _ in requests]).reshape(-1, 4),
            np.array([angle for *_, angle in requests]),
        )
        yield from self._pop_finished()
        candidates: list[list[Candidate]] = [[] for _ in frames]
        for (i, track, box, _), sighting in zip(requests, sightings(), strict=True):
            candidates[i].append(Candidate(track, sighting, box))
        if frames[-1] is preview:
            self._previews = {preview.index: candidates[-1]}
        for i in indices:
            for candidate in self.resolve(candidates[i], frames[i]):
                self._add_to_track(frames[i], candidate)
        for track, detection in match.pairs:
            track.add_detection(end.time, detection)
            if track.seen != end.time:
                self._add_to_track(end, Candidate(track, detection.sighting, detection.sighting.box))

    def _follow_forwards(self, frames: Sequence[Frame], match: Match) -> None:
        """Follow faces that the detector no longer finds, frame by frame, as long as they are there."""
        misses = {track: 0 if track.seen == frames[0].time else _MAX_MISSES for track in match.lost}
        for frame in frames[1:]:
            followed = [track for track in match.lost if not track.is_doubtful]
            tracks = [track for track in followed if misses[track] < _MAX_MISSES or frame is frames[-1]]
            candidates = self.locate(tracks, frame, self._candidates[frame.index])
            for track in tracks:
                misses[track] += 1
            for candidate in candidates:
                misses[candidate.track] = 0
                self._add_to_track(frame, candidate)

    def _follow_backwards(self, frames: Sequence[Frame], match: Match) -> None:
        """Follow faces that are new in the last frame backwards, to where they came from."""
        end = frames[-1]
        others = self._candidates[end.index]
        new = [one for one in match.new if not any(same_face(one.sighting, other.sighting) for other in others)]
        started = self.tracks.start(self.refine(new, end), end.time)
        # A track's filter runs in one direction of time, so a temporary track follows each new face backwards.
        originals: dict[Track, Track] = {}
        sightings: dict[Track, list[tuple[float, Sighting]]] = {track: [] for track in started}
        for track in started:
            self._record(end, Candidate(track, track.last, track.last.box))
            backward = Track(end.time, self.tracks.worst)
            backward.add(end.time, track.last)
            originals[backward] = track
        for frame in reversed(frames[:-1]):
            candidates = self.locate(list(originals), frame, self._candidates[frame.index])
            originals = {candidate.track: originals[candidate.track] for candidate in candidates}
            for candidate in candidates:
                candidate.track.add(frame.time, candidate.sighting)
                if candidate.track.is_doubtful:
                    del originals[candidate.track]
                    continue
                track = originals[candidate.track]
                sightings[track].insert(0, (frame.time, candidate.sighting))
                self._record(frame, Candidate(track, candidate.sighting, candidate.predicted))
        for track, past in sightings.items():
            track.prepend(past)

    def _add_to_track(self, frame: Frame, candidate: Candidate) -> None:
        """Add a candidate to its track and to its frame."""
        candidate.track.add(frame.time, candidate.sighting)
        self._record(frame, candidate)

    def _record(self, frame: Frame, candidate: Candidate) -> None:
        """Add a candidate to its frame."""
        self._candidates[frame.index].append(candidate)

    def _finish(self, frames: Sequence[Frame]) -> None:
        """Make the sightings of frames final."""
        for frame in frames:
            candidates = self._candidates.pop(frame.index, [])
            # With only one key frame, for example in a photograph, there is no second detection to confirm a track.
            confirmed = [one for one in candidates if self.tracks.is_confirmed(one.track) or self._key_frames == 1]
            sightings = {self.tracks.id_of(one.track): one.sighting for one in confirmed}
            self._finished.append((frame, dict(sorted(sightings.items())[: self.tracks.max_faces])))


def _capacity(frame: Frame) -> int:
    """Return how many frames of this size a segment may hold."""
    return int(np.clip(_MEMORY // frame.pixels.nbytes, 2, _MAX_FRAMES))
