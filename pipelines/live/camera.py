"""Cameras: devices of this machine, network streams, a browser's camera, and files played at their own speed.

A camera is opened by constructing it, yields images as they arrive until it is told to stop, and is closed. Errors are raised
as `SourceError`; whether to reopen it is up to the caller (see `capture`).
"""

from __future__ import annotations

import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np

from vtrack.errors import MissingExtraError, SourceError, spelled
from vtrack.imaging.messages import opencv_silent
from vtrack.pipelines.live.latest import Latest
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.open import is_address, open_source
from vtrack.types import ImageArray

_STREAM_TIMEOUT = 5.0
"""Seconds without data after which a stream counts as lost."""
_MAX_DELAY = 1.0
"""Seconds by which playback of a file may be late before it continues from the current position."""
_POLL = 0.1
"""Seconds between two checks of the stop event."""
_BROWSER = "the browser's camera"


class Camera(ABC):
    """Yields images as they arrive.

    Attributes:
        name: Name shown to the user.
        ends: Whether the end of the images is regular, as at the end of a file; otherwise the camera was lost.
    """

    name: str
    ends = False

    @abstractmethod
    def images(self, stop: threading.Event) -> Iterator[ImageArray]:
        """Yield RGB images (H, W, 3) as soon as each is available, until `stop` is set.

        Raises:
            SourceError: The camera failed.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the device or connection."""


CameraOpener = Callable[[], Camera]


class DeviceCamera(Camera):
    """A camera of this machine, given by its number or its `/dev/video` file."""

    def __init__(self, device: str) -> None:
        self.device, self.name = device, f"camera {device}"
        with opencv_silent():  # it has a dozen lines for a camera that is not there
            self._capture = cv2.VideoCapture(int(device) if device.isdecimal() else device)
        if not self._capture.isOpened():
            raise SourceError(f"{self.name} cannot be opened: it does not exist or another program uses it")
        # Read the latest image, not those that the driver has queued.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def images(self, stop: threading.Event) -> Iterator[ImageArray]:
        while not stop.is_set():
            success, image = self._capture.read()
            if not success:
                return
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        self._capture.release()


class StreamCamera(Camera):
    """A network stream."""

    def __init__(self, address: str) -> None:
        self._source = open_source(address, timeout=_STREAM_TIMEOUT)
        self.name = self._source.info.name

    def images(self, stop: threading.Event) -> Iterator[ImageArray]:
        for frame in self._source:
            if stop.is_set():
                return
            yield frame.image

    def close(self) -> None:
        self._source.close()


class FileCamera(Camera):
    """A video file played at its own speed: each image is yielded when its timestamp is due."""

    ends = True

    def __init__(self, path: str, loop: bool = False) -> None:
        self._path, self._loop = path, loop
        self._source: Source = open_source(path)
        self.name = self._source.info.name

    def images(self, stop: threading.Event) -> Iterator[ImageArray]:
        start: float | None = None
        rate = self._source.info.average_rate or 25
        while True:
            first, elapsed = None, 0.0
            for frame in self._source:
                first = frame.time if first is None else first
                elapsed = frame.time - first
                now = time.perf_counter()
                if start is None or now - start - elapsed > _MAX_DELAY:
                    start = now - elapsed
                if stop.wait(max(start + elapsed - now, 0.0)):
                    return
                yield frame.image
            if not self._loop or start is None:
                return
            start += elapsed + 1 / float(rate)
            self._source.close()
            self._source = open_source(self._path)

    def close(self) -> None:
        self._source.close()


class BrowserCamera(Camera):
    """The camera of a browser. Its WebRTC connection puts frames in; the capture takes the latest one."""

    name = _BROWSER

    def __init__(self) -> None:
        self._latest: Latest[av.VideoFrame] = Latest()

    def put(self, frame: av.VideoFrame) -> None:
        """Store the latest frame."""
        self._latest.put(frame)

    def images(self, stop: threading.Event) -> Iterator[ImageArray]:
        while not stop.is_set():
            frame = self._latest.take(_POLL)
            if frame is not None:
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            elif self._latest.closed:
                return

    def close(self) -> None:
        self._latest.close()


class NoCamera(Camera):
    """Stands for the browser's camera until a page offers one."""

    name = _BROWSER

    def images(self, stop: threading.Event) -> Iterator[ImageArray]:
        stop.wait()
        yield from ()

    def close(self) -> None:
        """Nothing to release."""


def camera_opener(name: str, *, loop: bool = False) -> CameraOpener:
    """Return a function that opens a camera.

    Args:
        name: A number, `/dev/video0`, an address, a file, or `browser` for the camera of the browser that shows the page.
        loop: Whether to repeat a file forever.

    Raises:
        SourceError: `name` is a file that does not exist.
        MissingExtraError: `name` is `browser` and aiortc is not installed.

    Example:
        with Capture(camera_opener("0")) as capture:
            frame = next(iter(capture))
    """
    if re.fullmatch(r"\d+|/dev/video\d+", name):
        return lambda: DeviceCamera(name)
    if name == "browser":
        if find_spec("aiortc") is None:
            raise MissingExtraError('--camera browser needs aiortc; pip install "vtrack[live]"')
        return NoCamera
    if is_address(name):
        return lambda: StreamCamera(name)
    if not Path(name).exists():
        raise SourceError(
            f"{name}: no such file; {spelled('camera')} takes a number, /dev/video0, an address or a file"
        )
    return lambda: FileCamera(name, loop)
