"""Motion models of a point between two times: the transition and its noise.

A state is a position and its derivatives up to `order - 1`: order 2 is constant velocity, order 3 constant acceleration.
Noise is given as a density, so that it grows with time and not with the number of frames: a clip filmed at 60 frames a
second is smoothed like the same clip at 24, and an uneven frame rate needs no care.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial

import numpy as np

from vtrack.types import FloatArray

SHORTEST_STEP, LONGEST_STEP = 1 / 250, 1.0
"""Seconds. Process noise grows with the third power of the step. Between steps of a tick and of hours covariances differ by
more than floats can hold, and motion within a tick looks like a speed that throws a point out of the picture in the next."""


def bounded_step(dt: float) -> float:
    """Return the step in seconds that a filter takes for `dt`: an equal, backward or unknown time counts as shortly after."""
    return min(max(dt, SHORTEST_STEP), LONGEST_STEP) if dt > 0 else SHORTEST_STEP


@lru_cache(maxsize=256)
def transition(order: int, dt: float) -> FloatArray:
    """(order, order) Taylor step over `dt` seconds."""
    step = np.array([[dt ** (j - i) / factorial(j - i) if j >= i else 0.0 for j in range(order)] for i in range(order)])
    step.setflags(write=False)
    return step


@lru_cache(maxsize=256)
def flat_transition(order: int, dt: float) -> tuple[FloatArray, FloatArray]:
    """Matrices that flattened means (order, 2) and flattened covariances (order, order) are multiplied with from the right."""
    move = transition(order, dt)
    return np.kron(move, np.eye(2)).T.copy(), np.kron(move, move).T.copy()


@lru_cache(maxsize=256)
def discrete_noise(order: int, dt: float) -> FloatArray:
    """(order, order) covariance that a noise density of 1 adds over `dt` seconds, as one random push per step.

    A push of variance `dt ** (2 * order - 5)` makes the variance
    of the highest derivative grow by `dt`, whatever the step.
    """
    if dt == 0:
        return np.zeros((order, order))
    powers = range(2, 2 - order, -1)
    pushed = [[dt ** (p + q) / (factorial(p) * factorial(q)) for q in powers] for p in powers]
    noise = np.array(pushed) * dt ** (2 * order - 5)
    noise.setflags(write=False)
    return noise


@lru_cache(maxsize=256)
def continuous_noise(order: int, dt: float) -> FloatArray:
    """(order, order) covariance that a noise density of 1 adds over `dt` seconds, as continuous white noise.

    Differs from `discrete_noise` only if the noise is large compared with that of the measurements: there one push per step
    would make a filter oscillate about its measurements.
    """
    powers = range(order - 1, -1, -1)
    joint = [[dt ** (p + q + 1) / ((p + q + 1) * factorial(p) * factorial(q)) for q in powers] for p in powers]
    noise = np.array(joint)
    noise.setflags(write=False)
    return noise
