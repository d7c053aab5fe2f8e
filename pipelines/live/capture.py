"""The camera's thread: the newest picture at any moment, and the camera opened again when it was lost."""

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
from vtrack.pipelines.live.latest import Newest
from vtrack.types import Frame, ImageArray

log = logging.getLogger(__name__)

TIME_BASE = Fraction(1, 90_000)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
"""Seconds before a lost camera is opened again; doubled each time it fails."""
_POLL = 0.1
"""Seconds between two looks at the stop event while waiting."""
_LEAVE = 2.0
"""Seconds that a camera may take to leave its last read."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How things stand with the camera."""

    state: Literal["connecting", "live", "lost", "ended"]
    camera: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.camera}" + (f" ({self.detail})" if self.detail else "")


class Capture:
    """Iterating gives the newest frame each time, waiting for one; frames that nobody had time for are skipped.

    A frame's time is when it was captured, in seconds since this object was made; its index counts captured frames.
    """

    def __init__(
        self, opener: CameraOpener, stop: threading.Event | None = None, *, first_pause: float = _FIRST_PAUSE
    ) -> None:
        """`stop`, once set, ends the frames."""
        self._opener = opener
        self._first_pause = first_pause
        self._newest: Newest[Frame] = Newest()
        self._leave, self._stop = threading.Event(), stop or threading.Event()
        self._began = time.perf_counter()
        self._error: SourceError | None = None
        self._captured = 0
        self._last_pts = -1
        self.connection = Connection("connecting", "camera")
        self._thread = threading.Thread(target=self._work, name="vtrack-capture", daemon=True)

    @property
    def now(self) -> float:
        """This moment on the clock of the frames."""
        return time.perf_counter() - self._began

    @property
    def skipped(self) -> int:
        """Frames that were captured but that newer ones replaced."""
        return self._newest.replaced

    @property
    def opener(self) -> CameraOpener:
        """What opens the camera in use."""
        return self._opener

    def switch(self, opener: CameraOpener) -> None:
        """Go on with another camera."""
        self._opener = opener
        self._leave.set()

    def stop(self) -> None:
        """No more frames."""
        self._stop.set()
        self._leave.set()
        self._newest.close()

    def __iter__(self) -> Iterator[Frame]:
        while not self._stop.is_set():
            frame = self._newest.take(_POLL)
            if frame is not None:
                yield frame
            elif self._newest.closed:
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
        self._thread.join(_LEAVE)

    def _work(self) -> None:
        pause = self._first_pause
        while not self._stop.is_set():
            opener = self._opener
            self._leave.clear()
            if self._stop.is_set() or opener is not self._opener:  # asked for before the event was cleared
                continue
            before = self._captured
            ended = self._run(opener)
            if self._captured > before:
                pause = self._first_pause
            if ended:
                # A film that is over is the end, unless somebody switches to another camera.
                self._newest.close()
                return
            if self._captured == 0 and self._error is not None and opener is self._opener:
                self._newest.close()  # a camera that was never there is a mistake to tell, not to wait for
                return
            if opener is self._opener and not self._leave.wait(pause):
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _run(self, opener: CameraOpener) -> bool:
        """Capture until the camera is lost or another is wanted; True when its pictures came to their end."""
        name = self.connection.camera
        try:
            with closing(opener()) as camera:
                name = camera.name
                self.connection = Connection("connecting", name)
                for image in camera.pictures(self._leave):
                    self._put(image, camera)
                if self._leave.is_set():
                    return False
                self.connection = Connection("ended" if camera.ends else "lost", name, "no more pictures")
                return camera.ends
        except SourceError as error:
            self._error = error if self._captured == 0 else None
            self.connection = Connection("lost", name, str(error))
        log.warning("%s; trying again", self.connection)
        return False

    def _put(self, image: ImageArray, camera: Camera) -> None:
        pts = max(round(self.now / TIME_BASE), self._last_pts + 1)
        self._last_pts = pts
        self._newest.put(Frame(image, self._captured, pts, TIME_BASE))
        self._captured += 1
        if self.connection.state != "live":
            self._error = None
            self.connection = Connection("live", camera.name)
