"""The live view in a window on this machine's screen, controlled by keys."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from vtrack.pipelines.live.latency import LatencyMeter
from vtrack.pipelines.live.latest import Latest
from vtrack.pipelines.live.recorder import LiveDrawing
from vtrack.pipelines.live.session import LiveResult, LiveSession, mirrored
from vtrack.query import parse_query
from vtrack.types import ImageArray

TITLE = "vtrack"
KEYS = "q quit  space pause  s snapshot  1-9 parts  d drawing  m mirror"
CHOICES = ("face", "eyes", "brows", "lips", "nose", "jaw", "pupils", "eyes,brows,lips", "300w")
"""Parts that the keys 1 to 9 select."""
_ESCAPE = 27
_POLL = 0.05
"""Seconds to wait for a result before keys are read again."""


def has_display() -> bool:
    """Whether this machine has a screen for a window."""
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


class Window:
    """Shows results until the user quits or there are no more.

    Attributes:
        meter: Frame rate and latency of the view.
    """

    def __init__(self, session: LiveSession, draw: LiveDrawing, *, mirror: bool = True) -> None:
        self._session, self._draw, self._mirror = session, draw, mirror
        self._paused = False
        self.meter = LatencyMeter()
        self._image: ImageArray | None = None

    def run(self, results: Latest[LiveResult], report: Callable[[str], object]) -> None:
        """Show results until the end.

        Args:
            results: The latest result.
            report: Called with messages for the user, at the end with the frame rate and latency.
        """
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        try:
            while True:
                result = results.take(_POLL)
                if result is None and results.closed:
                    return
                if result is not None and not self._paused:
                    self._show(result)
                if (
                    not self._key(cv2.pollKey() & 0xFF, report)
                    or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
                ):
                    return
        finally:
            cv2.destroyAllWindows()
            report(f"shown at {self.meter.total}")

    def _show(self, result: LiveResult) -> None:
        image = self._draw(mirrored(result.shown) if self._mirror else result.shown)
        self._image = image
        status = self._session.capture.status
        text = self._session.notice or (str(self.meter.recent) if status.state == "live" else str(status))
        cv2.imshow(TITLE, cv2.cvtColor(labelled(image, text), cv2.COLOR_RGB2BGR))
        cv2.pollKey()  # draws the window
        self.meter.add(result.shown.time, self._session.capture.now)

    def _key(self, key: int, report: Callable[[str], object]) -> bool:
        """Handle a key; return False to quit."""
        pressed = chr(key)
        if pressed in "123456789":
            self._session.show(parse_query(CHOICES[int(pressed) - 1]))
        elif pressed == " ":
            self._paused = not self._paused
        elif pressed == "m":
            self._mirror = not self._mirror
        elif pressed == "d":
            self._draw.kinds = self._draw.next_style
        elif pressed == "s" and self._image is not None:
            report(f"wrote {save_snapshot(self._image)}")
        return pressed != "q" and key != _ESCAPE


def save_snapshot(image: ImageArray) -> Path:
    """Write an image into the current folder, named by the time, and return its path."""
    path = Path(f"vtrack-{time.strftime('%Y%m%d-%H%M%S')}.png")
    number = 1
    while path.exists():
        number += 1
        path = path.with_stem(f"{path.stem.partition('_')[0]}_{number}")
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


def labelled(image: ImageArray, text: str) -> ImageArray:
    """A copy with a line of text on a dark background in the lower left corner."""
    image = image.copy()
    scale = max(image.shape[0] / 900, 0.4)
    font, origin = cv2.FONT_HERSHEY_DUPLEX, (round(14 * scale) + 4, image.shape[0] - round(16 * scale) - 2)
    (width, height), baseline = cv2.getTextSize(text, font, scale, 1)
    pad = round(8 * scale) + 2
    left, top = max(origin[0] - pad, 0), max(origin[1] - height - pad, 0)
    area = image[top : origin[1] + baseline + pad // 2, left : origin[0] + width + pad]
    area[:] = (area * np.float32(0.35)).astype(np.uint8)
    cv2.putText(image, text, origin, font, scale, (245, 245, 245), max(round(scale), 1), cv2.LINE_AA)
    return image
