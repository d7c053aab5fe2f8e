"""What filters keep to for any times, gaps and variances: finite, bounded, symmetric and positive; and equal to filterpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from filterpy.common import Q_discrete_white_noise
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from vtrack.filters import rts
from vtrack.filters.boxes import BoxFilter
from vtrack.filters.kalman import FASTEST, Groups, Kalman, Step
from vtrack.filters.motion import LONGEST_STEP, SHORTEST_STEP, bounded_step, transition
from vtrack.filters.one_euro import OneEuro
from vtrack.filters.rigid import Body, to_complex
from vtrack.filters.rts import Smoothed
from vtrack.filters.zero_lag import ZeroLag

POINTS = 4
SPREAD = 0.5
GROUPS = Groups(np.array([0, 0, 0, 1]))
EXAMPLES = settings(derandomize=True, database=None, max_examples=40, deadline=None)

STEPS = st.one_of(
    st.sampled_from([0.0, 1e-9, 1e-6, 0.001, 0.004, 1 / 30, 0.04, 0.5, 1.0, 3600.0, 90000.0]),
    st.sampled_from([-1e-9, -0.001, -0.04, -1.0, -7200.0, float("nan"), float("inf"), -float("inf"), 5e-324]),
    st.floats(1 / 120, 1 / 15),
)
"""Steps of time: equal, tiny, huge, backward, unknown; every third one of ordinary video."""
VARIANCES = st.sampled_from([0.0, 1e-12, 1e-4, 1e-3, 1.0, 1e6, float("inf"), float("nan")])
MOVES = st.sampled_from(["still", "walk", "jumps", "far"])


@dataclass(frozen=True)
class Case:
    """Measurements of one track."""

    steps: list[float]
    positions: np.ndarray
    """(frames, 1, points, 2)."""
    variances: np.ndarray
    """(frames, 1, points)."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Measurements at strange times, some missing, some with strange variances."""
    steps = draw(st.lists(STEPS, min_size=2, max_size=40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (len(steps), 1, POINTS, 2)
    positions = {
        "still": lambda: np.zeros(shape),
        "walk": lambda: rng.normal(0, 1, shape).cumsum(0),
        "jumps": lambda: rng.choice([0.0, 5.0], (len(steps), 1, 1, 1)) + rng.normal(0, 0.01, shape),
        "far": lambda: 1e5 + rng.choice([0.0, 1000.0], shape),
    }[draw(MOVES)]()
    variances = np.full(shape[:3], draw(st.sampled_from([1e-12, 1e-4, 1.0])))
    for frame in draw(st.sets(st.integers(0, len(steps) - 1), max_size=4)):
        variances[frame, 0, rng.integers(POINTS)] = draw(VARIANCES)
    missing = rng.random(shape[:3]) < draw(st.sampled_from([0.0, 0.2, 0.9]))
    positions[missing] = np.nan
    return Case(steps, positions, variances)


def bound(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Range (points, 2) each: twice as far as the measurements and the fastest motion between them reach."""
    low = np.fmin.reduce(case.positions)[0]
    high = np.fmax.reduce(case.positions)[0]
    slack = 2 * (high - low) + 2 * FASTEST * SPREAD * sum(map(bounded_step, case.steps)) + 1.0
    return low - slack, high + slack


def check(case: Case, states: list[Step] | list[Smoothed]) -> None:
    """States are finite, within reach, and their covariances symmetric and positive."""
    low, high = bound(case)
    for state in states:
        assert np.isfinite(state.mean).all() and np.isfinite(state.covariance).all()
        covariance = state.covariance
        scale = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))  # warns of a negative variance
        np.testing.assert_allclose(covariance, covariance.swapaxes(-1, -2), rtol=1e-9, atol=1e-12)
        assert (np.abs(covariance) <= 1.000001 * scale[..., :, None] * scale[..., None, :] + 1e-12).all()
        alive, places = state.alive[0], state.mean[0, :, 0]
        assert ((places >= low) & (places <= high))[alive].all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["plain", "agile"])
@pytest.mark.parametrize("gate", [np.inf, 8.0], ids=["ungated", "gated"])
@given(case=cases())
@EXAMPLES
def test_kalman_and_rts_stay_sound_at_any_times(groups: Groups | None, gate: float, case: Case) -> None:
    kalman = Kalman(1, POINTS, groups=groups, gate=gate)
    steps = [
        kalman.step(*measured, density=1e-4, dt=dt, spread=SPREAD)
        for *measured, dt in zip(case.positions, case.variances, case.steps, strict=True)
    ]
    check(case, steps)
    check(case, rts.smooth(steps))
    fixed = rts.FixedLag(5, 2)
    check(case, [state for step in steps for state in fixed.push(step)] + fixed.flush())


@pytest.mark.filterwarnings("error")
@given(case=cases(), density=st.sampled_from([0.0, 1e-12, 1e-4, 1e4]), reset=st.integers(0, 39))
@EXAMPLES
def test_zero_lag_stays_sound_at_any_times(case: Case, density: float, reset: int) -> None:
    smoother = ZeroLag(1, POINTS, groups=GROUPS, gate=8.0, lag=6, block=2)
    states = []
    for i, dt in enumerate(case.steps):
        if i == reset:
            smoother.reset()
        noise = np.full((1, POINTS), density)
        states += smoother.step(case.positions[i], case.variances[i], noise, dt, np.full((1, POINTS), SPREAD))
    states += smoother.flush()
    assert len(states) == len(case.steps)
    check(case, states)


@pytest.mark.filterwarnings("error")
@given(case=cases(), order=st.sampled_from([2, 3]), spread=st.sampled_from([0.0, SPREAD]))
@EXAMPLES
def test_states_without_a_known_speed_stay_finite(case: Case, order: int, spread: float) -> None:
    kalman = Kalman(1, POINTS, order)
    steps = [
        kalman.step(*measured, density=1e-4, dt=dt, spread=spread)
        for *measured, dt in zip(case.positions, case.variances, case.steps, strict=True)
    ]
    for state in [*steps, *rts.smooth(steps)]:
        assert np.isfinite(state.mean).all() and np.isfinite(state.covariance).all()
        assert (np.diagonal(state.covariance, axis1=-2, axis2=-1) >= 0).all()


@pytest.mark.filterwarnings("error")
@given(case=cases(), cutoff=st.sampled_from([1e-9, 1.0, 1e9]), beta=st.sampled_from([0.0, 20.0, 1e300]))
@EXAMPLES
def test_one_euro_stays_between_its_measurements(case: Case, cutoff: float, beta: float) -> None:
    one_euro = OneEuro(1, POINTS)
    low, high = np.full((POINTS, 2), np.inf), np.full((POINTS, 2), -np.inf)
    for positions, dt in zip(case.positions, case.steps, strict=True):
        filtered = one_euro.step(positions, cutoff, beta, dt)[0]
        low, high = np.fmin(low, positions[0]), np.fmax(high, positions[0])
        started = np.isfinite(low)
        np.testing.assert_array_equal(np.isfinite(filtered), started)
        slack = 1e-9 * (1 + np.abs(filtered[started]))
        assert (filtered[started] >= low[started] - slack).all() and (filtered[started] <= high[started] + slack).all()


@pytest.mark.filterwarnings("error")
@given(case=cases())
@EXAMPLES
def test_boxes_stay_boxes_at_any_times(case: Case) -> None:
    boxes, time, seen = BoxFilter(), 0.0, 0
    for positions, dt in zip(case.positions[:, 0, 0], case.steps, strict=True):
        time += dt if np.isfinite(dt) else 0.0
        if np.isfinite(positions).all():
            size = 50 * np.exp(np.clip(positions[1] / 5, -2, 2))
            boxes.add(time, np.array([*(positions * 10), size, size]), angle=float(positions[0]))
            seen += 1
        if seen:
            for ahead in (0.0, 0.04, 7200.0):
                box, angle = boxes.predict(time + ahead)
                assert np.isfinite(box).all() and np.isfinite(angle) and (box[2:] > 0).all()


@pytest.mark.filterwarnings("error")
@given(case=cases(), sigma=st.sampled_from([1e-6, 1.0, 1e6]))
@EXAMPLES
def test_rigid_motion_is_finite_or_absent(case: Case, sigma: float) -> None:
    body = Body(1, np.arange(3))
    shape = np.array([0, 10, 10j, 5 + 5j])
    expected = np.full((1, POINTS), complex(np.nan, np.nan))
    for positions in case.positions:
        points = to_complex(positions) + shape
        parts, shift, turn = body.split(points, np.full((1, POINTS), sigma), expected)
        present = np.isfinite(shift)
        assert (np.isfinite(turn) == present).all()
        if present.any():
            assert (np.isfinite(parts) == np.isfinite(points)).all()
            expected = np.where(np.isfinite(parts), parts, expected)


@given(
    dt=st.sampled_from([1 / 120, 1 / 60, 1 / 30, 1 / 25, 1 / 15]),
    density=st.floats(0.1, 100.0),
    variance=st.floats(0.01, 10.0),
    seed=st.integers(0, 2**32 - 1),
)
@EXAMPLES
def test_constant_velocity_equals_filterpy_at_regular_times(
    dt: float, density: float, variance: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    measured = rng.normal(0, 1, (20, 2)).cumsum(0)
    measured[1:][rng.random(19) < 0.2] = np.nan
    oracle = KalmanFilter(4, 2)
    oracle.H, oracle.F = np.kron(np.eye(2), [[1.0, 0.0]]), np.kron(np.eye(2), transition(2, dt))
    oracle.Q = np.kron(np.eye(2), Q_discrete_white_noise(2, dt, density / dt))
    oracle.x, oracle.P = np.kron(measured[0], [1.0, 0.0])[:, None], np.kron(np.eye(2), np.diag([variance, 9.0]))
    means, covariances = [oracle.x.copy()], [oracle.P.copy()]
    for z in measured[1:]:
        oracle.predict()
        oracle.update(None if np.isnan(z).any() else z, R=variance)
        means.append(oracle.x.copy())
        covariances.append(oracle.P.copy())
    smooth, smooth_covariance, _, _ = oracle.rts_smoother(np.array(means), np.array(covariances))
    kalman = Kalman(1, 1)
    steps = [kalman.step(z[None, None], variance, density, dt, 3.0) for z in measured]
    ours = rts.smooth(steps)
    for state, mean, covariance in [
        *zip(steps, means, covariances, strict=True),
        *zip(ours, smooth, smooth_covariance, strict=True),
    ]:
        np.testing.assert_allclose(state.mean[0, 0].T.reshape(4, 1), mean, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(state.covariance[0, 0], covariance[:2, :2], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dt", [0.0, -1.0, float("nan"), 1e-300, SHORTEST_STEP / 2])
def test_steps_too_short_count_as_the_shortest(dt: float) -> None:
    assert bounded_step(dt) == SHORTEST_STEP


@pytest.mark.parametrize("dt", [LONGEST_STEP, 3600.0, float("inf")])
def test_steps_too_long_count_as_the_longest(dt: float) -> None:
    assert bounded_step(dt) == LONGEST_STEP
