"""Clips of photographed faces whose true points are known: a moving photograph that is clear for a second, then ever worse."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from vtrack.types import FloatArray, ImageArray

FPS = 25
LEVELS = 4
"""Seconds of a clip: a clear one, and three of growing strength."""
_SIZE = 360
"""Side of the frames in pixels."""
_UNITS = 60.0, 110.0
"""Range of the pixels between the outer corners of the eyes."""
_CRF = 12
"""Quality of the clips, so high that they are as good as the pictures."""


@dataclass(frozen=True, eq=False, slots=True)
class _Scene:
    """What a degradation may depend on."""

    unit: float
    """Pixels between the outer corners of the eyes."""
    middle: float
    """Height of the middle of the face."""
    swing: float
    """-1 to 1, to and fro over time."""
    rng: np.random.Generator


@dataclass(frozen=True, eq=False, slots=True)
class DegradedClip:
    """A clip, and the true points of its frames."""

    path: Path
    person: str
    kind: str
    truth: FloatArray
    """(frames, points, 2) of the frames that were not dropped."""


def _blur(image: ImageArray, level: int, scene: _Scene) -> ImageArray:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), scene.unit * (0.04, 0.09, 0.18)[level]), np.uint8)


def _noise(image: ImageArray, level: int, scene: _Scene) -> ImageArray:
    return _clipped(image + scene.rng.normal(0, (20, 50, 100)[level], image.shape))


def _small(image: ImageArray, level: int, scene: _Scene) -> ImageArray:
    side = round(_SIZE * (28, 14, 8)[level] / scene.unit)
    reduced = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (_SIZE, _SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _dark(image: ImageArray, level: int, scene: _Scene) -> ImageArray:
    return _clipped(np.rint(image * (0.3, 0.1, 0.04)[level] + scene.rng.normal(0, 2.5, image.shape)))


def _bar(image: ImageArray, level: int, scene: _Scene) -> ImageArray:
    height, middle = scene.unit * (0.25, 0.5, 0.8)[level], scene.middle + 0.5 * scene.unit * scene.swing
    covered = image.copy()
    covered[max(round(middle - height / 2), 0) : max(round(middle + height / 2), 0)] = 90, 70, 60
    return covered


def _unchanged(image: ImageArray, level: int, scene: _Scene) -> ImageArray:
    return image


KINDS: Mapping[str, Callable[[ImageArray, int, _Scene], ImageArray]] = {
    "blur": _blur,
    "noise": _noise,
    "low resolution": _small,
    "compression": _unchanged,
    "darkness": _dark,
    "bar": _bar,
    "dropped frames": _unchanged,
}
"""How a picture (H, W, 3) is degraded at a level of 0 to 2."""
_COMPRESSION = 36, 43, 50
"""CRF of each level."""
_KEPT = 2, 3, 5
"""One of so many frames is kept at each level."""


def make_clip(image: ImageArray, points: FloatArray, kind: str, distance: float, seed: int, path: Path) -> FloatArray:
    """Film a photograph that sways, turns and comes nearer, degraded ever more from its second second.

    Args:
        image: (H, W, 3) the photograph.
        points: (points, 2) the points of its face.
        kind: Name in `KINDS`.
        distance: Pixels between the outer corners of the eyes.
        seed: Seed of motion and noise.
        path: File to write.

    Returns:
        (frames, points, 2) the points in the frames that were not dropped.
    """
    rng = np.random.default_rng(seed)
    phases, centre = rng.uniform(0, 1, 6), points.mean(0)
    zoom = rng.uniform(*_UNITS) / distance
    times = np.arange(FPS * LEVELS) / FPS
    levels = np.floor(times).astype(int)
    frames, truth = [], np.empty((len(times), *points.shape))

    def wave(time: float, rate: float, phase: float) -> float:
        return float(np.sin(2 * np.pi * (rate * time + phase)))

    for i, time in enumerate(times.tolist()):
        nearer = zoom * (1 + 0.06 * wave(time, 0.35, phases[1]))
        matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), 6 * wave(time, 0.45, phases[0]), nearer)
        matrix[:, 2] += _SIZE / 2 - centre + (25 * wave(time, 0.5, phases[2]), 15 * wave(time, 0.6, phases[3]))
        way = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        frame = cv2.warpAffine(image, matrix, (_SIZE, _SIZE), flags=way, borderMode=cv2.BORDER_REPLICATE)
        truth[i] = points @ matrix[:, :2].T + matrix[:, 2]
        scene = _Scene(distance * zoom, float(truth[i, :, 1].mean()), wave(time, 0.7, phases[4]), rng)
        frames.append(KINDS[kind](np.asarray(frame, np.uint8), levels[i] - 1, scene) if levels[i] else frame)
    if kind == "compression":
        for level, crf in enumerate(_COMPRESSION, 1):
            own = slice(level * FPS, (level + 1) * FPS)
            frames[own] = _compressed(frames[own], crf)
    kept = np.ones(len(times), bool)
    if kind == "dropped frames":
        steps = np.array([1, *_KEPT])[levels]
        kept = np.arange(len(times)) % steps == 0
    indices = np.flatnonzero(kept)
    _encode(str(path), [frames[i] for i in indices], indices.tolist(), _CRF)
    return np.asarray(truth[kept])


def _compressed(frames: list[ImageArray], crf: int) -> list[ImageArray]:
    """Frames after a compression."""
    buffer = io.BytesIO()
    _encode(buffer, frames, range(len(frames)), crf)
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def _encode(target: Any, frames: list[ImageArray], ticks: Any, crf: int) -> None:
    """Write frames at so many ticks of a frame's duration as MP4."""
    with av.open(target, "w", format="mp4") as output:
        stream: Any = output.add_stream("libx264", rate=FPS)
        stream.width = stream.height = _SIZE
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
        stream.options = {"preset": "veryfast", "crf": str(crf)}
        for tick, image in zip(ticks, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = tick, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _clipped(image: FloatArray) -> ImageArray:
    return np.clip(image, 0, 255).astype(np.uint8)
