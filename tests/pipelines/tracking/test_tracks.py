"""Tracks: motion, assignment of detections, conflicts, confirmation and ids."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pipelines.toys import ToyFace, true_points
from vtrack.anchors import ANCHORS, box_around
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.pipelines.tracking.matching import Candidate, deduplicate, is_plausible, resolve_conflicts, same_face
from vtrack.pipelines.tracking.track import Detection, Track
from vtrack.pipelines.tracking.tracks import Tracks


def sighting(x: float, y: float = 50.0, side: float = 40.0, presence: float = 0.99) -> Sighting:
    points = true_points(ToyFace((x, y), side), ANCHORS)
    return Sighting(points, np.ones(len(points)), presence, box_around(points), 0.0)


def detection(x: float, y: float = 50.0, side: float = 40.0, score: float = 0.95) -> Detection:
    return Detection(sighting(x, y, side), score)


def moving(start: float, speed: float, frames: int = 12, rate: float = 30.0) -> Track:
    """A track that went from `start` at `speed` pixels a second."""
    track = Track(0.0)
    for i in range(frames):
        track.add(i / rate, sighting(start + speed * i / rate))
    return track


def test_predicted_anchors_follow_the_motion() -> None:
    track = moving(100, 60)
    np.testing.assert_allclose(track.predicted_anchors(track.seen), track.last.anchors)
    assert (track.predicted_anchors(track.seen + 0.1) - track.last.anchors).mean(0) == pytest.approx(
        [6, 0], rel=0.1, abs=0.1
    )


@pytest.mark.parametrize(
    ("shift", "growth", "turn", "missed"),
    [
        *((0.1, 1.1, 0.1, False), (0.0, 1.0, 2 * np.pi, False)),
        *((0.3, 1.0, 0.0, True), (0.0, 1.5, 0.0, True), (0.0, 0.6, 0.0, True), (0.0, 1.0, -0.5, True)),
    ],
)
def test_a_box_is_missed_by_its_place_its_size_or_its_roll(
    shift: float, growth: float, turn: float, missed: bool
) -> None:
    track = moving(100, 60)
    box, angle = track.boxes.predict(track.seen + 0.1)
    size = box[2:] * growth
    seen = np.concatenate([box[:2] + box[2:] / 2 + [shift * size.max(), 0] - size / 2, size])
    assert track.misses(track.seen + 0.1, seen, angle + turn) is missed


def test_earlier_sightings_are_prepended_to_a_track() -> None:
    track = Track(1.0)
    track.add(1.0, sighting(130))
    track.prepend([(0.5 + i / 30, sighting(100 + 2 * i)) for i in range(15)])
    assert track.born == 0.5 and track.seen == 1.0
    assert track.predicted_anchors(1.1)[0, 0] - track.last.anchors[0, 0] == pytest.approx(
        6, rel=0.1
    )  # 2 pixels a frame


def test_assignment_follows_motion_not_the_nearest_position() -> None:
    tracks = Tracks()
    right, left = moving(100, 150), moving(160, -150)
    tracks.live = [right, left]
    time = right.seen + 0.2
    detections = [detection(right.boxes.predict(time)[0][0] + 16), detection(left.boxes.predict(time)[0][0] + 16)]
    assert [(track, one) for track, one in tracks.match(detections, time).pairs] == [
        (right, detections[0]),
        (left, detections[1]),
    ]


def test_the_older_of_two_tracks_keeps_a_face() -> None:
    tracks = Tracks()
    older, younger = moving(100, 0), moving(100, 0)
    tracks.live = [older, younger]
    match = tracks.match([detection(100)], older.seen + 0.3)
    assert [track for track, _ in match.pairs] == [older]
    assert match.lost == [younger]


def test_the_reach_of_a_track_grows_while_its_face_is_missing() -> None:
    tracks, track = Tracks(), moving(100, 0)
    tracks.live = [track]
    far = detection(100 + 0.8 * 40)
    assert tracks.match([far], track.seen + 0.1).new == [far]
    assert tracks.match([far], track.seen + 0.9).pairs == [(track, far)]
    assert tracks.match([far], track.seen + 0.9, reach=0.15).new == [far]


def test_a_conflict_is_won_by_the_track_predicted_there() -> None:
    older, younger = moving(100, 0), moving(100, 0)
    face = sighting(130)
    here, elsewhere = sighting(130).box, sighting(115).box
    assert resolve_conflicts([Candidate(older, face, elsewhere), Candidate(younger, face, here)])[0].track is younger
    assert resolve_conflicts([Candidate(older, face, here), Candidate(younger, face, here)])[0].track is older
    apart = [Candidate(older, sighting(100), here), Candidate(younger, sighting(130), here)]
    assert resolve_conflicts(apart) == apart


def test_the_most_certain_of_duplicate_detections_is_kept() -> None:
    detections = [detection(100, score=0.6), detection(104, score=0.9), detection(180, score=0.7)]
    assert deduplicate(detections) == [detections[1], detections[2]]
    assert same_face(detections[0].sighting, detections[1].sighting)
    assert not same_face(detections[0].sighting, detection(100, side=80).sighting), (
        "a larger face in front is another face"
    )


def test_ids_are_assigned_on_request_and_once() -> None:
    tracks = Tracks()
    first, second = tracks.start([detection(100), detection(200, score=0.5)], 0.0)
    assert [tracks.is_confirmed(first), tracks.is_confirmed(second)] == [True, False]
    assert tracks.live == [first, second]
    assert [tracks.id_of(first), tracks.id_of(first)] == [0, 0]
    tracks.end_stale(0.1)
    assert tracks.live == [first], "one uncertain detection is not enough to survive a miss"
    tracks.end_stale(5.0)
    assert tracks.live == []
    (third,) = tracks.start([detection(100)], 6.0)
    assert tracks.id_of(third) == 1


def test_evidence_of_detections_adds_up() -> None:
    tracks = Tracks()
    (track,) = tracks.start([detection(100, score=0.62)], 0.0)
    track.add_detection(0.3, detection(100, score=0.5))
    assert not tracks.is_confirmed(track)
    track.add_detection(0.6, detection(100, score=0.5))
    assert tracks.is_confirmed(track)


@pytest.mark.parametrize(("seconds", "presence", "expected"), [(0.9, 0.5, True), (1.5, 0.5, False), (1.5, 0.95, True)])
def test_landmarks_alone_continue_a_track_only_with_certainty(seconds: float, presence: float, expected: bool) -> None:
    track = moving(100, 0)
    track.detected = track.seen - seconds
    assert is_plausible(track, sighting(100, presence=presence), track.seen) is expected


def test_missing_tracks_make_room_for_new_faces() -> None:
    tracks = Tracks(max_faces=2)
    missing, seen = moving(100, 0), moving(200, 0, frames=14)
    tracks.live = [missing, seen]
    (started,) = tracks.start([detection(300)], seen.seen)
    assert tracks.live == [seen, started]
    assert tracks.start([detection(400)], seen.seen) == []
