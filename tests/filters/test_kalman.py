"""What the filter does beyond filterpy's: groups that move, outliers, jumps, speed."""

from __future__ import annotations

import numpy as np
import pytest

from vtrack.filters import rts
from vtrack.filters.kalman import Groups, Kalman
from vtrack.filters.motion import continuous_noise
from vtrack.filters.zero_lag import ZeroLag

DT, SIGMA, DENSITY = 1 / 30, 0.5, 0.01
GROUPS = Groups(np.repeat([0, 1], 6))


def measure(truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """(steps, 1, points, 2) with noise."""
    return (truth + np.random.default_rng(seed).normal(0, SIGMA, truth.shape))[:, None]


def stroke(steps: int = 90, at: int = 40, size: float = 8.0) -> np.ndarray:
    """(steps, 12, 2): the first group dips for a moment, as an eye blinks; the second stays."""
    dip = size * np.clip(1 - np.abs(np.arange(steps) - at - 2) / 3, 0, 1)
    truth = np.zeros((steps, 12, 2))
    truth[:, :6, 1] = dip[:, None]
    return truth


def run(measured: np.ndarray, **settings: object) -> np.ndarray:
    kalman = Kalman(1, measured.shape[2], **settings)  # type: ignore[arg-type]
    return np.array([kalman.step(z, SIGMA**2, DENSITY, DT, 5.0).mean[0, :, 0] for z in measured])


def test_a_group_that_moves_is_followed_and_the_other_stays_calm() -> None:
    truth = stroke()
    measured = measure(truth)
    plain, agile = run(measured), run(measured, groups=GROUPS)
    at = 42
    assert plain[at, :6, 1].mean() < 4
    assert agile[at, :6, 1].mean() > 7
    np.testing.assert_allclose(agile[:, 6:], plain[:, 6:], atol=0.1)


def test_noise_alone_seldom_alarms() -> None:
    kalman, alarms = Kalman(1, 12, groups=GROUPS), []
    for z in measure(np.zeros((1500, 12, 2))):
        before = kalman.agility.copy()
        kalman.step(z, SIGMA**2, DENSITY, DT, 5.0)
        alarms.append((kalman.agility > before * np.exp(-DT / GROUPS.hold) * 1.001)[0, [0, 6]])
    assert np.mean(alarms[1:]) < 2 * GROUPS.alarm


@pytest.mark.parametrize("gate", [6.0])
def test_one_outlier_is_ignored_but_a_jump_accepted(gate: float) -> None:
    truth = np.zeros((60, 12, 2))
    spike, jump = truth.copy(), truth.copy()
    spike[30, 3], jump[30:, 3] = 40.0, 40.0
    settings = {"groups": GROUPS, "gate": gate, "patience": 2}
    spiked, jumped, calm = (run(measure(z), **settings) for z in (spike, jump, truth))
    np.testing.assert_allclose(spiked[29:], calm[29:], atol=0.2)
    assert np.abs(jumped[30, 3]).max() < 2
    assert np.abs(jumped[31:, 3] - 40).max() < 2
    np.testing.assert_allclose(np.delete(jumped, 3, 1), np.delete(calm, 3, 1), atol=0.2)


def test_an_outlier_after_a_gap_counts_from_one() -> None:
    truth = np.zeros((40, 12, 2))
    truth[[20, 25], 3] = 40.0
    out = run(measure(truth), groups=GROUPS, gate=6.0, patience=2)
    assert np.abs(out).max() < 3


def test_covariances_stay_sound_under_great_agility() -> None:
    measured = measure(np.random.default_rng(3).normal(0, 50, (300, 12, 2)))
    kalman = Kalman(1, 12, groups=GROUPS)
    for z in measured:
        step = kalman.step(z, 1e-6, DENSITY, DT, 5.0)
        assert (np.linalg.eigvalsh(step.covariance) >= -1e-9).all()
    assert np.isfinite(kalman.mean).all()


def test_lively_noise_has_filterpys_scale() -> None:
    np.testing.assert_allclose(continuous_noise(2, 0.1), [[0.1**3 / 3, 0.1**2 / 2], [0.1**2 / 2, 0.1]])


def test_groups_leave_their_largest_value_out() -> None:
    groups = Groups(np.array([0, 1, 0, 0, 2, 2]))
    values = np.array([[1.0, 5.0, 3.0, 90.0, 2.0, 4.0], [np.nan, np.nan, 3.0, 90.0, 2.0, np.nan]])
    np.testing.assert_allclose(groups.mean(values), [[2, 5, 2, 2, 3, 3], [46.5, 0, 46.5, 46.5, 2, 2]])


def test_tracks_that_come_later_change_nothing() -> None:
    truth = stroke()
    first, second = measure(truth), measure(truth[:50], seed=1)
    together, alone, fixed = Kalman(1, 12, groups=GROUPS), Kalman(1, 12, groups=GROUPS), rts.FixedLag(20)
    lone, shared = [], []
    for i, z in enumerate(first):
        if i == 40:
            together.grow(2)
        both = z if i < 40 else np.concatenate([z, second[i - 40]])
        shared += fixed.push(together.step(both, SIGMA**2, DENSITY, DT, 5.0))
        lone.append(alone.step(z, SIGMA**2, DENSITY, DT, 5.0))
    shared += fixed.flush()
    for i in (10, 30, 60, 89):
        expected = rts.smooth(lone[: min(i + 20, 89) + 1])[i]
        np.testing.assert_allclose(shared[i].mean[0], expected.mean[0], atol=1e-9)
        assert shared[i].alive.shape == ((1 if i < 20 else 2), 12)
    assert not shared[30].alive[1].any() and shared[45].alive[1].all()


def test_a_track_is_the_same_beside_one_that_is_not_measured() -> None:
    alone, beside = Kalman(1, 12, groups=GROUPS, gate=6.0), Kalman(2, 12, groups=GROUPS, gate=6.0)
    rows = measure(stroke())
    rows[20, 0, 3] += 40.0  # an outlier, which is refused
    for z in rows:
        both = np.concatenate([z, np.full_like(z, np.nan)])
        one = alone.step(z, np.full((1, 1), SIGMA**2), DENSITY, DT, np.full((1, 1), 5.0))
        two = beside.step(both, SIGMA**2, DENSITY, DT, 5.0)
        np.testing.assert_allclose(one.mean[0], two.mean[0], rtol=1e-12)
        np.testing.assert_allclose(one.covariance[0], two.covariance[0], rtol=1e-12)
        np.testing.assert_allclose(alone.agility[0], beside.agility[0], rtol=1e-9, atol=1e-9)
    assert not two.alive[1].any() and not two.mean[1].any()


class TestZeroLag:
    @staticmethod
    def run(measured: np.ndarray, foresight: int = 3, lag: int = 30, block: int = 4) -> np.ndarray:
        smoother = ZeroLag(1, 12, groups=GROUPS, gate=6.0, lag=lag, block=block, foresight=foresight)
        out = []
        for z in measured:
            ready = smoother.step(z, np.full((1, 12), SIGMA**2), np.full((1, 12), DENSITY), DT, np.full((1, 12), 5.0))
            assert len(ready) in (0, block)
            out += ready
        out += smoother.flush()
        assert len(out) == len(measured) and smoother.flush() == []
        return np.array([state.mean[0, :, 0] for state in out])

    def test_a_stroke_does_not_bleed_into_the_calm_before_it(self) -> None:
        truth = np.zeros((90, 12, 2))
        truth[40:50, :6, 1] = np.array([0.4, 1.2, 2.8, 6.0, 8.0, 8.0, 6.0, 3.0, 1.0, 0.3])[:, None]
        measured = measure(truth)
        blind, foreseeing = (
            np.abs(self.run(measured, foresight=steps) - truth)[36:44, :6, 1].mean(1).max() for steps in (0, 3)
        )
        assert foreseeing < 0.6 * blind
        assert self.run(measured)[44, :6, 1].mean() > 7.5

    def test_a_new_track_is_not_agile_for_what_comes_after_it(self) -> None:
        smoother = ZeroLag(1, 12, groups=GROUPS, gate=6.0, lag=10)
        out = []
        for i, z in enumerate(measure(np.zeros((60, 12, 2)))):
            if i == 30:
                smoother.reset(0)
            out += smoother.step(
                z + 100 * (i >= 30), np.full((1, 12), SIGMA**2), np.full((1, 12), DENSITY), DT, np.full((1, 12), 5.0)
            )
        out += smoother.flush()
        places = np.array([state.mean[0, :, 0] for state in out])
        assert np.abs(places[:30]).max() < 2 and np.abs(places[30:] - 100).max() < 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Kalman(1, 2, 4), "order must be 2 .* or 3"),
        (lambda: Kalman(1, 2, gate=0), "gate must be positive"),
        (lambda: Kalman(1, 2, patience=0), "patience at least 1"),
        (lambda: Kalman(1, 3, groups=GROUPS), "12 group numbers do not match 3 points"),
        (lambda: Groups(np.array([0, 2])), "numbered from 0 without gaps"),
        (lambda: Groups(np.array([0]), alarm=0), "alarm must lie in 0..1"),
        (lambda: Groups(np.array([0]), hold=0), "hold be positive"),
        (lambda: rts.FixedLag(-1), "lag must be 0 or more"),
        (lambda: rts.FixedLag(5, 0), "block 1 or more"),
    ],
)
def test_settings_that_cannot_be(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_a_copy_goes_on_by_itself() -> None:
    measured = measure(stroke(), 3)
    one = Kalman(1, 12, groups=GROUPS, gate=8.0)
    for positions in measured[:30]:
        one.step(positions, SIGMA**2, DENSITY, DT)
    twin = one.copy()
    kept = {name: getattr(one, name).copy() for name in ("mean", "covariance", "alive", "agility", "_refused")}
    twin.reset()
    lost = np.where(np.arange(12)[:, None] < 6, measured[30], np.nan)
    for positions in (lost, measured[31]):  # some of its points start anew, the others are blanked
        twin.step(positions, SIGMA**2, DENSITY, DT)
    for name, array in kept.items():
        np.testing.assert_array_equal(getattr(one, name), array)
    assert not np.array_equal(twin.mean, one.mean)
