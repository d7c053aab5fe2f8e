"""Where live pictures come from: a camera of this machine, a network stream, or a file played at its own pace.

A camera is opened, gives pictures as they come until it is asked to leave, and is closed. What goes wrong is a
`SourceError`; whether to open it again is the caller's affair.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import cv2

from vtrack.errors import SourceError
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.open import open_source
from vtrack.types import ImageArray

_SILENCE = 5.0
"""Seconds after which a stream that sends nothing counts as lost."""
_BEHIND = 1.0
"""Seconds by which a player may be late before it goes on from where it is."""


class Camera(ABC):
    """Something that gives pictures when they come."""

    name: str
    ends = False
    """Whether the end of its pictures is meant to be the end; otherwise the camera is lost."""

    @abstractmethod
    def pictures(self, leave: threading.Event) -> Iterator[ImageArray]:
        """Pictures (H, W, 3) RGB, each as soon as it is there, until `leave` is set."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the device or connection."""


CameraOpener = Callable[[], Camera]


class Device(Camera):
    """A camera of this machine, by its number or its `/dev/video` file."""

    def __init__(self, place: str) -> None:
        self.name = f"camera {place}"
        self._capture = cv2.VideoCapture(int(place) if place.isdecimal() else place)
        if not self._capture.isOpened():
            raise SourceError(
                f"{self.name} cannot be opened; another program may hold it, or there is none. "
                "--camera takes a number, /dev/video0, an address or a file"
            )
        # The newest picture is wanted, not those that the driver has queued.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def pictures(self, leave: threading.Event) -> Iterator[ImageArray]:
        while not leave.is_set():
            there, image = self._capture.read()
            if not there:
                return
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        self._capture.release()


class Stream(Camera):
    """A network address."""

    def __init__(self, address: str) -> None:
        self._source = open_source(address, timeout=_SILENCE)
        self.name = self._source.info.name

    def pictures(self, leave: threading.Event) -> Iterator[ImageArray]:
        for frame in self._source:
            if leave.is_set():
                return
            yield frame.image

    def close(self) -> None:
        self._source.close()


class Player(Camera):
    """A file as if it were a camera: each picture comes when its time has come."""

    ends = True

    def __init__(self, path: str, loop: bool = False) -> None:
        self._path, self._loop = path, loop
        self._source: Source = open_source(path)
        self.name = self._source.info.name

    def pictures(self, leave: threading.Event) -> Iterator[ImageArray]:
        began: float | None = None
        rate = self._source.info.average_rate or 25
        while True:
            first, last = None, 0.0
            for frame in self._source:
                first = frame.time if first is None else first
                last = frame.time - first
                now = time.perf_counter()
                if began is None or now - began - last > _BEHIND:
                    began = now - last
                if leave.wait(max(began + last - now, 0.0)):
                    return
                yield frame.image
            if not self._loop or began is None:
                return
            began += last + 1 / float(rate)
            self._source.close()
            self._source = open_source(self._path)

    def close(self) -> None:
        self._source.close()
