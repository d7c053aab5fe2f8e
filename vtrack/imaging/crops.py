"""Geometry of square face crops: their location in the frame, and exact conversion of points in both directions.

A crop is a centre, a side and an angle in frame pixels; it may leave the frame. Crop coordinates `u` are 0..1 over the
crop's area, so a frame point p has u = R(-angle)(p - centre) / side + 1/2, and the inverse is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vtrack.imaging.planes import FloatArray, ImageArray, Pixels, Planes


@dataclass(frozen=True, eq=False, slots=True)
class Crops:
    """Locations of a batch of square crops in their frames.

    Example:
        >>> crops = Crops.around(np.array([[20.0, 30.0, 100.0, 80.0]]), margin=1.25)
        >>> crops.sides
        array([125.])
        >>> crops.to_frame(np.array([[[0.5, 0.5]]]))  # the middle of the crop
        array([[[70., 70.]]])
    """

    centers: FloatArray
    """(crops, 2) x, y in frame pixels."""
    sides: FloatArray
    """(crops,) in frame pixels."""
    angles: FloatArray
    """(crops,) roll of the head in radians, clockwise on screen; the crop shows it upright."""

    def __post_init__(self) -> None:
        count = len(self.sides)
        if self.centers.shape != (count, 2) or self.angles.shape != (count,):
            raise ValueError(
                f"centers {self.centers.shape}, sides {self.sides.shape} and angles {self.angles.shape} do not match"
            )
        if count and not (np.isfinite(self.centers).all() and (np.asarray(self.sides) > 0).all()):
            raise ValueError("crops need finite centers and positive sides")

    def __len__(self) -> int:
        return len(self.sides)

    def __getitem__(self, which: np.ndarray | slice) -> Crops:
        return Crops(self.centers[which], self.sides[which], self.angles[which])

    @classmethod
    def around(cls, boxes: FloatArray, margin: float, angles: FloatArray | None = None) -> Crops:
        """Crops around boxes.

        Args:
            boxes: (n, 4) x, y, w, h in frame pixels.
            margin: Side of the crop over the longer side of the box.
            angles: (n,) roll of each head in radians; 0 by default.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        sides = np.maximum(boxes[:, 2:].max(1), 1.0) * margin
        turn = np.zeros(len(boxes)) if angles is None else np.asarray(angles, np.float64)
        return cls(boxes[:, :2] + boxes[:, 2:] / 2, sides, turn)

    def _rotations(self) -> FloatArray:
        """(crops, 2, 2) from upright crop axes to frame axes."""
        cos, sin = np.cos(self.angles), np.sin(self.angles)
        return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)

    def to_frame(self, points: FloatArray) -> FloatArray:
        """Convert points (crops, points, 2) from crop units to frame pixels."""
        offsets = (np.asarray(points, np.float64) - 0.5) * self.sides[:, None, None]
        return offsets @ self._rotations().transpose(0, 2, 1) + self.centers[:, None]

    def to_crop(self, points: FloatArray) -> FloatArray:
        """Convert points (crops, points, 2) from frame pixels to crop units."""
        offsets = (np.asarray(points, np.float64) - self.centers[:, None]) @ self._rotations()
        return offsets / self.sides[:, None, None] + 0.5

    def to_pixels(self, points: FloatArray, size: int) -> FloatArray:
        """Convert points (crops, points, 2) from frame pixels to those of crops of this size."""
        return self.to_crop(points) * size - 0.5

    def matrices(self, size: int) -> FloatArray:
        """(crops, 2, 3) affine maps from pixels of a `size` crop to frame pixels."""
        scaled = self._rotations() * (self.sides / size)[:, None, None]
        # The centre of crop pixel 0 lies at crop unit 0.5 / size.
        shift = self.centers - (scaled @ np.full(2, (size - 1) / 2.0))
        return np.concatenate([scaled, shift[:, :, None]], -1)


def _halvings(sides: FloatArray, size: int, shapes: npt.NDArray[np.integer] | Sequence[int]) -> npt.NDArray[np.intp]:
    """Number of times that images of (..., 2) heights and widths are halved before crops of sides (crops,) are cut.

    As many as keep crops at `size` pixels or more. Halving is by far the fastest way for a CPU to average pixels.
    """
    times = np.log2(np.maximum(sides / size, 1.0))
    return np.minimum(times, np.log2(np.min(shapes, -1))).astype(np.intp)


@dataclass(frozen=True, eq=False, slots=True)
class Cut:
    """How one crop is cut out of an image, or of one plane of it."""

    halvings: int
    window: tuple[slice, slice]
    """Rows and columns of what is halved."""
    matrix: FloatArray
    """(2, 3) from pixels of the crop to those of the halved window."""

    def make(self, picture: ImageArray, black: int, out: ImageArray) -> None:
        """Write the crop, (size, size) or (size, size, 3), into `out`."""
        small = picture[self.window]
        for _ in range(self.halvings):
            halves = max(small.shape[1] // 2, 1), max(small.shape[0] // 2, 1)
            small = cv2.resize(small, halves, interpolation=cv2.INTER_AREA)
        flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_CONSTANT
        cv2.warpAffine(
            small, self.matrix, out.shape[:2], dst=out, flags=flags, borderMode=border, borderValue=[black] * 4
        )


def cuts_of(pictures: Sequence[Pixels], crops: Crops, size: int, *, narrow: bool = False) -> dict[int, list[Cut]]:
    """How each crop is cut out of its picture: out of planes for which one pixel of theirs stands for so many of the picture.

    What is not halved is no smaller work in a window, so that is the whole picture, unless `narrow` ones are wanted.
    """
    shapes = np.array([picture.shape[:2] for picture in pictures], np.intp).reshape(-1, 2)
    maps = crops.matrices(size)
    # The centre of a plane's first pixel lies in the middle of those of the picture that it stands for.
    steps = (1, 2) if any(isinstance(picture, Planes) for picture in pictures) else (1,)
    return {
        step: _cuts((maps - [[0, 0, (step - 1) / 2]]) / step, crops.sides / step, -(-shapes // step), size, narrow)
        for step in steps
    }


def _cuts(maps: FloatArray, sides: FloatArray, shapes: npt.NDArray[np.integer], size: int, narrow: bool) -> list[Cut]:
    """Of crops with these maps (crops, 2, 3) and sides out of pictures of these shapes (crops, 2)."""
    times = _halvings(sides, size, shapes)[:, None]
    windowed = np.ones_like(times, np.bool_) if narrow else times > 0
    blocks, ends = 2**times, shapes[:, ::-1]
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64) - 0.5
    reach = corners @ maps[:, :, :2].transpose(0, 2, 1) + maps[:, None, :, 2]  # (crops, 4, 2) x, y
    # What crops show, a block more on each side, in whole blocks counted from the corner of the picture, so that crops
    # share them.
    start = np.where(windowed, np.clip(np.floor(reach.min(1)).astype(np.intp) - blocks, 0, ends - 1), 0)
    start -= start % blocks
    stop = np.clip(np.ceil(reach.max(1)).astype(np.intp) + 1 + blocks, start + 1, ends)
    stop = np.where(windowed, np.minimum(start + np.maximum((stop - start) // blocks, 1) * blocks, ends), ends)
    whole = stop - start
    scale = whole / np.maximum(whole >> times, 1)
    mapped = maps / scale[:, :, None]
    mapped[:, :, 2] = (maps[:, :, 2] - start + 0.5) / scale - 0.5
    return [
        Cut(count, (slice(top, bottom), slice(left, right)), matrix)
        for (count,), (left, top), (right, bottom), matrix in zip(
            times.tolist(), start.tolist(), stop.tolist(), mapped, strict=True
        )
    ]
