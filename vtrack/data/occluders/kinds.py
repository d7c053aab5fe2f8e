"""Kinds of things in front of a face. Each draws itself: a mask of how opaque it is, and its colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vtrack.data.occluders import outlines, textures
from vtrack.data.occluders.face_frame import FaceFrame
from vtrack.types import FloatArray, ImageArray

_CHEEKS = np.array([[-0.45, 0.55], [0.45, 0.55], [0.0, 0.5], [-0.3, 0.7], [0.3, 0.7], [0.0, -0.4]])
"""Places of skin in coordinates of the face."""


@dataclass(frozen=True, eq=False, slots=True)
class CoveredFace:
    """The face that something is drawn in front of."""

    image: ImageArray
    """(S, S, 3) the crop."""
    frame: FaceFrame
    other: ImageArray
    """Another photograph, for surfaces."""

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        return len(self.image)


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """Something drawn."""

    mask: FloatArray
    """(S, S) how opaque it is, 0 to 1."""
    colours: FloatArray
    """(S, S, 3)"""


Kind = Callable[[CoveredFace, np.random.Generator], Layer]


def blob(face: CoveredFace, rng: np.random.Generator) -> Layer:
    """A round thing of any surface, on the face or beside it."""
    axes = face.frame.unit * np.exp(rng.normal(-0.8, 0.4, 2))
    mask = outlines.polygon(face.size, outlines.blob(_somewhere(face, rng), axes, rng))
    return Layer(mask, textures.anything(face.size, face.other, rng))


def patch(face: CoveredFace, rng: np.random.Generator) -> Layer:
    """A box, or a piece of paper."""
    axes = face.frame.unit * np.exp(rng.normal(-0.9, 0.4, 2))
    corners = outlines.rectangle(_somewhere(face, rng), axes, rng.uniform(0, np.pi))
    return Layer(outlines.polygon(face.size, corners), textures.anything(face.size, face.other, rng))


def bar(face: CoveredFace, rng: np.random.Generator) -> Layer:
    """A rod across the face, often with a ball at its end: a microphone, a tool, a railing."""
    start, unit = _somewhere(face, rng), face.frame.unit
    angle = rng.uniform(0, 2 * np.pi)
    way = np.array([np.cos(angle), np.sin(angle)])
    width = unit * rng.uniform(0.08, 0.35)
    from_start = 0.0 if rng.random() < 0.7 else -3.0 * unit
    mask = outlines.strokes(face.size, [np.stack([start + from_start * way, start + 4 * unit * way])], [width])
    if rng.random() < 0.5:
        mask = np.maximum(mask, outlines.polygon(face.size, outlines.ellipse(start, width * rng.uniform(0.7, 1.6, 2))))
    places = np.arange(face.size)
    across = ((places - start[0]) * -way[1] + (places[:, None] - start[1]) * way[0]) / width
    gloss = np.exp(-((across - rng.uniform(-0.3, 0.3)) ** 2) * 12) * rng.uniform(0, 120)
    return Layer(mask, textures.plain(face.size, rng) * rng.uniform(0.3, 1) + gloss[..., None])


def hand(face: CoveredFace, rng: np.random.Generator) -> Layer:
    """A hand with its fingers together or apart, and the arm behind it."""
    unit = face.frame.unit * rng.uniform(0.75, 1.15)
    side = rng.choice([-1.0, 1.0])
    spread, bend = rng.uniform(0.0, 0.22), rng.uniform(-0.5, 0.5)
    palm = np.array([0.38, 0.42]) * rng.uniform(0.85, 1.15, 2)
    lines, widths = [], []
    shown = int(rng.integers(1, 5)) if rng.random() < 0.25 else 4  # others are folded
    for finger in range(shown):
        place = finger - 1.5
        angle = place * spread + rng.normal(0, 0.04)
        joints = np.array([0.0, 0.45, 0.8]) * rng.uniform(0.85, 1.1) * (1 - 0.08 * abs(place))
        bends = angle + bend * np.array([0.0, 0.5, 1.0]) * spread
        steps = np.stack([np.sin(bends), -np.cos(bends)], -1) * np.diff(joints, prepend=0.0)[:, None]
        lines.append(np.array([place * 0.19, -palm[1] * 0.75]) + np.cumsum(steps, 0))
        widths.append(unit * rng.uniform(0.17, 0.21))
    thumb = side * palm[0] * 0.8
    lines.append(np.array([[thumb, 0.1], [thumb + side * 0.22, -0.2], [thumb + side * 0.28, -0.45]]))
    widths.append(unit * 0.2)
    lines.append(np.array([[0.0, 0.2], [rng.normal(0, 0.3), 4.0]]))
    widths.append(unit * rng.uniform(0.4, 0.6))
    middle, angle = _somewhere(face, rng), rng.uniform(0, 2 * np.pi)

    def placed(places: FloatArray) -> FloatArray:
        return np.asarray(middle + unit * outlines.turned(places, angle))

    parts = [outlines.strokes(face.size, [placed(line)], [width]) for line, width in zip(lines, widths, strict=True)]
    parts.append(outlines.polygon(face.size, placed(outlines.ellipse(np.zeros(2), palm, power=2.6))))
    mask = np.max(parts, axis=0)
    colours = textures.skin(face.image, face.frame.to_pixels(_CHEEKS), mask, rng)
    # Between fingers that touch each other lies a shadow: where the edges of two overlap.
    edges = np.sum([part * (1 - part) + _rim(part) for part in parts[:-2]], axis=0).clip(0, 1)
    return Layer(mask, colours * (1 - rng.uniform(0.1, 0.5) * edges[..., None]))


def _rim(mask: FloatArray) -> FloatArray:
    """1 along the inner edge of a mask."""
    inner = np.minimum.reduce([np.roll(mask, step, axis) for step in (-1, 1) for axis in (0, 1)])
    return np.asarray((mask > 0.5) & (inner <= 0.5), np.float32)


def sunglasses(face: CoveredFace, rng: np.random.Generator) -> Layer:
    """Dark glasses: both lenses, the bridge and the arms."""
    mask, rims = _spectacles(face, rng)
    tint = rng.uniform(0, 60, 3) if rng.random() < 0.8 else rng.uniform(0, 255, 3)
    colours = textures.tinted(tint, face.size, rng, 0.8)
    if rng.random() < 0.3:  # the lenses reflect something
        colours = 0.7 * colours + 0.3 * textures.photograph(face.size, face.other, rng)
    return Layer(np.maximum(mask * rng.uniform(0.8, 1.0), rims), colours)


def spectacles(face: CoveredFace, rng: np.random.Generator) -> Layer:
    """Clear glasses, which hide nothing but what lies behind their rims."""
    mask, rims = _spectacles(face, rng)
    return Layer(np.maximum(mask * rng.uniform(0.0, 0.2), rims), textures.plain(face.size, rng) * rng.uniform(0.1, 1.0))


def _spectacles(face: CoveredFace, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The masks of the lenses and of the rims, bridge and arms."""
    to_pixels, size = face.frame.to_pixels, face.size
    axes, power = np.array([rng.uniform(0.3, 0.43), rng.uniform(0.2, 0.42)]), rng.uniform(2, 4)
    drop = rng.uniform(-0.02, 0.12)
    lenses = [to_pixels(outlines.ellipse(np.array([x, drop]), axes, power=power)) for x in (-0.5, 0.5)]
    ends = [np.array([[side * (0.5 + axes[0]), drop], [side * 1.3, drop - 0.1]]) for side in (-1, 1)]
    bridge = np.array([[axes[0] - 0.5, drop], [0.0, drop - 0.06], [0.5 - axes[0], drop]])
    lines = [*(np.concatenate([lens, lens[:1]]) for lens in lenses), *map(to_pixels, (*ends, bridge))]
    width = face.frame.unit * rng.uniform(0.02, 0.08)
    rims = outlines.strokes(size, lines, [width] * len(lines))
    return np.max([outlines.polygon(size, lens) for lens in lenses], axis=0), rims


def mask(face: CoveredFace, rng: np.random.Generator) -> Layer:
    """A mask over nose, mouth and chin, with its folds and bands."""
    top, deep, wide = rng.uniform(0.3, 0.65), rng.uniform(1.6, 1.9), rng.uniform(0.8, 1.0)
    corners = np.array([[0, top], [wide * 0.5, top + 0.08], [wide, top + 0.15], [wide * 0.95, 1.0]])
    corners = np.concatenate([corners, [[wide * 0.6, deep - 0.3], [0, deep]]])
    corners = np.concatenate([corners, corners[-2:0:-1] * [-1, 1]])
    shape = outlines.polygon(face.size, face.frame.to_pixels(corners))
    colour = [(150, 190, 215), (235, 235, 235), (30, 30, 35)][int(rng.integers(3))]
    surface = textures.tinted(np.array(colour, np.float32) * rng.uniform(0.8, 1.05), face.size, rng)
    if rng.random() < 0.3:
        surface = textures.anything(face.size, face.other, rng)
    folds = [np.array([[-wide, y], [0, y + 0.1], [wide, y]]) for y in np.linspace(top + 0.3, deep - 0.4, 3)]
    dark = outlines.strokes(face.size, map(face.frame.to_pixels, folds), [1.0] * 3)
    bands = [np.array([[side * wide, y], [side * 1.4, y - 0.4]]) for side in (-1, 1) for y in (top + 0.15, 1.0)]
    ties = outlines.strokes(face.size, map(face.frame.to_pixels, bands), [face.frame.unit * 0.03] * 4)
    return Layer(np.maximum(shape, ties), surface * (1 - 0.2 * dark[..., None]))


def cup(face: CoveredFace, rng: np.random.Generator) -> Layer:
    """A cup or glass at the mouth, with a handle."""
    unit = face.frame.unit
    wide, high, narrow = unit * rng.uniform(0.3, 0.55), unit * rng.uniform(0.4, 0.8), rng.uniform(0.6, 1.0)
    rim = np.array([[-wide, -high], [wide, -high]])
    foot = np.array([[narrow * wide, high], [-narrow * wide, high]])
    middle = face.frame.to_pixels(np.array([rng.normal(0, 0.2), rng.uniform(0.9, 1.4)]))
    angle = rng.normal(0, 0.5)
    body = outlines.polygon(face.size, middle + outlines.turned(np.concatenate([rim, foot]), angle))
    opening = outlines.ellipse(np.array([0, -high]), np.array([wide, 0.25 * wide]))
    edge = outlines.polygon(face.size, middle + outlines.turned(opening, angle))
    ring = outlines.ellipse(np.array([rng.choice([-1, 1]) * wide * 1.1, 0]), np.array([0.4, 0.5]) * high)
    handle = outlines.strokes(face.size, [middle + outlines.turned(ring, angle)], [unit * 0.08])
    colours = textures.plain(face.size, rng) if rng.random() < 0.6 else textures.anything(face.size, face.other, rng)
    return Layer(np.max([body, edge, handle], axis=0), colours * (1 - 0.25 * edge[..., None]))


def hair(face: CoveredFace, rng: np.random.Generator) -> Layer:
    """A strand of hair that hangs over the brow, an eye or a cheek."""
    count = int(rng.integers(20, 90))
    root = np.array([rng.uniform(-0.8, 0.8), -1.3])
    tip = np.array([root[0] + rng.normal(0, 0.6), rng.uniform(0.1, 1.4)])
    bow, thick = rng.normal(0, 0.3), rng.uniform(0.15, 0.45)
    share = np.linspace(0, 1, 8)[:, None]
    apart = rng.normal(0, thick, (count, 1, 1)) * np.array([1, 0.1]) * (1 - 0.5 * share)
    middle = root + share * (tip - root) + np.array([bow, 0]) * 4 * share * (1 - share)
    lines = face.frame.to_pixels(middle + apart + rng.normal(0, 0.05, (count, 1, 2)) * share)
    shape = outlines.strokes(face.size, lines, rng.uniform(0.02, 0.06, count) * face.frame.unit)
    tone = np.array([[30, 24, 22], [72, 48, 32], [120, 82, 50], [190, 158, 110], [120, 120, 120]])[int(rng.integers(5))]
    light = outlines.strokes(face.size, lines[::3], np.full(len(lines[::3]), 1.0))
    return Layer(shape, textures.tinted(tone, face.size, rng, 0.4) * (1 + rng.uniform(0, 0.5) * light[..., None]))


def _somewhere(face: CoveredFace, rng: np.random.Generator) -> FloatArray:
    """(2,) a random place on the face or close to it, in pixels."""
    return face.frame.to_pixels(np.array([rng.normal(0, 0.55), rng.normal(0.5, 0.6)]))
