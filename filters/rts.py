"""Rauch-Tung-Striebel smoothing: each step is corrected by the steps after it, so the result has no lag.

One step backwards is an affine map of the later step's mean and covariance, and such maps can be composed: a hundred steps
backwards are one map too. So a stream need not repeat the whole backward pass for each step that it returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from vtrack.filters.kalman import Step
from vtrack.types import BoolArray, FloatArray

_SINGULAR = 1e-10
"""Smallest determinant of a correlation matrix."""


@dataclass(frozen=True, eq=False, slots=True)
class Smoothed:
    """Smoothed state of one step, given the later ones."""

    mean: FloatArray
    """(tracks, points, order, 2)."""
    covariance: FloatArray
    """(tracks, points, order, order)."""
    alive: BoolArray
    """(tracks, points): False if the point had not started yet."""


@dataclass(frozen=True, eq=False, slots=True)
class BackwardMap:
    """The affine map from a later step back to an earlier one."""

    gain: FloatArray
    """(tracks, points, order, order) smoother gain; 0 across a start."""
    mean: FloatArray
    """(tracks, points, order, 2) constant term of the mean."""
    covariance: FloatArray
    """(tracks, points, order, order) constant term of the covariance."""
    alive: BoolArray
    """(tracks, points) of the earlier step."""

    @classmethod
    def between(cls, before: Step, after: Step) -> BackwardMap:
        """The map of one step."""
        joined = after.continued[..., None, None]
        onward = np.where(joined, np.matmul(before.covariance, after.transition.T), 0.0)
        prior = np.where(joined, after.prior_covariance, np.eye(onward.shape[-1]))
        gain = np.matmul(onward, _inverse(prior))
        mean = before.mean - np.matmul(gain, after.prior_mean)
        remaining = before.covariance - np.matmul(gain, onward.swapaxes(-1, -2))
        return cls(gain, mean, _sound(remaining), before.alive)

    def back(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The earlier step's mean and covariance, given the later one's."""
        spread = np.matmul(np.matmul(self.gain, covariance), self.gain.swapaxes(-1, -2))
        return self.mean + np.matmul(self.gain, mean), _sound(self.covariance + spread)

    def after(self, later: BackwardMap) -> BackwardMap:
        """The composition: back over `later`, then over this one."""
        return BackwardMap(np.matmul(self.gain, later.gain), *self.back(later.mean, later.covariance), self.alive)

    def smoothed(self, later: Smoothed) -> Smoothed:
        """The earlier step, given the later one."""
        return Smoothed(*self.back(later.mean, later.covariance), self.alive)

    def grown(self, tracks: int) -> BackwardMap:
        """The same map with room for `tracks` tracks, the new ones not alive."""
        room = (0, tracks - len(self.alive))
        gain, mean, covariance = (
            np.pad(held, (room, (0, 0), (0, 0), (0, 0))) for held in (self.gain, self.mean, self.covariance)
        )
        return BackwardMap(gain, mean, covariance, np.pad(self.alive, (room, (0, 0))))


def _inverse(matrices: FloatArray) -> FloatArray:
    """Inverse of symmetric (..., order, order): written out for order 2, which is several times faster.

    A variance of 0 gives a row of zeros, and what is perfectly correlated is inverted as if it nearly were.
    """
    if matrices.shape[-1] != 2:
        scale = np.sqrt(np.diagonal(matrices, axis1=-2, axis2=-1))
        scale = np.divide(1.0, scale, out=np.zeros(scale.shape), where=scale > 0)
        scales = scale[..., :, None] * scale[..., None, :]
        return np.linalg.pinv(matrices * scales, rcond=_SINGULAR, hermitian=True) * scales
    a, b, c = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 1]
    adjugate = np.stack([c, -b, -b, a], -1).reshape(matrices.shape)
    determinant = np.maximum(a * c - b * b, _SINGULAR * a * c)
    return adjugate / determinant[..., None, None]


def _sound(covariances: FloatArray) -> FloatArray:
    """Make (..., order, order) symmetric, variances not negative and correlations at most 1: rounding breaks all of this."""
    sound = (covariances + covariances.swapaxes(-1, -2)) / 2
    order = covariances.shape[-1]
    for place in range(order):
        np.maximum(sound[..., place, place], 0.0, out=sound[..., place, place])
    for row, column in combinations(range(order), 2):
        limit = np.sqrt(sound[..., row, row] * sound[..., column, column])
        sound[..., row, column] = sound[..., column, row] = np.clip(sound[..., row, column], -limit, limit)
    return sound


def _last(step: Step) -> Smoothed:
    """The last step, which is smoothed already."""
    return Smoothed(step.mean, step.covariance, step.alive)


def _backward(maps: Sequence[BackwardMap], end: Smoothed) -> list[Smoothed]:
    """The earlier steps of consecutive maps, in order, given the last step."""
    results = [end]
    for step_map in reversed(maps):
        results.append(step_map.smoothed(results[-1]))
    return results[:0:-1]


def smooth(steps: Sequence[Step]) -> list[Smoothed]:
    """Smooth a whole recording.

    Args:
        steps: Steps of a `Kalman` filter, in order.
    """
    if not steps:
        return []
    maps = [BackwardMap.between(before, after) for before, after in pairwise(steps)]
    end = _last(steps[-1])
    return [*_backward(maps, end), end]


class FixedLag:
    """Smooths a stream by the next `lag` steps: bounded memory, and nearly the result of the full pass.

    Args:
        lag: Steps that a returned step is delayed by.
        block: Steps returned at once; at most `lag + block` steps are held.
    """

    def __init__(self, lag: int, block: int = 1) -> None:
        if lag < 0 or block < 1:
            raise ValueError(f"lag must be 0 or more steps and block 1 or more, got {lag} and {block}")
        self.lag = lag
        self.block = block
        self._step: Step | None = None
        """The latest step."""
        self._maps: deque[BackwardMap] = deque()
        """Maps between neighbouring held steps."""
        self._chains: deque[BackwardMap] = deque()
        """Compositions of `block` maps each, the last perhaps of fewer."""

    def push(self, step: Step) -> list[Smoothed]:
        """Add a step; return those at least `lag` steps old, oldest first, once they fill a block."""
        if self._step is not None:
            self._append(BackwardMap.between(self._grown(self._step, len(step.alive)), step))
        self._step = step
        if len(self._maps) + 1 < self.lag + self.block:
            return []
        if not self.lag:
            return self.flush()
        end = _last(step)
        for chain in list(self._chains)[:0:-1]:
            end = chain.smoothed(end)
        self._chains.popleft()
        return _backward([self._maps.popleft() for _ in range(self.block)], end)

    def flush(self) -> list[Smoothed]:
        """Return all steps still held, oldest first."""
        if self._step is None:
            return []
        end = _last(self._step)
        rest = [*_backward(self._maps, end), end]
        self._step = None
        self._maps.clear()
        self._chains.clear()
        return rest

    def _append(self, step_map: BackwardMap) -> None:
        if len(self._maps) % self.block:
            self._chains[-1] = self._chains[-1].after(step_map)
        else:
            self._chains.append(step_map)
        self._maps.append(step_map)

    def _grown(self, step: Step, tracks: int) -> Step:
        """Make room for new tracks in all held steps; returns the given step with room."""
        if tracks == len(step.alive):
            return step
        self._maps = deque(step_map.grown(tracks) for step_map in self._maps)
        self._chains = deque(step_map.grown(tracks) for step_map in self._chains)
        return step.grown(tracks)
