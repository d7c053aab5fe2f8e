"""The photographs of detector scenes as image pyramids with their faces, decoded once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vtrack.data.scenes.labels import COLLECTIONS, TRUTH, read_photographs
from vtrack.errors import DataError
from vtrack.types import FloatArray, ImageArray

log = logging.getLogger(__name__)

LONGEST = 480
"""Longer side, in pixels, to which photographs are reduced: scenes rarely show them larger."""
SHORTEST = 12
"""Shorter side, in pixels, of the coarsest pyramid level."""


@dataclass(frozen=True)
class AlbumPicture:
    """A photograph as an image pyramid, with its faces in pixels of the finest level."""

    levels: tuple[ImageArray, ...]
    """Images, each half as large as the one before."""
    hulls: FloatArray
    """(faces, HULL, 2) convex hulls of the landmarks."""
    anchors: FloatArray
    """(faces, 3, 2) eyes and mouth."""
    kinds: np.ndarray
    """(faces,) TRUTH, AGREED or DOUBTFUL."""
    collection: int
    """Index in `COLLECTIONS`."""
    yaw: float = np.nan
    """Yaw of the annotated face in degrees, to the right of the image; NaN where it is not computed."""


class Album:
    """All photographs of one split, decoded into a file that workers map into memory.

    Args:
        data: Folder of the photograph zips.
        cache: Folder of `labels.npz` and of the decoded pixels.
        split: `train` or `val`.

    Raises:
        DataError: There are no labels in the cache.
    """

    def __init__(self, data: Path, cache: Path, split: str) -> None:
        path = cache / "labels.npz"
        if not path.is_file():
            raise DataError(f"{path} is not there; make it with: python -m vtrack.data.scenes.labels {data} {cache}")
        labels = np.load(path)
        rows, hulls, anchors = labels["rows"], labels["hulls"], labels["anchors"]
        pixels, index = self._decoded(data, cache)
        self.pictures: list[AlbumPicture] = []
        starts = np.flatnonzero(rows[:, 3] == TRUTH)
        ends = np.append(starts[1:], len(rows))
        for start, end, (offset, height, width, scale) in zip(starts, ends, index, strict=True):
            if bool(rows[start, 2]) == (split == "val"):
                levels, position = [], int(offset)
                h, w = int(height), int(width)
                while True:
                    levels.append(pixels[position : position + h * w * 3].reshape(h, w, 3))
                    position += h * w * 3
                    h, w = h // 2, w // 2
                    if min(h, w) < SHORTEST:
                        break
                faces = slice(start, end)
                self.pictures.append(
                    AlbumPicture(
                        tuple(levels),
                        _scaled(hulls[faces], scale),
                        _scaled(anchors[faces], scale),
                        rows[faces, 3],
                        int(rows[start, 0]),
                    )
                )
        self.collections = np.array([picture.collection for picture in self.pictures])
        log.info("%s: %d photographs", split, len(self.pictures))

    @staticmethod
    def _decoded(data: Path, cache: Path) -> tuple[ImageArray, FloatArray]:
        """The pixels of all photographs as one mapped array, and (photographs, 4) offset, height, width, scale."""
        path, table = cache / "pixels.bin", cache / "pixels.npy"
        if not table.is_file():
            index, offset = [], 0
            with path.open("wb") as out:
                for collection in COLLECTIONS:
                    for photograph in read_photographs(data, collection):
                        image = photograph.image
                        scale = min(1.0, LONGEST / max(image.shape[:2]))
                        h, w = (max(int(side * scale), SHORTEST) for side in image.shape[:2])
                        index.append((offset, h, w, scale))
                        for level in halved(cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)):
                            out.write(level.tobytes())
                            offset += level.size
            np.save(table, np.array(index, np.float64))
        return np.memmap(path, np.uint8, "r"), np.load(table)


def halved(image: ImageArray) -> tuple[ImageArray, ...]:
    """The pyramid of an image: the image itself and its reductions by 2, 4, 8, …"""
    levels = [image]
    while min(levels[-1].shape[:2]) >= 2 * SHORTEST:
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return tuple(levels)


def _scaled(points: FloatArray, scale: float) -> FloatArray:
    """Points of an image resized by `scale`, with pixel centres at integers before and after."""
    return (points + 0.5) * scale - 0.5


def draw(picture: AlbumPicture, matrix: FloatArray, out: ImageArray, corner: tuple[int, int], border: int) -> None:
    """Warp a picture by `matrix` into `out`, whose top-left pixel is at `corner` of the canvas."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    level = int(np.clip(np.floor(-np.log2(scale) + 0.35), 0, len(picture.levels) - 1))
    moved = matrix.copy()
    ratio = np.array(picture.levels[0].shape[1::-1]) / np.array(picture.levels[level].shape[1::-1])
    # Pixel centres of a level lie at (i + 1/2) * ratio - 1/2 of the largest.
    moved[:, 2] += moved[:, :2] @ (ratio / 2 - 0.5) - corner
    moved[:, :2] *= ratio
    cv2.warpAffine(picture.levels[level], moved, out.shape[1::-1], dst=out, flags=cv2.INTER_LINEAR, borderMode=border)


def moved(matrix: FloatArray, hull: FloatArray, anchors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Transform hull and anchors by an affine matrix; a reflection exchanges the eyes."""
    hull, anchors = hull @ matrix[:, :2].T + matrix[:, 2], anchors @ matrix[:, :2].T + matrix[:, 2]
    if np.linalg.det(matrix[:, :2]) < 0:
        anchors = anchors[[1, 0, 2]]
    return hull, anchors
