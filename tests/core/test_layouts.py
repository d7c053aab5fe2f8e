"""Layouts against the tables of the UDFLD paper, and files of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.faces import template_faces
from vtrack.errors import DataError, QueryError
from vtrack.layouts import layout_names, load_layout, points_of, read_layout
from vtrack.parts import PARTS, plain
from vtrack.query import parse_query
from vtrack.template import load_template

_NINTHS = [f"{i}/9" for i in range(9)]
_LIPS = [("outer_lip", f"{i}/12") for i in range(12)] + [("inner_lip", f"{i}/8") for i in range(8)]
_NOSE = [("nose_bridge", f"{i}/3") for i in range(4)] + [("nose_base", f"{i}/6") for i in range(1, 6)]

# Tables 8 to 11. AFLW and COFW are in the tables' order here; their files have another.
TABLES = {
    "aflw": [
        *[
            ("jaw", "16/32"),
            ("left_brow", "0/9"),
            ("left_brow", "4.5/9"),
            ("right_brow", "0/9"),
            ("right_brow", "4.5/9"),
        ],
        *[("left_brow_center", "0/1"), ("right_brow_center", "0/1"), ("nose_bridge", "3/3"), ("nose_base", "0/6")],
        *[("nose_base", "6/6"), ("left_eye", "0/6"), ("left_eye", "3/6"), ("right_eye", "0/6"), ("right_eye", "3/6")],
        *[("outer_lip", "0/12"), ("outer_lip", "6/12"), ("mouth_center", "0/1"), ("left_pupil", "0/1")],
        ("right_pupil", "0/1"),
    ],
    "cofw": [
        ("jaw", "16/32"),
        *[(f"{side}_brow", position) for side in ("left", "right") for position in ("0/9", "2/9", "1/2", "7/9")],
        *[("nose_bridge", "3/3"), ("nose_base", "0/6"), ("nose_base", "3/6"), ("nose_base", "6/6")],
        *[(f"{side}_eye", f"{i}/8") for side in ("left", "right") for i in (0, 2, 4, 6)],
        *[("outer_lip", f"{i}/12") for i in (0, 3, 6, 9)],
        *[("inner_lip", "2/8"), ("inner_lip", "6/8"), ("left_pupil", "0/1"), ("right_pupil", "0/1")],
    ],
    "300w": [
        *[("jaw", f"{i}/32") for i in range(0, 33, 2)],
        *[(f"{side}_brow", f"{i}/9") for side in ("left", "right") for i in range(5)],
        *_NOSE,
        *[(f"{side}_eye", f"{i}/6") for side in ("left", "right") for i in range(6)],
        *_LIPS,
    ],
    "wflw": [
        *[("jaw", f"{i}/32") for i in range(33)],
        *[(f"{side}_brow", position) for side in ("left", "right") for position in _NINTHS],
        *_NOSE,
        *[(f"{side}_eye", f"{i}/8") for side in ("left", "right") for i in range(8)],
        *_LIPS,
        *[("left_pupil", "0/1"), ("right_pupil", "0/1")],
    ],
}


def _number(text: str) -> float:
    above, below = text.split("/")
    return round(float(above) / float(below), 9)


@pytest.mark.parametrize("name", ["300w", "wflw"])
def test_tables_in_the_files_order(name: str) -> None:
    query = load_layout(name).query
    assert [(part, round(position, 9)) for part, position in points_of(query)] == [
        (part, _number(text)) for part, text in TABLES[name]
    ]


@pytest.mark.parametrize("name", ["aflw", "cofw"])
def test_tables_in_another_order(name: str) -> None:
    written = sorted((part, round(position, 9)) for part, position in points_of(load_layout(name).query))
    assert written == sorted((part, _number(text)) for part, text in TABLES[name])


@pytest.mark.parametrize("name", layout_names())
def test_mirror_images_are_mirror_images(name: str) -> None:
    """Flipping the template's face and renaming its points gives the template's face again."""
    layout = load_layout(name)
    assert np.array_equal(layout.mirror[layout.mirror], np.arange(len(layout)))
    face = load_template().locate(layout.query)
    flipped = layout.flip(face, width=1.0)  # width 1: x becomes -x
    # The paper writes the brows of AFLW and COFW half a step apart on the two sides.
    allowed = 0.12 if name in ("aflw", "cofw") else 0.03
    assert np.abs(flipped - face).max() < allowed
    for i, (part, _) in enumerate(points_of(layout.query)):
        assert layout.query.parts[layout.mirror[i]] == PARTS[part].mirror


@pytest.mark.parametrize("name", layout_names())
def test_face_boxes_are_alike_in_all_layouts(name: str) -> None:
    layout, reference = load_layout(name), load_layout("300w")
    told = layout.face_box(load_template().locate(layout.query)[None])[0]
    true = reference.face_box(load_template().locate(reference.query)[None])[0]
    edges = np.concatenate([told[:2] - true[:2], told[:2] + told[2:] - true[:2] - true[2:]])
    assert np.abs(edges).max() / true[2:].max() < 0.1


@pytest.mark.parametrize("name", layout_names())
def test_normalising_points_are_the_eyes(name: str) -> None:
    layout = load_layout(name)
    corners = [plain(layout.query.parts[i]) for i in layout.inter_ocular]
    assert corners == ["left_eye", "right_eye"]
    assert [round(layout.query.positions[i], 6) for i in layout.inter_ocular] == [0.0, 0.5]
    for side, eye in zip(("left", "right"), layout.inter_pupil, strict=True):
        assert {layout.query.parts[i] for i in eye} in ({f"{side}_pupil"}, {f"{side}_eye"})


def test_a_flip_knows_the_pictures_width() -> None:
    layout = load_layout("300w")
    points = template_faces(layout, 1)
    flipped = layout.flip(points, 400)
    assert flipped[0, 0, 0] == pytest.approx(399 - points[0, 16, 0])
    assert layout.flip(flipped, 400) == pytest.approx(points)


def test_unknown_layouts() -> None:
    with pytest.raises(QueryError, match="did you mean 300w"):
        load_layout("300v")


def test_a_layout_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'title = "mine"\nbox = [0, 0, 0, 0]\ninter_ocular = [1, 2]\n'
        'points = [["left_eye", "0/8", 2], ["right_eye", "4/8", 1], ["jaw", "1/2", 3]]\n'
    )
    layout = read_layout(path)
    assert (layout.name, len(layout), layout.inter_ocular, layout.inter_pupil) == ("mine", 3, (0, 1), ())
    assert parse_query("left_eye@0").parts[0] == layout.query.parts[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "not a readable layout"),
        ('title = "x"', "it has no 'points'"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["nothing","0/1",1]]', "no part called"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["jaw","0/1",2],["jaw","1/1",3],["chin","0/1",1]]', "mirror image"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["jaw","0/1",9]]', "numbered 1 to 1, got"),
        ('title="x"\nbox=[0,0,0,0]\ninter_ocular=[1,7]\npoints=[["jaw","0/1",1]]', "numbered 1 to 1"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["jaw","3/2",1]]', "from 0/1 to 1/1"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["jaw","1/0",1]]', "from 0/1 to 1/1, got 1/0"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["jaw","nan/1",1]]', "from 0/1 to 1/1"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["jaw","1e999/1e999",1]]', "from 0/1 to 1/1"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["jaw",0.5,1]]', "one such as 4.5/9"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[[["jaw"],"0/1",1]]', "one such as 4.5/9"),
        (f'title="x"\nbox=[0,0,0,0]\npoints=[["{"x" * 9999}","0/1",1]]', "one such as 4.5/9"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["jaw","0/1"]]', "a list of its part"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[]', "1 to 5000"),
        ('title="x"\nbox=[0,0,0,0]\npoints=7', "1 to 5000"),
        (f'title="x"\nbox=[0,0,0,0]\npoints=[["jaw","0/1",{10**40}]]', "numbered 1 to 1"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["jaw","0/1",true]]', "numbered 1 to 1"),
        ('title="x"\nbox=[0,0,0,0]\npoints=[["jaw","0/1","1"]]', "numbered 1 to 1"),
        ('title="x"\nbox=[0,0,nan,0]\npoints=[["jaw","0/1",1]]', "box must be"),
        ('title="x"\nbox=[0,0]\npoints=[["jaw","0/1",1]]', "box must be"),
        ('title=7\nbox=[0,0,0,0]\npoints=[["jaw","0/1",1]]', "title must be a text"),
        ('title="x"\nbox=[0,0,0,0]\ninter_ocular=[1]\npoints=[["jaw","0/1",1]]', "inter_ocular must be two"),
        ('title="x"\nbox=[0,0,0,0]\ninter_pupil=[[1],[]]\npoints=[["jaw","0/1",1]]', "inter_pupil must be two"),
        ("x = " + "[" * 100_000, "nested too deeply"),
        ("# " + "x" * (2 << 20), "larger than 1 MB"),
        (b"title = '\xff'", "utf-8"),
    ],
)
def test_damaged_layouts_name_their_file(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError, match=message) as caught:
        read_layout(path)
    assert "bad.toml" in str(caught.value)
    assert len(str(caught.value)) < 400
