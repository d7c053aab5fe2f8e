"""The base class of both ways to follow faces: detecting new faces, and locating known ones in the next frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtrack.detectors.own import check_detections
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.tracking.doubt import WorstFace
from vtrack.pipelines.tracking.landmarks import (
    MIN_VISIBLE,
    PRESENCE_THRESHOLD,
    Landmarker,
    Sighting,
    visible_share,
)
from vtrack.pipelines.tracking.matching import (
    KEPT_PRESENCE,
    Candidate,
    Match,
    deduplicate,
    is_plausible,
    resolve_conflicts,
    same_face,
)
from vtrack.pipelines.tracking.prefetch import Prefetcher
from vtrack.pipelines.tracking.track import Detection, Track
from vtrack.pipelines.tracking.tracks import Tracks
from vtrack.types import Detector, Frame

_CUT_REACH = 0.15
"""Distance in box sides within which a face after a scene cut is the same as before."""

TrackedFrame = tuple[Frame, dict[int, Sighting]]
"""A frame and the sightings in it by track id."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a detector found in a frame."""

    detections: list[Detection]
    is_glance: bool
    """Whether it may have missed small faces."""


class Follower:
    """A detector that finds faces, a landmark model that follows them, and their tracks.

    Args:
        detector: Face detector.
        landmarker: Locates the landmarks of faces.
        max_faces: Largest number of faces to follow; None for no limit.
        detect_every: Seconds between two detections.
        confidence: Least score of a detection, and least presence of a face in each frame; None for the detector's own
            score and the presences of `vtrack.pipelines.tracking`.
    """

    def __init__(
        self,
        detector: Detector,
        landmarker: Landmarker,
        *,
        max_faces: int | None = None,
        detect_every: float = Settings.detect_every,
        confidence: float | None = Settings.confidence,
    ) -> None:
        self.prefetcher = Prefetcher(self._detect)
        self._detector = detector
        self.landmarker = landmarker
        min_score = detector.min_score if confidence is None else confidence
        self.tracks = Tracks(max_faces, min_score=min_score, worst=WorstFace.of(landmarker.model))
        self._min_score = 0.0 if confidence is None else confidence
        self._new_presence = PRESENCE_THRESHOLD if confidence is None else confidence
        self._kept_presence = KEPT_PRESENCE if confidence is None else confidence
        self.detect_every = detect_every

    def close(self) -> None:
        """End all threads; `follow` calls this when it ends."""
        self.prefetcher.close()
        self.landmarker.close()

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the faces of a frame, detected, located by the landmark model, and each only once.

        A glance that finds more or fewer faces than are followed calls for a whole search.
        """
        search = self.prefetcher.result(frame)
        if search.is_glance and len(search.detections) != len(self.tracks.live):
            search = self.prefetcher.result(frame)
        return search.detections

    def _detect(self, frame: Frame, glance: bool = False) -> Search:
        """Search a frame; by a glance if the detector can glance."""
        quick = getattr(self._detector, "glance", None) if glance else None
        with self.landmarker.watch("detect"):
            found = [quick(frame)] if quick else self._detector.detect([frame])
            faces = check_detections(self._detector, found, 1)[0]
        sightings = self.landmarker.locate([frame], [0] * len(faces), faces.boxes, faces.angles)
        pairs = zip(sightings, faces.scores, strict=True)
        detections = [Detection(sighting, float(score)) for sighting, score in pairs]
        kept = deduplicate([one for one in detections if self._is_face(one) and one.score >= self._min_score])
        return Search(kept, quick is not None)

    def _is_face(self, detection: Detection) -> bool:
        """Whether the landmark model agrees that this is a face."""
        return detection.sighting.presence >= self._new_presence

    def locate(self, tracks: Sequence[Track], frame: Frame, others: Sequence[Candidate] = ()) -> list[Candidate]:
        """Locate the faces of tracks in a frame soon after their last sighting, where their motion predicts them.

        Those that have left the frame by then are not looked for.

        Args:
            tracks: The tracks, oldest first.
            frame: The frame to search.
            others: Candidates of other tracks in this frame, whose faces are not available.
        """
        if not tracks:  # so it is in nearly every frame
            return []
        predictions = [track.predict(frame.time) for track in tracks]
        boxes = np.array([box for box, _ in predictions])
        visible = np.flatnonzero(visible_share(boxes, frame.size) >= MIN_VISIBLE).tolist()
        angles = np.array([predictions[i][1] for i in visible])
        sightings = self.landmarker.locate([frame], [0] * len(visible), boxes[visible], angles)
        candidates = [Candidate(tracks[i], sighting, boxes[i]) for i, sighting in zip(visible, sightings, strict=True)]
        free = [one for one in candidates if not any(same_face(one.sighting, other.sighting) for other in others)]
        return self.resolve(free, frame)

    def resolve(self, candidates: Sequence[Candidate], frame: Frame) -> list[Candidate]:
        """Return the candidates that are plausible for their tracks, one for each face."""
        least = self._kept_presence
        return resolve_conflicts(
            [one for one in candidates if is_plausible(one.track, one.sighting, frame.time, least)]
        )

    def refine(self, detections: Sequence[Detection], frame: Frame) -> list[Detection]:
        """Locate new faces again from crops around their own points: detector boxes are not placed like a track's."""
        boxes = np.array([detection.sighting.box for detection in detections]).reshape(-1, 4)
        angles = np.array([detection.sighting.angle for detection in detections])
        sightings = self.landmarker.locate([frame], [0] * len(detections), boxes, angles)
        refined = [
            Detection(sighting, detection.score) for sighting, detection in zip(sightings, detections, strict=True)
        ]
        return [new if self._is_face(new) else old for new, old in zip(refined, detections, strict=True)]

    def cross_cut(self, frame: Frame) -> Match:
        """Match the faces of the first frame after a scene cut, and end the tracks of all others.

        Only a face in exactly the same place continues its track: being near is no evidence after a cut, but what looks
        like a cut may be a flash.
        """
        match = self.tracks.match(self.detect(frame), frame.time, reach=_CUT_REACH)
        self.tracks.end(match.lost)
        return match
