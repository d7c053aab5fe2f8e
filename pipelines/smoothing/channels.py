"""Filters of channels: complex values over time, such as the position of a part or the motion of the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vtrack.filters.kalman import Groups, Kalman, Step, all_true
from vtrack.filters.one_euro import OneEuro
from vtrack.filters.rigid import ComplexArray, to_complex
from vtrack.filters.rts import Smoothed
from vtrack.filters.zero_lag import ZeroLag
from vtrack.types import FloatArray

LAG = 300
"""Frames of look-ahead of zero-lag smoothing. Later frames move a point by less than 0.001 pixels once a filter has
settled, on a face with 100 pixels between the outer corners of the eyes."""
_BLOCKS = 16
"""Frames are returned in blocks of this fraction of the look-ahead: the backward pass is chained block by block."""
_FORESIGHT = 3
"""Frames by which the causal filter that detects motion is ahead of the one that is smoothed, see `ZeroLag`."""

_CAUSAL_SHARE = 0.02
"""Share of the process noise that a causal filter uses: without future frames it must rely more on the past."""
_ALARM, _HOLD = 5e-4, 0.06
"""See `vtrack.filters.kalman.Groups`."""
_GATE, _PATIENCE = 8.0, 2
"""Standard deviations beyond which a single point is an outlier, and for how many frames at most."""
_SPEED = 0.5
"""Standard deviation of the speed of a new point, in face units per second."""
_DECADES = 16.0
"""Powers of ten of process noise between strengths 0 and 1."""
_CUTOFF, _BETA = 1.0, 20.0
"""One-Euro filter: cutoff frequency at rest in Hz, and its increase per face unit per second."""

ChannelState = tuple[FloatArray, FloatArray]
"""Positions (tracks, channels, 2) and variances (tracks, channels); NaN where nothing was measured yet."""


def max_lag(frames: int) -> int:
    """Return the look-ahead in frames when memory allows to hold `frames` frames.

    Beside the look-ahead, one block and the frames of the motion-detecting filter are held.
    """
    return min(LAG, (frames - _FORESIGHT - 1) * _BLOCKS // (_BLOCKS + 1))


@dataclass(frozen=True, eq=False, slots=True)
class Traits:
    """What a filter is told about its channels."""

    members: npt.NDArray[np.intp]
    """(channels,) number of the group that each channel moves with."""
    density: FloatArray
    """(channels,) density of the process noise."""
    strengths: FloatArray
    """(channels,) strength of smoothing, 0 to 1."""
    agility_gain: FloatArray
    """(channels,) how much more agile each channel becomes than its deviation requires, see `Groups`."""

    def __getitem__(self, some: slice) -> Traits:
        """Return the traits of some channels that share no group with the others."""
        members = self.members[some]
        return Traits(members - members.min(), self.density[some], self.strengths[some], self.agility_gain[some])


class ChannelFilter(Protocol):
    """Filters the channels of all tracks, frame by frame. The entries of `METHODS` are made as `filter(traits, lag)`."""

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""

    def reset(self, tracks: npt.NDArray[np.intp]) -> None:
        """Forget these tracks."""

    def predicted(self, dt: float) -> ComplexArray:
        """Return the predicted channels (tracks, channels) after `dt` seconds; NaN for tracks without any."""
        ...

    def step(self, channels: FloatArray, noise: FloatArray, unit: FloatArray, dt: float) -> list[ChannelState]:
        """Filter the next frame.

        Args:
            channels: (tracks, channels, 2) measured values; NaN where unmeasured.
            noise: (tracks, channels or 1) variance of each value.
            unit: (tracks, channels or 1) length of one face unit.
            dt: Seconds since the last frame.

        Returns:
            The states that are ready: none or several with a lag, one otherwise.
        """
        ...

    def flush(self) -> list[ChannelState]:
        """Return the states that are still held back, oldest first."""
        ...


class KalmanChannels:
    """Channels filtered by a Kalman filter, causal or with zero lag.

    Args:
        traits: The channels.
        lag: Frames of look-ahead; 0 for a causal filter.
    """

    def __init__(self, traits: Traits, lag: int) -> None:
        count = len(traits.members)
        groups = Groups(traits.members, alarm=_ALARM, hold=_HOLD, zeal=traits.agility_gain)
        share = 1.0 if lag else _CAUSAL_SHARE
        self._density = traits.density * 10 ** (_DECADES * (0.5 - traits.strengths)) * share
        self._zero_lag = (
            ZeroLag(
                0,
                count,
                groups=groups,
                gate=_GATE,
                patience=_PATIENCE,
                lag=lag,
                block=lag // _BLOCKS + 1,
                foresight=_FORESIGHT,
            )
            if lag
            else None
        )
        self._kalman = (
            self._zero_lag.scout if self._zero_lag else Kalman(0, count, groups=groups, gate=_GATE, patience=_PATIENCE)
        )

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""
        (self._zero_lag or self._kalman).grow(tracks)

    def reset(self, tracks: npt.NDArray[np.intp]) -> None:
        """Forget these tracks."""
        (self._zero_lag or self._kalman).reset(tracks)

    def predicted(self, dt: float) -> ComplexArray:
        """Return the predicted channels (tracks, channels) after `dt` seconds; NaN for tracks without any."""
        channels = to_complex(self._kalman.predicted(dt))
        return channels if all_true(self._kalman.alive) else np.where(self._kalman.alive, channels, np.nan)

    def step(self, channels: FloatArray, noise: FloatArray, unit: FloatArray, dt: float) -> list[ChannelState]:
        """Filter the next frame; see `ChannelFilter.step`."""
        arguments = channels, noise, self._density * np.square(unit), dt, _SPEED * unit
        states = self._zero_lag.step(*arguments) if self._zero_lag else [self._kalman.step(*arguments)]
        return [_state(one) for one in states]

    def flush(self) -> list[ChannelState]:
        """Return the remaining states of zero lag, oldest first."""
        return [_state(one) for one in self._zero_lag.flush()] if self._zero_lag else []


class OneEuroChannels:
    """Channels filtered by a One-Euro filter.

    Args:
        traits: The channels.
        lag: Frames of look-ahead; must be 0.
    """

    def __init__(self, traits: Traits, lag: int) -> None:
        if lag:
            raise ValueError(f"a One-Euro filter does not look ahead, got a lag of {lag} frames")
        self._filter = OneEuro(0, len(traits.strengths))
        self._cutoff = _CUTOFF * 10 ** (_DECADES / 10 * (0.5 - traits.strengths))

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""
        self._filter.grow(tracks)

    def reset(self, tracks: npt.NDArray[np.intp]) -> None:
        """Forget these tracks."""
        self._filter.reset(tracks)

    def predicted(self, dt: float) -> ComplexArray:
        """Return the last values of the channels (tracks, channels); NaN for tracks without any."""
        return to_complex(self._filter.positions)

    def step(self, channels: FloatArray, noise: FloatArray, unit: FloatArray, dt: float) -> list[ChannelState]:
        """Filter the next frame; see `ChannelFilter.step`."""
        # Face size changes from frame to frame, so speeds are compared in face units but stored in pixels.
        noise = np.broadcast_to(np.where(np.isfinite(noise), noise, 0.0), channels.shape[:2])
        return [(self._filter.step(channels, self._cutoff, _BETA / unit, dt), noise)]

    def flush(self) -> list[ChannelState]:
        """Return nothing: each frame is returned at once."""
        return []


def _state(step: Step | Smoothed) -> ChannelState:
    """Return positions and variances of the tracks that are alive."""
    if all_true(step.alive):
        return step.mean[..., 0, :], step.covariance[..., 0, 0]
    positions = np.where(step.alive[..., None], step.mean[..., 0, :], np.nan)
    return positions, np.where(step.alive, step.covariance[..., 0, 0], np.nan)
