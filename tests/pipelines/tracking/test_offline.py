"""Following toy faces: positions, ids, starts and ends of tracks, crossings, jumps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import cos, hypot, pi, sin

import numpy as np
import pytest

from tests.pipelines.toys import Scene, ToyDetector, ToyFace, ToyModel, painter, true_points
from tests.threads import own_threads
from vtrack.pipelines.sources.scene_cuts import mark_cuts
from vtrack.pipelines.tracking.follower import Follower, TrackedFrame
from vtrack.pipelines.tracking.landmarks import Landmarker, Sighting
from vtrack.pipelines.tracking.matching import Candidate
from vtrack.pipelines.tracking.offline import OfflineFollower
from vtrack.pipelines.tracking.online import OnlineFollower
from vtrack.pipelines.tracking.track import Detection, Track
from vtrack.types import Detections, FloatArray, Frame, Query

QUERY = Query(("jaw", "left_eye"), (0.5, 0.5))
SIZE = (320, 180)
RATE = 30


def frames_of(scene: Scene, count: int, rate: int = RATE) -> Iterator[Frame]:
    draw = painter(scene)
    for i in range(count):
        yield Frame(draw(i, *SIZE), i, i, Fraction(1, rate))


def follow(
    scene: Scene, count: int, kind: type[Follower] = OfflineFollower, *, rate: int = RATE, **options: object
) -> tuple[list[TrackedFrame], ToyDetector]:
    detector = options.pop("detector", None) or ToyDetector()
    follower = kind(detector, Landmarker(ToyModel(), QUERY), **options)  # type: ignore[arg-type]
    return list(follower.follow(mark_cuts(frames_of(scene, count, rate)))), detector  # type: ignore[attr-defined]


def error(sighting: Sighting, face: ToyFace) -> float:
    """Mean distance of the user's points from the truth, in face sides."""
    distance = np.linalg.norm(sighting.points[: len(QUERY)] - true_points(face, QUERY), axis=-1)
    return float(distance.mean()) / face.side


both = pytest.mark.parametrize("kind", [OfflineFollower, OnlineFollower])


@both
def test_one_face_on_a_curve_keeps_its_id_and_its_points(kind: type[Follower]) -> None:
    def scene(i: int) -> list[ToyFace]:
        turn = 2 * pi * i / 80
        return [ToyFace((160 + 90 * cos(turn), 90 + 40 * sin(turn)), 50 + 10 * sin(turn), 0.5 * sin(turn))]

    results, detector = follow(scene, 80, kind)
    assert [frame.index for frame, _ in results] == list(range(80))
    for i, (_, faces) in enumerate(results):
        assert list(faces) == [0]
        assert error(faces[0], scene(i)[0]) < 0.03
        assert abs(faces[0].angle - scene(i)[0].angle) < 0.05
    # Every 0.3 s is every ninth frame; a face that changes its direction may cost a few detections more.
    assert len(set(detector.calls)) < 20


@both
def test_frames_without_faces_are_kept(kind: type[Follower]) -> None:
    results, _ = follow(lambda i: [], 25, kind)
    assert [(frame.index, faces) for frame, faces in results] == [(i, {}) for i in range(25)]


def test_no_frames_no_results() -> None:
    assert follow(lambda i: [], 0)[0] == []


def test_a_single_frame_is_enough() -> None:
    results, _ = follow(lambda i: [ToyFace((100, 90))], 1, detector=ToyDetector(score=0.6))
    assert list(results[0][1]) == [0]


def test_a_face_is_found_from_its_first_frame_to_its_last() -> None:
    """It appears and disappears between key frames; the frames between are located from both sides."""
    face = ToyFace((150, 90))
    results, detector = follow(lambda i: [face] if 22 <= i < 59 else [], 90)
    assert 22 not in detector.calls
    assert [frame.index for frame, faces in results if faces] == list(range(22, 59))
    assert {number for _, faces in results for number in faces} == {0}


@both
def test_a_covered_face_keeps_its_id_and_no_id_is_reused(kind: type[Follower]) -> None:
    face = ToyFace((150, 90))
    short = range(40, 55)
    results, _ = follow(lambda i: [] if i in short else [face], 90, kind)
    assert {number for _, faces in results for number in faces} == {0}
    assert not any(results[i][1] for i in short)
    long = range(20, 70)
    results, _ = follow(lambda i: [] if i in long else [face], 120, kind)
    assert {number for _, faces in results[:20] for number in faces} == {0}
    assert {number for _, faces in results[70:] for number in faces} == {1}


@both
@pytest.mark.parametrize("speed", [3.0, 7.0])
def test_identities_survive_a_crossing(kind: type[Follower], speed: float) -> None:
    def scene(i: int) -> list[ToyFace]:
        return [ToyFace((30 + speed * i, 85), 50, blue=60), ToyFace((290 - speed * i, 95), 60, blue=180)]

    count = int(260 / speed)
    results, _ = follow(scene, count, kind)
    seen = {}
    for i, (_, faces) in enumerate(results):
        for number, sighting in faces.items():
            nearest = min(scene(i), key=lambda face: hypot(*(sighting.center - face.center)))
            overlap = abs(scene(i)[0].center[0] - scene(i)[1].center[0]) < 55
            if not overlap:
                assert seen.setdefault(number, nearest.blue) == nearest.blue, f"frame {i}"
    assert sorted(seen.values()) == [60, 180]
    assert {number for _, faces in results[-3:] for number in faces} == set(seen)


def test_two_tracks_never_show_one_face() -> None:
    def scene(i: int) -> list[ToyFace]:
        return [ToyFace((100 + 4 * i, 90), 50, blue=60), ToyFace((220, 90), 60, blue=180)]

    results, _ = follow(scene, 55)
    for _, faces in results:
        centers = [sighting.center for sighting in faces.values()]
        assert all(hypot(*(a - b)) > 8 for i, a in enumerate(centers) for b in centers[:i])


def test_a_jump_between_key_frames_is_located_exactly() -> None:
    """A cut to another place: neither one track with points in between, nor a face on the wrong side of the cut."""
    results, detector = follow(lambda i: [ToyFace((60, 60)) if i < 24 else ToyFace((250, 120))], 60)
    assert {number for _, faces in results[:24] for number in faces} == {0}
    assert {number for _, faces in results[24:] for number in faces} == {1}
    assert all(len(faces) == 1 for _, faces in results)
    assert {23, 24} & set(detector.calls)


@both
def test_a_fast_face_is_one_face(kind: type[Follower]) -> None:
    def scene(i: int) -> list[ToyFace]:
        return [ToyFace((160 + 110 * sin(2 * pi * i / 22), 90), 60)]

    results, _ = follow(scene, 88, kind)
    assert all(list(faces) == [0] for _, faces in results)
    assert max(error(faces[0], scene(i)[0]) for i, (_, faces) in enumerate(results)) < 0.05


@pytest.mark.parametrize("max_faces", [None, 1])
def test_a_fast_face_needs_no_more_detections_than_a_calm_one(max_faces: int | None) -> None:
    def calm(i: int) -> list[ToyFace]:
        return [ToyFace((160, 90), 60)]

    def fast(i: int) -> list[ToyFace]:
        return [ToyFace((160 + 110 * sin(2 * pi * i / 26), 90), 60)]

    (_, detector), (results, other) = (follow(scene, 120, max_faces=max_faces) for scene in (calm, fast))
    assert all(list(faces) == [0] for _, faces in results)
    assert len(other.calls) <= len(detector.calls)


def test_fast_faces_that_cross_keep_their_ids() -> None:
    def scene(i: int) -> list[ToyFace]:
        swing = 110 * sin(2 * pi * i / 26)
        return [ToyFace((160 + swing, 60), 50, blue=60), ToyFace((160 - swing, 120), 50, blue=180)]

    results, _ = follow(scene, 120)
    for i, (_, faces) in enumerate(results):
        assert [min(scene(i), key=lambda face: hypot(*(one.center - face.center))).blue for one in faces.values()] == [
            60,
            180,
        ]


@both
def test_max_faces_keeps_the_largest(kind: type[Follower]) -> None:
    faces = [ToyFace((50, 90), 40, blue=60), ToyFace((150, 90), 70, blue=120), ToyFace((260, 90), 55, blue=180)]
    results, _ = follow(lambda i: faces, 30, kind, max_faces=2)
    assert [{round(face.center[0], -1) for face in found.values()} for _, found in results] == [{150, 260}] * 30


def test_max_faces_follows_a_cut() -> None:
    """A face that is gone does not keep its place for as long as it might come back."""
    results, _ = follow(lambda i: [ToyFace((60, 60)) if i < 24 else ToyFace((250, 120))], 60, max_faces=1)
    assert all(len(faces) == 1 for _, faces in results)


def test_uncertain_detections_need_confirmation() -> None:
    """One detection on one key frame starts a track only if detector and model are certain."""
    flash = 18
    for score, expected in ((0.6, False), (0.99, True)):
        results, detector = follow(
            lambda i: [ToyFace((100, 90))] if i == flash else [], 40, detector=ToyDetector(score=score)
        )
        assert flash in detector.calls
        assert any(faces for _, faces in results) is expected


def test_uneven_and_slow_frame_rates() -> None:
    results, detector = follow(lambda i: [ToyFace((40 + 5 * i, 90))], 40, rate=2)
    assert all(list(faces) == [0] for _, faces in results)
    assert set(detector.calls) == set(range(40))


class DoubleDetector(ToyDetector):
    """Finds every face twice, a little apart."""

    def _detect(self, image: np.ndarray) -> Detections:
        found = super()._detect(image)
        boxes = np.concatenate([found.boxes, found.boxes + np.array([4, 3, 2, 2])])
        return Detections(boxes, np.repeat(found.scores, 2), np.repeat(found.angles, 2))


@both
def test_a_face_detected_twice_is_one_track(kind: type[Follower]) -> None:
    results, _ = follow(lambda i: [ToyFace((100 + i, 90))], 30, kind, detector=DoubleDetector())
    assert all(list(faces) == [0] for _, faces in results)


class BlinkingDetector(ToyDetector):
    """Finds faces in the first frame only, like a detector before a head that has turned away."""

    def _detect(self, image: np.ndarray) -> Detections:
        return super()._detect(image) if len(self.calls) < 2 else Detections.none()


@both
def test_landmarks_continue_a_track_that_the_detector_has_lost(kind: type[Follower]) -> None:
    def scene(i: int) -> list[ToyFace]:
        return [ToyFace((60 + 3 * i, 90))]

    results, _ = follow(scene, 60, kind, detector=BlinkingDetector())
    assert all(list(faces) == [0] for _, faces in results)
    assert max(error(faces[0], scene(i)[0]) for i, (_, faces) in enumerate(results)) < 0.05


def two_scenes(before: ToyFace, after: ToyFace, cut: int) -> Scene:
    return lambda i: [before if i < cut else after]


def backdrop(images: Iterator[Frame], cut: int) -> Iterator[Frame]:
    """The frames, with another background from `cut` on."""
    for frame in images:
        image = frame.image.copy()
        if frame.index >= cut:
            image[(image == 70).all(-1)] = (10, 20, 10)
        else:
            image[(image == 70).all(-1)] = (180, 170, 180)
        yield Frame(image, frame.index, frame.pts, frame.time_base)


@both
@pytest.mark.parametrize(("shift", "same"), [(0, True), (15, False)])
def test_after_a_cut_only_a_face_in_the_same_place_is_the_same(kind: type[Follower], shift: int, same: bool) -> None:
    cut = 31
    scene = two_scenes(ToyFace((100, 90)), ToyFace((100 + shift, 90), blue=60 if same else 180), cut)
    follower = kind(ToyDetector(), Landmarker(ToyModel(), QUERY))
    results = list(follower.follow(mark_cuts(backdrop(frames_of(scene, 60), cut))))  # type: ignore[attr-defined]
    assert all(list(faces) == [0] for _, faces in results[:cut])
    assert all(list(faces) == [0 if same else 1] for _, faces in results[cut:])


@both
def test_the_detector_rests_while_no_new_face_is_allowed(kind: type[Follower]) -> None:
    def scene(i: int) -> list[ToyFace]:
        return [ToyFace((60 + 0.7 * i, 90), 50, blue=40), ToyFace((250, 90 + 20 * sin(i / 20)), 40, blue=160)]

    often, rarely = (follow(scene, 150, kind, max_faces=most) for most in (None, 2))
    assert len(set(rarely[1].calls)) < 0.5 * len(set(often[1].calls))
    for (_, one), (_, other) in zip(often[0], rarely[0], strict=True):
        assert one.keys() == other.keys()
        assert all(np.allclose(one[i].points, other[i].points, atol=2) for i in one)


def test_detections_are_prefetched_and_hardly_any_is_unused() -> None:
    """With `max_faces`, it is known only after locating the faces that the next frames need no detection."""

    def scene(i: int) -> list[ToyFace]:
        return [ToyFace((60 + 0.7 * i, 90), 50, blue=40)]

    detected_frames: list[int] = []

    class CountingFollower(OfflineFollower):
        def detect(self, frame: Frame) -> list[Detection]:
            detected_frames.append(frame.index)
            return super().detect(frame)

    for most, unused in ((None, 0), (1, 2)):
        detected_frames.clear()
        detector = ToyDetector()
        follower = CountingFollower(detector, Landmarker(ToyModel(), QUERY), max_faces=most)
        assert len(list(follower.follow(frames_of(scene, 150)))) == 150
        assert set(detected_frames) <= set(detector.calls)
        assert len(detector.calls) <= len(detected_frames) + unused
        assert len(set(detector.calls)) == len(detector.calls)


def test_a_follower_that_is_closed_early_has_no_threads() -> None:
    before = own_threads()
    follower = OfflineFollower(ToyDetector(), Landmarker(ToyModel(), QUERY))
    results = follower.follow(frames_of(lambda i: [ToyFace((100, 90))], 60))
    assert next(results)[0].index == 0
    assert own_threads() > before
    results.close()  # type: ignore[attr-defined]
    assert own_threads() <= before


@both
def test_a_face_that_leaves_makes_room_for_another(kind: type[Follower]) -> None:
    def scene(i: int) -> list[ToyFace]:
        return [ToyFace((60, 90), 50, blue=40)] if i < 60 else [ToyFace((250, 90), 50, blue=160)]

    results, _ = follow(scene, 150, kind, max_faces=1)
    assert set(results[50][1]) == {0}
    assert set(results[140][1]) == {1}
    assert error(results[140][1][1], scene(140)[0]) < 0.03


@both
def test_a_face_that_has_left_the_frame_is_not_looked_for(kind: type[Follower]) -> None:
    model = ToyModel()
    follower = kind(ToyDetector(), Landmarker(model, QUERY))
    frames = frames_of(lambda i: [ToyFace((200 + 6.0 * i, 90))] if i < 40 else [], 60)
    sightings = sum(len(faces) for _, faces in follower.follow(frames))  # type: ignore[attr-defined]
    assert sightings == 24
    assert sum(model.calls) < 1.5 * sightings


def test_known_faces_of_key_frames_are_located_in_the_batch_before() -> None:
    """Where no new face is allowed, the next key frame is previewed in the batch of the segment before it."""
    alone: list[int] = []

    class RecordingFollower(OfflineFollower):
        def locate(self, tracks: Sequence[Track], frame: Frame, others: Sequence[Candidate] = ()) -> list[Candidate]:
            alone.extend([frame.index] * len(tracks))
            return super().locate(tracks, frame, others)

    follower = RecordingFollower(ToyDetector(), Landmarker(ToyModel(), QUERY), max_faces=1)
    assert len(list(follower.follow(frames_of(lambda i: [ToyFace((60 + 0.7 * i, 90), 50)], 150)))) == 150
    # The first key frame after the start has no segment before it, and none is previewed where filters are rebuilt.
    assert alone == [9, 45, 117, 149]


def test_no_batch_crosses_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    landmarker = Landmarker(ToyModel(), QUERY)
    submit, cut = landmarker.submit, 67

    def recorded(
        frames: Sequence[Frame], places: Sequence[int], boxes: FloatArray, angles: FloatArray
    ) -> Callable[[], list[Sighting]]:
        assert len({frames[place].index < cut for place in places}) <= 1
        return submit(frames, places, boxes, angles)

    monkeypatch.setattr(landmarker, "submit", recorded)
    scene = two_scenes(ToyFace((100, 90), 60), ToyFace((220, 90), 60), cut)
    frames = mark_cuts(backdrop(frames_of(scene, 120), cut))
    results = list(OfflineFollower(ToyDetector(), landmarker, max_faces=1).follow(frames))
    assert results[cut][0].cut
    assert all(len(faces) == 1 for _, faces in results)


def test_a_face_that_leaves_or_jumps_after_it_was_previewed() -> None:
    def leaving(i: int) -> list[ToyFace]:
        return [ToyFace((60, 90), 50)] if i < 67 or i >= 90 else []

    def leaping(i: int) -> list[ToyFace]:
        return [ToyFace((60, 90) if i < 67 else (250, 90), 50)]

    for scene in (leaving, leaping):
        results, _ = follow(scene, 150, max_faces=1)
        for frame, faces in results:
            truth = scene(frame.index)
            assert len(faces) == len(truth), f"{scene.__name__} {frame.index}"
            assert all(error(seen, truth[0]) < 0.05 for seen in faces.values())


def test_where_no_face_is_lost_or_new_none_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtrack.pipelines.tracking.follower.visible_share", None)
    results, _ = follow(lambda i: [ToyFace((150, 90))], 60)
    assert all(list(faces) == [0] for _, faces in results)
