"""Kalman filters of many points at once: one NumPy step for all tracks and all their points.

x and y follow the same model with the same noise, so they share one covariance: a point's state is a mean of shape
(order, 2) and a covariance of shape (order, order). Settings are per point. NaN marks missing measurements.

A measurement can be far from its prediction for two reasons. If the point's whole group moved (a blink, a turn of the
head), it is motion: the filter becomes more agile for that moment. If the point moved alone, it is an outlier and is
ignored, until it stays away for `patience` measurements: then it has jumped, and the filter follows.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vtrack.filters.gamma import gamma_quantile
from vtrack.filters.motion import (
    LONGEST_STEP,
    bounded_step,
    continuous_noise,
    discrete_noise,
    flat_transition,
    transition,
)
from vtrack.types import BoolArray, FloatArray

FASTEST = 100.0
"""Highest speed of a point, in standard deviations of the speed of a point that starts."""
_STRETCH = 3.0
"""How many times as long as the last step a speed is trusted: motion within a tick says little of the next half a second."""
_LEAST_VARIANCE = 1e-20
"""Smallest variance of a measurement: a perfect one, of a point that is known perfectly, would have no weight."""


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One step of a filter, with all that a smoother needs for its backward pass."""

    prior_mean: FloatArray
    """(tracks, points, order, 2) before the measurement."""
    prior_covariance: FloatArray
    """(tracks, points, order, order) before the measurement."""
    mean: FloatArray
    """(tracks, points, order, 2) after the measurement."""
    covariance: FloatArray
    """(tracks, points, order, order) after the measurement."""
    transition: FloatArray
    """(order, order) from the previous step."""
    continued: BoolArray
    """(tracks, points): False if the point has no previous state: it starts here, or later."""
    alive: BoolArray
    """(tracks, points): False if the point was never measured since its track was reset."""

    def grown(self, tracks: int) -> Step:
        """The same step with room for `tracks` tracks, the new ones not alive."""
        extra = ((0, tracks - len(self.alive)),)
        padded = {
            name: np.pad(array, extra + ((0, 0),) * (array.ndim - 1))
            for name in ("prior_mean", "prior_covariance", "mean", "covariance", "continued", "alive")
            for array in [getattr(self, name)]
        }
        return replace(self, **padded)


class Groups:
    """Points that tend to move together, and the common deviation from which it counts as motion."""

    _CORRELATED = 2.0
    """Number of points that count as one with independent noise, since the noise of neighbours is correlated."""
    _MAX_INDEPENDENT = 6.0
    """Largest number of independent points that a group counts as."""

    def __init__(
        self,
        members: npt.NDArray[np.intp],
        *,
        alarm: float = 1e-3,
        hold: float = 0.06,
        zeal: FloatArray | float = 1.0,
    ) -> None:
        """Define the groups.

        Args:
            members: (points,) number of each point's group, from 0 without gaps.
            alarm: Probability that noise alone makes a resting group agile for a moment.
            hold: Seconds in which agility decays by a factor of e: what has just started to move will soon turn or stop, by
                less than stands out from the noise.
            zeal: Factor on the agility that a deviation causes, (points,) or one for all.

        Raises:
            ValueError: Groups are not numbered without gaps, or a number is out of range.
        """
        members = np.asarray(members)
        if members.ndim != 1 or (members < 0).any() or not np.bincount(members).all():
            raise ValueError(f"groups must be numbered from 0 without gaps, got {members.tolist()}")
        if not 0 < alarm < 1 or hold <= 0:
            raise ValueError(f"alarm must lie in 0..1 and hold be positive, got {alarm} and {hold}")
        self.members = members
        self.alarm = alarm
        self.hold = hold
        self.zeal = zeal
        sizes = np.bincount(members)
        # Squared innovations of n independent points, over their expectation, have a mean distributed as Gamma(n) / n.
        independent = np.clip(sizes / self._CORRELATED, 1, self._MAX_INDEPENDENT)
        calm = np.array([gamma_quantile(alarm, shape) / shape for shape in independent.tolist()])
        self.calm: FloatArray = calm[members]
        """(points,) mean squared innovation of the group, over its expectation, up to which a point counts as at rest."""
        self._table = np.eye(len(sizes))[members]  # (points, groups)
        self._sorted = np.argsort(members, kind="stable")
        self._starts = np.cumsum(sizes) - sizes
        self._trim = sizes > 2
        """(groups,) whether the largest value of a group is left out, where all its values are known ..."""
        self._counts = np.maximum(sizes - self._trim, 1.0)
        """... and how many are left."""

    def mean(self, values: FloatArray) -> FloatArray:
        """(tracks, points) mean over each point's group without its largest value, which may be an outlier; NaN ignored.

        A group of one or two keeps all its values.
        """
        known = np.isfinite(values)
        if all_true(known):
            filled, trim, counts = values, self._trim, self._counts
        else:
            filled, counts = np.where(known, values, 0.0), known @ self._table
            trim = counts > 2
            counts = np.maximum(counts - trim, 1)
        largest = np.maximum.reduceat(filled.take(self._sorted, 1), self._starts, axis=1)
        means: FloatArray = (filled @ self._table - largest * trim) / counts
        return means.take(self.members, 1)


def all_true(values: BoolArray) -> bool:
    """Whether all are true: `values.all()` takes several times as long for so few."""
    return bool(np.count_nonzero(values) == values.size)


def any_true(values: npt.NDArray[np.generic]) -> bool:
    """Whether any is true, or not zero."""
    return bool(np.count_nonzero(values))


_STATE = ("mean", "covariance", "alive", "agility", "_refused")
"""Attributes of a filter's state: arrays with a row for each track."""


class Kalman:
    """A Kalman filter of (tracks, points) positions in the plane.

    Args:
        tracks: Number of tracks; `grow` adds more.
        points: Number of points of each track.
        order: 2 for constant velocity, 3 for constant acceleration.
        groups: Points that move together, for agility; None for none.
        gate: Standard deviations from the prediction above which a measurement is an outlier.
        patience: Outliers in a row after which the point has jumped.

    Example:
        >>> import numpy as np
        >>> kalman = Kalman(tracks=1, points=2)
        >>> positions = np.array([[[10.0, 20.0], [30.0, 40.0]]])  # (tracks, points, 2)
        >>> step = kalman.step(positions, variance=0.25, density=100.0, dt=0.04)
        >>> step.mean[..., 0, :].shape  # filtered positions
        (1, 2, 2)
    """

    def __init__(
        self,
        tracks: int,
        points: int,
        order: int = 2,
        *,
        groups: Groups | None = None,
        gate: float = np.inf,
        patience: int = 2,
    ) -> None:
        if order not in (2, 3):
            raise ValueError(f"order must be 2 (constant velocity) or 3 (constant acceleration), got {order}")
        if groups is not None and len(groups.members) != points:
            raise ValueError(f"{len(groups.members)} group numbers do not match {points} points")
        if gate <= 0 or patience < 1:
            raise ValueError(f"gate must be positive and patience at least 1, got {gate} and {patience}")
        self.order = order
        self.groups = groups
        self.gate = gate
        self.patience = patience
        self.mean: FloatArray = np.zeros((tracks, points, order, 2))
        self.covariance: FloatArray = np.zeros((tracks, points, order, order))
        self.alive = np.zeros((tracks, points), np.bool_)
        self.agility = np.zeros((tracks, points))
        """(tracks, points) additional noise density of the motion."""
        self._refused = np.zeros((tracks, points), np.intp)  # measurements refused in a row
        self._last_step = LONGEST_STEP

    def copy(self) -> Kalman:
        """An independent copy of the filter and its state."""
        twin = copy(self)
        for name in _STATE:
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""
        extra = tracks - len(self.mean)
        for name in _STATE:
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros((extra, *array.shape[1:]), array.dtype)]))

    def reset(self, tracks: int | slice | npt.NDArray[np.generic] = slice(None)) -> None:
        """Forget these tracks: their points start anew with their next measurement."""
        self.alive = self.alive.copy()
        self.alive[tracks] = False

    def predicted(self, dt: float) -> FloatArray:
        """Positions (tracks, points, 2) after `dt` seconds, or after as many as the speed is trusted."""
        ahead: FloatArray = (
            self.mean[..., 0, :] + min(bounded_step(dt), _STRETCH * self._last_step) * self.mean[..., 1, :]
        )
        return ahead

    def step(
        self,
        positions: FloatArray,
        variance: FloatArray | float,
        density: FloatArray | float,
        dt: float,
        spread: FloatArray | float = 0.0,
        agility: FloatArray | float = 0.0,
    ) -> Step:
        """Predict over `dt` seconds, then update by measurements.

        Args:
            positions: (tracks, points, 2), NaN where not measured.
            variance: Variance of each measured coordinate, (tracks, points) or broadcast to it. A measurement whose variance
                is infinite or NaN counts as missing.
            density: Noise density of the motion, (tracks, points) or broadcast to it.
            dt: Seconds since the previous step; see `vtrack.filters.motion.bounded_step`.
            spread: Standard deviation of each derivative of a point that starts. Where it is positive, it bounds the speed,
                see `FASTEST`.
            agility: Lower bound of the agility, (tracks, points) or one for all.
        """
        dt = bounded_step(dt)
        measured, continued = np.isfinite(positions[..., 0] + positions[..., 1] + variance), self.alive
        move = transition(self.order, dt)
        mean, covariance = self._predicted(density, dt)
        innovation = positions - mean[..., 0, :]
        variance = np.maximum(variance, _LEAST_VARIANCE)
        all_measured, all_continued = all_true(measured), all_true(continued)
        if not all_measured:
            innovation = np.where(measured[..., None], innovation, 0.0)
            variance = np.where(measured, variance, 1.0)
        expected = covariance[..., 0, 0] + variance
        used = measured if all_continued else measured & continued
        if self.groups is not None or self.gate < np.inf:
            squares = np.square(innovation)
            squared = (squares[..., 0] + squares[..., 1]) / 2
            if self.groups is not None:
                covariance += self._motion_noise(self.groups, squared, expected, used, dt, agility, spread, covariance)
                expected = covariance[..., 0, 0] + variance
            doubt = max(dt - _STRETCH * self._last_step, 0.0)
            allowed = self.gate**2 * expected
            if doubt:
                allowed += np.square(doubt * mean[..., 1, :]).sum(-1)
            outlying = used & (squared > allowed)
            if any_true(outlying) or any_true(self._refused):
                used, jumped = self._gated(used, outlying)
                covariance[..., 0, 0] += squared * jumped
                expected = covariance[..., 0, 0] + variance
        row = covariance[..., 0]  # (tracks, points, order)
        share = used / expected
        gain = row * share[..., None]
        step = Step(
            mean,
            covariance,
            mean + gain[..., None] * innovation[..., None, :],
            _updated(covariance, gain, variance * share, used),
            move,
            continued,
            continued if all_continued else continued | measured,
        )
        if not all_continued:
            self._start(step, measured & ~continued, positions, variance, spread)
        self.mean, self.covariance, self.alive, self._last_step = step.mean, step.covariance, step.alive, dt
        return step

    def _predicted(self, density: FloatArray | float, dt: float) -> tuple[FloatArray, FloatArray]:
        """Mean and covariance `dt` later."""
        order = self.order
        # F m and F P F' of all points are one product each of (tracks * points, n) with a small (n, n) matrix.
        on_mean, on_covariance = flat_transition(order, dt)
        mean = (self.mean.reshape(-1, 2 * order) @ on_mean).reshape(self.mean.shape)
        covariance = (self.covariance.reshape(-1, order * order) @ on_covariance).reshape(self.covariance.shape)
        covariance += np.asarray(density)[..., None, None] * discrete_noise(order, dt)
        return mean, covariance

    def _motion_noise(
        self,
        groups: Groups,
        squared: FloatArray,
        expected: FloatArray,
        used: BoolArray,
        dt: float,
        agility: FloatArray | float,
        spread: FloatArray | float,
        covariance: FloatArray,
    ) -> FloatArray:
        """(tracks, points, order, order) covariance to add since groups move or have just moved; updates the agility."""
        noise = continuous_noise(self.order, dt)
        held = np.maximum(self.agility * np.exp(-dt / groups.hold), agility)
        expected = expected + held * noise[0, 0]
        surprise = squared / expected
        if all_true(used):
            moved = squared
        else:
            surprise, moved = np.where(used, surprise, np.nan), squared * used
        agile = held + groups.zeal * np.maximum(groups.mean(surprise) - groups.calm, 0.0) * expected / noise[0, 0]
        # No point is expected to move faster than the fastest, except that a measured one has moved as far as it has.
        fastest, bounded = np.multiply(FASTEST, spread), np.greater(spread, 0)
        if not all_true(bounded):
            fastest = np.where(bounded, fastest, np.inf)
        squared_fastest = np.square(fastest)
        self.agility = np.minimum(agile, squared_fastest / groups.hold)
        added = agile[..., None, None] * noise
        far = np.maximum(np.square(fastest * dt), moved)
        room = np.maximum(squared_fastest - covariance[..., 1, 1], 0.0)
        too_far, too_fast = added[..., 0, 0] > far, added[..., 1, 1] > room
        if any_true(too_far | too_fast):
            share = np.ones((*squared.shape, self.order))
            np.divide(far, added[..., 0, 0], out=share[..., 0], where=too_far)
            np.divide(room, added[..., 1, 1], out=share[..., 1], where=too_fast)
            share = np.sqrt(share)
            added *= share[..., :, None] * share[..., None, :]
        return added

    def _gated(self, used: BoolArray, outlying: BoolArray) -> tuple[BoolArray, BoolArray]:
        """Which measurements are used, and which points have jumped; the outlying ones are among the used."""
        refused = np.where(used, (self._refused + 1) * outlying, self._refused)
        jumped = refused >= self.patience
        self._refused = np.where(jumped, 0, refused)
        return used & (~outlying | jumped), jumped

    def _start(
        self,
        step: Step,
        new: BoolArray,
        positions: FloatArray,
        variance: FloatArray,
        spread: FloatArray | float,
    ) -> None:
        """Initialise the state of points measured for the first time, and clear that of points without any."""
        blank = ~step.continued
        step.mean[blank] = 0.0
        step.covariance[blank] = 0.0
        step.mean[new, 0] = positions[new]
        diagonal = np.zeros((*new.shape, self.order))
        diagonal[...] = np.square(np.broadcast_to(spread, new.shape))[..., None]
        diagonal[..., 0] = variance
        places = np.arange(self.order)
        step.covariance[..., places, places] = np.where(new[..., None], diagonal, step.covariance[..., places, places])
        self._refused[blank], self.agility[blank] = 0, 0.0


def _updated(covariance: FloatArray, gain: FloatArray, kept: FloatArray, used: BoolArray) -> FloatArray:
    """Return the covariance (tracks, points, order, order) after the measurements.

    Differences of nearly equal numbers may round to a negative variance. So the row of the position is multiplied with the
    share of its variance that remains, and the other variances do not become smaller than by a perfect correlation.

    Args:
        covariance: (tracks, points, order, order) before the measurements.
        gain: (tracks, points, order).
        kept: (tracks, points) share of the variance of the position that remains.
        used: (tracks, points) measurements that are used.
    """
    row = covariance[..., 0]
    updated = covariance - gain[..., None] * row[..., None, :]
    kept = (kept if all_true(used) else np.where(used, kept, 1.0))[..., None]
    updated[..., 0] = updated[..., 0, :] = row * kept
    for place in range(1, covariance.shape[-1]):
        variance = updated[..., place, place]
        np.maximum(variance, covariance[..., place, place] * kept[..., 0], out=variance)
    return updated
