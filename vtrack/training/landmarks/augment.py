"""Augmentation of training crops: shifted boxes, rotations, mirror images, lighting, blur, noise and occlusion.

All random numbers come from the given generator, so that a step can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import cv2
import numpy as np

from vtrack.errors import UsageError
from vtrack.imaging.crops import Crops
from vtrack.training.landmarks.recipe import Augmentation
from vtrack.types import FloatArray, ImageArray


def make_augmentation(settings: Mapping[str, str]) -> Augmentation:
    """An augmentation from options such as `{"shift": "0.1"}`.

    Raises:
        UsageError: There is no such option, or the value is no number.
    """
    augmentation = Augmentation()
    for name, word in settings.items():
        try:
            default, value = asdict(augmentation)[name], float(word)
        except (KeyError, ValueError):
            allowed = ", ".join(f"{option}={float(number):g}" for option, number in asdict(augmentation).items())
            raise UsageError(f"{name}={word} is not an augmentation; choose from {allowed}") from None
        if not 0 <= value < 1e3:
            raise UsageError(f"{name}={word}: must be at least 0 and below 1000")
        augmentation = replace(augmentation, **{name: type(default)(value)})
    return augmentation


def jittered(count: int, side: float, augmentation: Augmentation, rng: np.random.Generator) -> Crops:
    """Random crops around unit boxes at (0, 0), in units of the box side; `side` is the mean side."""
    angle, scale, shift = augmentation.angle, augmentation.scale, augmentation.shift
    angles = np.radians(np.clip(rng.normal(0, angle, count), -2 * angle, 2 * angle))
    sides = side * np.exp(np.clip(rng.normal(0, scale, count), -2.2 * scale, 2.2 * scale))
    centers = np.clip(rng.normal(0, shift, (count, 2)), -2.5 * shift, 2.5 * shift)
    return Crops(centers, sides, angles)


def degrade(image: ImageArray, strength: float, rng: np.random.Generator, *, patches: bool = True) -> ImageArray:
    """Degrade a crop (S, S, 3): occlusion by `patches`, frame edge, low resolution, blur, lighting, noise, JPEG."""
    chance = rng.random(8) / max(strength, 1e-6)
    if patches and chance[0] < 0.35:
        image = occlude(image, rng)
    if chance[1] < 0.1:
        image = _cut_by_edge(image, rng)
    if chance[2] < 0.25:
        image = _coarsen(image, rng)
    if chance[3] < 0.15:
        image = _blur(image, rng)
    image = _relight(image, strength, rng)
    if chance[4] < 0.15:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if chance[5] < 0.2:
        shape = (*image.shape[:2], 1 if rng.random() < 0.5 else 3)
        noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(rng.uniform(2, 14))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if chance[6] < 0.2:
        quality = int(rng.integers(15, 70))
        packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return image


def _relight(image: ImageArray, strength: float, rng: np.random.Generator) -> ImageArray:
    """Brightness, contrast, gamma and tint by one table per channel."""
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = np.exp(rng.normal(0, 0.2 * strength))
    contrast = np.exp(rng.normal(0, 0.15 * strength))
    lift = rng.normal(0, 0.05 * strength)
    tint = np.exp(rng.normal(0, 0.06 * strength, 3))
    curve = (levels**gamma - 0.5) * contrast + 0.5 + lift  # (256,)
    table = np.clip(curve[:, None] * tint * 255, 0, 255).astype(np.uint8)  # (256, 3)
    relit: ImageArray = cv2.LUT(image, table[None])
    return relit


def occlude(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Cover part of an image by a patch: a plain colour, noise, or another region of the same image (skin, hand, hair)."""
    size = image.shape[0]
    width, height = (rng.uniform(0.1, 0.5, 2) * size).astype(int)
    x, y = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
    kind = rng.random()
    if kind < 0.4:
        patch = np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (height, width, 3))
    elif kind < 0.6:
        patch = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    else:
        from_x, from_y = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
        patch = image[from_y : from_y + height, from_x : from_x + width].copy()
    mask = np.zeros((size, size), np.uint8)
    turn = float(rng.uniform(0, 180))
    if rng.random() < 0.5:
        cv2.ellipse(mask, (x + width // 2, y + height // 2), (width // 2, height // 2), 0, 0, 360, 255, -1)
    else:
        box = cv2.boxPoints(((x + width / 2, y + height / 2), (width * 0.8, height * 0.8), turn))
        cv2.fillConvexPoly(mask, box.astype(np.int32), 255)
    layer = np.zeros_like(image)
    layer[y : y + height, x : x + width] = patch
    inside = np.zeros((size, size), bool)
    inside[y : y + height, x : x + width] = mask[y : y + height, x : x + width] > 0
    return np.where(inside[..., None], layer, image)


def _cut_by_edge(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Black beyond a straight edge, as where a crop leaves its frame."""
    size = image.shape[0]
    depth = int(rng.uniform(0.05, 0.45) * size)
    cut = np.rot90(image, k := int(rng.integers(0, 4))).copy()
    cut[:depth] = 0
    return np.ascontiguousarray(np.rot90(cut, -k))


def _coarsen(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Reduce the resolution, as of a small face."""
    size = image.shape[0]
    small = max(int(size * rng.uniform(0.15, 0.6)), 12)
    down = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)[int(rng.integers(0, 3))]
    coarse: ImageArray = cv2.resize(down, (size, size), interpolation=way)
    return coarse


def _blur(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Defocus or motion blur."""
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.6, 2.5)))
    length = int(rng.integers(3, 12))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1.0 / length
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), float(rng.uniform(0, 180)), 1.0)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    moved: ImageArray = cv2.filter2D(image, -1, kernel / max(float(kernel.sum()), 1e-6))
    return moved


def mirrored(images: ImageArray, points: FloatArray, mirror: np.ndarray) -> tuple[ImageArray, FloatArray]:
    """Images (B, S, S, 3) and points (B, L, 2) in crop units, flipped left to right."""
    flipped = points[:, mirror].copy()
    flipped[..., 0] = 1.0 - flipped[..., 0]
    return images[:, :, ::-1], flipped
