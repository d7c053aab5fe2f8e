"""Real faces for the detectors' tests: scikit-image's astronaut and annotated photographs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from samples.portrait import POINTS, photograph
from vtrack.data.scenes.labels import COLLECTIONS, Photograph, box_of, read_photographs
from vtrack.types import Detections, FloatArray, Frame, ImageArray


def frame(image: ImageArray, index: int = 0) -> Frame:
    return Frame(np.ascontiguousarray(image), index, index, Fraction(1, 25))


def astronaut(
    scale: float = 1.0, turn: float = 0.0, size: tuple[int, int] = (512, 512)
) -> tuple[ImageArray, FloatArray]:
    """The portrait, its face in the middle of a (width, height) picture, turned clockwise by degrees, and the face's box."""
    angle = np.radians(turn)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = POINTS.mean(0)
    affine = np.concatenate([matrix, ((np.array(size) - 1) / 2 - matrix @ middle)[:, None]], 1)
    image = photograph()
    if scale < 0.7:
        blur = 0.45 / scale
        image = cv2.GaussianBlur(image, (0, 0), blur)
    picture = cv2.warpAffine(np.ascontiguousarray(image), affine, size)
    return picture, box_of(POINTS @ matrix.T + affine[:, 2])


def photographs(data: Path, name: str, split: str | None = None) -> list[Photograph]:
    """The annotated photographs of one zip, or of one split of it."""
    [collection] = [collection for collection in COLLECTIONS if collection.name == name]
    return list(read_photographs(data, collection, split))


def overlap(found: Detections, box: FloatArray) -> float:
    """Of the best find with a box."""
    if not len(found):
        return 0.0
    low = np.maximum(found.boxes[:, :2], box[:2])
    high = np.minimum(found.boxes[:, :2] + found.boxes[:, 2:], box[:2] + box[2:])
    shared = np.clip(high - low, 0, None).prod(1)
    return float((shared / (found.boxes[:, 2:].prod(1) + box[2:].prod() - shared)).max())
