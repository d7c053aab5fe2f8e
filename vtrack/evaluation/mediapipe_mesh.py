"""mediapipe's face mesh as a landmark model, for comparison.

The usual table of its vertices gives the 68 points of 300W; other queries are interpolated along curves through these.
"""

from __future__ import annotations

import numpy as np
import torch

from vtrack.data.solutions import solution
from vtrack.layouts import load_layout
from vtrack.models.decoding.curves import LayoutCurves
from vtrack.models.engines.base import encode_query
from vtrack.types import ImageArray, Prediction, Query

NAME = "mediapipe"

VERTICES: tuple[tuple[int, ...], ...] = (
    *((127,), (234,), (93,), (132, 58), (58, 172), (136,), (150,), (176,), (152,)),
    *((400,), (379,), (365,), (397, 288), (361,), (323,), (454,), (356,)),
    *((70,), (63,), (105,), (66,), (107,), (336,), (296,), (334,), (293,), (300,)),
    *((168, 6), (197, 195), (5,), (4,), (75,), (97,), (2,), (326,), (305,)),
    *((33,), (160,), (158,), (133,), (153,), (144,), (362,), (385,), (387,), (263,), (373,), (380,)),
    *((61,), (39,), (37,), (0,), (267,), (269,), (291,), (321,), (314,), (17,), (84,), (91,)),
    *((78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,)),
)
"""Vertices whose mean is each of the 68 points, in the order of 300W."""

_SIZE, _MARGIN = 384, 2.0
"""Side of the crops in pixels, and in units of the face box's longer side; the same as in `vtrack.data.mesh_labels`."""
_SIGMA = 0.02
"""Constant sigma, in crop units: the mesh predicts none."""


class MediapipeMesh:
    """A landmark model that runs the mesh. Without a face in the crop, points are at its centre."""

    name = NAME
    engine = "mediapipe"
    input_size, margin = _SIZE, _MARGIN
    device = "cpu"
    concurrency = 1
    batch_multiple = 1

    def __init__(self) -> None:
        self._mesh = solution("face_mesh").FaceMesh(
            static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.2
        )
        self._curves = LayoutCurves(load_layout("300w"))

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Predict the points of a query on `uint8` crops (B, 3, S, S); presence is 0 where no face is found."""
        meshes = [self._points68(np.ascontiguousarray(crop.transpose(1, 2, 0))) for crop in np.asarray(crops)]
        points = np.stack([mesh for mesh, _ in meshes]) if meshes else np.zeros((0, len(VERTICES), 2))
        with torch.inference_mode():
            weights = self._curves(*(torch.from_numpy(array) for array in encode_query(query))).numpy()
        queried = np.einsum("ql,blk->bqk", weights, points).astype(np.float32)
        presence = np.array([found for _, found in meshes], np.float32)
        return Prediction(queried, np.full(queried.shape[:2], _SIGMA, np.float32), presence)

    def _points68(self, picture: ImageArray) -> tuple[np.ndarray, bool]:
        """(68, 2) points in crop units, and whether there is a face."""
        faces = self._mesh.process(picture).multi_face_landmarks
        if not faces:
            return np.full((len(VERTICES), 2), 0.5), False
        mesh = np.array([(point.x, point.y) for point in faces[0].landmark])
        return np.array([mesh[list(vertices)].mean(0) for vertices in VERTICES]), True
