"""Bars of expressions: beside the face, of the right length, and never outside the frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vtrack
from tests.pipelines.outputs.test_drawing import GREY, changed, circle_face, draw, even
from tests.pipelines.results import make_result
from vtrack.cli.main import OK, USAGE, main
from vtrack.measures import EXPRESSION_NAMES, SHAPES, Expressions
from vtrack.pipelines.outputs.drawing.bars import _HEIGHT, _ROWS
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.outputs.drawing.palette import part_color
from vtrack.types import ImageArray

SAMPLE = str(Path(__file__).parents[3] / "samples" / "sample.mp4")
SIZE = 150.0
ROW, START = 0.066 * SIZE, 320 + SIZE * 0.56


def expressions(**values: float) -> Expressions:
    return Expressions(np.array([values.get(name, 0.0) for name in EXPRESSION_NAMES]))


def bars(middle: float = 320.0, size: float = SIZE, **values: float) -> ImageArray:
    """A picture of bars alone, beside a face of this size."""
    box = np.array([middle - size / 2, 240 - size / 2, size, size])
    return draw(circle_face(even("jaw", 5), box=box, expressions=expressions(**values)), "expressions")


def ends(image: ImageArray, name: str, part: str) -> tuple[int, int]:
    """First and last column with the colour of a bar, right of the names."""
    y = 240 + (next(i for i, row in enumerate(_ROWS) if row.name == name) + 0.75 - _HEIGHT / 2) * ROW
    line = np.abs(image[round(y)].astype(int) - part_color(part)).max(1) < 60
    columns = np.flatnonzero(line & (np.arange(640) > START + 7 * ROW))
    return int(columns[0]), int(columns[-1])


def test_all_shapes_have_a_bar_and_pairs_share_one() -> None:
    assert sorted({place for row in _ROWS for place in (row.right, row.left)}) == list(range(len(SHAPES)))
    assert [row.name for row in _ROWS if row.right == row.left] == [
        *("browInnerUp", "jawOpen", "mouthFunnel", "mouthPucker", "mouthRollUpper", "mouthRollLower")
    ]


def test_bars_are_as_long_as_expressions_are_strong_on_the_side_where_the_face_moves() -> None:
    """The face looks at the viewer: what is on the right of the person is on the left of the picture."""
    image = bars(eyeBlinkRight=0.8, mouthSmileLeft=0.5, jawOpen=1.0)
    middle = START + (7 + 11 / 2) * ROW
    for name, part, right, left in (
        ("eyeBlink", "left_eye", 0.8, 0.0),
        ("mouthSmile", "outer_lip", 0.0, 0.5),
        ("jawOpen", "jaw", 1.0, 1.0),
    ):
        first, last = ends(image, name, part)
        assert middle - first == pytest.approx(5 * ROW * right, abs=0.5 * ROW)
        assert last - middle == pytest.approx(5 * ROW * left, abs=0.5 * ROW)


def test_a_mirrored_picture_has_them_on_the_other_side() -> None:
    one = expressions(eyeBlinkRight=0.8, eyeBlinkRight_sd=0.1, asymmetry_eyes=-0.8, jawOpen=0.3)
    other = one.mirrored()
    assert (other["eyeBlinkLeft"], other["eyeBlinkLeft_sd"], other["eyeBlinkRight"]) == (0.8, 0.1, 0.0)
    assert (other["asymmetry_eyes"], other["jawOpen"]) == (0.8, 0.3)
    np.testing.assert_array_equal(other.mirrored().array, one.array)


@pytest.mark.parametrize(("middle", "columns"), [(120.0, (202, 384)), (520.0, (256, 438))])
def test_bars_are_on_the_side_where_there_is_room(middle: float, columns: tuple[int, int]) -> None:
    shown = np.flatnonzero((changed(bars(middle)) > 20).any(0))
    assert columns[0] <= shown[0] and shown[-1] <= columns[1]


def test_they_stay_on_their_side_as_long_as_there_is_room() -> None:
    """A face that goes to the right, and back."""
    drawing, query, sides = Drawing(even("jaw", 5), ["expressions"]), even("jaw", 5), []
    for middle in (330, 360, 450, 400, 300, 250, 200):
        face = circle_face(query, box=np.array([middle - 75.0, 165, 150, 150]), expressions=expressions())
        image = drawing(make_result(0, face, image=np.full((480, 640, 3), GREY, np.uint8), query=query))
        shown = np.flatnonzero((changed(image) > 20).any(0))
        sides.append("left" if shown.mean() < middle else "right")
    assert sides == ["right", "right", "left", "left", "left", "left", "right"]


@pytest.mark.parametrize("size", [1.0, 12.0, 60.0, 470.0, 4000.0])
def test_faces_of_any_size_are_drawn(size: float) -> None:
    assert (changed(bars(size=size, jawOpen=0.5)) > 20).sum() > 100


def test_nothing_is_drawn_where_expressions_are_not_known() -> None:
    unknown = Expressions(np.full(len(EXPRESSION_NAMES), np.nan))
    for face in (circle_face(even("jaw", 5)), circle_face(even("jaw", 5), expressions=unknown)):
        assert changed(draw(face, "expressions")).max() == 0


def test_they_need_expressions_which_runs_find_and_tables_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--parts", "pupils", "--stop", "0.1", "--quiet"]
    table, video = tmp_path / "a.csv", tmp_path / "a.mp4"
    assert main(["run", SAMPLE, *options, "--draw", "expressions", "--csv", str(table), "--video", str(video)]) == OK
    assert "jawOpen" not in table.read_text()
    plain, drawn = (next(iter(vtrack.open_source(path))).image.astype(int) for path in (SAMPLE, video))
    beside, on = (np.abs(drawn - plain)[180:340, columns].mean() for columns in (slice(20, 220), slice(240, None)))
    assert beside > 30 and on < 5
    assert main(["draw", str(table), SAMPLE, "--draw", "expressions", "-o", str(tmp_path / "b.mp4")]) == USAGE
    assert "--draw expressions needs the columns expressions" in capsys.readouterr().err
    result = next(vtrack.track(SAMPLE, "pupils"))
    with pytest.raises(
        vtrack.UsageError, match="expressions are drawn of faces that have them; track with expressions=True"
    ):
        vtrack.draw(result.frame.image, result.faces, kinds="expressions")
