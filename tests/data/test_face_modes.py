"""Modes of faces in space, on faces made of known modes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from vtrack.data.face_modes import FaceModes, fit, in_space
from vtrack.data.mean_face import mean_face
from vtrack.layouts import load_layout


def test_modes_and_the_share_of_the_person_are_found() -> None:
    mean, mirror, rng = mean_face().points, load_layout("300w").mirror, np.random.default_rng(1)
    wide, tall = mean * (0.2, 0, 0), np.zeros_like(mean)
    tall[48:, 1] = 0.05  # the mouth
    for mode in (wide, tall):
        np.testing.assert_allclose(mode, (mode * (-1, 1, 1))[mirror], atol=1e-3)
    scores = rng.normal(size=(400, 2))
    noise = rng.normal(0, 1e-3, (400, *mean.shape))
    faces = mean + np.tensordot(scores, np.stack([wide, tall]), 1) + noise
    # In the videos people differ in width and their mouths move.
    person = np.repeat(rng.normal(size=50), 6)
    people = mean + np.tensordot(np.stack([person, rng.normal(size=300)], 1), np.stack([wide, tall]), 1)
    found = fit(faces, people, np.repeat(np.arange(50).astype(str), 6), 2)
    for mode, own in zip((wide, tall), found.modes, strict=True):
        assert abs(np.corrcoef(mode.ravel(), own.ravel())[0, 1]) > 0.98
        assert np.linalg.norm(own) / np.linalg.norm(mode) - 1 < 0.15
    assert found.person[0] > 0.9 and found.person[1] < 0.2
    assert found.residual.max() < 0.01


def test_points_get_the_depth_of_the_mesh_and_lie_on_the_mean_face() -> None:
    face = mean_face()
    turns = [np.radians(10), np.radians(40)]
    meshes, points = [], []
    for turn in turns:
        matrix = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
        meshes.append(100 * face.vertices @ matrix.T)
        points.append(100 * (face.points @ matrix.T)[:, :2])
    moved, ahead = in_space(np.array(meshes), np.array(points))
    assert ahead.tolist() == [True, False]
    assert np.abs(moved[0] - face.points)[17:].mean() < 0.03


def test_the_file_holds_the_modes(tmp_path: Path) -> None:
    modes = FaceModes(np.ones((68, 3)), np.ones((2, 68, 3)), np.array([0.5, 0.25]), np.ones(68))
    modes.write(tmp_path / "face.safetensors")
    arrays = load_file(tmp_path / "face.safetensors")
    assert {name: array.shape for name, array in arrays.items()} == {
        "mean": (68, 3),
        "modes": (2, 68, 3),
        "person": (2,),
        "residual": (68,),
    }


def test_the_command_says_how_it_is_used() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "vtrack.data.face_modes"], capture_output=True, text=True, check=False
    )
    usage = "vtrack: usage: python -m vtrack.data.face_modes DATA OUT.safetensors\n"
    assert (ended.returncode, ended.stderr) == (2, usage)
