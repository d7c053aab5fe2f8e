"""The capture thread: reads a camera, keeps its latest frame, and reopens the camera when it is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Literal, Self

from vtrack.errors import SourceError
from vtrack.pipelines.live.camera import Camera, CameraOpener
from vtrack.pipelines.live.latest import Latest
from vtrack.types import Frame, ImageArray

log = logging.getLogger(__name__)

TIME_BASE = Fraction(1, 90_000)
_RETRY_DELAY, _MAX_RETRY_DELAY = 0.5, 15.0
"""Seconds before a lost camera is reopened; doubled after each failure."""
_POLL = 0.1
"""Seconds between two checks of the stop event."""
_JOIN_TIMEOUT = 2.0
"""Seconds to wait for the thread, which may be blocked in the camera's last read."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """State of the camera."""

    state: Literal["connecting", "live", "lost", "ended"]
    camera: str
    """Name of the camera."""
    detail: str = ""
    """Reason, if it was lost."""

    def __str__(self) -> str:
        return f"{self.state}: {self.camera}" + (f" ({self.detail})" if self.detail else "")


class Capture:
    """Iterates over the latest frames of a camera; frames that arrive while the reader is busy are skipped.

    A frame's time is the moment of its capture, in seconds since this object was made. Its index counts captured frames.
    A context manager: its thread runs inside the `with` block.

    Args:
        opener: Opens the camera; see `camera.camera_opener`.
        stop: Event that ends the frames.
        retry_delay: Seconds before a lost camera is reopened; doubled after each failure, up to 15 s.

    Raises:
        SourceError: While iterating, if the camera could not be opened at all.
    """

    def __init__(
        self, opener: CameraOpener, stop: threading.Event | None = None, *, retry_delay: float = _RETRY_DELAY
    ) -> None:
        self._opener = opener
        self._retry_delay = retry_delay
        self._latest: Latest[Frame] = Latest()
        self._stop = stop or threading.Event()
        self._stop_camera = threading.Event()
        self._opened = threading.Event()
        self._start = time.perf_counter()
        self._error: Exception | None = None
        self._captured = 0
        self._last_pts = -1
        self.status = CameraStatus("connecting", "camera")
        self._thread = threading.Thread(target=self._run, name="vtrack-capture", daemon=True)

    @property
    def now(self) -> float:
        """The current time on the clock of the frames, in seconds."""
        return time.perf_counter() - self._start

    @property
    def skipped(self) -> int:
        """Number of captured frames that were replaced by newer ones before they were read."""
        return self._latest.replaced

    @property
    def opener(self) -> CameraOpener:
        """The function that opens the current camera."""
        return self._opener

    def switch(self, opener: CameraOpener) -> None:
        """Switch to another camera."""
        self._opener = opener
        self._stop_camera.set()

    def wait_until_open(self) -> bool:
        """Wait for the camera; False if it could not be opened, or the frames were ended before."""
        while not self._opened.wait(_POLL):
            if self._latest.closed or self._stop.is_set():
                return False
        return True

    def stop(self) -> None:
        """End the frames."""
        self._stop.set()
        self._stop_camera.set()
        self._latest.close()

    def __iter__(self) -> Iterator[Frame]:
        while not self._stop.is_set():
            frame = self._latest.take(_POLL)
            if frame is not None:
                yield frame
            elif self._latest.closed:
                break
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join(_JOIN_TIMEOUT)

    def _run(self) -> None:
        try:
            self._capture_until_stopped()
        except Exception as error:  # noqa: BLE001  raised again in the reader's thread
            self._error = error
        finally:
            self._latest.close()

    def _capture_until_stopped(self) -> None:
        delay = self._retry_delay
        while not self._stop.is_set():
            opener = self._opener
            self._stop_camera.clear()
            if self._stop.is_set() or opener is not self._opener:  # requested just before the event was cleared
                continue
            captured = self._captured
            ended = self._capture(opener)
            if self._captured > captured:
                delay = self._retry_delay
            if ended or self._never_worked(opener):
                return
            if opener is self._opener and not self._stop_camera.wait(delay):
                delay = min(2 * delay, _MAX_RETRY_DELAY)

    def _capture(self, opener: CameraOpener) -> bool:
        """Capture until the camera is lost or switched; return True if its images ended regularly."""
        name = self.status.camera
        try:
            with closing(opener()) as camera:
                self._opened.set()
                name = camera.name
                self.status = CameraStatus("connecting", name)
                for image in camera.images(self._stop_camera):
                    self._put(image, camera)
                if self._stop_camera.is_set():
                    return False
                self.status = CameraStatus("ended" if camera.ends else "lost", name, "no more images")
                return camera.ends
        except SourceError as error:
            self._error = error if self._captured == 0 else None
            self.status = CameraStatus("lost", name, str(error))
        if not self._never_worked(opener):
            log.warning("%s; retrying", self.status)
        return False

    def _never_worked(self, opener: CameraOpener) -> bool:
        """Whether a camera never gave an image: an error of the user, which is raised; nothing is retried."""
        return self._captured == 0 and self._error is not None and opener is self._opener

    def _put(self, image: ImageArray, camera: Camera) -> None:
        pts = max(round(self.now / TIME_BASE), self._last_pts + 1)
        self._last_pts = pts
        self._latest.put(Frame(image, self._captured, pts, TIME_BASE))
        self._captured += 1
        if self.status.state != "live":
            self._error = None
            self.status = CameraStatus("live", camera.name)
