"""Labels from mediapipe's face mesh: which points they are, which faces are kept, and what is written."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.faces import dataset, template_faces
from vtrack.data import load_dataset
from vtrack.data.formats.archives import write_zip
from vtrack.data.mesh_labels import CURVES, VERTICES, Mesh, labelled, pseudo_labels, training_sets
from vtrack.errors import DataError
from vtrack.layouts import load_layout
from vtrack.parts import GROUPS, is_of_mesh
from vtrack.query import parse_query
from vtrack.training.landmarks.loop import open_stores

MESH = load_layout("mesh")


def test_the_layout_names_the_vertices_in_their_order() -> None:
    assert MESH.query.parts == tuple(part for part, curve in CURVES.items() for _ in curve)
    assert len(set(VERTICES)) == len(VERTICES) and VERTICES.max() < 478
    for part in CURVES:
        positions = [MESH.query.positions[i] for i in MESH.query.indices(part)]
        assert positions == sorted(set(positions)), part


def test_marked_parts_stay_apart_from_the_meshs() -> None:
    assert not any(is_of_mesh(part) for members in GROUPS.values() for part in members)
    assert len(parse_query("mesh")) == len(MESH)
    assert {part for part in MESH.query.parts if not is_of_mesh(part)} == {*GROUPS["irises"], *GROUPS["pupils"]}


def test_faces_are_kept_where_both_looks_and_the_own_points_agree() -> None:
    """The template's face, with a mesh that lies beside it by habit, and five ways for it to be wrong."""
    data = dataset("300w", count=40)
    sides = data.layout.face_box(data.points)[:, 2:].max(1)[:, None, None]
    plainly = template_faces(MESH, 40) + 0.02 * sides
    mirrored = plainly.copy()
    assert pseudo_labels(plainly, mirrored, data).accepted.all()
    for looks in (plainly, mirrored):
        looks[0] += 0.06 * sides[0]
        looks[1] = looks[1].mean(0) + (looks[1] - looks[1].mean(0)) * 1.3
    mirrored[2] += 0.03 * sides[2]
    plainly[3] = mirrored[3] = np.nan
    mirrored[4] = np.nan
    labels = pseudo_labels(plainly, mirrored, data)
    assert not labels.accepted[:5].any() and labels.accepted[5:].all()
    assert labels.summary() == (
        "35 of 40 faces; rejected: 2 without a mesh, 2 too far from the annotated points, 1 unlike their mirror image"
    )


def _without_validation(faces_dir: Path, out: Path) -> str:
    """Training faces alone."""
    with zipfile.ZipFile(faces_dir / "frl189.zip") as whole, zipfile.ZipFile(out, "w") as part:
        rows = [row for row in whole.read("labels.csv").decode().splitlines() if ",val," not in row][:5]
        part.writestr("labels.csv", "\n".join(rows))
        for row in rows[1:]:
            part.writestr(row.split(",")[0], whole.read(row.split(",")[0]))
    return f"frl189:{out}"


def test_a_set_without_validation_faces_may_be_trained_on(faces_dir: Path, tmp_path: Path) -> None:
    spec, other = _without_validation(faces_dir, tmp_path / "part.zip"), f"frl189+middles:{faces_dir / 'frl189.zip'}"
    assert [store.name for store in open_stores([spec, other], "val", tmp_path / "cache")] == ["frl189+middles"]
    with pytest.raises(DataError, match="no faces for validation"):
        open_stores([spec], "val", tmp_path / "cache")


@pytest.mark.data
def test_only_training_photographs_are_labelled_and_none_twice(data_dir: Path) -> None:
    sets = {data.name: data for data in training_sets(data_dir)}
    assert not set(sets["w68"].groups) & set(sets["helen29"].groups)
    for name, data in sets.items():
        assert not set(data.files) & set(load_dataset(f"{name}:{data_dir / name}.zip", "val").files)


def test_mediapipe_labels_photographs(faces_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("mediapipe.python.solutions.face_mesh")
    data = load_dataset(f"frl189:{faces_dir / 'frl189.zip'}", "train")[:4]
    write_zip(labelled([data]), tmp_path / "mesh.zip")
    made = load_dataset(f"mesh:{tmp_path / 'mesh.zip'}", "train")
    assert made.groups == tuple(f"frl189/{group}" for group in data.groups)
    assert made.read(made.files[0]) == data.read(data.files[0])
    pupils = [layout.query.indices("left_pupil")[0] for layout in (made.layout, data.layout)]
    gaps = np.linalg.norm(made.points[:, pupils[0]] - data.points[:, pupils[1]], axis=-1)
    assert (gaps < 0.03 * data.layout.unit(data.points)).all()
    assert np.isnan(Mesh().predict(np.zeros((64, 64, 3), np.uint8))).all()
