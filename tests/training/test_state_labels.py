"""Faces with states: their reader, lids learned from the mesh, lids brought together, and the data set that is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.faces import STATES, Template, state_zip, template_faces
from vtrack.data import load_dataset
from vtrack.data.formats.archives import write_zip
from vtrack.data.lids import OPEN, SHUT, LidMap, eye_points, narrowed, opening, share_left
from vtrack.data.states import read_states
from vtrack.errors import DataError, EmptySplitError
from vtrack.layouts import load_layout
from vtrack.training.landmarks.state_labels import SIDES, labelled, with_lids
from vtrack.types import FloatArray

MESH, PEOPLE = load_layout("mesh"), load_layout("300w")


def rings(count: int = 60, seed: int = 0) -> FloatArray:
    """(count, 16, 2) rings of eyes of many openings, turned and placed at random."""
    rng = np.random.default_rng(seed)
    turn = 2 * np.pi * np.arange(16) / 16
    height = rng.uniform(0.05, 0.5, (count, 1))
    shape = -np.cos(turn) / 2 + 1j * -np.sin(turn) * height / 2
    shape = shape + rng.normal(0, 0.003, shape.shape)
    placed = shape * (rng.uniform(20, 60, (count, 1)) * np.exp(1j * rng.normal(0, 0.3, (count, 1)))) + 100 + 80j
    return np.stack([placed.real, placed.imag], -1)


def identity() -> dict[str, LidMap]:
    """Maps that take every eye point from the ring."""
    some = rings()
    return dict.fromkeys(SIDES, LidMap.learn(some, some[:, [0, 3, 5, 8, 11, 13]]))


def test_faces_with_states_are_read_by_split(tmp_path: Path) -> None:
    path = state_zip(tmp_path / "some478.zip")
    train, val = read_states(path, "train"), read_states(path, "val")
    assert (len(train), len(val), len(read_states(path, "all"))) == (3, 1, 4)
    assert val.has("half").all() and val.has("yawn").all() and not val.has("closed").any()
    assert train.of_group("cew:").tolist() == [True, False, False]
    assert train[train.has("wink")].data.groups == ("wink:2",)
    np.testing.assert_allclose(train.data.points[0], template_faces(MESH, 4)[0], atol=1e-2)
    assert train.data.image(0).shape == (400, 400, 3)


def test_other_zips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="478 points"):
        read_states(state_zip(tmp_path / "few.zip", columns=479), "all")
    with pytest.raises(EmptySplitError, match="'val'"):
        read_states(state_zip(tmp_path / "train.zip", STATES[:3]), "val")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DataError, match=r"text\.zip"):
        read_states(tmp_path / "text.zip", "all")


def test_a_map_of_lids_is_learned_from_eyes_that_have_both() -> None:
    """People mark the lids further out than the mesh by a tenth of the eye's width; that is to be learned."""

    def marked(some: FloatArray) -> FloatArray:
        eyes = some[:, [0, 3, 5, 8, 11, 13]].copy()
        along = some[:, 8] - some[:, 0]
        across = np.stack([-along[:, 1], along[:, 0]], -1) * 0.1
        eyes[:, [1, 2]] -= across[:, None]
        eyes[:, [4, 5]] += across[:, None]
        return eyes

    lids = LidMap.learn(rings(), marked(rings()))
    fresh = rings(seed=1)
    assert np.abs(lids(fresh) - marked(fresh)).max() < 0.5


def test_lids_meet_on_one_line_near_the_lower() -> None:
    eyes = rings(4)[:, [0, 3, 5, 8, 11, 13]]
    shut = narrowed(eyes, np.zeros(4))
    np.testing.assert_allclose(shut[:, [1, 2]], shut[:, [5, 4]], atol=1e-9)
    np.testing.assert_array_equal(shut[:, [0, 3]], eyes[:, [0, 3]])
    assert (np.linalg.norm(shut[:, 1] - eyes[:, 5], axis=-1) < np.linalg.norm(shut[:, 1] - eyes[:, 1], axis=-1)).all()
    np.testing.assert_allclose(narrowed(eyes, np.ones(4)), eyes)
    np.testing.assert_allclose(opening(narrowed(eyes, np.full(4, 0.5))), opening(eyes) / 2, rtol=0.02)


def test_what_the_mesh_leaves_of_a_shut_eye_is_taken_off() -> None:
    openings = np.linspace(0.01, 0.5, 200)
    kept = share_left(openings, np.zeros(200, bool)) * openings
    assert (kept[openings < SHUT] == 0).all() and (np.diff(kept) >= -1e-9).all()
    np.testing.assert_allclose(kept[openings > OPEN], openings[openings > OPEN])
    assert (share_left(openings, np.ones(200, bool)) == 0).all()


def test_lids_follow_the_state(tmp_path: Path) -> None:
    faces = read_states(state_zip(tmp_path / "some478.zip"), "train")
    points = with_lids(faces, np.zeros((3, 68, 2), np.float32), identity())
    closed, wink, wide = ([opening(face[None, eye_points(PEOPLE, side)])[0] for side in SIDES] for face in points)
    assert max(closed) < 1e-5
    assert wink[0] > 0.2 and wink[1] < 1e-5
    assert min(wide) > 0.2


def test_the_data_set_has_68_points_and_its_photographs(tmp_path: Path) -> None:
    faces = read_states(state_zip(tmp_path / "some478.zip"), "train")
    write_zip(labelled([faces], identity(), Template()), tmp_path / "states.zip")
    data = load_dataset(f"states68:{tmp_path / 'states.zip'}", "train")
    assert len(data) == 3 and data.layout is PEOPLE
    assert data.groups == ("some478/cew:1", "some478/wink:2", "some478/lfw:3")
    others = PEOPLE.query.indices("outer_lip")
    expected = template_faces(PEOPLE, 4)[:3]
    assert np.abs(data.points[:, others] - expected[:, others]).max() < 1.5, "the model's, at the place of the face"
    assert data.image(0).shape == (400, 400, 3)
