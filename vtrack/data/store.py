"""A cache of cropped faces, so that training reads small squares from a file instead of decoding photographs.

Each face is stored as a square of twice its box's longer side, which leaves room for augmentation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtrack.data import Dataset
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.layouts import Layout
from vtrack.types import FloatArray, ImageArray

STORED_SIDE = 320
STORED_MARGIN = 2.0
"""Side of the stored square over the longer side of the face box."""


@dataclass(frozen=True, eq=False, slots=True)
class FaceStore:
    """All cropped faces of one data set."""

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
    def of(cls, data: Dataset, folder: Path, *, in_memory: bool = False) -> FaceStore:
        """Crop the faces of a data set, or open the cache if an earlier run has cropped the same labels.

        Args:
            data: The data set.
            folder: Folder of the cache.
            in_memory: Read the images into memory instead of mapping their file.
        """
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
        # Written last: it marks the other files as complete.
        stem.with_suffix(".json").write_text(json.dumps({"layout": data.layout.name}))


def _stored(data: Dataset) -> Crops:
    """The stored squares in their photographs."""
    return Crops.around(data.layout.face_box(data.points), STORED_MARGIN)


def plain_batches(
    store: FaceStore, size: int, margin: float, count: int
) -> Iterator[tuple[ImageArray, FloatArray, Crops]]:
    """All faces in order, not augmented: (B, 3, S, S), points (B, L, 2) in crop units, and the crops."""
    for start in range(0, len(store), count):
        yield plain_faces(store, np.arange(start, min(start + count, len(store))), size, margin)


def plain_faces(store: FaceStore, faces: np.ndarray, size: int, margin: float) -> tuple[ImageArray, FloatArray, Crops]:
    """Some faces, not augmented: (n, 3, S, S), points (n, L, 2) in crop units, and the crops."""
    crops = scaled(Crops(np.zeros((len(faces), 2)), np.full(len(faces), margin), np.zeros(len(faces))))
    images = warp([store.images[face] for face in faces], range(len(faces)), crops, size)
    return images, crops.to_crop(store.points[faces] * STORED_SIDE - 0.5), crops


def scaled(crops: Crops) -> Crops:
    """Crops in box units about the face to crops in pixels of the stored square."""
    unit = STORED_SIDE / STORED_MARGIN
    return Crops(crops.centers * unit + (STORED_SIDE - 1) / 2, crops.sides * unit, crops.angles)


def cut(image: ImageArray, crop: Crops, size: int) -> ImageArray:
    """(size, size, 3) of a stored square."""
    return warp([image], [0], crop, size)[0].transpose(1, 2, 0)
