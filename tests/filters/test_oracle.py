"""filterpy is the oracle: our batched filter and smoother must give its numbers, point for point."""

from __future__ import annotations

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise, Q_discrete_white_noise
from filterpy.kalman import KalmanFilter

from vtrack.filters import rts
from vtrack.filters.kalman import Kalman
from vtrack.filters.motion import continuous_noise, discrete_noise, transition

TRACKS, POINTS, STEPS = 2, 5, 40


@pytest.fixture(params=[2, 3], ids=["constant-velocity", "constant-acceleration"])
def order(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def recording() -> dict[str, np.ndarray]:
    """Uneven time steps, wandering points, a third of the measurements missing, noise of its own for each."""
    rng = np.random.default_rng(5)
    positions = 100 + rng.normal(0, 1, (STEPS, TRACKS, POINTS, 2)).cumsum(0)
    positions[rng.random((STEPS, TRACKS, POINTS)) < 0.3] = np.nan
    positions[0, 0, 0] = np.nan  # this point starts later than the others
    return {
        "dt": rng.choice([0.02, 0.04, 0.125, 0.5], STEPS),
        "positions": positions,
        "variance": rng.uniform(0.2, 3.0, (STEPS, TRACKS, POINTS)),
        "density": rng.uniform(0.5, 20.0, (TRACKS, POINTS)),
    }


def filterpy_track(
    recording: dict[str, np.ndarray], track: int, point: int, order: int
) -> tuple[int, list[np.ndarray]]:
    """First step, filtered means and covariances, smoothed means and covariances of one point: filterpy's own."""
    first = int(np.flatnonzero(np.isfinite(recording["positions"][:, track, point, 0]))[0])
    oracle = KalmanFilter(2 * order, 2)
    oracle.H = np.kron(np.eye(2), np.eye(1, order))
    means, covariances, moves, noises = [], [], [], []
    for step in range(first, STEPS):
        z = recording["positions"][step, track, point]
        variance, dt = recording["variance"][step, track, point], recording["dt"][step]
        if step == first:
            oracle.x = np.kron(z, np.eye(1, order)[0])[:, None]
            oracle.P = np.kron(np.eye(2), np.diag([variance] + [9.0] * (order - 1)))
            oracle.F, oracle.Q = np.eye(2 * order), np.zeros((2 * order, 2 * order))
        else:
            oracle.F = np.kron(np.eye(2), transition(order, dt))
            push = recording["density"][track, point] * dt ** (2 * order - 5)
            oracle.Q = np.kron(np.eye(2), Q_discrete_white_noise(order, dt, push))
            oracle.predict()
            oracle.update(None if np.isnan(z).any() else z, R=variance)
        means.append(oracle.x[:, 0].copy())
        covariances.append(oracle.P.copy())
        moves.append(oracle.F.copy())
        noises.append(oracle.Q.copy())
    smooth, smooth_covariance, _, _ = oracle.rts_smoother(
        np.array(means)[..., None], np.array(covariances), moves, noises
    )
    return first, [np.array(means), np.array(covariances), smooth[..., 0], smooth_covariance]


def run(recording: dict[str, np.ndarray], order: int) -> list:
    kalman = Kalman(TRACKS, POINTS, order)
    return [
        kalman.step(recording["positions"][i], recording["variance"][i], recording["density"], recording["dt"][i], 3.0)
        for i in range(STEPS)
    ]


def compare(oracle: np.ndarray, ours: np.ndarray, order: int) -> None:
    """A mean (steps, 2 * order) or covariance (steps, 2 * order, 2 * order) of filterpy's with ours."""
    if oracle.ndim == 2:
        np.testing.assert_allclose(oracle, ours.transpose(0, 2, 1).reshape(len(ours), -1), rtol=0, atol=1e-9)
    else:
        np.testing.assert_allclose(oracle[:, :order, :order], ours, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(oracle[:, order:, order:], ours, rtol=1e-9, atol=1e-9)


def test_filter_and_smoother_equal_filterpy(recording: dict[str, np.ndarray], order: int) -> None:
    steps = run(recording, order)
    smoothed = rts.smooth(steps)
    for track in range(TRACKS):
        for point in range(POINTS):
            first, (mean, covariance, smooth, smooth_covariance) = filterpy_track(recording, track, point, order)
            compare(mean, np.array([s.mean[track, point] for s in steps[first:]]), order)
            compare(covariance, np.array([s.covariance[track, point] for s in steps[first:]]), order)
            compare(smooth, np.array([s.mean[track, point] for s in smoothed[first:]]), order)
            compare(smooth_covariance, np.array([s.covariance[track, point] for s in smoothed[first:]]), order)
            assert not any(s.alive[track, point] for s in steps[:first])
            assert np.isfinite([s.mean[track, point] for s in smoothed[first:]]).all()


@pytest.mark.parametrize("dt", [0.004, 1 / 30, 0.04, 1.0])
def test_noise_is_that_of_filterpy(order: int, dt: float) -> None:
    push = dt ** (2 * order - 5)
    np.testing.assert_allclose(discrete_noise(order, dt), Q_discrete_white_noise(order, dt, push), rtol=1e-14)
    np.testing.assert_allclose(continuous_noise(order, dt), Q_continuous_white_noise(order, dt, 1.0), rtol=1e-14)


def test_noise_grows_with_time_not_with_frames() -> None:
    for order in (2, 3):
        whole = discrete_noise(order, 0.4)[-1, -1]
        assert whole == pytest.approx(10 * discrete_noise(order, 0.04)[-1, -1])


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("lag", [0, 3, STEPS - 1, STEPS + 5])
def test_fixed_lag_gives_every_step_once_and_in_order(recording: dict[str, np.ndarray], lag: int, block: int) -> None:
    steps = run(recording, 2)
    fixed = rts.FixedLag(lag, block)
    streamed, last = [], []  # and the newest step that each could know of
    for count, step in enumerate(steps, 1):
        out = fixed.push(step)
        assert len(out) == (block if count >= lag + block and (count - lag) % block == 0 else 0)
        streamed += out
        last += [count - 1] * len(out)
    streamed += fixed.flush()
    assert len(streamed) == STEPS and fixed.flush() == []
    last += [STEPS - 1] * (STEPS - len(last))
    for place, smoothed in enumerate(streamed):
        known = rts.smooth(steps[: last[place] + 1])[place]
        np.testing.assert_allclose(smoothed.mean, known.mean, atol=1e-12)
        np.testing.assert_allclose(smoothed.covariance, known.covariance, atol=1e-12)


def test_a_reset_parts_what_comes_before_from_what_comes_after(recording: dict[str, np.ndarray]) -> None:
    kalman, alone = Kalman(TRACKS, POINTS), Kalman(TRACKS, POINTS)
    steps = []
    for i in range(STEPS):
        if i == 20:
            kalman.reset(1)
        args = (recording["variance"][i], recording["density"], recording["dt"][i], 3.0)
        steps.append(kalman.step(recording["positions"][i], *args))
        if i < 20:
            alone.step(recording["positions"][i], *args)
            before = steps[-1]
    smoothed = rts.smooth(steps)
    np.testing.assert_allclose(smoothed[19].mean[1], before.mean[1])  # nothing later is known of track 1
    assert np.abs(smoothed[19].mean[0] - before.mean[0]).max() > 1e-3  # track 0 goes on
    np.testing.assert_allclose(steps[20].mean[1, :, 1], 0)
    assert (np.isfinite(recording["positions"][20, 1, :, 0]) == steps[20].alive[1]).all()
