"""Matching faces to tracks: assignment of detections, conflicts between tracks, duplicate detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtrack.imaging.boxes import iou, xywh_to_corners
from vtrack.pipelines.tracking.assignment import cheapest_pairs
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.pipelines.tracking.track import CERTAIN, TRACK_TIMEOUT, Detection, Track
from vtrack.types import BoolArray, FloatArray

KEPT_PRESENCE = 0.3
"""Presence from which a track accepts a crop as its face; lower than for a new track, so that tracks do not flicker."""
_SAME_DISTANCE = 0.25
"""Mean distance between the anchors of two sightings, in box sides, below which they are of one face."""
_UNCERTAIN_DISTANCE = 0.4
"""Distance of a match in box sides from which a detection in between is worthwhile."""
_CONFLICT_MARGIN = 0.1
"""How much nearer to its prediction, in box sides, a younger track must be to win a face from an older one."""


@dataclass(frozen=True, eq=False, slots=True)
class Candidate:
    """A sighting that a track claims for one frame."""

    track: Track
    sighting: Sighting
    predicted: FloatArray
    """(4,) the predicted box of the track."""

    @property
    def prediction_error(self) -> float:
        """Distance of the sighting from the predicted position, in box sides."""
        center = self.predicted[:2] + self.predicted[2:] / 2
        return float(np.linalg.norm(self.sighting.center - center)) / self.sighting.side


@dataclass(frozen=True, eq=False, slots=True)
class Match:
    """The assignment of detections to tracks."""

    pairs: list[tuple[Track, Detection]]
    lost: list[Track]
    """Tracks without a detection, oldest first."""
    new: list[Detection]
    """Detections without a track."""
    uncertain: bool
    """Whether a pair lies so far apart that it may be two faces."""


def match_detections(
    detections: Sequence[Detection], tracks: Sequence[Track], time: float, reach: float | None = None
) -> Match:
    """Assign detections to tracks by overlap of boxes and distance of anchors, both as predicted for this time.

    Args:
        detections: The detections of one frame.
        tracks: The tracks, oldest first.
        time: Time of the frame in seconds.
        reach: Largest distance of a pair in box sides; None for each track's own.
    """
    if not tracks or not detections:
        return Match([], list(tracks), list(detections), False)
    anchors = np.stack([detection.sighting.anchors for detection in detections])
    distances = _distances(np.stack([track.predicted_anchors(time) for track in tracks]), anchors) / _larger_sides(
        [track.last for track in tracks], [detection.sighting for detection in detections]
    )
    boxes = np.stack([track.predict(time)[0] for track in tracks])
    detected_boxes = np.stack([detection.sighting.box for detection in detections])
    overlaps = iou(xywh_to_corners(boxes), xywh_to_corners(detected_boxes))
    cost = distances + 0.5 * (1 - overlaps)
    # Of two tracks at the same distance the older wins: this small cost per rank decides ties only.
    cost += 1e-3 * np.arange(len(tracks))[:, None]
    allowed = distances < np.array([reach or track.reach(time) for track in tracks])[:, None]
    pairs = [pair for pair in cheapest_pairs(np.where(allowed, cost, 1e3)) if allowed[pair]]
    matched_tracks, matched_detections = {row for row, _ in pairs}, {column for _, column in pairs}
    return Match(
        [(tracks[row], detections[column]) for row, column in pairs],
        [track for i, track in enumerate(tracks) if i not in matched_tracks],
        [detection for i, detection in enumerate(detections) if i not in matched_detections],
        any(distances[row, column] > _UNCERTAIN_DISTANCE for row, column in pairs),
    )


def deduplicate(detections: Sequence[Detection]) -> list[Detection]:
    """Return one detection of each face, the most certain."""
    ranked = sorted(detections, key=lambda one: -one.score * one.sighting.presence)
    same, kept = _same_faces([detection.sighting for detection in ranked]), list[int]()
    for i in range(len(ranked)):
        if not any(same[i, other] for other in kept):
            kept.append(i)
    return [ranked[i] for i in kept]


def resolve_conflicts(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return one candidate for each face of a frame: of the track that was predicted there; if several, the oldest.

    When two faces cross, the crop of the hidden one shows the one in front. The hidden track must neither take over that
    face nor end, but miss a few frames.

    Args:
        candidates: The candidates of one frame, oldest track first.
    """
    same, kept = _same_faces([candidate.sighting for candidate in candidates]), list[int]()
    for i, candidate in enumerate(candidates):
        rival = next((other for other in kept if same[i, other]), None)
        if rival is None:
            kept.append(i)
        elif candidate.prediction_error < candidates[rival].prediction_error - _CONFLICT_MARGIN:
            kept[kept.index(rival)] = i
    return [candidates[i] for i in kept]


def same_face(one: Sighting, other: Sighting) -> bool:
    """Return whether two sightings in one frame are of the same face."""
    distance = np.linalg.norm(one.anchors - other.anchors, axis=-1).mean()
    return bool(distance < _SAME_DISTANCE * min(one.side, other.side))


def _same_faces(sightings: Sequence[Sighting]) -> BoolArray:
    """(n, n) whether two of n sightings in one frame are of the same face; see `same_face`, which takes pair by pair longer."""
    if len(sightings) < 2:
        return np.ones((len(sightings),) * 2, np.bool_)
    anchors, sides = np.stack([one.anchors for one in sightings]), np.array([one.side for one in sightings])
    return np.asarray(_distances(anchors, anchors) < _SAME_DISTANCE * np.minimum(sides[:, None], sides))


def is_plausible(track: Track, sighting: Sighting, time: float, presence: float = KEPT_PRESENCE) -> bool:
    """Return whether a sighting can be the face of a track: it is a face, and near the track's prediction.

    A landmark model follows whatever it was led to once, so a track that no detector has confirmed for `TRACK_TIMEOUT`
    needs a certain sighting.

    Args:
        track: The track.
        sighting: What was seen near its prediction.
        time: Time of the frame in seconds.
        presence: Least presence of a face.
    """
    distance = np.linalg.norm(sighting.anchors - track.predicted_anchors(time), axis=-1).mean()
    near = distance < track.reach(time) * max(track.last.side, sighting.side)
    threshold = presence if time - track.detected <= TRACK_TIMEOUT else max(CERTAIN, presence)
    return sighting.presence >= threshold and bool(near)


def _distances(one: FloatArray, other: FloatArray) -> FloatArray:
    """(n, A, 2) and (m, A, 2) to the mean distance of corresponding points (n, m)."""
    return np.linalg.norm(one[:, None] - other[None], axis=-1).mean(-1)


def _larger_sides(one: Sequence[Sighting], other: Sequence[Sighting]) -> FloatArray:
    """(n, m) the larger box side of each pair."""
    return np.maximum([[sighting.side] for sighting in one], [[sighting.side for sighting in other]])
