"""Orientation of stored images: how to rotate and mirror them for display."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from av import VideoFrame
from av.sidedata.sidedata import SideDataContainer

from vtrack.types import ImageArray


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight orientations of an image: transpose first, then mirror."""

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Orientation:
        """Read the orientation from the frame's display matrix; upright where there is none.

        The matrix maps a stored point to where it is displayed: x' = a x + c y, y' = b x + d y, in 16.16 fixed point.
        Angles between quarter turns, which no player displays well, are rounded to the nearest of the eight.
        """
        try:
            # Not `frame.side_data`: its result and the frame refer to each other. The cycle keeps all frames of the
            # decoder's pool in memory until the garbage collector runs.
            matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
        except ValueError:  # PyAV does not know another kind of side data of this frame; the angle still works.
            return cls._from_angle(frame.rotation)
        if matrix is None:
            return cls()
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    @classmethod
    def _from_angle(cls, degrees: int) -> Orientation:
        """Return the orientation after a counter-clockwise turn, rounded to quarter turns."""
        quarters = round(degrees / 90) % 4
        return (cls(), cls(True, False, True), cls(False, True, True), cls(True, True, False))[quarters]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the displayed width and height of an image stored in this size."""
        return (height, width) if self.transposed else (width, height)

    def apply(self, image: ImageArray) -> ImageArray:
        """Return the image as displayed, C-contiguous."""
        if self.transposed:
            image = np.asarray(cv2.transpose(image), np.uint8)
        if self.mirrored_x or self.mirrored_y:
            # OpenCV's flip code: 0 top to bottom, 1 left to right, -1 both.
            axes = -1 if self.mirrored_x and self.mirrored_y else int(self.mirrored_x)
            image = np.asarray(cv2.flip(image, axes), np.uint8)
        return np.ascontiguousarray(image)
