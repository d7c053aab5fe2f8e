"""Outlines of things as masks (S, S), 0 outside and 1 inside, with smooth edges."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from vtrack.types import FloatArray

_BITS = 4
"""Binary places of pixels that OpenCV draws with."""


def polygon(size: int, corners: FloatArray) -> FloatArray:
    """The inside of a polygon (n, 2) in pixels."""
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [_fixed(corners)], 255, cv2.LINE_AA, _BITS)
    return mask.astype(np.float32) / 255


def strokes(size: int, lines: Iterable[FloatArray], widths: Iterable[float]) -> FloatArray:
    """Lines (n, 2) in pixels with round ends, of these widths in pixels."""
    mask = np.zeros((size, size), np.uint8)
    for line, width in zip(lines, widths, strict=True):
        cv2.polylines(mask, [_fixed(line)], False, 255, max(round(width), 1), cv2.LINE_AA, _BITS)
    return mask.astype(np.float32) / 255


def ellipse(
    center: FloatArray, axes: FloatArray, angle: float = 0.0, power: float = 2.0, count: int = 48
) -> FloatArray:
    """(count, 2) corners of an ellipse turned by an angle in radians; of a rounded rectangle if the power is above 2."""
    around = np.linspace(0, 2 * np.pi, count, endpoint=False)
    circle = np.stack([np.cos(around), np.sin(around)], -1)
    return np.asarray(center + turned(np.sign(circle) * np.abs(circle) ** (2 / power) * axes, angle))


def blob(center: FloatArray, axes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(64, 2) corners of a random round outline."""
    around = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = np.arange(2, 7)
    heights = rng.normal(0, 0.35, 5) / waves
    radius = 1 + np.cos(waves * around[:, None] + rng.uniform(0, 2 * np.pi, 5)) @ heights
    corners = np.stack([np.cos(around), np.sin(around)], -1) * radius[:, None] * axes
    return np.asarray(center + turned(corners, rng.uniform(0, 2 * np.pi)))


def rectangle(center: FloatArray, axes: FloatArray, angle: float) -> FloatArray:
    """(4, 2) corners of a turned rectangle with these half sides."""
    return np.asarray(center + turned(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * axes, angle))


def turned(places: FloatArray, angle: float) -> FloatArray:
    """Places (..., 2) turned about (0, 0), clockwise on screen, by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(places @ np.array([[cos, sin], [-sin, cos]]))


def _fixed(places: FloatArray) -> FloatArray:
    """Pixels as OpenCV draws them, far ones cut off."""
    return (places.clip(-4096, 4096) * 2**_BITS).round().astype(np.int32)
