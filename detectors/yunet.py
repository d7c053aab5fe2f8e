"""OpenCV's YuNet, with a model file of your own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vtrack.detectors.keypoints import boxes_from_points
from vtrack.errors import ModelError, UsageError
from vtrack.types import Detections, Frame

# Box middle x, y and sides w, h from eyes, nose and mouth corners: least squares over the 1,790 annotated faces of w68's
# train split; on its 222 validation faces the boxes overlap the true ones by 0.86 (mean).
_WEIGHTS = np.array(
    [
        [0.030, 0.125, -0.312, 0.254],
        [0.004, -0.076, -0.045, -0.297],
        [-0.012, -0.128, 0.305, -0.243],
        [-0.023, -0.073, -0.035, -0.314],
        [-1.189, 0.007, -0.034, -0.018],
        [0.023, 0.066, -0.083, -0.240],
        [-0.033, -0.305, -0.403, -0.682],
        [-0.062, 0.173, 0.082, 0.653],
        [-0.003, 0.310, 0.416, 0.659],
        [0.101, 0.125, 0.078, 0.568],
        [-0.012, -0.029, 0.738, 0.419],
    ]
)


class YunetDetector:
    """`cv2.FaceDetectorYN` on frames shrunk to `size`; one at a time, as OpenCV has it."""

    name = "yunet"
    sure = 0.8

    def __init__(self, model: Path | None, size: int = 640, threshold: float = 0.6) -> None:
        if model is None:
            raise UsageError(
                "the detector 'yunet' needs its model file (face_detection_yunet_*.onnx): give --detector-model"
            )
        if not model.is_file():
            raise ModelError(f"{model}: there is no such model file")
        try:
            self._net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), threshold, 0.3, 5000)
        except cv2.error as error:
            raise ModelError(
                f"{model}: not a YuNet model that OpenCV {cv2.__version__} can read: {error.err}"
            ) from error
        self._model, self._size = model, size

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Faces of each frame."""
        return [self._look(frame) for frame in frames]

    def _look(self, frame: Frame) -> Detections:
        scale = min(1.0, self._size / max(frame.size))
        width, height = (max(round(side * scale), 1) for side in frame.size)
        picture = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA) if scale < 1 else frame.image
        self._net.setInputSize((width, height))
        try:
            _, found = self._net.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise ModelError(f"{self._model}: not a YuNet model: {error.err}") from error
        if found is None:
            return Detections.none()
        found = found[np.argsort(-found[:, 14])].astype(np.float64)
        # Rows hold a box, the eyes, nose and mouth corners from the image's left to its right, and a score.
        points = (found[:, 4:14].reshape(-1, 5, 2) + 0.5) * (np.array(frame.size) / (width, height)) - 0.5
        boxes, angles = boxes_from_points(points, [3, 4], _WEIGHTS)
        return Detections(
            boxes.astype(np.float32), np.clip(found[:, 14], 0, 1).astype(np.float32), angles.astype(np.float32)
        )
