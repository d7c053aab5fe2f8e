"""How good smoothing is: faces of known motion, the jitter of a landmark model on top, and what each filter makes of it.

The figures: jitter of a still face, lag of a moving one, error to the truth, and how much of a blink's depth is left.
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

from filters.kalman import Kalman
from filters.motion import transition
from filters.rigid import ComplexArray, to_complex, to_plane
from pipelines.smooth import Smoother
from pipelines.steady import MODES
from vtrack.layouts import load_layout
from vtrack.parts import ANCHORS
from vtrack.types import Face, FloatArray, Frame, FrameResult, Query

FPS = 30
SECONDS = 8.0
SIZE = 100.0
"""Pixels between the outer corners of the eyes."""
_SETTLED = 30
"""Frames until a filter has settled; a still face's jitter counts from there."""

# Half of a mean face in units of the distance between the outer corners of the eyes: the median of w68's training part.
_HALF = dict(zip(
    (*range(9), *range(17, 22), *range(27, 34), *range(36, 42), *range(48, 52), *range(57, 63), 66, 67),
    (-0.83 - 0.42j, -0.81 - 0.21j, -0.78 + 0.01j, -0.75 + 0.22j, -0.67 + 0.42j, -0.54 + 0.59j, -0.38 + 0.74j,
     -0.20 + 0.85j, 0.88j, -0.67 - 0.59j, -0.56 - 0.68j, -0.43 - 0.70j, -0.28 - 0.68j, -0.14 - 0.63j, -0.46j, -0.32j,
     -0.18j, -0.03j, -0.17 + 0.06j, -0.09 + 0.09j, 0.12j, -0.50 - 0.44j, -0.41 - 0.49j, -0.31 - 0.49j, -0.22 - 0.42j,
     -0.32 - 0.40j, -0.42 - 0.40j, -0.31 + 0.33j, -0.21 + 0.28j, -0.09 + 0.25j, 0.28j, 0.50j, -0.09 + 0.49j,
     -0.21 + 0.44j, -0.26 + 0.34j, -0.09 + 0.33j, 0.34j, 0.39j, -0.09 + 0.38j),
    strict=True,
))  # fmt: skip
# Each eye's upper lid and the points of the lower lid that it meets.
_LIDS = (((37, 38), (41, 40)), ((43, 44), (47, 46)))
_LOWER_LIP = (*range(55, 60), 65, 66, 67)
_CHIN = range(4, 13)

# Jitter in % of the distance between the outer corners of the eyes, of each coordinate. Modelled on the early `fast` model
# (5.9 % error) on the sample clip `still`: 0.43 of parts and 0.30 of the head's shift from frame to frame, 0.53 in all
# with the native detector. The split is a choice, and it matters: slow jitter cannot be told from motion. `SLOW` is less
# than a detector with 2 % noise caused there (about 0.5), and with 0.5 the table's 5 and 3 times become 2.0 and 1.4.
WHITE, WHITE_REACH = 0.40, 0.15
"""New in every frame; points up to `WHITE_REACH` eye distances apart share much of it."""
SLOW, SLOW_SECONDS = 0.20, 0.2
"""Fades in about `SLOW_SECONDS`: what comes of the crop's trembling."""
COMMON = 0.25
"""Shift, turn and size of all points together, new in every frame."""


@dataclass(frozen=True, eq=False, slots=True)
class Clip:
    """A face whose motion is known."""

    name: str
    times: FloatArray
    """(frames,) seconds."""
    truth: ComplexArray
    """(frames, 68) in pixels, x + iy."""
    raw: ComplexArray
    """(frames, 68) the same as a model would see it."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one filter does. All but lag in %; jitter and errors of the distance between the outer corners of the eyes."""

    filter: str
    jitter: float
    """Standard deviation of each coordinate of a still face."""
    lag: float
    """Frames that a moving face's points come late, by cross-correlation; the worst clip."""
    blink: float
    """Depth of blinks that is kept."""
    errors: dict[str, float]
    """Mean distance to the truth in each clip."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Microseconds for one step of 98 points."""

    filterpy: float
    ours: float


def blink_times() -> FloatArray:
    """When the eyes are closed, in the clips with blinks."""
    return np.arange(0.6, SECONDS - 0.4, 0.73)


def clip(name: str, seed: int = 0, noise: float = 1.0) -> Clip:
    """`still`, `blink`, `talk`, `turn` (the head turns fast) or `shake` (it moves all the time)."""
    times = np.arange(round(SECONDS * FPS)) / FPS
    shape = np.tile(mean_face(), (len(times), 1))
    yaw, roll, scale = np.zeros_like(times), np.zeros_like(times), np.ones_like(times)
    shift: ComplexArray = np.zeros_like(times, np.complex128)
    if name in ("blink", "talk"):
        closed = _closed(times)
        for upper, lower in _LIDS:
            gap = (shape[0, list(lower)] - shape[0, list(upper)]).imag
            shape[:, upper] += 0.8j * gap * closed[:, None]
            shape[:, lower] -= 0.1j * gap * closed[:, None]
    if name == "talk":
        opening = 0.16 * np.clip(np.sin(8 * np.pi * times) * np.sin(np.pi * times), 0, 1)[:, None]
        shape[:, _LOWER_LIP] += 1j * opening
        shape[:, _CHIN] += 0.8j * opening * (1 - np.abs(np.arange(-4, 5)) / 5)
        roll, shift = 0.05 * np.sin(0.8 * np.pi * times), 0.05 * np.sin(0.6 * np.pi * times) + 0j
    if name == "turn":
        starts = np.arange(0.5, SECONDS - 0.5, 0.9)
        sides = sum((-1) ** i * 2 * _soft_step((times - start) / 0.35) for i, start in enumerate(starts)) - 1
        yaw, roll = np.deg2rad(35) * sides, 0.1 * np.sin(1.2 * np.pi * times)
        shift = 0.35 * np.sin(yaw) + 0.05j * np.sin(1.8 * np.pi * times)
    if name == "shake":
        shift = 0.3 * np.sin(2.4 * np.pi * times) + 0.15j * np.sin(1.6 * np.pi * times)
        roll, scale = 0.2 * np.sin(1.4 * np.pi * times), 1 + 0.15 * np.sin(0.6 * np.pi * times)
    seen = shape.real * np.cos(yaw)[:, None] + _depth() * np.sin(yaw)[:, None] + 1j * shape.imag
    truth = SIZE * (3 + 3j + shift[:, None] + scale[:, None] * seen * np.exp(1j * roll)[:, None])
    return Clip(name, times, truth, truth + noise * jitter(len(times), seed))


CLIPS = ("still", "blink", "talk", "turn", "shake")


def mean_face() -> ComplexArray:
    """(68,) upright, centred, in units of the distance between the outer corners of the eyes."""
    mirror = load_layout("300w").mirror
    return np.array([_HALF[i] if i in _HALF else -_HALF[int(mirror[i])].conjugate() for i in range(68)])


def jitter(frames: int, seed: int) -> ComplexArray:
    """(frames, 68) pixels of error as a landmark model makes it."""
    rng = np.random.default_rng(seed)
    face = mean_face()

    def normal(count: int) -> ComplexArray:
        return rng.normal(size=(frames, count)) + 1j * rng.normal(size=(frames, count))

    nearness = np.exp(-np.square(np.abs(face[:, None] - face) / WHITE_REACH) / 2)
    mixing = np.linalg.cholesky(nearness + 1e-9 * np.eye(len(face))).T
    own = (normal(len(face)) + normal(len(face)) @ mixing) / np.sqrt(2)
    slow = normal(len(face)) @ mixing
    keep = np.exp(-1 / (FPS * SLOW_SECONDS))
    for i in range(1, frames):
        slow[i] = keep * slow[i - 1] + np.sqrt(1 - keep**2) * slow[i]
    common = normal(2)
    together = (common[:, :1] + common[:, 1:] * face / np.sqrt((np.abs(face) ** 2).mean())) / np.sqrt(2)
    return SIZE / 100 * (WHITE * own + SLOW * slow + COMMON * together)


def filtered(clip: Clip, mode: str, **settings: object) -> ComplexArray:
    """(frames, 68) what the pipeline's smoother makes of a clip."""
    layout = load_layout("300w")
    pairs = list(zip(layout.query.parts, layout.query.positions, strict=True))
    also = [pairs.index(pair) for pair in zip(ANCHORS.parts, ANCHORS.positions, strict=True)]
    query = layout.query + ANCHORS
    points = to_plane(np.concatenate([clip.raw, clip.raw[:, also]], 1))
    sigma = np.full(len(query), SIGMA * SIZE / 100)
    smoother = Smoother(query, mode, **settings)  # type: ignore[arg-type]
    results: list[FrameResult] = []
    for i, moment in enumerate(clip.times):
        results += smoother.push(_result(i, float(moment), points[i], sigma, query))
    results += smoother.flush()
    return np.stack([to_complex(result.faces[0].points)[:68] for result in results])


SIGMA = 2.5
"""What the model says of its error, in % of the distance between the outer corners of the eyes."""


def bench(modes: Sequence[str] = ("none", *MODES[:-1]), seeds: int = 2) -> list[Row]:
    """The table, raw points (`none`) first."""
    rows = []
    for mode in modes:
        tracks = [(one, filtered(one, mode)) for seed in range(seeds) for name in CLIPS for one in [clip(name, seed)]]
        rows.append(
            Row(
                mode,
                _mean(_spread(points) for one, points in tracks if one.name == "still"),
                max((lag(one.truth, points) for one, points in tracks if one.name in ("turn", "shake")), key=abs),
                _mean(_blink_depth(one.truth, points) for one, points in tracks if one.name == "blink"),
                {name: _mean(_error(one, points) for one, points in tracks if one.name == name) for name in CLIPS},
            )
        )
    return rows


def lag(truth: ComplexArray, points: ComplexArray, reach: int = 6) -> float:
    """Frames by which `points` come after `truth`: the peak of the cross-correlation of their velocities."""
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


def speed(points: int = 98, steps: int = 300) -> Speed:
    """Our filter and filterpy's, both by the clock, on the same measurements."""
    rng = np.random.default_rng(0)
    dt = 1 / FPS
    given = rng.normal(size=(steps, points, 2)).cumsum(0)
    move, noise = np.kron(np.eye(2), transition(2, dt)), np.kron(np.eye(2), Q_discrete_white_noise(2, dt, 1.0))
    theirs = []
    for _ in range(points):
        one = KalmanFilter(4, 2)
        one.F, one.Q, one.H = move, noise, np.kron(np.eye(2), [[1.0, 0.0]])
        theirs.append(one)

    def their_step(step: int) -> None:
        for one, measured in zip(theirs, given[step], strict=True):
            one.predict()
            one.update(measured)

    ours = Kalman(1, points)
    return Speed(
        _microseconds(their_step, max(steps // 10, 1)),
        _microseconds(lambda step: ours.step(given[step][None], 1.0, 1.0, dt), steps),
    )


def plot(path: Path, mode: str = "rts") -> None:
    """Truth, raw and smooth of a still face, a blink and a fast turn."""
    import matplotlib

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
            panel.plot(one.times[shown], (trace(values)[shown] - level) / SIZE * 100, **style)
        panel.set_title(title, loc="left")
        panel.set_ylabel("% of eye distance")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
    panels[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _result(index: int, moment: float, points: FloatArray, sigma: FloatArray, query: Query) -> FrameResult:
    """A frame without a picture and its one face."""
    low, high = points.min(0), points.max(0)
    face = Face(0, np.concatenate([low, high - low]), 1.0, points, sigma, points, query)
    frame = Frame(np.zeros((2, 2, 3), np.uint8), index, index, Fraction(1, FPS))
    return FrameResult(frame, (face,), query)


def _closed(times: FloatArray) -> FloatArray:
    """(frames,) how far the eyes are closed, 0..1: 90 ms down, 20 ms shut, 170 ms up."""
    after = times[:, None] - blink_times()
    down, up = np.clip(-after / 0.09, 0, 1), np.clip((after - 0.02) / 0.17, 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * np.where(after < 0, down, up))).max(1)


def _soft_step(share: FloatArray) -> FloatArray:
    """0 to 1 without a jerk."""
    share = np.clip(share, 0, 1)
    return share**3 * (10 - 15 * share + 6 * share**2)


def _depth() -> FloatArray:
    """(68,) towards the viewer, in the units of `mean_face`."""
    depth = 0.3 - 0.5 * np.abs(mean_face().real)
    depth[:17] = 0.1 - 0.9 * np.abs(mean_face()[:17].real)
    depth[27:36] = 0.3, 0.4, 0.5, 0.6, 0.4, 0.42, 0.45, 0.42, 0.4
    return depth


def _spread(points: ComplexArray) -> float:
    still = points[_SETTLED:]
    return float(np.sqrt(np.square(np.abs(still - still.mean(0))).mean() / 2) / SIZE * 100)


def _error(clip: Clip, points: ComplexArray) -> float:
    return float(np.abs(points - clip.truth).mean() / SIZE * 100)


def _blink_depth(truth: ComplexArray, points: ComplexArray) -> float:
    """Share of the eyes' closing that is left, in %, over all blinks."""
    upper, lower = ([point for lids in _LIDS for point in lids[side]] for side in (0, 1))
    depths = []
    for eyes in (truth, points):
        opening = np.abs(eyes[:, lower] - eyes[:, upper]).mean(1)
        places = np.round(blink_times() * FPS).astype(int)
        depths.append([np.median(opening[p - 10 : p - 5]) - opening[p - 3 : p + 5].min() for p in places])
    return float(100 * np.mean(np.divide(depths[1], depths[0])))


def _mean(values: object) -> float:
    return float(np.mean(list(values)))  # type: ignore[call-overload]


def _microseconds(step: Callable[[int], object], steps: int) -> float:
    """Of one step, in the best of several rounds: the others tell what else the machine had to do."""
    rounds = []
    for _ in range(7):
        began = time.perf_counter()
        for i in range(steps):
            step(i)
        rounds.append((time.perf_counter() - began) / steps * 1e6)
    return min(rounds)
