"""The mean face: its shape, poses computed with it, and the fit that made it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vtrack.data import mean_face as module
from vtrack.data.mean_face import VERTICES, MeanFace, fit, mean_face, write
from vtrack.layouts import load_layout
from vtrack.types import FloatArray


def rotation(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> FloatArray:
    """From the head's axes to the camera's: degrees of yaw to the right of the image, pitch down, roll clockwise."""
    axes = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    about_y, about_x, about_z = (
        cv2.Rodrigues(np.radians(angle) * np.array(axis))[0]
        for angle, axis in zip((yaw, pitch, roll), axes, strict=True)
    )
    return np.asarray(about_y @ about_x @ about_z)


def test_the_mean_face_is_a_face() -> None:
    face = mean_face()
    assert face.vertices.shape == (VERTICES, 3) and face.points.shape == (68, 3)
    left, right, nose, chin = face.points[[36, 45, 30, 8]]
    np.testing.assert_allclose([left, right], [(-0.5, 0, 0), (0.5, 0, 0)], atol=1e-3)
    assert nose[2] < -0.4, "the tip of the nose is nearest to the viewer"
    assert chin[1] > 1.1
    assert np.abs(face.points[load_layout("300w").mirror] * (-1, 1, 1) - face.points).max() < 1e-3


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (-60, 10, 0), (45, -10, 25)])
def test_a_pose_is_found_from_its_points(angles: tuple[float, float, float]) -> None:
    points = 80 * mean_face().points @ rotation(*angles).T
    pose = mean_face().pose(points[:, :2] + (320, 240))
    assert pose.scale == pytest.approx(80)
    assert np.degrees(pose.yaw) == pytest.approx(angles[0], abs=1e-3)
    np.testing.assert_allclose(pose.place(mean_face().points), points + (320, 240, 0), atol=1e-3)


def test_the_fit_recovers_a_face_from_meshes_in_other_poses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    meshes, points = [], []
    for yaw in (0.0, *rng.uniform(-40, 40, 15)):
        turn = rng.uniform(60, 140) * rotation(yaw, *rng.normal(0, 5, 2)).T
        offset = np.append(rng.uniform(100, 300, 2), 0)
        noise = rng.normal(0, 0.3, (VERTICES + 68, 3))
        meshes.append(mean_face().vertices @ turn + offset + noise[:VERTICES])
        points.append((mean_face().points @ turn + offset + noise[VERTICES:])[:, :2])
    face = fit(np.array(meshes), np.array(points))
    assert np.abs(face.vertices - mean_face().vertices).max() < 0.03
    # Beside the mesh, the depth of a point is that of the nearest vertex.
    assert np.abs(face.points - mean_face().points)[17:].max() < 0.08
    write(MeanFace(face.vertices, face.points), tmp_path / "face.csv")
    monkeypatch.setattr(module, "_FILE", tmp_path / "face.csv")
    np.testing.assert_allclose(mean_face.__wrapped__().points, face.points, atol=1e-4)
