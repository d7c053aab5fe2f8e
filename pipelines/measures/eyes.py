"""What the eyes of a face do: openness relative to the person's own open eyes, blinks, winks, squints, closures, PERCLOS.

Each frame is known by what came before it alone, so live pictures and files give the same events. An event is known when
the eyes are open again. All durations are seconds and all crossings lie between frames, so the frame rate does not matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np

from vtrack.measures import SHUT, EyeEvent, LidMotion
from vtrack.pipelines.measures.openness import OpenLevel

CLOSED, OPENED = 0.62, 0.75
"""Openness below which eyes are closed, and above which they are open again."""
MAX_DURATION = 0.6
"""Seconds; eyes that are closed for longer are no blink."""
PERCLOS_WINDOW = 60.0
"""Seconds over which the share of shut eyes is taken."""

_ONSET = 0.1
"""Fall of the openness at which a closure starts."""
_BEFORE = 0.4
"""Seconds before a closure in which its start is looked for; lids close within 0.1 to 0.2 s."""
_WINK_SHUT, _WINK_OPEN, _WINK_DIFFERENCE = 0.5, 0.7, 0.35
"""Openness of the shut eye below, and of the open eye above, these values, and their difference, in a wink."""
_WINK_SIGMA = 0.3
"""Largest standard deviation of the openness of either eye in a wink; the far eye of a turned head has more."""
_MIN_WINK = 0.1
"""Seconds; lids that close one after the other do not wink."""
MAX_GAP = 0.5
"""Seconds without the face after which a closure is over."""
_MAX_STEP = 0.2
"""Longest time in seconds for which one frame counts."""
_CELL = 0.1
"""Seconds of a cell of the window of PERCLOS."""
_BOTH, _LEFT, _RIGHT = 0, 1, 2
_EYES = ("both", "left", "right")

Sample = tuple[float, float, float]
"""Openness of both eyes together, of the left, and of the right eye."""


class EyeState(NamedTuple):
    """The eyes of a face in one frame."""

    left: float
    """Openness of the left eye of the image: 1 as open as usual, 0 shut."""
    right: float
    left_sigma: float
    right_sigma: float
    blink: bool
    """Whether both eyes are closed, for `MAX_DURATION` at most."""
    blinks: int
    """Number of blinks that have begun."""
    perclos: float
    """Share of the last `PERCLOS_WINDOW` seconds in which both eyes were shut."""


class EyeWatcher:
    """Watches the eyes of one face.

    Args:
        face: Identity of the face.
    """

    def __init__(self, face: int) -> None:
        self.face = face
        self.time: float | None = None
        """Time of the last frame in seconds."""
        self.events: list[EyeEvent] = []
        """Events that have ended; whoever takes them clears the list."""
        self._levels = OpenLevel(), OpenLevel()
        self._history: deque[tuple[float, Sample]] = deque()
        self._opened = False
        """Whether the eyes were open since the face, or its scene, appeared."""
        self._run: _Run | None = None
        self._blinks = 0
        self._perclos = _TimeShare(PERCLOS_WINDOW)

    def update(self, openings: Sequence[float], deviations: Sequence[float], time: float) -> EyeState:
        """Process the next frame.

        Args:
            openings: (2,) opening of the left and right eye, height over width.
            deviations: (2,) their standard deviations.
            time: Time of the frame in seconds.
        """
        if not isfinite(sum(openings) + sum(deviations)):  # points without a place
            unknown = float("nan")
            return EyeState(unknown, unknown, unknown, unknown, False, self._blinks, unknown)
        step = 0.0 if self.time is None else time - self.time
        if not 0 <= step <= MAX_GAP:
            self.interrupt()
        self.time, step = time, min(max(step, 0.0), _MAX_STEP)
        for level, opening, deviation in zip(self._levels, openings, deviations, strict=True):
            level.learn(opening, deviation, step)
        left, right = (opening / level.level for level, opening in zip(self._levels, openings, strict=True))
        left_sigma, right_sigma = (
            max(deviation / level.level, 1e-6) for level, deviation in zip(self._levels, deviations, strict=True)
        )
        weight = right_sigma**2 / (left_sigma**2 + right_sigma**2)
        both = weight * left + (1 - weight) * right
        sample, sigmas = (both, left, right), (sqrt(weight) * left_sigma, left_sigma, right_sigma)
        self._follow(sample, sigmas, time, step)
        self._history.append((time, sample))
        while self._history[0][0] < time - _BEFORE:
            self._history.popleft()
        blink = self._run is not None and self._run.eye == _BOTH and time - self._run.since <= MAX_DURATION
        perclos = self._perclos.update(both < SHUT, step)
        return EyeState(left, right, left_sigma, right_sigma, blink, self._blinks, perclos)

    def interrupt(self) -> None:
        """End what goes on, since the face or its scene has left, or the video has ended."""
        self._end(opened=False)
        self._opened = False

    def _follow(self, sample: Sample, sigmas: Sample, time: float, step: float) -> None:
        """Begin, continue or end a closure."""
        winking = _winking_eye(sample, sigmas)
        self._opened = self._opened or sample[_BOTH] > OPENED
        # At first sight eyes that are narrow may be those of a person with narrow eyes.
        if self._run is None and (sample[_BOTH] < (CLOSED if self._opened else SHUT) or (winking and self._opened)):
            self._run = _Run(winking, time, self._history, start_seen=self._opened)
            self._blinks += winking == _BOTH
        run = self._run
        if run is None:
            return
        run.update(sample, sigmas, time, step)
        if run.eye and not winking and sample[_BOTH] < CLOSED and max(sample) < OPENED:
            # The other eye has closed, too: this was the beginning of a blink.
            run.eye, run.since = _BOTH, time
            self._blinks += 1
        elif sample[run.eye] > OPENED:
            self._end(opened=True)

    def _end(self, *, opened: bool) -> None:
        """End the closure that goes on, since the eyes have opened or since they are not seen any more."""
        run, self._run = self._run, None
        self._history.clear()
        if run is None or (run.eye and run.lasted < _MIN_WINK):
            return
        if run.eye:
            kind = "wink"
        elif opened and run.lasted <= MAX_DURATION:
            kind = "blink"
        else:
            kind = "squint" if run.lasted > MAX_DURATION and run.mean >= SHUT else "closure"
        lids, left, right = run.motions()
        self.events.append(EyeEvent(self.face, kind, _EYES[run.eye], opened and run.start_seen, lids, left, right))


class _Run:
    """Eyes that are closed: from the frame in which they close to the one in which they are open again."""

    def __init__(self, eye: int, time: float, history: Collection[tuple[float, Sample]], *, start_seen: bool) -> None:
        self.eye = eye
        """The eye that winks, or both."""
        self.since = time
        """Time of the first frame in seconds."""
        self.start_seen = start_seen
        times = [time for time, _ in history]
        self._lids = [_Lid(times, [sample[eye] for _, sample in history]) for eye in range(len(_EYES))]
        self._time, self._seconds, self._sum = time, 0.0, 0.0

    @property
    def lasted(self) -> float:
        """Seconds until the last frame."""
        return self._time - self.since

    @property
    def mean(self) -> float:
        """Mean openness of both eyes."""
        return self._sum / self._seconds if self._seconds else 1.0

    def update(self, sample: Sample, sigmas: Sample, time: float, step: float) -> None:
        """Process the next frame."""
        self._time, self._seconds, self._sum = time, self._seconds + step, self._sum + step * sample[_BOTH]
        for lid, openness, sigma in zip(self._lids, sample, sigmas, strict=True):
            lid.update(openness, sigma, time)

    def motions(self) -> tuple[LidMotion, LidMotion, LidMotion]:
        """Return what the lids did: those of the run, and those of the left and the right eye."""
        lids = self._lids[self.eye].motion(self.since, self._time)
        left, right = (self._lids[eye].motion(lids.start, lids.end) for eye in (_LEFT, _RIGHT))
        return lids, left, right


class _Lid:
    """The openness of one eye, or of both, in a run."""

    def __init__(self, times: Sequence[float], history: Sequence[float]) -> None:
        before = float(np.quantile(history, 0.8)) if history else 1.0
        self._onset = before - _ONSET
        self._last: tuple[float, float] | None = (times[-1], history[-1]) if history else None
        self._start: float | None = None
        self._end: float | None = None
        self._low, self._sigma, self._peak = float("inf"), 0.0, 0.0
        open_at = max((i for i, openness in enumerate(history) if openness >= self._onset), default=-1)
        if 0 <= open_at < len(history) - 1:
            ends = (times[open_at], history[open_at]), (times[open_at + 1], history[open_at + 1])
            self._start = _crossing(*ends, self._onset)

    def update(self, openness: float, sigma: float, time: float) -> None:
        """Process the next frame."""
        last = self._last or (time, openness)
        if self._start is None and openness < self._onset:
            self._start = _crossing(last, (time, openness), self._onset)
        if openness < self._low:
            self._low, self._sigma, self._peak = openness, sigma, time
        if openness <= OPENED:
            self._end = None
        elif last[1] <= OPENED:
            self._end = _crossing(last, (time, openness), OPENED)
        self._last = time, openness

    def motion(self, start: float, end: float) -> LidMotion:
        """Return the motion; `start` and `end` stand for those of a lid that hardly moves, or does not open."""
        start = start if self._start is None else self._start
        end = end if self._end is None else self._end
        return LidMotion(start, self._peak, end, max(1 - self._low, 0.0), self._sigma)


class _TimeShare:
    """The share of a window of time in which something holds, in little memory whatever the frame rate."""

    def __init__(self, window: float) -> None:
        self._cells: deque[list[float]] = deque([[0.0, 0.0]])
        """Seconds, and seconds in which it holds."""
        self._window = window
        self._total = self._held = 0.0

    def update(self, holds: bool, step: float) -> float:
        """Take account of a frame, and return the share; NaN before any time has passed."""
        cell = self._cells[-1]
        if cell[0] >= _CELL:
            self._cells.append(cell := [0.0, 0.0])
            while self._total - self._cells[0][0] >= self._window:
                total, held = self._cells.popleft()
                self._total, self._held = self._total - total, self._held - held
        held = step if holds else 0.0
        cell[0], cell[1] = cell[0] + step, cell[1] + held
        self._total, self._held = self._total + step, self._held + held
        return min(max(self._held / self._total, 0.0), 1.0) if self._total else float("nan")


def _crossing(before: tuple[float, float], after: tuple[float, float], level: float) -> float:
    """Return the time at which a line between two (time, value) crosses a level."""
    (first, high), (last, low) = before, after
    return last if high == low else first + (last - first) * min(max((high - level) / (high - low), 0.0), 1.0)


def _winking_eye(sample: Sample, sigmas: Sample) -> int:
    """Return which eye is shut while the other is open, or both for none."""
    shut = _LEFT if sample[_LEFT] < sample[_RIGHT] else _RIGHT
    low, high = sample[shut], max(sample[_LEFT], sample[_RIGHT])
    sure = max(sigmas[_LEFT], sigmas[_RIGHT]) < _WINK_SIGMA
    return shut if sure and low < _WINK_SHUT and high > _WINK_OPEN and high - low > _WINK_DIFFERENCE else _BOTH
