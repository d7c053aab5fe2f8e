"""Smoothing of faces whose frames have strange times: it stays near what was measured."""

from __future__ import annotations

import warnings
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.clips import restamp, write_clip
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter
from vtrack.anchors import ANCHORS
from vtrack.pipelines.registry import METHODS, Method
from vtrack.pipelines.settings import Smoothing
from vtrack.pipelines.smoothing.motion import MotionFilter
from vtrack.pipelines.smoothing.smoother import Smoother
from vtrack.pipelines.track import track
from vtrack.types import Face, Frame, FrameResult, Query

QUERY = Query(("left_eye", "left_eye", "jaw"), (0.25, 0.75, 0.5)) + ANCHORS
SIDE = 80
FRAMES = 160
MODES = [name for name, method in METHODS.items() if method.import_path]
STEPS = {
    "repeats": lambda rng: np.where(np.arange(FRAMES) % 12, 0.0, 0.4),
    "backward": lambda rng: rng.choice([1 / 30, -2 / 30, 0.1], FRAMES),
    "ticks": lambda rng: rng.choice([1e-6, 0.02, 0.4], FRAMES, p=[0.6, 0.2, 0.2]),
    "milliseconds": lambda rng: np.full(FRAMES, 0.001),
    "bursts": lambda rng: np.where(np.arange(FRAMES) % 20, 0.001, 0.49),
    "hours": lambda rng: np.where(np.arange(FRAMES) % 50, 1 / 30, 3600.0),
    "all": lambda rng: rng.choice([0, 1e-9, 0.001, 0.001, 0.04, 0.04, 0.3, 0.45, -0.5], FRAMES),
}


def results(times: np.ndarray, seed: int) -> list[FrameResult]:
    """A face that moves and turns by fits and starts, whatever the times; sometimes missing."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform(-SIDE / 2, SIDE / 2, (len(QUERY), 2))
    picture, rows = np.zeros((240, 320, 3), np.uint8), []
    centre, angle, speed = np.array([150.0, 120.0]), 0.0, np.zeros(3)
    for i, time in enumerate(times):
        speed = rng.normal(0, [8, 8, 0.1]) * (rng.random() < 0.1) + 0.8 * speed
        centre, angle = 150 + 0.95 * (centre - 150) + speed[:2], 0.95 * angle + speed[2]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = centre + shape @ turn + rng.normal(0, 0.3, shape.shape)
        box = np.array([*(centre - SIDE / 2), SIDE, SIDE])
        face = Face(0, box, 0.9, points, np.full(len(QUERY), 2.0), points, QUERY)
        frame = Frame(picture, i, round(time * 10**9), Fraction(1, 10**9))
        rows.append(FrameResult(frame, (face,) if rng.random() > 0.05 else (), QUERY))
    return rows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", STEPS)
def test_smoothed_points_stay_near_measured_ones(mode: str, name: str) -> None:
    times = 1000 + np.cumsum(STEPS[name](np.random.default_rng(1)))
    smoother, smoothed = Smoother(QUERY, mode), []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for result in results(times, seed=2):
            smoothed += smoother.push(result)
        smoothed += smoother.flush()
    faces = [face for result in smoothed for face in result.faces]
    assert np.isfinite([face.points for face in faces]).all()
    measured = [face for face in faces if face.measured]
    off = max(np.abs(face.points - face.raw).max() for face in measured)
    assert off < 0.25 * SIDE and max(face.sigma.max() for face in measured) < 0.1 * SIDE


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sigma", [0.0, 1e-30, 1e30, np.inf, np.nan])
def test_a_sigma_of_any_size_does_no_harm(mode: str, sigma: float) -> None:
    smoother, smoothed = Smoother(QUERY, mode), []
    for i, result in enumerate(results(np.arange(60) / 30, seed=3)):
        strange = np.where(np.arange(len(QUERY)) % 3 == i % 3, sigma, 2.0)
        smoothed += smoother.push(replace(result, faces=tuple(replace(face, sigma=strange) for face in result.faces)))
    smoothed += smoother.flush()
    points = [face.points - face.raw for result in smoothed for face in result.faces if face.measured]
    assert np.abs(points).max() < SIDE


@pytest.mark.parametrize("mode", MODES)
def test_a_film_whose_clock_steps_back(tmp_path: Path, mode: str) -> None:
    count = 90
    moving = painter(lambda i: [ToyFace((90 + 30 * np.sin(i / 4), 90), 50)])
    plain = write_clip(tmp_path / "plain.mkv", count, (240, 180), draw=moving)
    times = np.arange(count) / 30
    back = restamp(plain, np.maximum(times - 0.8 * (np.arange(count) // 30), 0), tmp_path / "back.mkv")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        tracked = list(track(back, "lips", model=ToyModel(), detector=ToyDetector(), smooth=mode))
    steps = [after.time - before.time for before, after in pairwise(tracked)]
    assert min(steps) == pytest.approx(0.001) and len(tracked) == count
    measured = [face for result in tracked for face in result.faces if face.measured]
    assert len(measured) > 0.9 * count
    for face in measured:
        assert np.abs(face.points - face.raw).max() < 25 and face.sigma.max() < 50


def test_a_method_without_a_filter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "slow", Method("not there yet", online=False))  # type: ignore[misc]
    with pytest.raises(ValueError, match="smoothing 'slow' has no filter"):
        MotionFilter(QUERY, np.arange(3), Smoothing("slow", 0.5, {}))


def test_a_filter_that_does_not_look_ahead_is_not_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "slow", replace(METHODS["one-euro"], online=False))  # type: ignore[misc]
    with pytest.raises(ValueError, match="does not look ahead"):
        MotionFilter(QUERY, np.arange(3), Smoothing("slow", 0.5, {}))
