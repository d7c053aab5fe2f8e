"""Draws things in front of a face, and tells which of its points they hide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from vtrack.data.occluders import kinds
from vtrack.data.occluders.face_frame import FaceFrame
from vtrack.data.occluders.kinds import CoveredFace, Kind, Layer
from vtrack.layouts import Layout
from vtrack.types import BoolArray, FloatArray, ImageArray

TAUGHT_KINDS: Mapping[str, float] = {
    "blob": 1.0,
    "patch": 0.7,
    "hand": 1.6,
    "bar": 0.6,
    "sunglasses": 0.5,
    "spectacles": 0.4,
}
"""Kinds that training draws, and how often."""
UNTAUGHT_KINDS = ("mask", "cup", "hair")
"""Kinds that no training draws: by them it is evaluated."""
MADE_KINDS: Mapping[str, Kind] = {name: getattr(kinds, name) for name in (*TAUGHT_KINDS, *UNTAUGHT_KINDS)}

_TWO = 0.2
"""Probability of two things."""
_OPAQUE = 0.5
"""Opacity from which a point behind it is hidden."""


def cover(
    image: ImageArray,
    points: FloatArray,
    layout: Layout,
    names: Sequence[str],
    other: ImageArray,
    rng: np.random.Generator,
) -> tuple[ImageArray, BoolArray]:
    """Draw things in front of a face.

    Args:
        image: (S, S, 3) crop.
        points: (L, 2) all points of the layout, in crop units.
        layout: What the points are.
        names: Kinds of the things, the farthest first.
        other: Another photograph, of which surfaces are taken.
        rng: Source of random numbers.

    Returns:
        The crop with them, and (L,) bool: which points they hide.
    """
    size = len(image)
    places = points * size - 0.5
    hidden = np.zeros(len(points), bool)
    frame = FaceFrame.of(places, layout)
    for name in names:
        layer = MADE_KINDS[name](CoveredFace(image, frame, other), rng)
        x, y = places.round().astype(int).clip(0, size - 1).T
        hidden |= (layer.mask[y, x] > _OPAQUE) & ((places > -0.5) & (places < size - 0.5)).all(1)
        image = _over(image, layer, rng)
    return image, hidden


def random_kinds(rng: np.random.Generator) -> list[str]:
    """One or two of the kinds that training draws."""
    shares = np.array([*TAUGHT_KINDS.values()])
    return [str(name) for name in rng.choice([*TAUGHT_KINDS], 1 + (rng.random() < _TWO), p=shares / shares.sum())]


def _over(image: ImageArray, layer: Layer, rng: np.random.Generator) -> ImageArray:
    """The crop with a layer, whose edge is as soft as that of things in photographs, and at times with its shadow."""
    mask = cv2.GaussianBlur(layer.mask.astype(np.float32), (0, 0), float(rng.uniform(0.3, 1.2)))
    below = image.astype(np.float32)
    if rng.random() < 0.5:
        reach, step = rng.uniform(0.01, 0.05) * len(image), rng.normal(0, 0.02 * len(image), 2)
        shadow = cv2.GaussianBlur(mask, (0, 0), float(reach))
        shadow = cv2.warpAffine(shadow, np.array([[1, 0, step[0]], [0, 1, step[1]]]), shadow.shape)
        below *= 1 - rng.uniform(0.1, 0.5) * shadow[..., None]
    mixed = below + mask[..., None] * (layer.colours - below)
    return np.asarray(mixed.clip(0, 255).astype(np.uint8))
