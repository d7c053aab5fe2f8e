"""A transparent overlay on part of a frame: strokes and labels are drawn on it and blended into the frame.

Strokes have the same width on every overlay, and the overlay is scaled to the frame. So lines can have any width and do
not jump as a face grows, and they can be translucent. A soft shadow keeps them readable on skin, on white and on black.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from vtrack.imaging.planes import Colours, Pixels, Planes
from vtrack.pipelines.outputs.drawing.palette import Color
from vtrack.types import FloatArray, ImageArray

FixedPoints = npt.NDArray[np.int32]
"""(n, 2) fixed-point coordinates on an overlay."""

_MAX_LENGTH = 1000
"""Longest side of an overlay in its own pixels, also if points of a face lie far from its box."""
_SHADOW = (5, 5)
"""Size in pixels of the box filter that blurs the strokes, twice, to make their shadow."""
_STRIP_ROWS = 64
"""Rows that are blended at a time, so that intermediate results stay in the processor's cache."""
_FRACTION_BITS = 4
"""Fractional bits of the coordinates given to OpenCV."""
_LABEL_COLOR: Color = (8, 10, 16)


@dataclass(eq=False, slots=True)
class Overlay:
    """A transparent image over part of a frame: premultiplied colours, and opacity."""

    corner: tuple[int, int]
    """x, y of its top-left corner in the frame."""
    size: tuple[int, int]
    """Width and height in frame pixels."""
    scale: FloatArray
    """(2,) overlay pixels per frame pixel, in x and y."""
    ink: npt.NDArray[np.uint8]
    """(height, width, 4) premultiplied colour and opacity, in overlay pixels."""
    colours: Colours | None
    """Colour space of the planes below it; None for an RGB image."""

    @classmethod
    def over(cls, pixels: Pixels, points: FloatArray, margin: float, scale: float) -> Overlay | None:
        """Make an overlay over points and a margin, cut at the edges of the frame.

        Args:
            pixels: Pixels of the frame.
            points: (n, 2) in frame pixels.
            margin: Margin around the points in frame pixels.
            scale: Overlay pixels per frame pixel.

        Returns:
            The overlay; None if it would lie outside the frame.
        """
        finite = points[np.isfinite(points).all(1)]
        if not len(finite):
            return None
        bounds = (pixels.shape[1], pixels.shape[0])
        # Aligned to even pixels: planes store one colour for 2 x 2 pixels.
        left, top = np.clip(np.floor((finite.min(0) - margin) / 2) * 2, 0, bounds).astype(int).tolist()
        right, bottom = np.clip(np.ceil((finite.max(0) + margin + 1) / 2) * 2, 0, bounds).astype(int).tolist()
        if right <= left or bottom <= top:
            return None
        size = right - left, bottom - top
        scale = min(scale, _MAX_LENGTH / max(size))
        wide, high = math.ceil(size[0] * scale), math.ceil(size[1] * scale)
        ink = np.zeros((high, wide, 4), np.uint8)
        colours = pixels.colours if isinstance(pixels, Planes) else None
        return cls((left, top), size, np.array([wide / size[0], high / size[1]]), ink, colours)

    def to_fixed(self, points: FloatArray) -> FixedPoints:
        """Convert frame pixels (n, 2) to fixed-point coordinates; far points are clipped to the range of OpenCV."""
        positions = (points - self.corner + 0.5) * self.scale - 0.5
        # Of a number and NaN `fmax` takes the number.
        positions = np.fmin(np.fmax(positions, -16000), 16000)
        return np.rint(positions * 2**_FRACTION_BITS).astype(np.int32)

    def stroke(self, lines: Sequence[FixedPoints], width: float, color: Color, opacity: float) -> None:
        """Draw polylines with round ends; `width` is in overlay pixels."""
        cv2.polylines(
            self.ink, lines, False, self._premultiplied(color, opacity), round(width), cv2.LINE_AA, _FRACTION_BITS
        )

    def label(self, text: str, corner: FloatArray, height: float, color: Color) -> None:
        """Draw text on a pill of `height` frame pixels, with its bottom-left end at `corner`."""
        tall = height * float(self.scale[1])
        font, scale = cv2.FONT_HERSHEY_DUPLEX, tall / 36
        stroke = max(round(1.4 * scale), 1)
        (wide, high), _ = cv2.getTextSize(text, font, scale, stroke)
        left, bottom = np.maximum(
            self.to_fixed(corner[None])[0] / 2**_FRACTION_BITS, (0, 1.3 * tall)
        )  # not above the frame
        pill = np.array([[left + tall / 2, bottom - 0.75 * tall], [left + tall / 2 + wide, bottom - 0.75 * tall]])
        self.stroke([np.rint(pill * 2**_FRACTION_BITS).astype(np.int32)], tall, color, 0.95)
        at = (round(left + tall / 2), round(bottom - 0.75 * tall + high / 2))
        cv2.putText(self.ink, text, at, font, scale, self._premultiplied(_LABEL_COLOR, 1.0), stroke, cv2.LINE_AA)

    def fill(self, area: FloatArray, color: Color, opacity: float) -> None:
        """Fill a rectangle, given by two corners (2, 2) in frame pixels."""
        start, end = self.to_fixed(area)
        cv2.rectangle(self.ink, start, end, self._premultiplied(color, opacity), cv2.FILLED, cv2.LINE_8, _FRACTION_BITS)

    def text(self, text: str, start: FloatArray, height: float, color: Color) -> None:
        """Write text of `height` frame pixels from `start`, the middle of its left end."""
        font, scale = cv2.FONT_HERSHEY_DUPLEX, height * float(self.scale[1]) / 30
        (_, high), _ = cv2.getTextSize(text, font, scale, 1)
        left, middle = np.rint(self.to_fixed(start[None])[0] / 2**_FRACTION_BITS).astype(int).tolist()
        cv2.putText(
            self.ink, text, (left, middle + high // 2), font, scale, self._premultiplied(color, 1.0), 1, cv2.LINE_AA
        )

    def blend_into(self, pixels: Pixels) -> None:
        """Blend the overlay into the frame, over a soft shadow of itself."""
        alpha = cv2.extractChannel(self.ink, 3)
        shadow = cv2.blur(cv2.blur(alpha, _SHADOW), _SHADOW)
        # From here on the fourth channel is the share of the frame that is visible through the overlay and its shadow.
        transparency = cv2.bitwise_not(alpha)
        transmission = cv2.multiply(transparency, cv2.bitwise_not(shadow), scale=1 / 255)
        self.ink[:, :, 3] = transmission
        if isinstance(pixels, Planes):
            self._blend_into_planes(pixels, shade=cv2.subtract(transparency, transmission))
        else:
            self._blend_into_image(pixels)

    def _blend_into_image(self, image: ImageArray) -> None:
        """Blend into an RGB image, strip by strip."""
        ink, area = self._resized(self.ink), self._area(image)
        for start in range(0, len(area), _STRIP_ROWS):
            strip, inked = area[start : start + _STRIP_ROWS], ink[start : start + _STRIP_ROWS]
            transmission = cv2.cvtColor(cv2.extractChannel(inked, 3), cv2.COLOR_GRAY2RGB)
            cv2.multiply(strip, transmission, dst=strip, scale=1 / 255)
            cv2.add(strip, cv2.cvtColor(inked, cv2.COLOR_RGBA2RGB), dst=strip)

    def _blend_into_planes(self, planes: Planes, shade: ImageArray) -> None:
        """Blend into planes; `shade` is the amount of black that the shadow adds."""
        *tones, transmission = cv2.split(self.ink)
        for (plane, step, black), tone in zip(planes.each, tones, strict=True):
            area = self._area(plane, step)
            inked = cv2.addWeighted(tone, 1.0, shade, black / 255, 0.0)  # black is not zero in planes
            cv2.multiply(area, self._resized(transmission, step), dst=area, scale=1 / 255)
            cv2.add(area, self._resized(inked, step), dst=area)

    def _premultiplied(self, color: Color, opacity: float) -> tuple[float, ...]:
        """Return colour times opacity, and opacity, 0..255."""
        return _premultiplied(self.colours, color, opacity)

    def _area(self, plane: ImageArray, step: int = 1) -> ImageArray:
        """Return the area under the overlay of an image, or of a plane with one value for `step` x `step` pixels."""
        (left, top), (wide, high) = self.corner, self.size
        return plane[top // step : (top + high) // step, left // step : (left + wide) // step]

    def _resized(self, ink: ImageArray, step: int = 1) -> ImageArray:
        """Resize an array of the overlay's size to the size of its area."""
        interpolation = cv2.INTER_AREA if self.scale.max() * step > 2 else cv2.INTER_LINEAR
        resized: ImageArray = cv2.resize(ink, (self.size[0] // step, self.size[1] // step), interpolation=interpolation)
        return resized


@lru_cache(maxsize=1024)
def _premultiplied(colours: Colours | None, color: Color, opacity: float) -> tuple[float, ...]:
    """The numbers that are drawn for a colour: a run draws the same few again and again."""
    tones = color if colours is None else (colours.from_rgb @ (*color, 1.0)).tolist()
    return (*(tone * opacity for tone in tones), 255 * opacity)
