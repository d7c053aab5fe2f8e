"""A detector in a thread of its own, asked ahead of time.

Whoever follows faces knows which frame it will want detected long before it is there, and has other work until then.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from pipelines.stopwatch import Stopwatch
from vtrack.types import Detections, Detector, Frame


class Lookout:
    """Detections of frames, one frame at a time. Detectors need not bear several threads: all run in the same one."""

    def __init__(self, detector: Detector, watch: Stopwatch) -> None:
        self._detector = detector
        self._watch = watch
        self._thread = ThreadPoolExecutor(1, "vtrack-detect")
        self._asked: dict[int, Future[Detections]] = {}

    def ask(self, frame: Frame) -> None:
        """Begin with a frame that will probably be wanted."""
        if frame.index not in self._asked:
            self._asked[frame.index] = self._thread.submit(self._detect, frame)

    def detect(self, frame: Frame) -> Detections:
        """The faces of a frame."""
        self.ask(frame)
        return self._asked.pop(frame.index).result()

    def forget(self, frame: Frame) -> None:
        """A frame is not wanted after all."""
        asked = self._asked.pop(frame.index, None)
        if asked is not None:
            asked.cancel()

    def close(self) -> None:
        """End its thread; it cannot detect any more then."""
        self._thread.shutdown(cancel_futures=True)

    def _detect(self, frame: Frame) -> Detections:
        with self._watch("detect"):
            return self._detector.detect([frame])[0]
