"""Tracks: which face of this frame is which face of the frames before.

A track begins with a detection that the landmark model agrees is a face, counts once it was seen often enough or
plainly enough, outlives short misses on its own motion, and ends when nobody has seen it for a while. Its id is given
when it counts and never again. Where two tracks see one face, the one that was expected there keeps it; if both were,
the older.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.optimize import linear_sum_assignment

from vtrack.filters.boxes import BoxFilter
from vtrack.imaging.boxes import iou, xywh_to_corners
from vtrack.pipelines.tracking.landmarks import PRESENT, Sighting
from vtrack.types import FloatArray

STAY = 0.3
"""Presence below which a track does not take a crop for its face; lower than for a birth, so that nothing flickers."""
CERTAIN = 0.9
"""Presence and score without doubt: one such detection is enough for a track to count."""
ENOUGH = 1.2
"""Evidence from which any track counts: the sum of score times presence over its detections."""
PATIENCE = 1.0
"""Seconds that a track outlives its last sighting, and that landmarks alone carry it when they are less than certain."""

STILL = 0.15
"""How far from its place a face may be found after a scene cut, in box sides."""

_SAME = 0.25
"""Mean distance of two faces' anchors, in box sides, below which they are one face."""
_REACH = 0.6
"""How far from where it was expected a face may be found, in box sides; grows while it is missing."""
_REACH_GROWTH = 0.5
_RECALLED = 6
"""Detections that a renewed track remembers."""
_STRAINED = 0.4
"""From here an assignment is worth checking by a detection in between."""


class Track:
    """One face through time."""

    def __init__(self, time: float) -> None:
        self.id: int | None = None
        self.boxes = BoxFilter()
        """Where its crops are cut, and where it will be next."""
        self._seeds: deque[tuple[float, Sighting]] = deque(maxlen=_RECALLED)
        self.last: Sighting
        self.born = time
        self.seen = time
        """When it was seen last."""
        self.detected = time
        """When a detector saw it last."""
        self.evidence = 0.0

    def add(self, time: float, sighting: Sighting) -> None:
        """Record its newest sighting."""
        self.boxes.add(time, sighting.box, sighting.angle)
        self.last, self.seen = sighting, time

    def believe(self, time: float, seed: Seed) -> None:
        """Take note of a detection of its face."""
        if not seed.detected:
            return
        self.detected = time
        self._seeds.append((time, seed.sighting))
        self.evidence += ENOUGH if seed.certain else seed.score * seed.sighting.presence

    def begin_with(self, past: Sequence[tuple[float, Sighting]]) -> None:
        """Learn of sightings before its first one, oldest first."""
        self.boxes = _steadied((*past, (self.seen, self.last)))
        self.born = past[0][0] if past else self.born

    def renew(self) -> None:
        """Let the newest detections alone tell the box, if there are enough of them and one is of now.

        What was found between them came from crops that were cut where the filter said, so that without this a face's
        first second would echo in all that follow, and no part of a video could be followed by itself.
        """
        if len(self._seeds) == _RECALLED and self._seeds[-1][0] == self.seen:
            self.boxes = _steadied(self._seeds)

    def anchors(self, time: float) -> FloatArray:
        """(anchors, 2) where its anchors are expected."""
        (here, _), (there, _) = self.boxes.predict(self.seen), self.boxes.predict(time)
        return self.last.anchors + (there[:2] + there[2:] / 2) - (here[:2] + here[2:] / 2)

    def reach(self, time: float) -> float:
        """How far from there it may be found, in box sides."""
        return _REACH + _REACH_GROWTH * abs(time - self.seen)


@dataclass(frozen=True, eq=False, slots=True)
class Seed:
    """A detected face that the landmark model has looked at."""

    sighting: Sighting
    score: float
    detected: bool = True
    """False where no detector was asked, since its track told where it is."""

    @property
    def certain(self) -> bool:
        """Whether detector and landmark model both have no doubt."""
        return min(self.score, self.sighting.presence) >= CERTAIN


@dataclass(frozen=True, eq=False, slots=True)
class Candidate:
    """A sighting that a track claims for one frame."""

    track: Track
    sighting: Sighting
    expected: FloatArray
    """(4,) the box where the track was expected."""


@dataclass(frozen=True, eq=False, slots=True)
class Match:
    """Which seed belongs to which track."""

    pairs: list[tuple[Track, Seed]]
    lost: list[Track]
    """Tracks without a seed, oldest first."""
    new: list[Seed]
    """Seeds without a track."""
    strained: bool
    """A pair lies so far apart that it may be two faces."""


class Tracks:
    """All live tracks, oldest first."""

    def __init__(self, max_faces: int | None = None, sure: float = 0.0) -> None:
        self.max_faces = max_faces
        self.sure = sure
        """Score from which a detection may begin a track; a lesser one may only go on with one."""
        self.live: list[Track] = []
        self._next_id = 0

    def match(
        self,
        seeds: Sequence[Seed],
        time: float,
        tracks: Sequence[Track] | None = None,
        reach: float | None = None,
    ) -> Match:
        """Assign seeds to tracks (or all live ones) by overlap of boxes and distance of anchors, as expected now.

        A seed may be as far off as `reach` says, by default as each track's own.
        """
        tracks = self.live if tracks is None else tracks
        if not tracks or not seeds:
            return Match([], list(tracks), list(seeds), False)
        distances = _distances(
            np.stack([track.anchors(time) for track in tracks]), np.stack([seed.sighting.anchors for seed in seeds])
        ) / _sides([track.last for track in tracks], [seed.sighting for seed in seeds])
        boxes = np.stack([track.boxes.predict(time)[0] for track in tracks])
        seed_boxes = np.stack([seed.sighting.box for seed in seeds])
        cost = distances + 0.5 * (1 - iou(xywh_to_corners(boxes), xywh_to_corners(seed_boxes)))
        # Of two tracks equally near, the older: a hair's breadth per rank decides ties only.
        cost += 1e-3 * np.arange(len(tracks))[:, None]
        within = distances < np.array([reach or track.reach(time) for track in tracks])[:, None]
        rows, columns = linear_sum_assignment(np.where(within, cost, 1e3))
        chosen = [(row, column) for row, column in zip(rows, columns, strict=True) if within[row, column]]
        taken, given = {row for row, _ in chosen}, {column for _, column in chosen}
        return Match(
            [(tracks[row], seeds[column]) for row, column in chosen],
            [track for i, track in enumerate(tracks) if i not in taken],
            [seed for i, seed in enumerate(seeds) if i not in given],
            any(distances[row, column] > _STRAINED for row, column in chosen),
        )

    def begin(self, seeds: Sequence[Seed], time: float) -> list[Track]:
        """New tracks for seeds, the largest first as far as `max_faces` allows; missing tracks make room."""
        seen = sum(track.seen == time for track in self.live)
        room = len(seeds) if self.max_faces is None else max(self.max_faces - seen, 0)
        begun = []
        seeds = [seed for seed in seeds if seed.score >= self.sure]
        for seed in sorted(seeds, key=lambda seed: -seed.sighting.side)[:room]:
            track = Track(time)
            track.add(time, seed.sighting)
            track.believe(time, seed)
            begun.append(track)
        self.live += begun
        if self.max_faces is not None and len(self.live) > self.max_faces:
            newest_seen = sorted(self.live, key=lambda track: (-track.seen, track.born))[: self.max_faces]
            self.live = [track for track in self.live if track in newest_seen]
        return begun

    def end(self, tracks: Collection[Track]) -> None:
        """End tracks whose faces have certainly left."""
        self.live = [track for track in self.live if track not in tracks]

    def bury(self, time: float) -> None:
        """End the tracks that were not seen for too long; those that do not count yet have no credit."""
        self.live = [
            track for track in self.live if track.seen == time or (self.counts(track) and time - track.seen <= PATIENCE)
        ]

    @property
    def full(self) -> bool:
        """Whether nobody new may be followed."""
        return len(self.live) == self.max_faces

    def complete(self, time: float, soon: float, detected: Mapping[Track, float] = MappingProxyType({})) -> bool:
        """Whether a detection would bring nothing: nobody new may be followed, and all were detected lately.

        `soon` is the time until the next occasion to detect; `detected` says when for tracks that do not know it yet.
        """
        return (
            self.full
            and all(self.counts(track) for track in self.live)
            and all(time + soon - detected.get(track, track.detected) <= PATIENCE for track in self.live)
        )

    def counts(self, track: Track) -> bool:
        """Whether a track is a face's for sure."""
        return track.id is not None or track.evidence >= ENOUGH

    def name(self, track: Track) -> int:
        """The track's id, given on first asking."""
        if track.id is None:
            track.id, self._next_id = self._next_id, self._next_id + 1
        return track.id


def distinct(seeds: Sequence[Seed]) -> list[Seed]:
    """One seed for each face, the surest."""
    kept: list[Seed] = []
    for seed in sorted(seeds, key=lambda seed: -seed.score * seed.sighting.presence):
        if not any(same_face(seed.sighting, other.sighting) for other in kept):
            kept.append(seed)
    return kept


def contest(candidates: Sequence[Candidate]) -> list[Candidate]:
    """One candidate for each face of a frame: the one whose track was expected there; if both were, the older's.

    Candidates come oldest track first. When two faces cross, the hidden one's crop shows the one in front; its track
    must neither take that face over nor end, but miss a few frames.
    """
    kept: list[Candidate] = []
    for candidate in candidates:
        rival = next((other for other in kept if same_face(candidate.sighting, other.sighting)), None)
        if rival is None:
            kept.append(candidate)
        elif _surprise(candidate) < _surprise(rival) - 0.1:
            kept[kept.index(rival)] = candidate
    return kept


def same_face(one: Sighting, other: Sighting) -> bool:
    """Whether two sightings in a frame are of one face."""
    distance = np.linalg.norm(one.anchors - other.anchors, axis=-1).mean()
    return bool(distance < _SAME * min(one.side, other.side))


def believable(track: Track, sighting: Sighting, time: float) -> bool:
    """Whether a track may take what a crop shows for its face: it is one, and where this face could be.

    A landmark model follows whatever it was once led to. So when no detector has seen the face for long, it must be sure.
    """
    distance = np.linalg.norm(sighting.anchors - track.anchors(time), axis=-1).mean()
    near = distance < track.reach(time) * max(track.last.side, sighting.side)
    needed = STAY if time - track.detected <= PATIENCE else CERTAIN
    return sighting.presence >= needed and bool(near)


def is_face(sighting: Sighting) -> bool:
    """Whether a detection may begin a track."""
    return sighting.presence >= PRESENT


def _steadied(sightings: Iterable[tuple[float, Sighting]]) -> BoxFilter:
    """The box filter that these sightings, oldest first, make."""
    boxes = BoxFilter()
    for time, sighting in sightings:
        boxes.add(time, sighting.box, sighting.angle)
    return boxes


def _surprise(candidate: Candidate) -> float:
    """Distance of a sighting from where it was expected, in box sides."""
    expected = candidate.expected[:2] + candidate.expected[2:] / 2
    return float(np.linalg.norm(candidate.sighting.center - expected)) / candidate.sighting.side


def _distances(one: FloatArray, other: FloatArray) -> FloatArray:
    """(n, A, 2) and (m, A, 2) to the mean distance of corresponding points (n, m)."""
    return np.linalg.norm(one[:, None] - other[None], axis=-1).mean(-1)


def _sides(one: Sequence[Sighting], other: Sequence[Sighting]) -> FloatArray:
    """(n, m) the larger side of each pair."""
    return np.maximum([[sighting.side] for sighting in one], [[sighting.side for sighting in other]])
