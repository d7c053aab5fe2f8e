"""Benchmark of the smoothing filters on faces of known motion with the jitter of a landmark model added.

Four figures per filter: jitter of a still face, lag on a moving face, error against the truth, and the share of a blink's depth
that remains.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from filterpy.common import Q_discrete_white_noise
from filterpy.kalman import KalmanFilter

from vtrack.anchors import ANCHORS
from vtrack.filters.kalman import Kalman
from vtrack.filters.motion import transition
from vtrack.filters.rigid import ComplexArray, to_complex, to_plane
from vtrack.layouts import load_layout
from vtrack.pipelines.bench.smoothing_clips import CLIPS, FPS, LIDS, Clip, blink_times, clip
from vtrack.pipelines.registry import METHODS
from vtrack.pipelines.smoothing.smoother import Smoother
from vtrack.types import Face, FloatArray, Frame, FrameResult, Query

_SETTLED = 30
"""Frames until a filter has settled; the jitter of a still face is measured from there on."""
_SHUT = 0.3
"""An eye is closed below this share of its median opening."""
_OPEN = 0.75
"""Quantile of the opening around a blink that is the opening of the open eye."""
MOVING, BLINKING = ("turn", "shake", "sample"), ("blink", "sample")
"""Clips in which the head moves a lot (for the lag), and clips with blinks."""


@dataclass(frozen=True, slots=True)
class FilterScores:
    """Figures of one filter. Jitter and errors are in % of the distance between the outer corners of the eyes."""

    filter: str
    jitter: float
    """Standard deviation of each coordinate on a still face."""
    lag: float
    """Delay of a moving face's points in frames, by cross-correlation, in the worst clip."""
    blink: float
    """Depth of blinks that remains, in %."""
    errors: dict[str, float]
    """Mean distance to the truth in each clip, in %."""


@dataclass(frozen=True, slots=True)
class FilterSpeed:
    """Microseconds per step of 98 points."""

    filterpy: float
    ours: float


def filtered(clip: Clip, mode: str, **settings: object) -> ComplexArray:
    """The points (frames, 68) of a clip after the pipeline's smoother in this mode."""
    layout = load_layout("300w")
    pairs = list(zip(layout.query.parts, layout.query.positions, strict=True))
    anchors = [pairs.index(pair) for pair in zip(ANCHORS.parts, ANCHORS.positions, strict=True)]
    query = layout.query + ANCHORS
    points = to_plane(np.concatenate([clip.raw, clip.raw[:, anchors]], 1))
    sigma = np.concatenate([clip.sigma, clip.sigma[:, anchors]], 1)
    smoother = Smoother(query, mode, **settings)  # type: ignore[arg-type]
    results: list[FrameResult] = []
    for i, moment in enumerate(clip.times):
        results += smoother.push(_result(i, float(moment), points[i], sigma[i], query))
    results += smoother.flush()
    return np.stack([to_complex(result.faces[0].points)[:68] for result in results])


_MODES = ("none", *(mode for mode in METHODS if mode != "none"))


def score_filters(clips: Sequence[Clip] | None = None, modes: Sequence[str] = _MODES) -> list[FilterScores]:
    """Score each smoothing mode.

    Args:
        clips: Faces of known motion; None for synthetic ones.
        modes: Smoothing modes; `none` leaves the points as they are.

    Returns:
        One row per mode, in their order.
    """
    if clips is None:
        clips = [clip(name, seed) for seed in range(2) for name in CLIPS]
    rows, names = [], list(dict.fromkeys(one.name for one in clips))
    for mode in modes:
        tracks = [(one, filtered(one, mode)) for one in clips]
        rows.append(
            FilterScores(
                mode,
                _mean(_spread(points, one.size) for one, points in tracks if one.name == "still"),
                max((lag(one.truth, points) for one, points in tracks if one.name in MOVING), key=abs, default=np.nan),
                _mean(_blink_depth(one.truth, points) for one, points in tracks if one.name in BLINKING),
                {name: _mean(_error(*track) for track in tracks if track[0].name == name) for name in names},
            )
        )
    return rows


def lag(truth: ComplexArray, points: ComplexArray, reach: int = 6) -> float:
    """Delay of `points` after `truth` in frames: the peak of the cross-correlation of their velocities."""
    one, other = (np.diff(motion, axis=0) for motion in (truth, points))
    one, other = one - one.mean(0), other - other.mean(0)
    count = len(one)
    shifts = np.arange(-reach, reach + 1)
    match = np.array([
        (one[max(0, -k) : count - max(0, k)].conj() * other[max(0, k) : count - max(0, -k)]).real.sum() / (count - abs(k))
        for k in range(-reach, reach + 1)
    ])  # fmt: skip
    peak = int(np.clip(match.argmax(), 1, len(shifts) - 2))
    before, top, after = match[peak - 1 : peak + 2]
    return float(shifts[peak] + (before - after) / (before - 2 * top + after) / 2)


def filter_speed(points: int = 98, steps: int = 300) -> FilterSpeed:
    """Time the Kalman filter of vtrack and that of filterpy on the same measurements."""
    rng = np.random.default_rng(0)
    dt = 1 / FPS
    measurements = rng.normal(size=(steps, points, 2)).cumsum(0)
    move, noise = np.kron(np.eye(2), transition(2, dt)), np.kron(np.eye(2), Q_discrete_white_noise(2, dt, 1.0))
    filters = []
    for _ in range(points):
        one = KalmanFilter(4, 2)
        one.F, one.Q, one.H = move, noise, np.kron(np.eye(2), [[1.0, 0.0]])
        filters.append(one)

    def filterpy_step(step: int) -> None:
        for one, measured in zip(filters, measurements[step], strict=True):
            one.predict()
            one.update(measured)

    ours = Kalman(1, points)
    return FilterSpeed(
        _microseconds(filterpy_step, max(steps // 10, 1)),
        _microseconds(lambda step: ours.step(measurements[step][None], 1.0, 1.0, dt), steps),
    )


def plot_traces(path: Path, mode: str = "rts") -> None:
    """Plot truth, raw points and smoothed points of a still face, a blink and a fast turn."""
    import matplotlib  # an extra, and slow to import

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(3, 1, figsize=(9, 9), layout="constrained")
    blink = blink_times()[3]
    for panel, (name, title, trace, start, stop) in zip(panels, (
        ("still", "Still face: outer corner of an eye, across", lambda z: z[:, 36].real, 3.0, 6.0),
        ("blink", "Blink: opening of an eye", lambda z: np.abs(z[:, 41] - z[:, 37]), blink - 0.4, blink + 0.9),
        ("turn", "Fast turn: tip of the nose, across", lambda z: z[:, 30].real, 1.2, 2.9),
    ), strict=True):  # fmt: skip
        one = clip(name)
        shown = (one.times >= start) & (one.times <= stop)
        smooth = filtered(one, mode)
        level = trace(one.truth)[shown].mean() if name == "still" else 0.0
        for values, style in (
            (one.raw, {"color": "#e08214", "marker": ".", "linewidth": 0.8, "label": "raw"}),
            (one.truth, {"color": "black", "linewidth": 2.6, "alpha": 0.35, "label": "truth"}),
            (smooth, {"color": "#2166ac", "linewidth": 1.6, "label": f"smooth ({mode})"}),
        ):
            panel.plot(one.times[shown], (trace(values)[shown] - level) / one.size * 100, **style)
        panel.set_title(title, loc="left")
        panel.set_ylabel("% of eye distance")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
    panels[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _result(index: int, moment: float, points: FloatArray, sigma: FloatArray, query: Query) -> FrameResult:
    """A result of one face in a frame without pixels."""
    low, high = points.min(0), points.max(0)
    face = Face(0, np.concatenate([low, high - low]), 1.0, points, sigma, points, query)
    frame = Frame(np.zeros((2, 2, 3), np.uint8), index, index, Fraction(1, FPS))
    return FrameResult(frame, (face,), query)


def _spread(points: ComplexArray, size: float) -> float:
    still = points[_SETTLED:]
    return float(np.sqrt(np.square(np.abs(still - still.mean(0))).mean() / 2) / size * 100)


def _error(clip: Clip, points: ComplexArray) -> float:
    return float(np.abs(points - clip.truth).mean() / clip.size * 100)


def _blink_depth(truth: ComplexArray, points: ComplexArray) -> float:
    """Remaining share of the depth of blinks in %, mean over all blinks; NaN without blinks."""
    true = _opening(truth)
    shut = np.flatnonzero(true < _SHUT * np.median(true))
    blinks = [frames for frames in np.split(shut, np.flatnonzero(np.diff(shut) > 1) + 1) if len(frames)]
    around = [slice(max(frames[0] - 12, 0), frames[-1] + 13) for frames in blinks]
    true_depths, depths = (
        np.array([np.quantile(opening[one], _OPEN) - opening[one].min() for one in around])
        for opening in (true, _opening(points))
    )
    return float(100 * np.mean(depths / true_depths)) if blinks else np.nan


def _opening(points: ComplexArray) -> FloatArray:
    """Mean gap between the lids (frames,)."""
    upper, lower = ([point for lids in LIDS for point in lids[side]] for side in (0, 1))
    return np.asarray(np.abs(points[:, lower] - points[:, upper]).mean(1))


def _mean(values: object) -> float:
    known = list(values)  # type: ignore[call-overload]
    return float(np.mean(known)) if known else np.nan


def _microseconds(step: Callable[[int], object], steps: int) -> float:
    """Microseconds of one step in the fastest of seven rounds; slower rounds measure other load of the machine."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        for i in range(steps):
            step(i)
        times.append((time.perf_counter() - start) / steps * 1e6)
    return min(times)
