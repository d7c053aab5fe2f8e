"""How a stored picture is turned and mirrored before it is shown."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from av import VideoFrame
from av.sidedata.sidedata import SideDataContainer

from vtrack.types import ImageArray


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to show a picture: transpose first, then mirror."""

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Orientation:
        """From the frame's display matrix; upright where it has none.

        The matrix takes a stored point to where it is shown: x' = a x + c y, y' = b x + d y, in 16.16
        fixed point. Angles between quarter turns, which no player shows well, go to the nearest of the eight.
        """
        try:
            # Not `frame.side_data`: what that returns and the frame hold on to each other, and with them every picture that the
            # decoder has room for, until Python searches all memory for such circles.
            matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
        except ValueError:  # PyAV does not know a kind of side data that this frame also carries; the angle it does.
            return cls._turned(frame.rotation)
        if matrix is None:
            return cls()
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    @classmethod
    def _turned(cls, degrees: int) -> Orientation:
        """Shown after a turn counter-clockwise, to the nearest quarter."""
        quarters = round(degrees / 90) % 4
        return (cls(), cls(True, False, True), cls(False, True, True), cls(True, True, False))[quarters]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Displayed width and height of a stored picture."""
        return (height, width) if self.transposed else (width, height)

    def apply(self, image: ImageArray) -> ImageArray:
        """The picture as displayed, contiguous."""
        if self.transposed:
            image = np.asarray(cv2.transpose(image), np.uint8)
        if self.mirrored_x or self.mirrored_y:
            # OpenCV's flip code: 0 top to bottom, 1 left to right, -1 both.
            axes = -1 if self.mirrored_x and self.mirrored_y else int(self.mirrored_x)
            image = np.asarray(cv2.flip(image, axes), np.uint8)
        return np.ascontiguousarray(image)
