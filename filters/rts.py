"""Rauch-Tung-Striebel smoothing: every moment seen in the light of what came after it, so without lag."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filters.kalman import BoolArray, Step
from vtrack.types import FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class Smoothed:
    """Where the points of one step were, given what came later."""

    mean: FloatArray
    """(tracks, points, order, 2)."""
    covariance: FloatArray
    """(tracks, points, order, order)."""
    alive: BoolArray
    """(tracks, points): False where the point was not there yet."""


def gain(before: Step, after: Step) -> FloatArray:
    """(tracks, points, order, order): how much of what `after` learned belongs to `before`; 0 across a start."""
    onward = np.matmul(before.covariance, after.transition.T)
    joined = after.continued[..., None, None]
    prior = np.where(joined, after.prior_covariance, np.eye(onward.shape[-1]))
    return np.matmul(np.where(joined, onward, 0.0), _inverse(prior))


def _inverse(matrices: FloatArray) -> FloatArray:
    """Inverse of symmetric (..., order, order): written out for order 2, which is several times faster."""
    if matrices.shape[-1] != 2:
        return np.linalg.inv(matrices)
    a, b, c = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 1]
    adjugate = np.stack([c, -b, -b, a], -1).reshape(matrices.shape)
    return adjugate / (a * c - b * b)[..., None, None]


def step_back(step: Step, gains: FloatArray, later: Smoothed, after: Step) -> Smoothed:
    """Smooth `step`, given the smoothed state `later` of the step `after` it."""
    mean = step.mean + np.matmul(gains, later.mean - after.prior_mean)
    change = np.matmul(gains, later.covariance - after.prior_covariance)
    return Smoothed(mean, step.covariance + np.matmul(change, gains.swapaxes(-1, -2)), step.alive)


def smooth(steps: Sequence[Step]) -> list[Smoothed]:
    """The full pass over a whole recording."""
    results: list[Smoothed] = []
    for place in range(len(steps) - 1, -1, -1):
        step = steps[place]
        if not results:
            results.append(Smoothed(step.mean, step.covariance, step.alive))
        else:
            after = steps[place + 1]
            results.append(step_back(step, gain(step, after), results[-1], after))
    return results[::-1]


class FixedLag:
    """Smooths a stream with what the next `lag` steps bring: bounded memory, and soon no different from the full pass.

    Walking back over `lag` steps serves `block` steps at once: at most `lag + block` steps are held.
    """

    def __init__(self, lag: int, block: int = 1) -> None:
        if lag < 0 or block < 1:
            raise ValueError(f"lag must be 0 or more steps and block 1 or more, got {lag} and {block}")
        self.lag = lag
        self.block = block
        self._steps: deque[Step] = deque()
        self._gains: deque[FloatArray] = deque()  # one between each two steps

    def push(self, step: Step) -> list[Smoothed]:
        """Take the next step; give back those that are now at least `lag` steps old, oldest first, once they fill a block."""
        if self._steps:
            missing = len(step.alive) - len(self._steps[-1].alive)
            if missing:
                # New tracks have no past: room is made for them in what is held.
                self._steps = deque(held.grown(len(step.alive)) for held in self._steps)
                self._gains = deque(np.pad(held, ((0, missing), (0, 0), (0, 0), (0, 0))) for held in self._gains)
            self._gains.append(gain(self._steps[-1], step))
        self._steps.append(step)
        if len(self._steps) < self.lag + self.block:
            return []
        oldest = self._smoothed(self.block)
        for _ in oldest:
            self._steps.popleft()
            if self._gains:
                self._gains.popleft()
        return oldest

    def flush(self) -> list[Smoothed]:
        """Give back all steps still held, oldest first."""
        rest = self._smoothed(len(self._steps))
        self._steps.clear()
        self._gains.clear()
        return rest

    def _smoothed(self, count: int) -> list[Smoothed]:
        """The oldest `count` steps, smoothed with all that is held."""
        results: list[Smoothed] = []
        for place in range(len(self._steps) - 1, -1, -1):
            step = self._steps[place]
            if not results:
                results.append(Smoothed(step.mean, step.covariance, step.alive))
            else:
                results.append(step_back(step, self._gains[place], results[-1], self._steps[place + 1]))
        return results[::-1][:count]
