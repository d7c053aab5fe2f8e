"""Square face crops: where they lie, how to cut them, and the exact way back.

A crop is a centre, a side and an angle in frame pixels; it may leave the frame. Crop coordinates `u` are 0..1 over the
crop's area, so a frame point p has u = R(-angle)(p - centre) / side + 1/2, and the way back is exact by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from vtrack.planes import FloatArray, ImageArray, Pixels, Planes, rgb_of

if TYPE_CHECKING:
    import torch

Places = Sequence[int] | npt.NDArray[np.integer]
"""Which image each crop is cut from."""


@dataclass(frozen=True, eq=False, slots=True)
class Crops:
    """Where a batch of square crops lies in its frames."""

    centers: FloatArray
    """(crops, 2) x, y in frame pixels."""
    sides: FloatArray
    """(crops,) in frame pixels."""
    angles: FloatArray
    """(crops,) radians, clockwise on screen: how the head is turned, so that the crop shows it upright."""

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
        """Squares `margin` times the longer side of each box (n, 4), about its middle."""
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        sides = np.maximum(boxes[:, 2:].max(1), 1.0) * margin
        turn = np.zeros(len(boxes)) if angles is None else np.asarray(angles, np.float64)
        return cls(boxes[:, :2] + boxes[:, 2:] / 2, sides, turn)

    def _rotations(self) -> FloatArray:
        """(crops, 2, 2) from upright crop axes to frame axes."""
        cos, sin = np.cos(self.angles), np.sin(self.angles)
        return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)

    def to_frame(self, points: FloatArray) -> FloatArray:
        """(crops, points, 2) in crop units to frame pixels."""
        offsets = (np.asarray(points, np.float64) - 0.5) * self.sides[:, None, None]
        return offsets @ self._rotations().transpose(0, 2, 1) + self.centers[:, None]

    def to_crop(self, points: FloatArray) -> FloatArray:
        """(crops, points, 2) in frame pixels to crop units."""
        offsets = (np.asarray(points, np.float64) - self.centers[:, None]) @ self._rotations()
        return offsets / self.sides[:, None, None] + 0.5

    def matrices(self, size: int) -> FloatArray:
        """(crops, 2, 3) affine maps from pixels of a `size` crop to frame pixels."""
        scaled = self._rotations() * (self.sides / size)[:, None, None]
        # The centre of crop pixel 0 lies at crop unit 0.5 / size.
        shift = self.centers - (scaled @ np.full(2, (size - 1) / 2.0))
        return np.concatenate([scaled, shift[:, :, None]], -1)


def warp(images: Sequence[Pixels], which: Places, crops: Crops, size: int) -> ImageArray:
    """Cut each crop out of `images[which[i]]`: (crops, 3, size, size) uint8, black beyond the frame.

    A crop much larger than `size` is averaged down first, since plain bilinear sampling would skip pixels and shimmer.
    """
    out = np.empty((len(crops), 3, size, size), np.uint8)
    for i, (place, matrix) in enumerate(zip(which, crops.matrices(size), strict=True)):
        image, side = images[place], crops.sides[i]
        if isinstance(image, Planes):
            for k, (plane, step, black) in enumerate(image.each):
                # The centre of a plane's pixel 0 lies in the middle of the picture's pixels that it stands for.
                onto = (matrix - [[0, 0, (step - 1) / 2]]) / step
                _cut(plane, onto, side / step, size, black, out[i, k])
            out[i] = rgb_of(out[i : i + 1], image.colours)[0]
        else:
            shown = np.empty((size, size, 3), np.uint8)
            _cut(image, matrix, side, size, 0, shown)
            out[i] = shown.transpose(2, 0, 1)
    return out


def halvings(sides: FloatArray | float, size: int, picture: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """How often a picture (of a height and width) is halved before crops of these sides are cut out of it.

    As often as leaves crops no smaller than `size`, and something of the picture. Halving is by far the quickest way for
    a processor to average pixels.
    """
    times = np.log2(np.maximum(np.asarray(sides) / size, 1.0))
    return np.minimum(times, np.log2(min(picture[:2]))).astype(np.intp)


def _cut(image: ImageArray, matrix: FloatArray, side: float, size: int, black: int, out: ImageArray) -> None:
    """One crop of an image, or of a single plane of one, into `out`."""
    times = int(halvings(side, size, image.shape))
    if times:
        image, matrix = _averaged(image, matrix, size, times)
    flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_CONSTANT
    cv2.warpAffine(image, matrix, (size, size), dst=out, flags=flags, borderMode=border, borderValue=[black] * 4)


def _averaged(image: ImageArray, matrix: FloatArray, size: int, times: int) -> tuple[ImageArray, FloatArray]:
    """The part of the image under the crop, halved so many times, and the map onto it."""
    shrink = 2**times
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64) - 0.5
    reach = corners @ matrix[:, :2].T + matrix[:, 2]
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(reach.min(0)).astype(int) - shrink, 0, [width - 1, height - 1])
    # Blocks are counted from the frame's corner, so that crops (and `crops_torch`) share them.
    left, top = left - left % shrink, top - top % shrink
    right, bottom = np.clip(np.ceil(reach.max(0)).astype(int) + 1 + shrink, [left + 1, top + 1], [width, height])
    columns, rows = max((right - left) // shrink, 1), max((bottom - top) // shrink, 1)
    block = image[top : min(top + rows * shrink, height), left : min(left + columns * shrink, width)]
    small = block
    for _ in range(times):
        halves = max(small.shape[1] // 2, 1), max(small.shape[0] // 2, 1)
        small = cv2.resize(small, halves, interpolation=cv2.INTER_AREA)
    scale = np.array(block.shape[1::-1]) / small.shape[1::-1]
    mapped = matrix.copy()
    mapped[:, 2] -= (left, top)
    mapped[:, 2] += 0.5
    mapped /= scale[:, None]
    mapped[:, 2] -= 0.5
    return small, mapped


class FrameStack:
    """The frames that a batch of crops is cut from, on the model's device, uploaded once."""

    def __init__(self, images: Sequence[Pixels], device: torch.device | str | None = None) -> None:
        self._images = images
        self._device = None if device is None or str(device).startswith("cpu") else device
        self._uploaded: torch.Tensor | None = None

    def warp(self, which: Places, crops: Crops, size: int) -> Any:
        """(crops, 3, size, size) uint8, an array on the CPU, else a tensor on the device."""
        if self._device is None:
            return warp(self._images, which, crops, size)
        # Without a device torch is not needed, and importing it would cost more than a short clip does.
        from vtrack.crops_torch import uploaded, warp_tensor

        if self._uploaded is None:
            self._uploaded = uploaded(self._images, self._device)
        return warp_tensor(self._uploaded, which, crops, size)
