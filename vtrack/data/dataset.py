"""A data set in memory: points as arrays, photographs as encoded bytes that are decoded when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vtrack.errors import DataError
from vtrack.layouts import Layout
from vtrack.types import FloatArray, ImageArray


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
            raise DataError(f"{self.files[int(unreal.argmax())]}: a point is not a number")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, which: Any) -> Dataset:
        """The faces at these places: a slice, a boolean array or a list."""
        places = np.arange(len(self))[which].reshape(-1)
        return Dataset(
            self.name,
            self.layout,
            tuple(self.files[i] for i in places),
            self.points[places],
            tuple(self.groups[i] for i in places),
            self.read,
            {name: member[places] for name, member in self.subsets.items()},
        )

    def image(self, place: int) -> ImageArray:
        """(H, W, 3) RGB photograph of one face; its orientation tag is left alone, as annotations do."""
        file = self.files[place]
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = cv2.imdecode(np.frombuffer(self.read(file), np.uint8), flags)
        if decoded is None:
            raise DataError(f"{self.name}: {file} is not a picture that can be decoded")
        image: ImageArray = decoded.astype(np.uint8, copy=False)
        return image
