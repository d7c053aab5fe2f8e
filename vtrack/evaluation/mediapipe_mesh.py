"""mediapipe's face mesh in the place of a landmark model, to be measured beside ours.

Its 478 vertices are read through the table by which they are usually taken for the 68 points; curves through these
answer any other query.
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
"""The vertices of each of the 68 points, in the order of 300W; of two the mean."""

_SIZE, _MARGIN = 384, 2.0
"""What the mesh is shown, as when it labels photographs."""
_UNSURE = 0.02
"""It says no sigma; this much of the crop stands for it."""


class MediapipeMesh:
    """Crops and queries to points, as every landmark model does. Where it finds no face, points are in the middle."""

    name = NAME
    engine = "mediapipe"
    input_size, margin = _SIZE, _MARGIN
    device = "cpu"
    callers = 1
    grain = 1

    def __init__(self) -> None:
        self._mesh = solution("face_mesh").FaceMesh(
            static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.2
        )
        self._curves = LayoutCurves(load_layout("300w"))

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Answer a query on `uint8` crops (B, 3, S, S); presence is 0 where no face is found."""
        looks = [self._look(np.ascontiguousarray(crop.transpose(1, 2, 0))) for crop in np.asarray(crops)]
        points = np.stack([look for look, _ in looks]) if looks else np.zeros((0, len(VERTICES), 2))
        with torch.inference_mode():
            weights = self._curves(*(torch.from_numpy(array) for array in encode_query(query))).numpy()
        asked = np.einsum("ql,blk->bqk", weights, points).astype(np.float32)
        presence = np.array([found for _, found in looks], np.float32)
        return Prediction(asked, np.full(asked.shape[:2], _UNSURE, np.float32), presence)

    def _look(self, picture: ImageArray) -> tuple[np.ndarray, bool]:
        """(68, 2) in crop units, and whether there is a face."""
        faces = self._mesh.process(picture).multi_face_landmarks
        if not faces:
            return np.full((len(VERTICES), 2), 0.5), False
        mesh = np.array([(point.x, point.y) for point in faces[0].landmark])
        return np.array([mesh[list(vertices)].mean(0) for vertices in VERTICES]), True
