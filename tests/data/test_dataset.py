"""Data sets as zips and tables, what they check, and what they say of damage."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.faces import dataset, picture, template_faces
from vtrack.data import Dataset, load_dataset
from vtrack.errors import DataError
from vtrack.layouts import load_layout

FACES = template_faces(load_layout("300w"))


# The zips


def _zip(path: Path, rows: list[str], header: str | None = None, names: tuple[str, ...] = ("a.png",)) -> str:
    columns = ",".join(f"x{i},y{i}" for i in range(1, 69))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.csv", "\n".join([header or f"file,split,group,{columns}", *rows]) + "\n")
        for name in names:
            archive.writestr(name, picture(400, 400))
    return f"300w:{path}"


def _row(file: str, split: str, face: int = 0) -> str:
    return ",".join([file, split, "someone", *(f"{value:.2f}" for value in FACES[face].ravel())])


def test_a_zip_gives_its_split(tmp_path: Path) -> None:
    spec = _zip(tmp_path / "a.zip", [_row("a.png", "train"), _row("a.png", "val", 1), _row("a.png", "val", 2)])
    data = load_dataset(spec, "val")
    assert (len(data), data.groups, data.layout.name) == (2, ("someone", "someone"), "300w")
    assert data.points == pytest.approx(FACES[1:3], abs=0.01)
    assert data.image(0).shape == (400, 400, 3)
    assert len(load_dataset(spec, "train")) == 1 and len(load_dataset(spec)) == 3
    assert len(data[np.array([False, True])]) == 1 and data[1:].points == pytest.approx(FACES[2:3], abs=0.01)


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        ([], ("a.png",), "no faces"),
        ([_row("a.png", "train")], ("a.png",), "no faces in the split 'val'; there are train"),
        ([_row("b.png", "val")], ("a.png",), "b.png is in labels.csv, but not in the zip"),
        (["a.png,val,x,1,2"], ("a.png",), "has 5 cells"),
        ([_row("a.png", "val")[:-2] + "oh"], ("a.png",), "not a number"),
        ([_row("a.png", "val").rsplit(",", 1)[0] + ",nan"], ("a.png",), "a.png: a point is not a number"),
    ],
)
def test_damaged_zips_name_themselves(tmp_path: Path, rows: list[str], names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(_zip(tmp_path / "a.zip", rows, names=names), "val")


def test_other_damage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 points a face, but the layout 300w has 68"):
        load_dataset(_zip(tmp_path / "a.zip", ["a,b,c,1,2,3,4"], "file,split,group,x1,y1,x2,y2"))
    with pytest.raises(DataError, match="first columns"):
        load_dataset(_zip(tmp_path / "b.zip", [], "picture,x1,y1"))
    (tmp_path / "c.zip").write_bytes(b"PK nothing of the kind")
    with pytest.raises(DataError, match=r"c\.zip: not a readable zip"):
        load_dataset(f"300w:{tmp_path / 'c.zip'}")
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("other.txt", "")
    with pytest.raises(DataError, match=r"d\.zip: there is no labels\.csv"):
        load_dataset(f"300w:{tmp_path / 'd.zip'}")


def test_names_and_paths_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean w68"):
        load_dataset(f"w86:{tmp_path}")
    with pytest.raises(DataError, match="not NAME:PATH"):
        load_dataset("300w")
    with pytest.raises(DataError, match="does not exist"):
        load_dataset(f"300w:{tmp_path / 'absent'}")
    with pytest.raises(DataError, match="no split 'valid'; did you mean val"):
        load_dataset(f"300w:{tmp_path}", "valid")
    with pytest.raises(DataError, match="csv needs a"):
        load_dataset(f"csv:{tmp_path}")


# What a data set checks


def test_pictures_that_do_not_fit() -> None:
    data = dataset()
    with pytest.raises(
        DataError, match=r"0\.png: annotation and picture do not match, 0% of the points lie in the 40x30"
    ):
        Dataset("made", data.layout, data.files, data.points, data.groups, lambda _: picture(40, 30)).image(0)
    with pytest.raises(DataError, match=r"1\.png cannot be decoded"):
        Dataset("made", data.layout, data.files, data.points, data.groups, lambda _: b"no").image(1)
    with pytest.raises(DataError, match=r"shape \(4, 67, 2\) do not fit the layout 300w"):
        Dataset("made", data.layout, data.files, data.points[:, 1:], data.groups, lambda _: b"")
    with pytest.raises(DataError, match="has no faces"):
        data[[False] * len(data)]


# Anyone's own points


def test_a_table_whose_columns_say_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    columns = "left_eye@0_x,left_eye@0_y,right_eye@0.5_x,right_eye@0.5_y,nose_bridge@1_x,nose_bridge@1_y"
    path = tmp_path / "mine.csv"
    path.write_text(f"file,{columns}\na.png,10,20,50,20,30,40\n")
    data = load_dataset(f"csv:{path}")
    assert data.layout.query.parts == ("left_eye", "right_eye", "nose_bridge")
    assert list(data.layout.mirror) == [1, 0, 2] and data.layout.inter_ocular == (0, 1)
    assert data.points[0].tolist() == [[10, 20], [50, 20], [30, 40]] and data.image(0).shape == (100, 120, 3)
    with pytest.raises(DataError, match="no column `split`"):
        load_dataset(f"csv:{path}", "val")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("file,x1,y1", "name a layout"),
        ("file,left_eye@0_x,left_eye@0_y", "no mirror image among the points; right_eye@0.5 is needed"),
        ("file,left_eyes@0_x,left_eyes@0_y", "did you mean left_eye"),
        ("file,jaw@.5_x,jaw@.5_y,jaw@.5_x,jaw@.5_y", "2 points a face, but the layout mine has 1"),
        ("", "first columns"),
    ],
)
def test_tables_that_do_not_say_it(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f"{header}\na.png,1,2\n")
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(f"csv:{path}")
    assert "mine.csv" in str(caught.value)
