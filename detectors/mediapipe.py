"""mediapipe's BlazeFace detector, through either of mediapipe's two interfaces.

Versions before 0.10.30 contain the full-range model; later ones contain none and need a model file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vtrack.detectors.geometry import boxes_from_keypoints, inside_tile, suppress, tiles
from vtrack.errors import MissingExtraError, ModelError, UsageError, spelled
from vtrack.imaging.boxes import xywh_to_corners
from vtrack.types import Detections, Detector, FloatArray, Frame, ImageArray

# Box middle x, y and sides w, h from eyes, nose, mouth and ears: least squares over 3,519 detections of the full-range and
# the short-range model on w68's train split; on its validation split the mean IoU with the true boxes is 0.86 (full
# range) and 0.87 (short range), against 0.69 and 0.81 for the models' own boxes.
_WEIGHTS = np.array(
    [
        [0.019, 0.116, 0.466, 0.733],
        [0.037, -0.131, -0.337, -0.637],
        [0.041, -0.138, -0.437, -0.706],
        [-0.052, -0.098, -0.381, -0.677],
        [-0.145, 0.006, 0.019, -0.002],
        [-0.039, 0.031, -0.754, -0.663],
        [-0.059, 0.022, -0.029, -0.027],
        [0.016, 0.229, 0.719, 1.314],
        [0.371, -0.013, -0.786, -0.282],
        [-0.001, 0.156, -0.323, 0.227],
        [0.250, 0.017, 0.855, 0.298],
        [-0.013, 0.103, -0.009, 0.136],
        [0.045, 0.089, 0.175, 0.532],
    ]
)
TILE, OVERLAP = 384, 128
"""Side and overlap of tiles, in pixels. The full-range model shrinks its input to 192 pixels and finds faces from about 12."""

_BlazeFace = Callable[[ImageArray], FloatArray]
"""From an image to rows (faces, 13): score and six points, 0..1 over the image."""


class MediapipeDetector(Detector):
    """mediapipe's BlazeFace on whole frames and, for small faces, on tiles; one image at a time.

    Args:
        model: A face detection model file (`.tflite`); needed with mediapipe 0.10.30 and later.
        threshold: Score, 0 to 1, from which a face is reported.
        small_faces: Also search tiles of the frame, for faces too small in the whole one.

    Raises:
        MissingExtraError: mediapipe is not installed.
        UsageError: This version of mediapipe needs a model file and none was given.
        ModelError: The model file is missing or does not fit.
    """

    name = "mediapipe"
    min_score = 0.5

    def __init__(self, model_path: Path | None = None, threshold: float = 0.5, small_faces: bool = False) -> None:
        try:
            import mediapipe
        except ImportError as error:
            raise MissingExtraError(
                "the detector 'mediapipe' needs its package: pip install 'vtrack[mediapipe]'"
            ) from error
        self._small_faces = small_faces
        if model_path is not None:
            self._blazeface = _tasks(model_path, threshold)
        elif hasattr(mediapipe, "solutions"):
            self._blazeface = _solutions(threshold)
        else:
            raise UsageError(
                f"mediapipe {mediapipe.__version__} contains no face model: give its file as {spelled('detector_model')}, "
                "or install a version that does: pip install 'mediapipe<0.10.30'"
            )

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Find the faces of each frame."""
        return [self._detections(frame) for frame in frames]

    def _detections(self, frame: Frame) -> Detections:
        width, height = frame.size
        views = np.array([[0, 0, width, height]])
        if self._small_faces and max(frame.size) > TILE:
            views = np.concatenate([views, tiles(width, height, TILE, OVERLAP)])
        boxes, scores, angles = [], [], []
        for number, view in enumerate(views):
            x, y, w, h = view
            rows = self._blazeface(np.ascontiguousarray(frame.image[y : y + h, x : x + w]))
            points = rows[:, 1:].reshape(-1, 6, 2) * (w, h) + (x - 0.5, y - 0.5)
            xywh, rolls = boxes_from_keypoints(points, [3], _WEIGHTS)
            kept = inside_tile(xywh, view, width, height) if number else np.ones(len(rows), bool)
            boxes.append(xywh[kept])
            scores.append(rows[kept, 0])
            angles.append(rolls[kept])
        box, score, angle = (np.concatenate(parts).astype(np.float32) for parts in (boxes, scores, angles))
        # mediapipe has suppressed duplicates itself, so its scores are not lowered.
        kept, _ = suppress(xywh_to_corners(box), score)
        return Detections(box[kept], score[kept], angle[kept])


def _solutions(threshold: float) -> _BlazeFace:
    """The full-range model that mediapipe before 0.10.30 contains."""
    from mediapipe.python.solutions.face_detection import FaceDetection

    net = FaceDetection(model_selection=1, min_detection_confidence=threshold)

    def detect(image: ImageArray) -> FloatArray:
        rows = [
            [face.score[0], *(value for key in face.location_data.relative_keypoints for value in (key.x, key.y))]
            for face in net.process(image).detections or []
        ]
        return np.array(rows, np.float64).reshape(-1, 13)

    return detect


def _tasks(model: Path, threshold: float) -> _BlazeFace:
    """A model file, through the interface of mediapipe 0.10 and 1.x."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    if not model.is_file():
        raise ModelError(f"{model}: there is no such model file")
    options = vision.FaceDetectorOptions(
        base_options=BaseOptions(model_asset_path=str(model)), min_detection_confidence=threshold
    )
    try:
        net = vision.FaceDetector.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{model}: not a face detection model for mediapipe {mediapipe.__version__}: {error}"
        ) from error

    def detect(image: ImageArray) -> FloatArray:
        try:
            faces = net.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)).detections
        except RuntimeError as error:
            raise ModelError(
                f"{model}: does not fit mediapipe {mediapipe.__version__}'s face detector: {error}"
            ) from error
        rows = [
            [face.categories[0].score, *(value for key in face.keypoints for value in (key.x, key.y))] for face in faces
        ]
        return np.array(rows, np.float64).reshape(-1, 13)

    return detect
