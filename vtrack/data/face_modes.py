"""How faces differ from the mean face in space: the main modes of 68 points, and how much of each stays with the person.

The annotated points of training photographs get the depth of mediapipe's mesh where they are, as in `vtrack.data.mean_face`,
and are moved onto the mean face by the best similarity. The main components of their offsets, and of the mirrored offsets, are
the modes; each has unit variance among the photographs. In the videos of `ytf68`, whose frames show the same person several
times, the variance of a mode within a person is compared with that among all frames: the rest is the person's share.

    python -m vtrack.data.face_modes data vtrack/pipelines/measures/face.safetensors      # where mediapipe is installed
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from vtrack.data.mean_face import JAW, align, lifted, mean_face, measured
from vtrack.data.sources import load_dataset
from vtrack.errors import UsageError, errors_in_one_line
from vtrack.layouts import load_layout
from vtrack.types import FloatArray

log = logging.getLogger(__name__)

MODES = 16
"""Modes that are kept."""
_MAX_TURN = np.radians(25)
"""Largest yaw of the faces that modes are read from."""
_OUTLIERS = 0.03
"""Share of faces, those farthest from the mean face, that are left out."""


@dataclass(frozen=True, eq=False, slots=True)
class FaceModes:
    """The modes of faces in space, in the axes and units of the mean face."""

    mean: FloatArray
    """(points, 3)"""
    modes: FloatArray
    """(modes, points, 3) offsets by one standard deviation."""
    person: FloatArray
    """(modes,) share of the variance that is between persons, 0 to 1; the rest is expression."""
    residual: FloatArray
    """(points,) standard deviation of each coordinate that the modes leave."""

    def write(self, path: Path) -> None:
        """Write them as safetensors in single precision."""
        arrays = {"mean": self.mean, "modes": self.modes, "person": self.person, "residual": self.residual}
        save_file({name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}, path)


def in_space(meshes: FloatArray, points: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Annotated points with depth, moved onto the mean face.

    Args:
        meshes: (faces, 468, 3) meshes in pixels, with depth in the same unit.
        points: (faces, 68, 2) annotated points of the same faces in pixels.

    Returns:
        (faces, 68, 3) the points, and (faces,) whether each face looks ahead well enough to show its shape.
    """
    face = mean_face()
    raised = [lifted(flat, mesh) for flat, mesh in zip(points, meshes, strict=True)]
    moved = [align(shape[JAW:], face.points[JAW:])(shape) for shape in raised]
    yaws = np.array([align(mesh, face.vertices).yaw for mesh in meshes])
    return np.array(moved), np.abs(yaws) < _MAX_TURN


def fit(faces: FloatArray, people: FloatArray, groups: npt.NDArray[np.str_], count: int = MODES) -> FaceModes:
    """Find the modes.

    Args:
        faces: (faces, 68, 3) points of photographs on the mean face.
        people: (frames, 68, 3) points of frames that show the same persons several times.
        groups: (frames,) person of each frame.
        count: Modes to keep.
    """
    mean, mirror = mean_face().points, load_layout("300w").mirror
    offsets = np.concatenate([faces - mean, ((faces - mean) * (-1, 1, 1))[:, mirror]])
    sizes = np.square(offsets[:, JAW:]).sum((1, 2))
    offsets = offsets[sizes <= np.quantile(sizes, 1 - _OUTLIERS)]
    flat = offsets.reshape(len(offsets), -1)
    center = flat.mean(0)
    # The jaw is a silhouette; it follows the modes of the other points.
    inner = np.repeat(np.arange(len(mean)) >= JAW, 3)
    _, _, axes = np.linalg.svd((flat - center)[:, inner], full_matrices=False)
    scores = (flat - center)[:, inner] @ axes[:count].T
    deviations = scores.std(0)
    modes = np.linalg.lstsq(scores / deviations, flat - center, rcond=None)[0]
    residual = (flat - center - scores / deviations @ modes).reshape(-1, *mean.shape).std((0, 2))
    own = ((people - mean).reshape(len(people), -1) - center)[:, inner] @ axes[:count].T / deviations
    modes = modes.reshape(count, *mean.shape)
    return FaceModes(mean + center.reshape(mean.shape), modes, _person_share(own, groups), residual)


def _person_share(scores: FloatArray, groups: npt.NDArray[np.str_]) -> FloatArray:
    """(modes,) share of the variance of scores (frames, modes) that is between groups."""
    _, member, counts = np.unique(groups, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(member, column) / counts for column in scores.T], 1)
    within = np.square(scores - means[member]).sum(0) / (len(scores) - len(counts))
    return np.asarray(np.clip(1 - within / scores.var(0), 0.0, 1.0))


def main() -> None:
    """Find the modes in the training photographs of `w68` and `ytf68`, and write them."""
    if len(sys.argv) != 3:
        raise UsageError("usage: python -m vtrack.data.face_modes DATA OUT.safetensors")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    shapes = {}
    for name in ("w68", "ytf68"):
        data = load_dataset(f"{name}:{Path(sys.argv[1]) / name}.zip", "train")
        meshes, points, places = measured(data)
        moved, ahead = in_space(meshes, points)
        shapes[name] = moved[ahead], np.array(data.groups)[places][ahead]
        log.info("%s: %d faces that look ahead", name, ahead.sum())
    modes = fit(shapes["w68"][0], *shapes["ytf68"])
    log.info("share of the person in each mode: %s", np.round(modes.person, 2))
    modes.write(Path(sys.argv[2]))


if __name__ == "__main__":
    with errors_in_one_line():
        main()
