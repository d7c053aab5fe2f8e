"""Rauch-Tung-Striebel smoothing: each step is corrected by the steps after it, so the result has no lag.

One step backwards is an affine map of the later step's mean and covariance, and such maps can be composed: a hundred steps
backwards are one map too. So a stream need not repeat the whole backward pass for each step that it returns. The maps of a
block of steps are computed, and composed, in a few operations over all steps, tracks and points of the block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vtrack.filters.kalman import Step
from vtrack.types import BoolArray, FloatArray

_SINGULAR = 1e-10
"""Smallest determinant of a correlation matrix."""
_RUN = 32
"""Steps of a recording that are smoothed at once."""


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
class _BackwardMaps:
    """The affine maps from the last of some consecutive steps back to each of the others.

    The axes of the small matrices come first: NumPy is fast along the last axes, and those are long here.
    """

    gain: FloatArray
    """(order, order, steps, tracks, points) product of smoother gains; 0 across a start."""
    mean: FloatArray
    """(order, 2, steps, tracks, points) constant term of the mean."""
    covariance: FloatArray
    """(order, order, steps, tracks, points) constant term of the covariance."""
    alive: BoolArray
    """(steps, tracks, points)."""

    @classmethod
    def over(cls, steps: Sequence[Step]) -> _BackwardMaps:
        """The maps from the last of these steps; all steps have the same tracks."""
        before, after = steps[:-1], steps[1:]
        covariance = _leading([step.covariance for step in before])
        joined = np.stack([step.continued for step in after])
        turned = np.stack([step.transition for step in after]).transpose(2, 1, 0)[..., None, None]
        onward = np.where(joined, _product(covariance, turned), 0.0)
        unit = np.eye(len(covariance))[..., None, None, None]
        gain = _product(onward, _inverse(np.where(joined, _leading([step.prior_covariance for step in after]), unit)))
        prior, mean = _leading([step.prior_mean for step in after]), _leading([step.mean for step in before])
        mean -= _product(gain, prior)
        covariance = _sound(covariance - _product(gain, onward.swapaxes(0, 1)))
        # Each round doubles the number of steps that a map goes back over: from one step to the next but 2, 4, 8 ...
        reach = 1
        while reach < len(before):
            near, far = slice(None, -reach), slice(reach, None)
            part = cls(gain[:, :, near], mean[:, :, near], covariance[:, :, near], joined[near])
            further = part.back(mean[:, :, far], covariance[:, :, far])
            gain = np.concatenate([_product(part.gain, gain[:, :, far]), gain[:, :, -reach:]], 2)
            mean, covariance = (
                np.concatenate([done, rest[:, :, -reach:]], 2)
                for done, rest in zip(further, (mean, covariance), strict=True)
            )
            reach *= 2
        return cls(gain, mean, covariance, np.stack([step.alive for step in before]))

    def __len__(self) -> int:
        """Number of steps that there are maps to."""
        return len(self.alive)

    def __getitem__(self, some: slice) -> _BackwardMaps:
        """The maps to some of the steps."""
        return _BackwardMaps(
            self.gain[:, :, some], self.mean[:, :, some], self.covariance[:, :, some], self.alive[some]
        )

    def back(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Means and covariances of the steps, given those of the last, (order, 2 or order, steps or 1, tracks, points)."""
        spread = _product(_product(self.gain, covariance), self.gain.swapaxes(0, 1))
        return self.mean + _product(self.gain, mean), _sound(self.covariance + spread)

    def grown(self, tracks: int) -> _BackwardMaps:
        """The same maps with room for `tracks` tracks, the new ones not alive."""
        extra = tracks - self.alive.shape[1]
        if not extra:
            return self
        room = ((0, 0), (0, extra), (0, 0))
        gain, mean, covariance = (
            np.pad(held, ((0, 0), (0, 0), *room)) for held in (self.gain, self.mean, self.covariance)
        )
        return _BackwardMaps(gain, mean, covariance, np.pad(self.alive, room))


_State = tuple[FloatArray, FloatArray]
"""Mean (order, 2, 1, tracks, points) and covariance (order, order, 1, tracks, points) of a smoothed step."""


def _leading(matrices: Sequence[FloatArray]) -> FloatArray:
    """Stack (tracks, points, rows, columns) of each step to (rows, columns, steps, tracks, points)."""
    return np.ascontiguousarray(np.stack(matrices).transpose(3, 4, 0, 1, 2))


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Matrix products: (rows, inner, ...) with (inner, columns, ...) to (rows, columns, ...)."""
    total: FloatArray = (left[:, :, None] * right[None]).sum(1)
    return total


def _inverse(matrices: FloatArray) -> FloatArray:
    """Inverse of symmetric (order, order, ...): written out for order 2, which is several times faster.

    A variance of 0 gives a row of zeros, and what is perfectly correlated is inverted as if it nearly were.
    """
    if len(matrices) != 2:
        last = np.moveaxis(matrices, (0, 1), (-2, -1))
        scale = np.sqrt(np.diagonal(last, axis1=-2, axis2=-1))
        scale = np.divide(1.0, scale, out=np.zeros(scale.shape), where=scale > 0)
        scales = scale[..., :, None] * scale[..., None, :]
        inverse = np.linalg.pinv(last * scales, rcond=_SINGULAR, hermitian=True) * scales
        return np.moveaxis(inverse, (-2, -1), (0, 1))
    a, b, c = matrices[0, 0], matrices[0, 1], matrices[1, 1]
    determinant = np.maximum(a * c - b * b, _SINGULAR * a * c)
    return np.stack([c, -b, -b, a]).reshape(matrices.shape) / determinant


def _sound(covariances: FloatArray) -> FloatArray:
    """Make (order, order, ...) symmetric, variances not negative and correlations at most 1: rounding breaks all of this."""
    sound = (covariances + covariances.swapaxes(0, 1)) / 2
    order = len(covariances)
    for place in range(order):
        np.maximum(sound[place, place], 0.0, out=sound[place, place])
    for row, column in combinations(range(order), 2):
        limit = np.sqrt(sound[row, row] * sound[column, column])
        sound[row, column] = sound[column, row] = np.clip(sound[row, column], -limit, limit)
    return sound


def _end(step: Step) -> _State:
    """The last step, which is smoothed already."""
    return _leading([step.mean]), _leading([step.covariance])


def _backward(maps: _BackwardMaps, end: _State) -> tuple[list[Smoothed], _State]:
    """The steps of the maps, in order, and the first of them as the end of what comes before."""
    mean, covariance = maps.back(*end)
    means, covariances = (states.transpose(2, 3, 4, 0, 1) for states in (mean, covariance))
    smoothed = [Smoothed(*states) for states in zip(means, covariances, maps.alive, strict=True)]
    return smoothed, (mean[:, :, :1], covariance[:, :, :1])


def smooth(steps: Sequence[Step]) -> list[Smoothed]:
    """Smooth a whole recording.

    Args:
        steps: Steps of a `Kalman` filter, in order.
    """
    if not steps:
        return []
    end, results = _end(steps[-1]), [Smoothed(steps[-1].mean, steps[-1].covariance, steps[-1].alive)]
    for stop in range(len(steps) - 1, 0, -_RUN):
        earlier, end = _backward(_BackwardMaps.over(steps[max(stop - _RUN, 0) : stop + 1]), end)
        results = earlier + results
    return results


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
        self._steps: list[Step] = []
        """The last step that there are maps from, and the steps after it."""
        self._maps: deque[_BackwardMaps] = deque()
        """Maps over the held steps before, a run of steps each."""
        self._run = self._first_run

    @property
    def _first_run(self) -> int:
        """Steps of the first run: such that a run is complete whenever steps are returned."""
        return (self.lag - 1) % self.block or self.block

    def push(self, step: Step) -> list[Smoothed]:
        """Add a step; return those at least `lag` steps old, oldest first, once they fill a block."""
        self._steps.append(step)
        if not self.lag:
            return self.flush() if len(self._steps) == self.block else []
        if len(self._steps) <= self._run:
            return []
        self._finish_run()
        if sum(map(len, self._maps)) + 1 < self.lag + self.block:
            return []
        end, missing, ends = _end(step), self.block, []
        for maps in [*self._maps][:0:-1]:
            ends.append(end)
            end = maps[:1].back(*end)
        ends.append(end)
        results: list[Smoothed] = []
        while missing:
            maps = self._maps.popleft()
            results += _backward(maps[:missing], ends.pop())[0]
            if missing < len(maps):
                self._maps.appendleft(maps[missing:])
            missing -= min(missing, len(maps))
        return results

    def flush(self) -> list[Smoothed]:
        """Return all steps still held, oldest first."""
        if not self._steps:
            return []
        if len(self._steps) > 1:
            self._finish_run()
        last = self._steps[-1]
        end, results = _end(last), [Smoothed(last.mean, last.covariance, last.alive)]
        while self._maps:
            earlier, end = _backward(self._maps.pop(), end)
            results = earlier + results
        self._steps, self._run = [], self._first_run
        return results

    def _finish_run(self) -> None:
        """Make the maps over the steps since the last run; all maps get room for the tracks that there are now."""
        tracks = len(self._steps[-1].alive)
        run = _BackwardMaps.over([step.grown(tracks) if len(step.alive) < tracks else step for step in self._steps])
        self._maps = deque([*(maps.grown(tracks) for maps in self._maps), run])
        self._steps, self._run = self._steps[-1:], self.block
