"""Faces cut out once, so that training reads small square pictures from a file instead of decoding photographs.

Each face is stored as a square of twice its box's longer side: room for every disturbance of the box.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vtrack.crops import Crops, warp
from vtrack.data import Dataset
from vtrack.layouts import Layout
from vtrack.training.augment import Augmentation, jittered, mirrored, spoil
from vtrack.types import FloatArray, ImageArray, Query

STORED_SIDE = 320
STORED_MARGIN = 2.0
"""Side of the stored square over the longer side of the face box."""


@dataclass(frozen=True, eq=False, slots=True)
class Store:
    """All faces of one data set, cut and ready."""

    name: str
    layout: Layout
    images: ImageArray
    """(faces, STORED_SIDE, STORED_SIDE, 3), mapped from a file or in memory."""
    points: FloatArray
    """(faces, points, 2) in units of the stored square."""
    pixels: FloatArray
    """(faces,) size of a pixel of the photograph in the same units."""

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def of(cls, data: Dataset, folder: Path, *, in_memory: bool = False) -> Store:
        """Cut the data set's faces, or open what an earlier run has cut from the same labels."""
        labels = hashlib.sha256(np.ascontiguousarray(data.points).tobytes() + repr(data.files).encode())
        stem = folder / f"{data.name}-{len(data)}-{labels.hexdigest()[:12]}"
        if not stem.with_suffix(".json").exists():
            cls._cut(data, stem)
        images = np.load(stem.with_suffix(".images.npy"), mmap_mode=None if in_memory else "r")
        pixels = 1 / _stored(data).sides
        return cls(data.name, data.layout, images, np.load(stem.with_suffix(".points.npy")), pixels)

    @staticmethod
    def _cut(data: Dataset, stem: Path) -> None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        shape = (len(data), STORED_SIDE, STORED_SIDE, 3)
        crops = _stored(data)
        images = np.lib.format.open_memmap(stem.with_suffix(".images.npy"), "w+", np.uint8, shape)
        for i in range(len(data)):
            images[i] = warp([data.image(i)], [0], crops[i : i + 1], STORED_SIDE)[0].transpose(1, 2, 0)
        images.flush()
        np.save(stem.with_suffix(".points.npy"), crops.to_crop(data.points).astype(np.float32))
        # Written last: it says that the rest is whole.
        stem.with_suffix(".json").write_text(json.dumps({"layout": data.layout.name}))


class Batch(NamedTuple):
    """What one step trains on: crops of one data set, and crops without a face at the end."""

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


def draw_batch(
    store: Store,
    size: int,
    margin: float,
    count: int,
    most_points: int | None,
    how: Augmentation,
    rng: np.random.Generator,
    first_pixel: float = 0.0,
    hold_out: bool = False,
) -> Batch:
    """`count` random faces of a store, disturbed, and an eighth as many crops that hold no face.

    At most `most_points` of their points are asked for; None for always all; with `hold_out` never every second one.
    `first_pixel` is what the labels call the centre of the first pixel: a mirrored label must stay as far to the right of
    its point as it was.
    """
    faces = np.sort(rng.choice(len(store), count, replace=len(store) < count))
    crops = _scaled(jittered(count, margin, how, rng))
    images = np.stack([_cut(store.images[face], crops[i : i + 1], size) for i, face in enumerate(faces)])
    points = crops.to_crop(store.points[faces] * STORED_SIDE - 0.5)  # (count, L, 2)
    if how.flip:
        flip = rng.random(count) < 0.5
        images[flip], points[flip] = mirrored(images[flip], points[flip], store.layout.mirror)
        points[flip, :, 0] += 2 * first_pixel * (store.pixels[faces] * STORED_SIDE / crops.sides)[flip, None]
    chosen = np.flatnonzero(~store.layout.every_second) if hold_out else np.arange(points.shape[1])
    if most_points is not None:
        chosen = chosen[_choose(len(chosen), most_points, rng)]
    empty = _empty(store, max(count // 8, 1), size, rng)
    images = np.concatenate([images, empty])
    if how.picture:
        images = np.stack([spoil(image, how.picture, rng) for image in images])
    asked = store.layout.query
    nowhere = np.full((len(empty), len(chosen), 2), np.nan)
    return Batch(
        store.name,
        np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
        np.concatenate([points[:, chosen], nowhere]).astype(np.float32),
        np.arange(len(images)) < count,
        chosen,
        Query(tuple(asked.parts[i] for i in chosen), tuple(asked.positions[i] for i in chosen)),
    )


def _stored(data: Dataset) -> Crops:
    """Where each face's stored square lies in its photograph."""
    return Crops.around(data.layout.face_box(data.points), STORED_MARGIN)


def plain_batches(store: Store, size: int, margin: float, count: int) -> Iterator[tuple[ImageArray, FloatArray, Crops]]:
    """All faces in order, undisturbed: (B, 3, S, S), points (B, L, 2) in crop units, and where the crops lie."""
    for start in range(0, len(store), count):
        yield plain_faces(store, np.arange(start, min(start + count, len(store))), size, margin)


def plain_faces(store: Store, faces: np.ndarray, size: int, margin: float) -> tuple[ImageArray, FloatArray, Crops]:
    """Some faces, undisturbed: (n, 3, S, S), points (n, L, 2) in crop units, and where the crops lie."""
    crops = _scaled(Crops(np.zeros((len(faces), 2)), np.full(len(faces), margin), np.zeros(len(faces))))
    images = warp([store.images[face] for face in faces], range(len(faces)), crops, size)
    return images, crops.to_crop(store.points[faces] * STORED_SIDE - 0.5), crops


def _scaled(crops: Crops) -> Crops:
    """From box units about the face to pixels of the stored square."""
    unit = STORED_SIDE / STORED_MARGIN
    return Crops(crops.centers * unit + (STORED_SIDE - 1) / 2, crops.sides * unit, crops.angles)


def _cut(image: ImageArray, crop: Crops, size: int) -> ImageArray:
    """(size, size, 3) of a stored square."""
    return warp([image], [0], crop, size)[0].transpose(1, 2, 0)


def _choose(total: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Which points are asked for: mostly all that fit, at times a few, so that short queries are at home too."""
    count = min(total, most)
    if rng.random() < 0.3:
        count = int(rng.integers(min(6, count), count + 1))
    return np.sort(rng.choice(total, count, replace=False))


def _empty(store: Store, count: int, size: int, rng: np.random.Generator) -> ImageArray:
    """(count, size, size, 3) small pieces from the stored squares' rims, where there is no face; at times plain noise."""
    sides = rng.uniform(0.12, 0.3, count)  # of the stored square; the face fills its middle half
    along, across = rng.uniform(0, 1, count), sides / 2 * rng.uniform(0.6, 1.0, count)
    edge = rng.integers(0, 4, count)
    across = np.where(edge % 2 == 0, across, 1 - across)
    centers = np.where((edge < 2)[:, None], np.stack([along, across], -1), np.stack([across, along], -1))
    crops = Crops(centers * STORED_SIDE, sides * STORED_SIDE, rng.uniform(-0.5, 0.5, count))
    faces = rng.integers(0, len(store), count)
    images = np.stack([_cut(store.images[face], crops[i : i + 1], size) for i, face in enumerate(faces)])
    noisy = rng.random(count) < 0.15
    images[noisy] = rng.integers(0, 256, images[noisy].shape, dtype=np.uint8)
    return images
