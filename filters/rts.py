"""Rauch-Tung-Striebel smoothing: every moment seen in the light of what came after it, so without lag.

Walking back one step is an affine map of the later step's mean and covariance, and such maps can be chained: what a
hundred steps do on the way back is one map too. So a stream need not walk all the way back for each step that it gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vtrack.filters.kalman import Step
from vtrack.types import BoolArray, FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class Smoothed:
    """Where the points of one step were, given what came later."""

    mean: FloatArray
    """(tracks, points, order, 2)."""
    covariance: FloatArray
    """(tracks, points, order, order)."""
    alive: BoolArray
    """(tracks, points): False where the point was not there yet."""


@dataclass(frozen=True, eq=False, slots=True)
class Way:
    """The way back from a later step to an earlier one."""

    gain: FloatArray
    """(tracks, points, order, order): how much of what is learned later belongs to the earlier step; 0 across a start."""
    mean: FloatArray
    """(tracks, points, order, 2), less what the later mean adds to it."""
    covariance: FloatArray
    """(tracks, points, order, order), less what the later covariance adds to it."""
    alive: BoolArray
    """(tracks, points) of the earlier step."""

    @classmethod
    def between(cls, before: Step, after: Step) -> Way:
        """The way of one step."""
        joined = after.continued[..., None, None]
        onward = np.where(joined, np.matmul(before.covariance, after.transition.T), 0.0)
        prior = np.where(joined, after.prior_covariance, np.eye(onward.shape[-1]))
        gain = np.matmul(onward, _inverse(prior))
        mean = before.mean - np.matmul(gain, after.prior_mean)
        return cls(gain, mean, before.covariance - np.matmul(gain, onward.swapaxes(-1, -2)), before.alive)

    def back(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The earlier step's mean and covariance, given the later one's."""
        spread = np.matmul(np.matmul(self.gain, covariance), self.gain.swapaxes(-1, -2))
        return self.mean + np.matmul(self.gain, mean), self.covariance + spread

    def after(self, later: Way) -> Way:
        """The way back over `later` and then this one."""
        return Way(np.matmul(self.gain, later.gain), *self.back(later.mean, later.covariance), self.alive)

    def smoothed(self, later: Smoothed) -> Smoothed:
        """The earlier step, given the later one."""
        return Smoothed(*self.back(later.mean, later.covariance), self.alive)

    def grown(self, tracks: int) -> Way:
        """The same way with room for `tracks` tracks, the new ones not alive."""
        room = (0, tracks - len(self.alive))
        gain, mean, covariance = (
            np.pad(held, (room, (0, 0), (0, 0), (0, 0))) for held in (self.gain, self.mean, self.covariance)
        )
        return Way(gain, mean, covariance, np.pad(self.alive, (room, (0, 0))))


def _inverse(matrices: FloatArray) -> FloatArray:
    """Inverse of symmetric (..., order, order): written out for order 2, which is several times faster."""
    if matrices.shape[-1] != 2:
        return np.linalg.inv(matrices)
    a, b, c = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 1]
    adjugate = np.stack([c, -b, -b, a], -1).reshape(matrices.shape)
    return adjugate / (a * c - b * b)[..., None, None]


def _last(step: Step) -> Smoothed:
    """A step that nothing comes after."""
    return Smoothed(step.mean, step.covariance, step.alive)


def _walked(ways: Sequence[Way], end: Smoothed) -> list[Smoothed]:
    """The steps at the beginnings of these ways, in order, given the step at the end of the last."""
    results = [end]
    for way in reversed(ways):
        results.append(way.smoothed(results[-1]))
    return results[:0:-1]


def smooth(steps: Sequence[Step]) -> list[Smoothed]:
    """The full pass over a whole recording."""
    if not steps:
        return []
    ways = [Way.between(before, after) for before, after in pairwise(steps)]
    end = _last(steps[-1])
    return [*_walked(ways, end), end]


class FixedLag:
    """Smooths a stream with what the next `lag` steps bring: bounded memory, and soon no different from the full pass.

    Steps are given back `block` at once. The way back leads over chains of `block` steps: at most `lag + block` steps are
    held.
    """

    def __init__(self, lag: int, block: int = 1) -> None:
        if lag < 0 or block < 1:
            raise ValueError(f"lag must be 0 or more steps and block 1 or more, got {lag} and {block}")
        self.lag = lag
        self.block = block
        self._step: Step | None = None
        """The newest."""
        self._ways: deque[Way] = deque()
        """Between each two steps held."""
        self._chains: deque[Way] = deque()
        """Of `block` ways each, the last perhaps of fewer."""

    def push(self, step: Step) -> list[Smoothed]:
        """Take the next step; give back those that are now at least `lag` steps old, oldest first, once they fill a block."""
        if self._step is not None:
            self._append(Way.between(self._grown(self._step, len(step.alive)), step))
        self._step = step
        if len(self._ways) + 1 < self.lag + self.block:
            return []
        if not self.lag:
            return self.flush()
        end = _last(step)
        for chain in list(self._chains)[:0:-1]:
            end = chain.smoothed(end)
        self._chains.popleft()
        return _walked([self._ways.popleft() for _ in range(self.block)], end)

    def flush(self) -> list[Smoothed]:
        """Give back all steps still held, oldest first."""
        if self._step is None:
            return []
        end = _last(self._step)
        rest = [*_walked(self._ways, end), end]
        self._step = None
        self._ways.clear()
        self._chains.clear()
        return rest

    def _append(self, way: Way) -> None:
        if len(self._ways) % self.block:
            self._chains[-1] = self._chains[-1].after(way)
        else:
            self._chains.append(way)
        self._ways.append(way)

    def _grown(self, step: Step, tracks: int) -> Step:
        """The newest step, and all that is held, with room for new tracks, which have no past."""
        if tracks == len(step.alive):
            return step
        self._ways = deque(way.grown(tracks) for way in self._ways)
        self._chains = deque(way.grown(tracks) for way in self._chains)
        return step.grown(tracks)
