"""Surfaces of things: colours (S, S, 3) in floats, 0 to 255."""

from __future__ import annotations

import cv2
import numpy as np

from vtrack.types import FloatArray, ImageArray

_SKIN = np.array([[245, 214, 190], [226, 178, 143], [190, 133, 98], [134, 86, 60], [78, 48, 34]], np.float32)
"""Tones of skin, light to dark."""


def plain(size: int, rng: np.random.Generator) -> FloatArray:
    """A colour that changes evenly from one side to the other."""
    return tinted(rng.uniform(0, 255, 3), size, rng)


def tinted(colour: FloatArray, size: int, rng: np.random.Generator, spread: float = 0.25) -> FloatArray:
    """A colour lit from a side; its brightness changes by up to `spread` either way."""
    steps = np.linspace(-1, 1, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, spread) * (np.cos(angle) * steps + np.sin(angle) * steps[:, None])
    return np.asarray(light[..., None] * np.asarray(colour, np.float32))


def clouds(size: int, rng: np.random.Generator) -> FloatArray:
    """Soft or coarse spots of random colours."""
    cells = int(rng.integers(2, 25))
    spots = rng.uniform(-1, 1, (cells, cells, 3 if rng.random() < 0.5 else 1)).astype(np.float32)
    large = cv2.resize(spots, (size, size), interpolation=cv2.INTER_CUBIC).reshape(size, size, -1)
    return rng.uniform(20, 235, 3) + large * np.float32(rng.uniform(10, 90))


def stripes(size: int, rng: np.random.Generator) -> FloatArray:
    """Stripes or checks of two colours."""
    one, other = rng.uniform(0, 255, (2, 3))
    angle, wave = rng.uniform(0, np.pi), rng.uniform(4, 24)
    places = np.arange(size)
    along = (np.cos(angle) * places + np.sin(angle) * places[:, None]) * 2 * np.pi / wave
    across = (np.cos(angle) * places[:, None] - np.sin(angle) * places) * 2 * np.pi / wave
    waves = np.sin(along) * (np.sin(across) if rng.random() < 0.4 else 1.0)
    share = 0.5 + 0.5 * np.tanh(waves * rng.uniform(1, 6))
    return np.asarray(one + share[..., None] * (other - one))


def photograph(size: int, other: ImageArray, rng: np.random.Generator) -> FloatArray:
    """A piece of another photograph: its background, clothes, or face."""
    side = int(rng.uniform(0.15, 0.6) * min(other.shape[:2]))
    y, x = (int(rng.integers(0, length - side + 1)) for length in other.shape[:2])
    piece = cv2.resize(other[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_LINEAR)
    return np.rot90(piece, int(rng.integers(4))).astype(np.float32)


def anything(size: int, other: ImageArray, rng: np.random.Generator) -> FloatArray:
    """One of the surfaces above."""
    kind = rng.random()
    if kind < 0.3:
        return plain(size, rng)
    if kind < 0.5:
        return clouds(size, rng)
    return stripes(size, rng) if kind < 0.6 else photograph(size, other, rng)


def skin(image: ImageArray, cheeks: FloatArray, mask: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Skin of the tone of these cheeks, places (n, 2) in pixels, or of another person; shaded towards its edge.

    Args:
        image: (S, S, 3) the crop.
        cheeks: (n, 2) places in pixels.
        mask: (S, S) where the skin is, 0 to 1.
        rng: Source of random numbers.
    """
    size = len(image)
    x, y = cheeks.round().astype(int).clip(0, size - 1).T
    tone = np.median(image[y, x], axis=0) * rng.uniform(0.75, 1.2) + rng.normal(0, 6, 3)
    if rng.random() < 0.3:
        tone = _SKIN[int(rng.integers(len(_SKIN)))] * rng.uniform(0.7, 1.05)
    depth = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    shade = 1 - rng.uniform(0.1, 0.5) * np.exp(-depth / rng.uniform(1, 0.05 * size))
    spots = cv2.resize(rng.normal(0, 1, (9, 9)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    surface = tinted(tone, size, rng, 0.35) * (shade * (1 + rng.uniform(0.01, 0.06) * spots))[..., None]
    return np.asarray(surface)
