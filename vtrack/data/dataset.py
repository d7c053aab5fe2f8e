"""A data set in memory: points as arrays, photographs as encoded bytes that are decoded when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vtrack.errors import DataError
from vtrack.layouts import Layout
from vtrack.types import FloatArray, ImageArray

# A face may be cut by the picture's edge, but of an annotation that belongs to the picture some points lie in it.
_LEAST_INSIDE = 0.2


@dataclass(frozen=True, eq=False, slots=True)
class Dataset:
    """Faces annotated in one layout."""

    name: str
    layout: Layout
    files: tuple[str, ...]
    """The photograph of each face, as the data set calls it."""
    points: FloatArray
    """(faces, points, 2) float32 in pixels."""
    groups: tuple[str, ...]
    """The person or photograph; one group must not be on both sides of a split."""
    read: Callable[[str], bytes]
    """The encoded bytes of a file."""
    subsets: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """(faces,) for each named subset, whether a face belongs to it."""
    boxes: FloatArray | None = None
    """(faces, 4) x, y, w, h where the data set gives boxes that errors are to be divided by."""

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
        """(H, W, 3) RGB photograph of one face; its orientation tag is left alone, as annotations do."""
        file = self.files[place]
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        content = np.frombuffer(self.read(file), np.uint8)
        decoded = cv2.imdecode(content, flags) if content.size else None
        if decoded is None:
            raise DataError(f"{self.name}: {file} is not a picture that can be decoded")
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
