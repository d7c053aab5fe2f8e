"""The live picture in a window of this machine's screen, with keys."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from vtrack.pipelines.live.latency import PaceMeter
from vtrack.pipelines.live.latest import Newest
from vtrack.pipelines.live.recorder import Drawings
from vtrack.pipelines.live.session import Live, LiveResult, mirrored
from vtrack.query import parse_query
from vtrack.types import ImageArray

TITLE = "vtrack"
KEYS = "q quit  space pause  s snapshot  1-9 parts  d drawing  m mirror"
CHOICES = ("face", "eyes", "brows", "lips", "nose", "jaw", "pupils", "eyes,brows,lips", "300w")
"""What the keys 1 to 9 show."""
DRAWINGS = (("points", "curves"), ("curves",), ("points",), ("points", "curves", "boxes", "ids"), ())
"""What the key d goes through."""
_ESCAPE = 27
_WAIT = 0.05


def has_display() -> bool:
    """Whether there is a screen to show a window on."""
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


class Window:
    """Shows results until the user quits or there are no more."""

    def __init__(self, live: Live, draw: Drawings, *, mirror: bool = True) -> None:
        self._live, self._draw, self._mirror = live, draw, mirror
        self._paused = False
        self.meter = PaceMeter()
        self._image: ImageArray | None = None

    def run(self, results: Newest[LiveResult], tell: Callable[[str], object]) -> None:
        """Show what comes. `tell` gets messages for the user, and the pace at the end."""
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        try:
            while True:
                live = results.take(_WAIT)
                if live is None and results.closed:
                    return
                if live is not None and not self._paused:
                    self._show(live)
                if not self._key(cv2.pollKey() & 0xFF, tell) or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
                    return
        finally:
            cv2.destroyAllWindows()
            tell(f"shown at {self.meter.whole}")

    def _show(self, live: LiveResult) -> None:
        image = self._draw(mirrored(live.shown) if self._mirror else live.shown)
        self._image = image
        connection = self._live.capture.connection
        text = str(self.meter.pace) if connection.state == "live" else str(connection)
        cv2.imshow(TITLE, cv2.cvtColor(labelled(image, text), cv2.COLOR_RGB2BGR))
        cv2.pollKey()  # only now is it on the screen
        self.meter.add(live.shown.time, self._live.capture.now)

    def _key(self, key: int, tell: Callable[[str], object]) -> bool:
        """React to a key; False to quit."""
        pressed = chr(key)
        if pressed in "123456789":
            self._live.show(parse_query(CHOICES[int(pressed) - 1]))
        elif pressed == " ":
            self._paused = not self._paused
        elif pressed == "m":
            self._mirror = not self._mirror
        elif pressed == "d":
            self._draw.kinds = next_drawing(self._draw.kinds)
        elif pressed == "s" and self._image is not None:
            tell(f"wrote {save_snapshot(self._image)}")
        return pressed != "q" and key != _ESCAPE


def next_drawing(kinds: frozenset[str]) -> frozenset[str]:
    """The way of drawing that comes after this one."""
    ways = [frozenset(way) for way in DRAWINGS]
    return ways[(ways.index(kinds) + 1) % len(ways)] if kinds in ways else ways[0]


def save_snapshot(image: ImageArray) -> Path:
    """Write a picture beside the others of today, by the time."""
    path = Path(f"vtrack-{time.strftime('%Y%m%d-%H%M%S')}.png")
    number = 1
    while path.exists():
        number += 1
        path = path.with_stem(f"{path.stem.partition('_')[0]}_{number}")
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


def labelled(image: ImageArray, text: str) -> ImageArray:
    """A copy with a line of text in its lower left corner, readable on everything."""
    image = image.copy()
    scale = max(image.shape[0] / 900, 0.4)
    font, at = cv2.FONT_HERSHEY_DUPLEX, (round(14 * scale) + 4, image.shape[0] - round(16 * scale) - 2)
    (wide, high), base = cv2.getTextSize(text, font, scale, 1)
    pad = round(8 * scale) + 2
    left, top = max(at[0] - pad, 0), max(at[1] - high - pad, 0)
    area = image[top : at[1] + base + pad // 2, left : at[0] + wide + pad]
    area[:] = (area * np.float32(0.35)).astype(np.uint8)
    cv2.putText(image, text, at, font, scale, (245, 245, 245), max(round(scale), 1), cv2.LINE_AA)
    return image
