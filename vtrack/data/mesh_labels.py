"""Makes a training set of pseudo-labels: mediapipe's face mesh, with irises, on annotated photographs.

The label is the mean of the meshes of a photograph and of its mirror image. A face is kept if both meshes agree with each other
and with the annotated points: the corners of eyes and mouth, and the chin. Validation photographs are not used.

Runs in an environment with mediapipe 0.10.21 (NumPy below 2), separate from the training:
`python -m vtrack.data.mesh_labels data runs/mesh.zip`
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vtrack.data.dataset import Dataset
from vtrack.data.formats.archives import LabelledFace, write_zip
from vtrack.data.solutions import solution
from vtrack.data.sources import load_dataset
from vtrack.errors import UsageError, errors_in_one_line
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.layouts import Layout, load_layout, points_of
from vtrack.parts import plain
from vtrack.types import FloatArray, ImageArray

log = logging.getLogger(__name__)

SETS = ("w68", "ytf68", "fgnet68", "scut86", "frl189", "helen29", "imm73")

# Vertices of the mesh along each part, in the order of the layout `mesh`.
CURVES: Mapping[str, tuple[int, ...]] = {
    "mesh_jaw": (
        *(127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152),
        *(377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356),
    ),
    "mesh_forehead": (162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389),
    "left_mesh_brow": (70, 63, 105, 66, 107),
    "right_mesh_brow": (336, 296, 334, 293, 300),
    "left_mesh_low_brow": (46, 53, 52, 65, 55),
    "right_mesh_low_brow": (285, 295, 282, 283, 276),
    "mesh_nose_line": (168, 6, 197, 195, 5, 4, 1, 19, 94),
    "mesh_nose_base": (115, 48, 64, 98, 97, 2, 326, 327, 294, 278, 344),
    "left_mesh_eye": (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    "right_mesh_eye": (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382),
    "left_mesh_eyelid": (130, 247, 30, 29, 27, 28, 56, 190, 243, 112, 26, 22, 23, 24, 110, 25),
    "right_mesh_eyelid": (463, 414, 286, 258, 257, 259, 260, 467, 359, 255, 339, 254, 253, 252, 256, 341),
    "mesh_outer_lip": (
        *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409),
        *(291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
    ),
    "mesh_inner_lip": (
        *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415),
        *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
    ),
    "left_iris": (471, 470, 469, 472),
    "right_iris": (476, 475, 474, 477),
    "left_pupil": (468,),
    "right_pupil": (473,),
}
VERTICES = np.array([vertex for curve in CURVES.values() for vertex in curve])

_ALL_VERTICES = 478
SIDE, MARGIN = 384, 2.0
"""Side of the mesh's input in pixels, and in units of the face box's longer side."""
_CORNERS = (("left_eye", 0.0), ("left_eye", 0.5), ("right_eye", 0.0), ("right_eye", 0.5))
_CHECKED = (*_CORNERS, ("outer_lip", 0.0), ("outer_lip", 0.5), ("jaw", 0.5))
"""Points that every data set marks and that the mesh places nearly as people do."""

# In units of the face box's longer side.
_MAX_DISTANCE = 0.035
"""Largest mean distance of the checked points from the annotated ones, after the median offset of the data set."""
_MAX_ASYMMETRY = 0.018
"""Largest mean distance between the meshes of a photograph and of its mirror image."""


class Mesh:
    """mediapipe's face mesh with refined eyes and lips, one image at a time."""

    def __init__(self) -> None:
        self._model = solution("face_mesh").FaceMesh(
            static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.2
        )

    def predict(self, picture: ImageArray) -> FloatArray:
        """(points, 2) of the layout `mesh`, 0 to 1 over a square image; NaN if no face is found."""
        return self.vertices(picture)[VERTICES, :2]

    def vertices(self, picture: ImageArray) -> FloatArray:
        """(478, 3) all vertices with irises and their depth, 0 to 1 over a square image; NaN if no face is found."""
        faces = self._model.process(np.ascontiguousarray(picture)).multi_face_landmarks
        if not faces:
            return np.full((_ALL_VERTICES, 3), np.nan)
        return np.array([(point.x, point.y, point.z) for point in faces[0].landmark])


@dataclass(frozen=True, eq=False, slots=True)
class PseudoLabels:
    """The meshes of the faces of a data set, and their quality."""

    points: FloatArray
    """(faces, points, 2) mean of the meshes of both images, in pixels; NaN where either has none."""
    distance: FloatArray
    """(faces,) mean distance from the annotated points."""
    asymmetry: FloatArray
    """(faces,) mean distance between the two meshes."""

    @property
    def accepted(self) -> npt.NDArray[np.bool_]:
        """(faces,) bool: whether the mesh is used as a label."""
        return (self.distance <= _MAX_DISTANCE) & (self.asymmetry <= _MAX_ASYMMETRY)  # False for NaN

    def summary(self) -> str:
        """Counts of accepted faces, and of rejected ones by reason."""
        missing = np.isnan(self.distance).sum()
        distant, asymmetric = (self.distance > _MAX_DISTANCE).sum(), (self.asymmetry > _MAX_ASYMMETRY).sum()
        return (
            f"{self.accepted.sum()} of {len(self.accepted)} faces; rejected: {missing} without a mesh, "
            f"{distant} too far from the annotated points, {asymmetric} unlike their mirror image"
        )


def label(data: Dataset, mesh: Mesh) -> PseudoLabels:
    """Run the mesh on every face of a data set, and on its mirror image."""
    layout = load_layout("mesh")
    crops = Crops.around(data.layout.face_box(data.points), MARGIN)
    meshes = np.empty((2, len(data), len(layout), 2))
    for i in range(len(data)):
        picture = warp([data.image(i)], [0], crops[i : i + 1], SIDE)[0].transpose(1, 2, 0)
        meshes[:, i] = mesh.predict(picture), mesh.predict(picture[:, ::-1])
    original, mirrored = crops.to_frame(meshes[0]), crops.to_frame((meshes[1] * (-1, 1) + (1, 0))[:, layout.mirror])
    return pseudo_labels(original, mirrored, data)


def pseudo_labels(original: FloatArray, mirrored: FloatArray, data: Dataset) -> PseudoLabels:
    """Combine two meshes of each face and compare them with the annotated points.

    Args:
        original: (faces, points, 2) meshes of the photographs, in pixels.
        mirrored: (faces, points, 2) meshes of the mirror images, mapped back.
        data: The faces with their annotated points.
    """
    layout = load_layout("mesh")
    points = (original + mirrored) / 2
    unit = layout.face_box(points)[:, 2:].max(1)[:, None, None]
    offsets = (points[:, _checked(layout)] - data.points[:, _checked(data.layout)]) / unit
    # An offset that most faces of a data set share is its convention, not an error.
    offsets -= np.nanmedian(offsets, axis=0)
    return PseudoLabels(points, _mean_length(offsets), _mean_length((original - mirrored) / unit))


def _checked(layout: Layout) -> list[int]:
    """Indices of the compared points."""
    index = {(plain(part), round(position, 6)): i for i, (part, position) in enumerate(points_of(layout.query))}
    return [index[point] for point in _CHECKED]


def _mean_length(offsets: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(offsets, axis=-1).mean(-1))


def labelled(sets: Iterable[Dataset]) -> Iterator[LabelledFace]:
    """Yield the faces whose mesh is accepted; photographs are unchanged."""
    mesh = Mesh()
    for data in sets:
        labels = label(data, mesh)
        for i in np.flatnonzero(labels.accepted):
            name, group = f"{data.name}-{Path(data.files[i]).name}", f"{data.name}/{data.groups[i]}"
            yield LabelledFace(name, data.read(data.files[i]), "train", group, labels.points[i])
        log.info("%s: %s", data.name, labels.summary())


def training_sets(folder: Path) -> Iterator[Dataset]:
    """Yield the training part of each zip of a folder. `helen29` comes without the photographs that `w68` has too."""
    known: set[str] = set()
    for name in SETS:
        data = load_dataset(f"{name}:{folder / name}.zip", "train")
        if name == "helen29":
            data = data[np.array([group not in known for group in data.groups])]
        elif name == "w68":
            known = set(data.groups)
        yield data


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with errors_in_one_line():
        if len(sys.argv) != 3:
            raise UsageError("usage: python -m vtrack.data.mesh_labels DATA OUT.zip")
        write_zip(labelled(training_sets(Path(sys.argv[1]))), Path(sys.argv[2]))
