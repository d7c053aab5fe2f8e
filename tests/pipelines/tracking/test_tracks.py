"""Tracks: motion, assignment, who keeps a face that two claim, ids."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pipelines.toys import ToyFace, true_points
from vtrack.anchors import ANCHORS, box_around
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.pipelines.tracking.tracks import Candidate, Seed, Track, Tracks, believable, contest, distinct, same_face


def sighting(x: float, y: float = 50.0, side: float = 40.0, presence: float = 0.99) -> Sighting:
    points = true_points(ToyFace((x, y), side), ANCHORS)
    return Sighting(points, np.ones(len(points)), presence, box_around(points), 0.0)


def seed(x: float, y: float = 50.0, side: float = 40.0, score: float = 0.95) -> Seed:
    return Seed(sighting(x, y, side), score)


def moving(start: float, speed: float, frames: int = 12, rate: float = 30.0) -> Track:
    """A track that went from `start` at `speed` pixels a second."""
    track = Track(0.0)
    for i in range(frames):
        track.add(i / rate, sighting(start + speed * i / rate))
    return track


def test_anchors_go_with_the_motion() -> None:
    track = moving(100, 60)
    np.testing.assert_allclose(track.anchors(track.seen), track.last.anchors)
    assert (track.anchors(track.seen + 0.1) - track.last.anchors).mean(0) == pytest.approx([6, 0], rel=0.1, abs=0.1)


def test_a_track_learns_its_past() -> None:
    track = Track(1.0)
    track.add(1.0, sighting(130))
    track.begin_with([(0.5 + i / 30, sighting(100 + 2 * i)) for i in range(15)])
    assert track.born == 0.5 and track.seen == 1.0
    assert track.anchors(1.1)[0, 0] - track.last.anchors[0, 0] == pytest.approx(6, rel=0.1)  # 2 pixels a frame


def test_assignment_follows_motion_not_the_nearest_place() -> None:
    tracks = Tracks()
    right, left = moving(100, 150), moving(160, -150)
    tracks.live = [right, left]
    time = right.seen + 0.2
    seeds = [seed(right.boxes.predict(time)[0][0] + 16), seed(left.boxes.predict(time)[0][0] + 16)]
    assert [(track, one) for track, one in tracks.match(seeds, time).pairs] == [(right, seeds[0]), (left, seeds[1])]


def test_of_two_tracks_on_one_face_the_older_keeps_it() -> None:
    tracks = Tracks()
    older, younger = moving(100, 0), moving(100, 0)
    tracks.live = [older, younger]
    match = tracks.match([seed(100)], older.seen + 0.3)
    assert [track for track, _ in match.pairs] == [older]
    assert match.lost == [younger]


def test_a_seed_out_of_reach_is_new_until_the_track_has_been_gone_for_a_while() -> None:
    tracks, track = Tracks(), moving(100, 0)
    tracks.live = [track]
    far = seed(100 + 0.8 * 40)
    assert tracks.match([far], track.seen + 0.1).new == [far]
    assert tracks.match([far], track.seen + 0.9).pairs == [(track, far)]
    assert tracks.match([far], track.seen + 0.9, reach=0.15).new == [far]


def test_a_face_two_claim_goes_to_whom_it_was_expected() -> None:
    older, younger = moving(100, 0), moving(100, 0)
    face = sighting(130)
    here, elsewhere = sighting(130).box, sighting(115).box
    assert contest([Candidate(older, face, elsewhere), Candidate(younger, face, here)])[0].track is younger
    assert contest([Candidate(older, face, here), Candidate(younger, face, here)])[0].track is older
    apart = [Candidate(older, sighting(100), here), Candidate(younger, sighting(130), here)]
    assert contest(apart) == apart


def test_a_face_found_twice_counts_once_the_surest() -> None:
    seeds = [seed(100, score=0.6), seed(104, score=0.9), seed(180, score=0.7)]
    assert distinct(seeds) == [seeds[1], seeds[2]]
    assert same_face(seeds[0].sighting, seeds[1].sighting)
    assert not same_face(seeds[0].sighting, seed(100, side=80).sighting), "a face before another is none of its"


def test_ids_are_given_when_asked_for_and_once() -> None:
    tracks = Tracks()
    first, second = tracks.begin([seed(100), seed(200, score=0.5)], 0.0)
    assert [tracks.counts(first), tracks.counts(second)] == [True, False]
    assert tracks.live == [first, second]
    assert [tracks.name(first), tracks.name(first)] == [0, 0]
    tracks.bury(0.1)
    assert tracks.live == [first], "one doubtful sighting gives no credit"
    tracks.bury(5.0)
    assert tracks.live == []
    (third,) = tracks.begin([seed(100)], 6.0)
    assert tracks.name(third) == 1


def test_evidence_adds_up() -> None:
    tracks = Tracks()
    (track,) = tracks.begin([seed(100, score=0.62)], 0.0)
    track.believe(0.3, seed(100, score=0.5))
    assert not tracks.counts(track)
    track.believe(0.6, seed(100, score=0.5))
    assert tracks.counts(track)


@pytest.mark.parametrize(("seconds", "presence", "expected"), [(0.9, 0.5, True), (1.5, 0.5, False), (1.5, 0.95, True)])
def test_landmarks_alone_carry_a_face_only_if_sure(seconds: float, presence: float, expected: bool) -> None:
    track = moving(100, 0)
    track.detected = track.seen - seconds
    assert believable(track, sighting(100, presence=presence), track.seen) is expected


def test_missing_tracks_make_room_for_new_faces() -> None:
    tracks = Tracks(max_faces=2)
    missing, seen = moving(100, 0), moving(200, 0, frames=14)
    tracks.live = [missing, seen]
    (begun,) = tracks.begin([seed(300)], seen.seen)
    assert tracks.live == [seen, begun]
    assert tracks.begin([seed(400)], seen.seen) == []
