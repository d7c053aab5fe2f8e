"""A data set: points as arrays, photographs as encoded bytes that are decoded on access."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vtrack.errors import DataError
from vtrack.imaging.messages import decoding
from vtrack.layouts import Layout
from vtrack.types import FloatArray, ImageArray

log = logging.getLogger(__name__)

# A face may be cut by the picture's edge, but at least this share of the points of a matching annotation lies inside.
_LEAST_INSIDE = 0.2


@dataclass(frozen=True, eq=False, slots=True)
class Dataset:
    """Faces annotated in one layout."""

    name: str
    layout: Layout
    files: tuple[str, ...]
    """Name of each face's photograph in the data set."""
    points: FloatArray
    """(faces, points, 2) float32 in pixels."""
    groups: tuple[str, ...]
    """Person or photograph of each face; one group must not be on both sides of a split."""
    read: Callable[[str], bytes]
    """Reads the encoded bytes of a file."""
    subsets: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """(faces,) bool for each named subset: which faces belong to it."""
    boxes: FloatArray | None = None
    """(faces, 4) x, y, w, h, if the data set has boxes that normalise errors."""

    def __post_init__(self) -> None:
        if not self.files:
            raise DataError(f"{self.name}: the data set has no faces")
        expected = (len(self.files), len(self.layout), 2)
        if self.points.shape != expected:
            raise DataError(
                f"{self.name}: points of shape {self.points.shape} do not fit the layout {self.layout.name}, "
                f"which needs {expected}"
            )
        unreal = ~np.isfinite(self.points).all((1, 2))
        if unreal.any():
            raise DataError(f"{self.name}: {self.files[int(unreal.argmax())]}: a point is not a number")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, which: Any) -> Dataset:
        """The faces at these places: a slice, a boolean array or a list."""
        places = np.arange(len(self))[which].reshape(-1)
        return replace(
            self,
            files=tuple(self.files[i] for i in places),
            points=self.points[places],
            groups=tuple(self.groups[i] for i in places),
            subsets={name: member[places] for name, member in self.subsets.items()},
            boxes=None if self.boxes is None else self.boxes[places],
        )

    def image(self, place: int) -> ImageArray:
        """(H, W, 3) RGB photograph of one face; its orientation tag is ignored, as annotations do.

        Raises:
            DataError: The photograph cannot be decoded, or does not match its annotation.
        """
        file = self.files[place]
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        content = np.frombuffer(self.read(file), np.uint8)
        with decoding() as damage:
            decoded = cv2.imdecode(content, flags) if content.size else None
        if decoded is None:
            raise DataError(f"{self.name}: {file} cannot be decoded as an image")
        if damage:
            log.warning("%s: %s is a damaged image: %s", self.name, file, damage[0])
        image: ImageArray = decoded.astype(np.uint8, copy=False)
        self._check_fit(place, image)
        return image

    def _check_fit(self, place: int, image: ImageArray) -> None:
        """Raise where the annotation cannot belong to the picture."""
        points = self.points[place]
        height, width = image.shape[:2]
        inside = ((points >= -0.5) & (points < (width - 0.5, height - 0.5))).all(1).mean()
        if inside < _LEAST_INSIDE:
            raise DataError(
                f"{self.name}: {self.files[place]}: annotation and picture do not match, {inside:.0%} of the points "
                f"lie in the {width}x{height} picture"
            )
