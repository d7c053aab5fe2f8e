"""Draws the batch of a training step: random faces of a data set, augmented, and crops without a face."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vtrack.data.occluders import cover, random_kinds
from vtrack.data.store import STORED_SIDE, FaceStore, cut, scaled
from vtrack.imaging.crops import Crops
from vtrack.training.landmarks.augment import degrade, jittered, mirrored
from vtrack.training.landmarks.eyelids import Eyes
from vtrack.training.landmarks.recipe import Augmentation
from vtrack.types import FloatArray, ImageArray, Query


class TrainingBatch(NamedTuple):
    """Crops and labels of one step: faces of one data set, then crops without a face."""

    store: str
    images: ImageArray
    """(B, 3, S, S)"""
    points: FloatArray
    """(B, L, 2) in crop units; NaN for crops without a face."""
    is_face: np.ndarray
    """(B,) bool"""
    chosen: np.ndarray
    """(L,) places of the points in the data set's layout."""
    query: Query
    """What the chosen points are."""
    hidden: FloatArray
    """(B, L) 1 where something was drawn in front of a point, 0 where nothing was, NaN where that is unknown: without
    `Augmentation.occlude`, and outside the crop."""


def draw_batch(
    store: FaceStore,
    size: int,
    margin: float,
    count: int,
    most_points: int | None,
    augmentation: Augmentation,
    rng: np.random.Generator,
    first_pixel: float = 0.0,
    hold_out: bool = False,
) -> TrainingBatch:
    """Draw random faces, augmented, and an eighth as many crops without a face.

    Args:
        store: Faces of one data set.
        size: Side of the crops in pixels.
        margin: Side of the crop over the longer side of the face box.
        count: Number of faces.
        most_points: Largest number of points; None for all points of the layout.
        augmentation: Its strength.
        rng: Source of all random numbers.
        first_pixel: Coordinate that the labels give the centre of the first pixel, see `TrainingRecipe.first_pixel`.
        hold_out: Leave out every second point of each part.
    """
    faces = np.sort(rng.choice(len(store), count, replace=len(store) < count))
    crops = scaled(jittered(count, margin, augmentation, rng))
    images = np.stack([cut(store.images[face], crops[i : i + 1], size) for i, face in enumerate(faces)])
    points = crops.to_crop(store.points[faces] * STORED_SIDE - 0.5)  # (count, L, 2)
    if augmentation.flip:
        flip = rng.random(count) < 0.5
        images[flip], points[flip] = mirrored(images[flip], points[flip], store.layout.mirror)
        points[flip, :, 0] += 2 * first_pixel * (store.pixels[faces] * STORED_SIDE / crops.sides)[flip, None]
    hidden = np.full(points.shape[:2], np.nan)
    eyes = Eyes.of(store.layout) if augmentation.shut else None
    if eyes is not None:
        for i in np.flatnonzero(rng.random(count) < augmentation.shut):
            images[i], points[i] = eyes.shut(images[i], points[i], rng)
    if augmentation.occlude:
        hidden[((points > 0) & (points < 1)).all(-1)] = 0
        for i in np.flatnonzero(rng.random(count) < augmentation.occlude):
            other = store.images[int(rng.integers(len(store)))]
            images[i], behind = cover(images[i], points[i], store.layout, random_kinds(rng), other, rng)
            hidden[i, behind] = 1
    chosen = np.flatnonzero(~store.layout.every_second) if hold_out else np.arange(points.shape[1])
    if most_points is not None:
        chosen = chosen[_choose(len(chosen), most_points, rng)]
    empty = empty_crops(store, max(count // 8, 1), size, rng)
    images = np.concatenate([images, empty])
    if augmentation.picture:
        # What hides points must be known where that is learned.
        patches = not augmentation.occlude
        images = np.stack([degrade(image, augmentation.picture, rng, patches=patches) for image in images])
    asked = store.layout.query
    nowhere, unknown = np.full((len(empty), len(chosen), 2), np.nan), np.full((len(empty), len(chosen)), np.nan)
    return TrainingBatch(
        store.name,
        np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
        np.concatenate([points[:, chosen], nowhere]).astype(np.float32),
        np.arange(len(images)) < count,
        chosen,
        Query(tuple(asked.parts[i] for i in chosen), tuple(asked.positions[i] for i in chosen)),
        np.concatenate([hidden[:, chosen], unknown]).astype(np.float32),
    )


def _choose(total: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Choose points: mostly as many as allowed, at times a few, so that short queries are trained too."""
    count = min(total, most)
    if rng.random() < 0.3:
        count = int(rng.integers(min(6, count), count + 1))
    return np.sort(rng.choice(total, count, replace=False))


def empty_crops(store: FaceStore, count: int, size: int, rng: np.random.Generator) -> ImageArray:
    """(count, size, size, 3) crops without a face: from the rims of stored squares, at times noise."""
    sides = rng.uniform(0.12, 0.3, count)  # of the stored square; the face fills its middle half
    along, across = rng.uniform(0, 1, count), sides / 2 * rng.uniform(0.6, 1.0, count)
    edge = rng.integers(0, 4, count)
    across = np.where(edge % 2 == 0, across, 1 - across)
    centers = np.where((edge < 2)[:, None], np.stack([along, across], -1), np.stack([across, along], -1))
    crops = Crops(centers * STORED_SIDE, sides * STORED_SIDE, rng.uniform(-0.5, 0.5, count))
    faces = rng.integers(0, len(store), count)
    images = np.stack([cut(store.images[face], crops[i : i + 1], size) for i, face in enumerate(faces)])
    noisy = rng.random(count) < 0.15
    images[noisy] = rng.integers(0, 256, images[noisy].shape, dtype=np.uint8)
    return images
