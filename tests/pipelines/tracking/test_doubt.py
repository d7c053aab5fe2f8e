"""Tracks of what is no face: uncertain points, missing presence and changing boxes end them together, none of them alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.pipelines.toys import ToyFace, true_points
from vtrack.anchors import ANCHORS, box_around
from vtrack.models import card_path, load_model, shipped
from vtrack.models.card import read_card
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.track import track
from vtrack.pipelines.tracker import Tracker
from vtrack.pipelines.tracking.doubt import DoubtWindow, WorstFace
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.pipelines.tracking.track import Detection, Track
from vtrack.pipelines.tracking.tracks import Tracks
from vtrack.types import FrameResult, ImageArray, LandmarkModel, Prediction, Query

SAMPLE = Path(__file__).parents[3] / "samples" / "sample.mp4"
FACE, TORSO = (237, 173, 182, 182), (200, 380, 120, 100)
RATE = 30
GOOD, BAD = 0.012, 0.038
"""Sigma in box sides of a face, and of a torso."""
FAST = WorstFace(**read_card(card_path("fast")).faces)


def sighting(side: float = 100.0, sigma: float = GOOD, presence: float = 1.0) -> Sighting:
    points = true_points(ToyFace((200, 200), side), ANCHORS)
    box = box_around(points)
    return Sighting(points, np.full(len(points), sigma * box[2:].max()), presence, box, 0.0)


def doubts(sightings: list[Sighting], step: float = 1 / RATE, worst: WorstFace = FAST) -> list[bool]:
    """Whether each sighting of a track leaves it doubtful."""
    window, found = DoubtWindow(worst), []
    for i, one in enumerate(sightings):
        window.add(i * step, one)
        found.append(window.is_doubtful)
    return found


@pytest.mark.parametrize("step", [1 / RATE, -1 / RATE])
def test_no_symptom_ends_a_track_alone(step: float) -> None:
    near = [sighting(side) for side in np.geomspace(40, 400, 30)]
    vague = [sighting(sigma=1.7 * FAST.sigma)] * 60
    absent = [sighting(presence=0.31)] * 60
    for sightings in (near, vague, absent):
        assert not any(doubts(sightings, step))


def test_points_that_are_nowhere_end_a_track_within_a_second() -> None:
    assert doubts([sighting()] * RATE + [sighting(sigma=2.2 * FAST.sigma)] * RATE)[-1]


def test_true_faces_at_their_worst_are_kept() -> None:
    # Cut by the lower edge while it moves, and coming near.
    assert not any(doubts([sighting(side, 0.027, 0.995) for side in np.geomspace(100, 125, 60)]))
    assert not any(doubts([sighting(side, 0.02, 0.998) for side in np.geomspace(50, 250, 60)]))


@pytest.mark.parametrize("model", shipped())
def test_the_card_says_how_uncertain_true_faces_are(model: str) -> None:
    worst = WorstFace(**read_card(card_path(model)).faces)
    assert not any(doubts([sighting(sigma=1.1 * worst.sigma, presence=worst.presence - 0.03)] * 60, worst=worst))
    assert all(doubts([sighting(sigma=1.5 * worst.sigma, presence=worst.presence - 0.15)] * 60, worst=worst))


def test_a_model_without_a_card_is_judged_like_the_least_certain() -> None:
    class Own:
        name = "own"

    assert WorstFace.of(Own()) == WorstFace()  # type: ignore[arg-type]
    rht = WorstFace(**read_card(card_path("rht")).faces)
    assert (WorstFace().sigma, WorstFace().presence) == pytest.approx((rht.sigma, rht.presence), abs=0.01)
    # A driver who turns, seen by `rht`.
    assert not any(doubts([sighting(sigma=0.041, presence=0.836)] * 60, worst=WorstFace()))


def test_a_torso_is_no_face() -> None:
    rng = np.random.default_rng(0)
    torso = [sighting(rng.uniform(80, 120), rng.uniform(0.031, 0.044), rng.uniform(0.55, 0.98)) for _ in range(44)]
    assert all(doubts(torso)[10:])


def test_a_mask_that_slides_off_ends_within_a_second() -> None:
    before = [sighting(69.0)] * RATE
    sliding = [sighting(side, 0.033, 0.9) for side in np.linspace(69, 119, RATE)]
    found = doubts([*before, *sliding])
    assert not any(found[:RATE]) and found[-1]


def test_only_the_last_second_counts() -> None:
    window = DoubtWindow(FAST)
    for i in range(2 * RATE):
        window.add(i / RATE, sighting(sigma=BAD, presence=0.7))
    assert window.is_doubtful
    for i in range(2 * RATE, 3 * RATE + 2):
        window.add(i / RATE, sighting())
    assert window.doubt == 0


def test_tracks_end_and_do_not_start_in_doubt() -> None:
    tracks = Tracks(worst=FAST)
    assert tracks.start([Detection(sighting(sigma=BAD, presence=0.7), 0.99)], 0.0) == []
    assert tracks.live == []
    (started,) = tracks.start([Detection(sighting(), 0.99)], 0.0)
    for i in range(1, RATE):
        started.add(i / RATE, sighting(sigma=BAD, presence=0.7))
        tracks.end_stale(i / RATE)
    assert tracks.live == []


def test_what_was_before_the_first_sighting_is_judged_too() -> None:
    one = Track(1.0, FAST)
    one.add(1.0, sighting())
    one.prepend([(0.5 + i / RATE, sighting(sigma=BAD, presence=0.7)) for i in range(14)])
    assert one.is_doubtful


def test_boxes_forced_upon_a_torso_make_no_faces() -> None:
    options = {"detector": lambda image: [FACE, TORSO], "smooth": "none", "stop": 0.7}
    results = list(track(SAMPLE, "eyes", **options))  # type: ignore[arg-type]
    assert {len(result.faces) for result in results} == {1}


def covered(frames: list[ImageArray], first: int) -> list[ImageArray]:
    """The frames, whose face goes behind the back of another head."""
    noise = np.random.default_rng(0).normal(0, 9, (480, 640, 1))
    hair = np.clip(np.array([52, 40, 36]) + cv2.GaussianBlur(noise, (0, 0), 2)[..., None] * 3, 0, 255)
    mask = cv2.ellipse(np.zeros((480, 640)), (328, 255), (150, 190), 0, 0, 360, 1.0, -1)[..., None]
    mixed = [(frame * (1 - mask) + hair * mask).astype(np.uint8) for frame in frames]
    return [*frames[:first], *mixed[first:]]


def seen(results: list[FrameResult]) -> list[int]:
    return [result.index for result in results if result.faces]


@pytest.fixture(scope="module")
def hidden() -> list[ImageArray]:
    with open_source(SAMPLE, stop=2.0) as source:
        return covered([frame.image for frame in source], 15)


def test_a_face_behind_another_head_is_not_followed(hidden: list[ImageArray]) -> None:
    results = list(track(np.stack(hidden), "eyes", fps=RATE, smooth="none"))
    assert set(range(15)) <= set(seen(results)) and max(seen(results)) <= 15 + RATE
    with Tracker("eyes", smooth="none") as tracker:
        live = [tracker.step(image, i / RATE) for i, image in enumerate(hidden)]
    assert set(range(15)) <= set(seen(live)) and max(seen(live)) <= 15 + RATE


def test_confidence_leaves_out_what_is_less_certain() -> None:
    def presences(**options: object) -> list[float]:
        results = track(SAMPLE, "eyes", **{"stop": 0.4, "smooth": "none", **options})  # type: ignore[arg-type]
        return [face.presence for result in results for face in result.faces]

    assert presences(confidence=0.5) == presences()
    assert presences(confidence=0.5, detector=lambda image: [(*FACE, 0.4)]) == []
    # A face of such scores is confirmed by its third detection.
    assert presences(confidence=0.3, stop=1.0, detector=lambda image: [(*FACE, 0.4)])


class SureInLight(LandmarkModel):
    """`fast`, as sure of a face as its crop is bright."""

    def __init__(self) -> None:
        self._fast = load_model("fast")
        self.name, self.input_size, self.margin = "sure-in-light", self._fast.input_size, self._fast.margin

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        return replace(self._fast.predict(crops, query), presence=np.minimum(crops.mean((1, 2, 3)) / 100, 1.0))


def test_confidence_is_the_least_presence_of_a_face() -> None:
    with open_source(SAMPLE, stop=0.5) as source:
        darker = np.stack([(frame.image * 0.9**i).astype(np.uint8) for i, frame in enumerate(source)])
    model = SureInLight()

    def presences(confidence: float | None) -> list[float]:
        options = {
            "fps": RATE,
            "smooth": "none",
            "confidence": confidence,
            "detector": lambda image: [FACE],
            "model": model,
        }
        results = track(darker, "eyes", **options)  # type: ignore[arg-type]
        return [face.presence for result in results for face in result.faces]

    assert min(presences(None)) < 0.9 <= min(presences(0.9))
    assert len(presences(0.9)) < len(presences(None))


def test_confidence_is_the_threshold_of_the_detector() -> None:
    assert "threshold" not in Settings().detector_options
    assert replace(Settings(), confidence=0.4).detector_options["threshold"] == 0.4
