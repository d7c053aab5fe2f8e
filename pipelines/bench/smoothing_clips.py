"""Clips of faces of known motion for the smoothing benchmark: synthetic with added jitter, or rendered and tracked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vtrack.detectors import load_detector
from vtrack.errors import SourceError
from vtrack.filters.rigid import ComplexArray, to_complex
from vtrack.layouts import load_layout
from vtrack.models import load_model
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.sources.scene_cuts import mark_cuts
from vtrack.pipelines.tracking.landmarks import Landmarker
from vtrack.pipelines.tracking.offline import OfflineFollower
from vtrack.types import FloatArray, Frame

FPS = 30
SECONDS = 8.0
SIZE = 100.0
"""Pixels between the outer corners of the eyes."""
SIGMA = 2.5
"""Standard deviation that the model predicts, in % of the distance between the outer corners of the eyes."""

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
# Points of the upper lid of each eye, and the points of the lower lid opposite to them.
LIDS = (((37, 38), (41, 40)), ((43, 44), (47, 46)))
_LOWER_LIP = (*range(55, 60), 65, 66, 67)
_CHIN = range(4, 13)

# Jitter of each coordinate in % of the distance between the outer corners of the eyes. Fitted to an early model (error 5.9 %)
# on the clip `still` with unstable crops. Current models and crops jitter less; `filmed` measures how much is left. The split
# between fast and slow jitter is a choice, and it matters: a filter cannot tell slow jitter from motion.
WHITE, WHITE_REACH = 0.40, 0.15
"""Independent in every frame, correlated between points up to about `WHITE_REACH` eye distances apart."""
SLOW, SLOW_SECONDS = 0.20, 0.2
"""Correlated over about `SLOW_SECONDS` seconds, as caused by unstable crops."""
COMMON = 0.25
"""Shift, rotation and scale of all points together, independent in every frame."""

STILL_FRAMES = 150
"""Frames of the still clip that `filmed` makes."""
SENSOR = 5.0
"""Standard deviation of the sensor noise on them, in grey levels."""


@dataclass(frozen=True, eq=False, slots=True)
class Clip:
    """A face whose motion is known, and the points that a model predicts for it."""

    name: str
    times: FloatArray
    """(frames,) seconds."""
    truth: ComplexArray
    """(frames, 68) true points in pixels, x + iy."""
    raw: ComplexArray
    """(frames, 68) predicted points in pixels, x + iy."""
    sigma: FloatArray
    """(frames, 68) predicted standard deviation in pixels."""
    size: float
    """Pixels between the outer corners of the eyes."""


def blink_times() -> FloatArray:
    """Times in seconds at which the eyes are closed, in the clips with blinks."""
    return np.arange(0.6, SECONDS - 0.4, 0.73)


def clip(name: str, seed: int = 0, noise: float = 1.0) -> Clip:
    """Make a synthetic clip.

    Args:
        name: `still`, `blink`, `talk`, `turn` (fast head turns) or `shake` (constant head motion).
        seed: Seed of the jitter.
        noise: Factor on the jitter.
    """
    times = np.arange(round(SECONDS * FPS)) / FPS
    shape = np.tile(mean_face(), (len(times), 1))
    yaw, roll, scale = np.zeros_like(times), np.zeros_like(times), np.ones_like(times)
    shift: ComplexArray = np.zeros_like(times, np.complex128)
    if name in ("blink", "talk"):
        closed = _closed(times)
        for upper, lower in LIDS:
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
    raw = truth + noise * jitter(len(times), seed)
    return Clip(name, times, truth, raw, np.full(raw.shape, SIGMA * SIZE / 100), SIZE)


CLIPS = ("still", "blink", "talk", "turn", "shake")


def mean_face() -> ComplexArray:
    """Mean face (68,), upright and centred, in units of the distance between the outer corners of the eyes."""
    mirror = load_layout("300w").mirror
    return np.array([_HALF[i] if i in _HALF else -_HALF[int(mirror[i])].conjugate() for i in range(68)])


def jitter(frames: int, seed: int) -> ComplexArray:
    """Error of a landmark model (frames, 68) in pixels."""
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


def filmed(video: Path) -> list[Clip]:
    """Track a rendered clip with the default model and detector.

    Args:
        video: A clip made by `samples/make_samples.py`, with its table of true points beside it.

    Returns:
        A still clip, which repeats the first frame with new sensor noise in each frame, and the whole clip.

    Raises:
        SourceError: The detector missed the face in some frame.
    """
    points = np.loadtxt(video.with_suffix(".csv"), delimiter=",", skiprows=1, usecols=range(4, 4 + 2 * 68))
    truth = to_complex(points.reshape(-1, 68, 2))
    with open_source(video) as source:
        first = next(iter(source))
    model, detector, query = load_model(), load_detector(), load_layout("300w").query
    clips = []
    for name in ("still", video.stem):
        with open_source(video) as source:
            frames = _still(first) if name == "still" else source
            seen = list(OfflineFollower(detector, Landmarker(model, query), max_faces=1).follow(mark_cuts(frames)))
        if any(len(sightings) != 1 for _, sightings in seen):
            raise SourceError(f"{video}: exactly one face must be detected in every frame")
        sightings = [next(iter(sightings.values())) for _, sightings in seen]
        places = truth[[0] * len(seen)] if name == "still" else truth
        raw = to_complex(np.stack([sighting.points[:68] for sighting in sightings]))
        sigma = np.stack([sighting.sigma[:68] for sighting in sightings])
        times = np.array([frame.time for frame, _ in seen])
        clips.append(Clip(name, times, places, raw, sigma, float(np.abs(places[:, 45] - places[:, 36]).mean())))
    return clips


def _still(frame: Frame) -> Iterator[Frame]:
    """Repeat a frame with new sensor noise each time."""
    rng = np.random.default_rng(0)
    for i in range(STILL_FRAMES):
        noisy = frame.image + rng.normal(0, SENSOR, frame.image.shape)
        yield Frame(np.clip(np.round(noisy), 0, 255).astype(np.uint8), i, i, Fraction(1, FPS))


def _closed(times: FloatArray) -> FloatArray:
    """How far the eyes are closed (frames,), 0..1: 90 ms closing, 20 ms closed, 170 ms opening."""
    after = times[:, None] - blink_times()
    down, up = np.clip(-after / 0.09, 0, 1), np.clip((after - 0.02) / 0.17, 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * np.where(after < 0, down, up))).max(1)


def _soft_step(share: FloatArray) -> FloatArray:
    """Smooth step from 0 to 1 (minimum jerk)."""
    share = np.clip(share, 0, 1)
    return share**3 * (10 - 15 * share + 6 * share**2)


def _depth() -> FloatArray:
    """Depth (68,) towards the viewer, in the units of `mean_face`."""
    depth = 0.3 - 0.5 * np.abs(mean_face().real)
    depth[:17] = 0.1 - 0.9 * np.abs(mean_face()[:17].real)
    depth[27:36] = 0.3, 0.4, 0.5, 0.6, 0.4, 0.42, 0.45, 0.42, 0.4
    return depth
