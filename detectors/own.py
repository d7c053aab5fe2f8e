"""Detectors of one's own: a plain function, or an object with the methods of `Detector`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vtrack.errors import UsageError
from vtrack.types import Detections, Detector, Frame, ImageArray

_EXPECTED = "expected boxes of shape (faces, 4): x, y, width, height in pixels; or (faces, 5) with a score, 0 to 1"


def own_detector(detector: Any) -> Detector:
    """Return a detector made of an object or a plain function.

    Args:
        detector: A `Detector`, or a function from an image, (height, width, 3) `uint8` RGB, to the boxes of its faces,
            (faces, 4) x, y, width, height, or (faces, 5) with scores.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(detector, type):
        raise UsageError(f"detector is the class {detector.__name__}; give an object of it: {detector.__name__}()")
    if callable(getattr(detector, "detect", None)):
        missing = [name for name in ("name", "min_score") if not hasattr(detector, name)]
        if missing:
            raise UsageError(
                f"the detector {type(detector).__name__} lacks {missing[0]}; derive it from vtrack.Detector"
            )
        return detector
    if callable(detector):
        return FunctionDetector(detector)
    raise UsageError(
        f"detector must be a name, a function from an image to boxes, or a vtrack.Detector, got {detector!r}"
    )


class FunctionDetector(Detector):
    """Calls a plain function for each frame."""

    def __init__(self, function: Callable[[ImageArray], Any]) -> None:
        self.name = getattr(function, "__name__", type(function).__name__)
        self._function = function

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [self._detections(self._function(frame.image)) for frame in frames]

    def _detections(self, returned: Any) -> Detections:
        """Return what the function returned, in the form of the pipeline."""
        if isinstance(returned, Detections):
            return returned
        try:
            boxes = np.asarray(returned, np.float64)
        except (TypeError, ValueError):
            boxes = np.array(np.nan)
        if boxes.shape == (0,):
            return Detections.none()
        if boxes.ndim != 2 or boxes.shape[1] not in (4, 5):
            kind = f"shape {boxes.shape}" if boxes.ndim else repr(returned)
            raise UsageError(f"the detector {self.name} returned {kind}; {_EXPECTED}")
        scores = boxes[:, 4] if boxes.shape[1] == 5 else np.ones(len(boxes))
        if not np.isfinite(boxes).all() or (boxes[:, 2:4] <= 0).any() or ((scores < 0) | (scores > 1)).any():
            wrong = boxes[~np.isfinite(boxes).all(1) | (boxes[:, 2:4] <= 0).any(1) | (scores < 0) | (scores > 1)][0]
            raise UsageError(f"the detector {self.name} returned the box {wrong.tolist()}; {_EXPECTED}")
        order = np.argsort(-scores, kind="stable")
        return Detections(boxes[order, :4], scores[order], np.zeros(len(boxes)))


def check_detections(detector: Detector, returned: Any, frames: int) -> list[Detections]:
    """Return what a detector returned for so many frames; raises `UsageError` if it is not one `Detections` for each."""
    if not isinstance(returned, Sequence) or len(returned) != frames or not isinstance(returned[0], Detections):
        shown = f"a list of {len(returned)}" if isinstance(returned, list) else f"a {type(returned).__name__}"
        raise UsageError(
            f"{detector.name}.detect returned {shown}; expected a list with one vtrack.Detections for each of {frames} frames"
        )
    return list(returned)
