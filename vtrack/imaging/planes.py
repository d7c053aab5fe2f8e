"""Images as video stores them: brightness at full resolution, colour at half (YUV 4:2:0).

Converting a whole frame to RGB costs more than decoding it, and most of it is not used. So a frame keeps its planes; only
crops and resized copies are converted, and the whole image on request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
ImageArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Colours:
    """Conversion between brightness with two colour differences (YUV) and RGB."""

    red: float
    """Weight of red in brightness: 0.299 in BT.601, 0.2126 in BT.709."""
    blue: float
    """Weight of blue: 0.114 in BT.601, 0.0722 in BT.709."""
    full: bool
    """True for brightness from 0 to 255, False for 16 to 235, as in most video."""

    @property
    def black(self) -> tuple[int, int, int]:
        """Brightness and colour differences of black."""
        return _black(self.full)

    @property
    def to_rgb(self) -> FloatArray:
        """(3, 4) from brightness, blue difference, red difference and 1 to RGB."""
        return _to_rgb(self.red, self.blue, self.full)

    @property
    def from_rgb(self) -> FloatArray:
        """(3, 4) from RGB and 1 to brightness, blue difference and red difference."""
        return _from_rgb(self.red, self.blue, self.full)


@lru_cache(maxsize=8)
def _to_rgb(red: float, blue: float, full: bool) -> FloatArray:
    green = 1.0 - red - blue
    bluer, redder = 2 * (1 - blue), 2 * (1 - red)
    matrix = np.array([[1, 0, redder], [1, -bluer * blue / green, -redder * red / green], [1, bluer, 0]])
    matrix *= np.array([1, 1, 1]) if full else np.array([255 / 219, 255 / 224, 255 / 224])
    return np.column_stack([matrix, -matrix @ np.array(_black(full))])


@lru_cache(maxsize=8)
def _from_rgb(red: float, blue: float, full: bool) -> FloatArray:
    return np.column_stack([np.linalg.inv(_to_rgb(red, blue, full)[:, :3]), np.array(_black(full), np.float64)])


def _black(full: bool) -> tuple[int, int, int]:
    return 0 if full else 16, 128, 128


BT601 = (0.299, 0.114)
BT709 = (0.2126, 0.0722)
HD_HEIGHT = 720
"""Height in pixels from which video without colour information is taken for BT.709; below for BT.601."""


def film_colours(height: int) -> Colours:
    """Colours of the video that vtrack writes, by its height in pixels."""
    return Colours(*(BT709 if height >= HD_HEIGHT else BT601), full=False)


@dataclass(frozen=True, eq=False, slots=True)
class Planes:
    """One image in planes. The arrays are views of the decoder's memory, which they keep alive."""

    luma: ImageArray
    """(H, W)"""
    blue: ImageArray
    """(ceil(H / 2), ceil(W / 2))"""
    red: ImageArray
    """(ceil(H / 2), ceil(W / 2))"""
    colours: Colours
    whole: Callable[[], ImageArray] = field(repr=False)
    """Converts the whole image to RGB (H, W, 3)."""

    def __post_init__(self) -> None:
        half = tuple(-(-side // 2) for side in self.luma.shape)
        if self.luma.ndim != 2 or self.blue.shape != half or self.red.shape != half:
            raise ValueError(f"planes {self.luma.shape}, {self.blue.shape} and {self.red.shape} do not fit together")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and 3, as of the RGB picture."""
        return (*self.luma.shape, 3)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.luma.nbytes + self.blue.nbytes + self.red.nbytes

    @property
    def each(self) -> tuple[tuple[ImageArray, int, int], ...]:
        """Each plane, the image pixels per plane pixel in each direction, and the plane's value of black."""
        y, u, v = self.colours.black
        return (self.luma, 1, y), (self.blue, 2, u), (self.red, 2, v)

    def copied(self) -> Planes:
        """A copy in memory of its own, for drawing on it."""
        luma, blue, red = (plane.copy() for plane, *_ in self.each)
        colours, size = self.colours, (self.shape[1], self.shape[0])
        return Planes(luma, blue, red, colours, lambda: _at_size((luma, blue, red), colours, size))

    def part(self, x: int, y: int, w: int, h: int) -> Planes:
        """A window of the image; x and y must be even."""
        if x % 2 or y % 2:
            raise ValueError(f"a window of planes starts at even pixels, got {x}, {y}")
        left, top, right, bottom = x // 2, y // 2, (x + w + 1) // 2, (y + h + 1) // 2
        blue, red = self.blue[top:bottom, left:right], self.red[top:bottom, left:right]
        return Planes(
            self.luma[y : y + h, x : x + w], blue, red, self.colours, lambda: self.whole()[y : y + h, x : x + w]
        )

    def shrunk(self, size: tuple[int, int]) -> ImageArray:
        """(h, w, 3) RGB of the whole picture at another size, width and height."""
        return _at_size((self.luma, self.blue, self.red), self.colours, size)

    def brightness(self, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> FloatArray:
        """Brightness of single pixels, from 0 to 255 whatever the video's range."""
        gain = np.float32(self.colours.to_rgb[0, 0])
        return (self.luma[rows, columns] - np.float32(self.colours.black[0])) * gain


def _at_size(planes: tuple[ImageArray, ...], colours: Colours, size: tuple[int, int]) -> ImageArray:
    """(h, w, 3) RGB of brightness and colour differences at another size, width and height."""
    import cv2  # here, for everything imports this module, `vtrack --help` too

    way = cv2.INTER_AREA if size[0] < planes[0].shape[1] else cv2.INTER_LINEAR
    sized = [plane if plane.shape == size[::-1] else cv2.resize(plane, size, interpolation=way) for plane in planes]
    return np.asarray(cv2.transform(cv2.merge(sized), colours.to_rgb), np.uint8)


class Blank(np.ndarray[tuple[int, ...], np.dtype[np.uint8]]):
    """A black picture, (height, width, 3), that takes no memory, neither here nor pickled."""

    def __new__(cls, shape: tuple[int, ...]) -> Blank:
        return np.broadcast_to(np.uint8(0), shape).view(cls)

    def __reduce__(self) -> Any:
        # What was computed from it is of this class, too, but has memory of its own.
        return super().__reduce__() if any(self.strides) else (Blank, (self.shape,))


Pixels = ImageArray | Planes
"""An image: RGB (H, W, 3), or planes."""


def view(plane: Any, samples: int = 1) -> ImageArray:
    """(height, width * samples) of an `av` plane's own memory, without the bytes that fill its lines up."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width * samples]


def rgb_of(planes: npt.NDArray[Any], colours: Colours) -> ImageArray:
    """(n, 3, h, w) brightness and colour differences, all at one size, to RGB."""
    matrix = colours.to_rgb.astype(np.float32)
    mixed = matrix[:, :3] @ planes.reshape(len(planes), 3, -1).astype(np.float32)
    mixed += matrix[:, 3:] + np.float32(0.5)
    return np.clip(mixed, 0, 255, out=mixed).astype(np.uint8).reshape(planes.shape)
