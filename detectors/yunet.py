"""OpenCV's YuNet detector, with a model file of your own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vtrack.detectors.geometry import boxes_from_keypoints
from vtrack.errors import ModelError
from vtrack.types import Detections, Detector, Frame

# Box middle x, y and sides w, h from eyes, nose and mouth corners: least squares over the 1,790 annotated faces of w68's
# train split; on its 222 validation faces the mean IoU with the true boxes is 0.86.
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


class YunetDetector(Detector):
    """`cv2.FaceDetectorYN`, one frame at a time.

    Args:
        model: The model file, `face_detection_yunet_*.onnx`.
        size: Pixels of the longer side that larger frames are shrunk to.
        threshold: Score, 0 to 1, from which a face is reported.

    Raises:
        UsageError: No model file was given.
        ModelError: The model file is missing or is not YuNet's.
    """

    name = "yunet"
    min_score = 0.8

    def __init__(self, model_path: Path, size: int = 640, threshold: float = 0.6) -> None:
        if not model_path.is_file():
            raise ModelError(f"{model_path}: there is no such model file")
        try:
            self._net = cv2.FaceDetectorYN.create(str(model_path), "", (320, 320), threshold, 0.3, 5000)
        except cv2.error as error:
            raise ModelError(
                f"{model_path}: not a YuNet model that OpenCV {cv2.__version__} can read: {error.err}"
            ) from error
        self._model, self._size = model_path, size

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Find the faces of each frame."""
        return [self._detections(frame) for frame in frames]

    def _detections(self, frame: Frame) -> Detections:
        scale = min(1.0, self._size / max(frame.size))
        width, height = (max(round(side * scale), 1) for side in frame.size)
        image = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA) if scale < 1 else frame.image
        self._net.setInputSize((width, height))
        try:
            _, rows = self._net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise ModelError(f"{self._model}: not a YuNet model: {error.err}") from error
        if rows is None:
            return Detections.none()
        rows = rows[np.argsort(-rows[:, 14])].astype(np.float64)
        # Rows hold a box, the eyes, nose and mouth corners from the image's left to its right, and a score.
        points = (rows[:, 4:14].reshape(-1, 5, 2) + 0.5) * (np.array(frame.size) / (width, height)) - 0.5
        boxes, angles = boxes_from_keypoints(points, [3, 4], _WEIGHTS)
        return Detections(
            boxes.astype(np.float32), np.clip(rows[:, 14], 0, 1).astype(np.float32), angles.astype(np.float32)
        )
