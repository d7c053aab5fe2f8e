"""Readers of public formats, and what they say of damaged files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.faces import picture, template_faces, write_pts
from vtrack.data import load_dataset
from vtrack.errors import DataError, MissingExtraError
from vtrack.layouts import load_layout

FACES = template_faces(load_layout("300w"))


def test_300w_trees_have_splits_and_subsets(tmp_path: Path) -> None:
    for i, place in enumerate(["afw/1", "helen/trainset/2", "lfpw/testset/3", "ibug/4"]):
        write_pts(tmp_path / f"{place}.pts", FACES[i])
    data = load_dataset(f"300w:{tmp_path}", "test")
    assert data.files == ("ibug/4.png", "lfpw/testset/3.png")
    assert {name: list(member) for name, member in data.subsets.items()} == {
        "common": [False, True],
        "challenging": [True, False],
        "full": [True, True],
    }
    assert data.points[1] == pytest.approx(FACES[2], abs=1e-3)
    assert data.image(0).shape == (400, 400, 3)
    assert len(load_dataset(f"300w:{tmp_path}", "train")) == 2
    assert len(load_dataset(f"300w:{tmp_path / 'ibug'}", "val")) == 1


def test_damaged_300w_trees(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.pts files"):
        load_dataset(f"300w:{tmp_path}")
    write_pts(tmp_path / "mine" / "1.pts", FACES[0])
    with pytest.raises(DataError, match=r"1\.pts: its folder does not say"):
        load_dataset(f"300w:{tmp_path}", "train")
    assert len(load_dataset(f"300w:{tmp_path}")) == 1
    write_pts(tmp_path / "mine" / "2.pts", FACES[0][:60])
    with pytest.raises(DataError, match=r"2\.pts: 60 points, but 68"):
        load_dataset(f"300w:{tmp_path}")
    (tmp_path / "mine" / "2.pts").write_text("version: 1\n{ 1 2 three }")
    with pytest.raises(DataError, match=r"2\.pts: not a readable"):
        load_dataset(f"300w:{tmp_path}")
    (tmp_path / "mine" / "2.pts").unlink()
    (tmp_path / "mine" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.pts: there is no picture"):
        load_dataset(f"300w:{tmp_path}")


def _wflw_line(face: np.ndarray, flags: str, name: str) -> str:
    return " ".join([*(f"{value:.3f}" for value in face.ravel()), "10 10 90 90", flags, name])


def test_wflw_lists_have_attributes(tmp_path: Path) -> None:
    faces = template_faces(load_layout("wflw"))
    notes = tmp_path / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
    notes.mkdir(parents=True)
    (tmp_path / "WFLW_images" / "0--Parade").mkdir(parents=True)
    (tmp_path / "WFLW_images" / "0--Parade" / "a.png").write_bytes(picture(400, 400))
    name = "0--Parade/a.png"
    test = notes / "list_98pt_rect_attr_test.txt"
    test.write_text("\n".join([_wflw_line(faces[0], "1 0 0 0 1 0", name), _wflw_line(faces[1], "0 0 0 0 1 0", name)]))
    (notes / "list_98pt_rect_attr_train.txt").write_text(_wflw_line(faces[2], "0 0 0 0 0 0", name))
    for spec in (f"wflw:{tmp_path}", f"wflw:{test}"):
        data = load_dataset(spec, "test")
        assert data.points == pytest.approx(faces[:2], abs=1e-2)
        assert {name: list(member) for name, member in data.subsets.items()} == {
            "pose": [True, False],
            "occlusion": [True, True],
        }
        assert data.image(1).shape == (400, 400, 3)
    assert len(load_dataset(f"wflw:{tmp_path}", "train")) == 1
    with pytest.raises(DataError, match="not of the split 'train'"):
        load_dataset(f"wflw:{test}", "train")


def test_wflw68_is_the_68_points_within_wflw(tmp_path: Path) -> None:
    """The published correspondence: the same parts, and the same places but on the lids."""
    faces = template_faces(load_layout("wflw"))
    path = tmp_path / "list_98pt_rect_attr_test.txt"
    path.write_text(_wflw_line(faces[0], "0 1 0 0 0 0", "a.png"))
    (tmp_path / "a.png").write_bytes(picture(400, 400))
    data = load_dataset(f"wflw68:{path}")
    layout = data.layout
    assert (data.name, layout.name, data.points.shape) == ("wflw68", "300w", (1, 68, 2))
    assert list(data.subsets) == ["expression"] and data.image(0).shape == (400, 400, 3)
    # The template has every point of 300W where WFLW has it; on an eye the lids have two points instead of three.
    gaps = np.linalg.norm(data.points - template_faces(layout)[:1], axis=-1)[0] / layout.unit(data.points)[0]
    lids = [i for i, part in enumerate(layout.query.parts) if part.endswith("_eye")]
    assert gaps[lids].max() < 0.05 and np.delete(gaps, lids).max() < 1e-3
    assert data.points[0, [36, 39, 42, 45]] == pytest.approx(faces[0][[60, 64, 68, 72]], abs=1e-2)
    # Mirror images of 300W are mirror images in WFLW.
    flipped = load_layout("wflw").flip(faces[:1], 400.0)
    path.write_text(_wflw_line(flipped[0], "0 0 0 0 0 0", "a.png"))
    assert load_dataset(f"wflw68:{path}").points == pytest.approx(layout.flip(data.points, 400.0), abs=1e-2)


def test_damaged_wflw_lists(tmp_path: Path) -> None:
    path = tmp_path / "list_98pt_test.txt"
    path.write_text("1 2 3 a.png\n")
    with pytest.raises(DataError, match=r"list_98pt_test\.txt: a line has 4 fields"):
        load_dataset(f"wflw:{path}")
    path.write_text("\n")
    with pytest.raises(DataError, match="no faces"):
        load_dataset(f"wflw:{path}")
    faces = template_faces(load_layout("wflw"))
    path.write_text(" ".join([*(f"{value:.3f}" for value in faces[0].ravel()), "a.png"]))
    data = load_dataset(f"wflw:{path}")
    with pytest.raises(DataError, match=r"list_98pt_test\.txt: the picture .*a\.png cannot be read"):
        data.image(0)
    path.write_text(path.read_text().replace("a.png", "../../secret.png"))
    with pytest.raises(DataError, match="leads out of"):
        load_dataset(f"wflw:{path}").image(0)
    with pytest.raises(DataError, match=r"no list_98pt_\*\.txt of the split 'train'"):
        load_dataset(f"wflw:{tmp_path}", "train")


def test_coco_files(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "annotations": [
            {"image_id": 7, "keypoints": np.c_[FACES[0], np.ones(68)].ravel().tolist(), "bbox": [1, 2, 3, 4]}
        ],
    }
    path = tmp_path / "test_300w.json"
    path.write_text(json.dumps(content))
    (tmp_path / "a.png").write_bytes(picture(400, 400))
    data = load_dataset(f"300w:{path}", "val")
    assert data.points == pytest.approx(FACES[:1], abs=1e-3) and data.boxes is not None
    assert data.image(0).shape == (400, 400, 3)
    with pytest.raises(DataError, match="not of the split 'train'"):
        load_dataset(f"300w:{path}", "train")
    with pytest.raises(DataError, match=r"a\.png has 68 points, the layout wflw 98"):
        load_dataset(f"wflw:{path}")
    content["annotations"][0]["keypoints"][2] = 0
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="not annotated"):
        load_dataset(f"300w:{path}")
    path.write_text("[]")
    with pytest.raises(DataError, match=r"test_300w\.json: not a COCO file"):
        load_dataset(f"300w:{path}")


def test_aflw(tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    faces = template_faces(load_layout("aflw"), 3)
    order = np.array([[3, 1, 2]])
    content = {
        "ra": order,
        "data": np.concatenate([faces[..., 0] + 1, faces[..., 1] + 1], 1),
        "mask_new": np.array([[1] * 19, [0] + [1] * 18, [1] * 19]),
        "bbox": np.tile([11.0, 51.0, 21.0, 71.0], (3, 1)),
        "nameList": np.array([[f"0/{i}.png"] for i in range(3)], object),
    }
    savemat(tmp_path / "AFLWinfo_release.mat", content)
    (tmp_path / "data" / "flickr" / "0").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "data" / "flickr" / "0" / f"{i}.png").write_bytes(picture(400, 400))
    data = load_dataset(f"aflw:{tmp_path}")
    assert data.files == ("0/2.png", "0/0.png", "0/1.png")
    assert data.points == pytest.approx(faces[[2, 0, 1]], abs=1e-3)
    assert list(data.subsets["frontal"]) == [True, True, False]
    assert data.boxes is not None and list(data.boxes[0]) == [10, 20, 40, 50]
    assert data.image(2).shape == (400, 400, 3)
    with pytest.raises(DataError, match="no faces in the split 'val'"):
        load_dataset(f"aflw:{tmp_path}", "val")
    savemat(tmp_path / "AFLWinfo_release.mat", {"ra": order})
    with pytest.raises(DataError, match=r"AFLWinfo_release\.mat: not AFLWinfo"):
        load_dataset(f"aflw:{tmp_path}")
    (tmp_path / "AFLWinfo_release.mat").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a readable MATLAB file"):
        load_dataset(f"aflw:{tmp_path}")


def _cofw(path: Path, key: str, faces: np.ndarray) -> None:
    """A file as MATLAB writes it: transposed, with references to the pictures."""
    h5py = pytest.importorskip("h5py")
    count = len(faces)
    colour, grey = np.zeros((3, 400, 400), np.uint8), np.full((400, 400), 9, np.uint8)
    colour[0, 7, 5] = 200  # red at x = 7, y = 5
    with h5py.File(path, "w") as file:
        flat = np.concatenate([faces[..., 0] + 1, faces[..., 1] + 1, np.zeros(faces.shape[:2])], 1)
        file[f"phis{key}"] = flat.T
        file[f"bboxes{key}"] = np.tile([[11.0], [21.0], [30.0], [40.0]], (1, count))
        references = [file.create_dataset(f"#refs#/{i}", data=colour if i == 0 else grey).ref for i in range(count)]
        file.create_dataset(f"Is{key}", data=np.array([references], h5py.ref_dtype))


def test_cofw(tmp_path: Path) -> None:
    faces = template_faces(load_layout("cofw"), 3)
    _cofw(tmp_path / "COFW_train_color.mat", "Tr", faces[:1])
    _cofw(tmp_path / "COFW_test_color.mat", "T", faces[1:])
    data = load_dataset(f"cofw:{tmp_path}", "test")
    assert data.points == pytest.approx(faces[1:], abs=1e-3)
    assert data.boxes is not None and list(data.boxes[0]) == [10, 20, 30, 40]
    assert list(data.image(0)[5, 7]) == [200, 0, 0] and list(data.image(1)[5, 7]) == [9, 9, 9]
    assert len(load_dataset(f"cofw:{tmp_path / 'COFW_train_color.mat'}", "train")) == 1
    with pytest.raises(DataError, match="no COFW file of the split 'test'"):
        load_dataset(f"cofw:{tmp_path / 'COFW_train_color.mat'}", "test")
    (tmp_path / "COFW_test_color.mat").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"COFW_test_color\.mat: not a readable MATLAB 7\.3"):
        load_dataset(f"cofw:{tmp_path}", "test")


def test_cofw68(tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    _cofw(tmp_path / "COFW_test_color.mat", "T", template_faces(load_layout("cofw"), 2))
    (tmp_path / "test_annotations").mkdir()
    for number in (1, 2):
        savemat(tmp_path / "test_annotations" / f"{number}_points.mat", {"Points": FACES[number] + 1})
    data = load_dataset(f"cofw68:{tmp_path}", "test")
    assert data.layout.name == "300w" and data.points == pytest.approx(FACES[1:3], abs=1e-3)
    assert list(data.image(0)[5, 7]) == [200, 0, 0]
    with pytest.raises(DataError, match="no training part"):
        load_dataset(f"cofw68:{tmp_path}", "train")
    savemat(tmp_path / "test_annotations" / "2_points.mat", {"Points": FACES[0][:5]})
    with pytest.raises(DataError, match=r"2_points\.mat: Points of shape \(5, 2\)"):
        load_dataset(f"cofw68:{tmp_path}")


def test_matlab_files_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "COFW_test_color.mat").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vtrack\[mat\]'"):
        load_dataset(f"cofw:{tmp_path}", "test")


def test_lapa_texts(tmp_path: Path) -> None:
    faces = template_faces(load_layout("lapa106"), 2)
    for split, face in zip(("train", "test"), faces, strict=True):
        (tmp_path / split / "landmarks").mkdir(parents=True)
        (tmp_path / split / "images").mkdir()
        lines = ["106", *(f"{x:.3f} {y:.3f}" for x, y in face)]
        (tmp_path / split / "landmarks" / "1.txt").write_text("\n".join(lines) + "\n")
        (tmp_path / split / "images" / "1.png").write_bytes(picture(400, 400))
    data = load_dataset(f"lapa106:{tmp_path}", "test")
    assert data.files == ("test/images/1.png",) and data.points == pytest.approx(faces[1:], abs=1e-3)
    assert data.image(0).shape == (400, 400, 3)
    (tmp_path / "test" / "images" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.txt: there is no picture"):
        load_dataset(f"lapa106:{tmp_path}", "test")


def test_helen_texts_with_a_layout_of_ones_own(tmp_path: Path) -> None:
    """Helen's files name their picture on the first line; a layout file says what its points are."""
    layout = tmp_path / "three.toml"
    points = 'points = [["left_eye", "0/8", 2], ["right_eye", "4/8", 1], ["jaw", "1/2", 3]]'
    layout.write_text(f'title = "three"\nbox = [0, 0, 0, 0]\n{points}\n')
    (tmp_path / "helen" / "annotation").mkdir(parents=True)
    (tmp_path / "helen" / "someone_1.png").write_bytes(picture())
    text = tmp_path / "helen" / "annotation" / "1.txt"
    text.write_text("someone_1\n10.5 , 20\n40 , 21\n25 , 60\n")
    data = load_dataset(f"{layout}:{tmp_path / 'helen'}")
    assert (data.name, data.files) == ("three", ("someone_1.png",))
    assert data.points[0].tolist() == [[10.5, 20], [40, 21], [25, 60]]
    text.write_text("someone_1\n10.5 , 20\n")
    with pytest.raises(DataError, match=r"1\.txt: 1 points, but 3"):
        load_dataset(f"{layout}:{tmp_path / 'helen'}")


# Middles worked out


def test_middles_join_a_data_set(tmp_path: Path) -> None:
    faces = template_faces(load_layout("wflw"))
    path = tmp_path / "list_98pt_test.txt"
    path.write_text(_wflw_line(faces[0], "0 0 0 0 0 0", "a.png"))
    plain, data = (load_dataset(f"wflw{suffix}:{path}") for suffix in ("", "+middles"))
    added = {"left_eye_center", "right_eye_center", "left_brow_center", "right_brow_center", "mouth_center"}
    assert set(data.layout.query.parts) - set(plain.layout.query.parts) == added
    assert data.points[:, :98] == pytest.approx(plain.points)
    (place,) = data.layout.query.indices("left_eye_center")
    assert data.points[0, place] == pytest.approx(plain.points[0, 60:68].mean(0), abs=1e-3)
    (mouth,) = data.layout.query.indices("mouth_center")
    assert data.points[0, mouth] == pytest.approx(plain.points[0, [90, 94]].mean(0), abs=1e-3)
    assert data.layout.mirror[place] == data.layout.query.indices("right_eye_center")[0]
    assert load_layout("wflw+middles").query.parts == data.layout.query.parts
    assert data.layout.face_box(data.points) == pytest.approx(plain.layout.face_box(plain.points))


def test_middles_are_left_out_where_points_do_not_give_them() -> None:
    parts = load_layout("300w+middles").query.parts
    assert "left_eye_center" in parts and "mouth_center" in parts and "left_brow_center" not in parts
    assert load_layout("aflw+middles").query.parts == load_layout("aflw").query.parts
    assert len(load_layout("lapa106+middles")) == 106 + 3
