"""One-Euro: against a scalar filter written straight from the paper."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vtrack.filters.one_euro import OneEuro


def scalar(values: np.ndarray, steps: np.ndarray, cutoff: float, beta: float) -> list[float]:
    """One coordinate that moves along one axis, so that its pace is its speed."""
    out, speed = [float(values[0])], 0.0
    for i in range(1, len(values)):
        dt = steps[i]
        share = 1 / (1 + 1 / (2 * math.pi * 1.0 * dt))
        speed += share * ((values[i] - values[i - 1]) / dt - speed)
        share = 1 / (1 + 1 / (2 * math.pi * (cutoff + beta * abs(speed)) * dt))
        out.append(out[-1] + share * (values[i] - out[-1]))
    return out


def test_each_point_equals_the_papers_filter() -> None:
    rng = np.random.default_rng(0)
    values, steps = rng.normal(size=(40, 2, 3)).cumsum(0), rng.uniform(0.01, 0.1, 40)
    positions = np.stack([values, np.zeros_like(values)], -1)
    cutoff, beta = rng.uniform(0.5, 2, (2, 3)), rng.uniform(0, 1, (2, 3))
    one = OneEuro(2, 3)
    out = np.array([one.step(positions[i], cutoff, beta, steps[i]) for i in range(40)])
    for track in range(2):
        for point in range(3):
            expected = scalar(values[:, track, point], steps, cutoff[track, point], beta[track, point])
            np.testing.assert_allclose(out[:, track, point, 0], expected)


def test_what_is_missing_stays_and_comes_back_by_the_time_that_passed() -> None:
    positions = np.arange(10.0)[:, None, None, None] * np.ones((1, 1, 2))
    one, few = OneEuro(1, 1), OneEuro(1, 1)
    for i in range(10):
        given = positions[i] if i not in (4, 5) else np.full((1, 1, 2), np.nan)
        before = one.positions
        after = one.step(given, 1.0, 0.1, 0.1)
        if i in (4, 5):
            np.testing.assert_array_equal(after, before)
    for i in (0, 1, 2, 3, 6, 7, 8, 9):
        few.step(positions[i], 1.0, 0.1, 0.3 if i == 6 else 0.1)
    np.testing.assert_allclose(one.positions, few.positions)


def test_growing_and_resetting() -> None:
    one = OneEuro(1, 1)
    one.step(np.zeros((1, 1, 2)), 1.0, 0.1, 0.0)
    one.grow(2)
    out = one.step(np.full((2, 1, 2), 5.0), 1.0, 0.1, 0.0)
    assert 0 < out[0, 0, 0] < 1 and out[1, 0, 0] == 5  # an equal time counts as shortly after
    one.reset(np.array([0]))
    assert np.isnan(one.positions[0]).all() and (one.positions[1] == 5).all()
    np.testing.assert_array_equal(one.step(np.full((2, 1, 2), 7.0), 1.0, 0.1, 0.1)[0], 7.0)
    with pytest.raises(ValueError, match="speed_cutoff must be positive"):
        OneEuro(1, 1, speed_cutoff=0)
