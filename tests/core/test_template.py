"""The unified template is what the code computes, and the written positions are what follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vtrack import facemap
from vtrack.data import load_dataset
from vtrack.data.shapes import aligned, mean_shape
from vtrack.errors import DataError, QueryError
from vtrack.facemap import draw_map
from vtrack.layouts import Layout, load_layout
from vtrack.parts import GROUPS, PARTS, is_of_mesh
from vtrack.query import parse_query
from vtrack.template import Union, load_template, unite, write_template
from vtrack.types import FloatArray, ImageArray

pytestmark = pytest.mark.timeout(120)


def _shape(data_dir: Path, name: str) -> tuple[Layout, FloatArray]:
    data = load_dataset(f"{name}:{data_dir / name}.zip", "train")
    return data.layout, mean_shape(data.points)


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[Layout, FloatArray]]:
    """Mean shapes of the marked data sets that the shipped template is made from; the mesh's curves come on top."""
    from tests.conftest import DATA

    if not DATA.is_dir():
        pytest.skip(f"no data at {DATA}; set VTRACK_DATA")
    found = {}
    for name in ("w68", "fgnet68", "scut86", "helen29", "imm73", "frl189"):
        layout, shape = _shape(DATA, name)
        found[layout.name] = (layout, shape)
    formats = DATA / "formats"
    for spec in (f"wflw:{formats / 'wflw_list_sample.txt'}", f"lapa106:{formats / 'lapa' / 'test_lapa.json'}"):
        data = load_dataset(spec)
        # A few faces, each turned some way: with their mirror images the mean looks ahead.
        both = np.concatenate([data.points, data.layout.flip(data.points, 1.0)])
        found[data.layout.name] = (data.layout, mean_shape(both))
    return found


def _steps(union: Union, layout: Layout) -> FloatArray:
    """(points,) computed less written positions, in steps between neighbouring landmarks."""
    offsets = union.positions[layout.name] - np.array(layout.query.positions)
    closed = np.array([PARTS[part].closed for part in layout.query.parts])
    offsets = np.where(closed, (offsets + 0.5) % 1.0 - 0.5, offsets)
    return offsets * np.array([max(union.lengths[part] - 1, 1) for part in layout.query.parts])


def test_the_papers_lengths_and_positions(shapes: dict[str, tuple[Layout, FloatArray]]) -> None:
    """300W, WFLW and the wings of the nose (from LFPW's points) give the N of tables 8 to 11, and their positions."""
    union = unite({name: shapes[name] for name in ("300w", "wflw", "helen29")})
    lengths = {"jaw": 33, "left_brow": 10, "right_brow": 10, "nose_bridge": 4, "nose_base": 7}
    lengths |= {"left_eye": 9, "right_eye": 9, "outer_lip": 13, "inner_lip": 9, "left_pupil": 1, "right_pupil": 1}
    assert union.lengths == lengths
    for name in ("300w", "wflw"):
        # Rounding a computed place gives the table's place: nobody would put a landmark elsewhere.
        assert np.abs(_steps(union, shapes[name][0])).max() < 0.5, name
    # Table 7 has 1.5 to 3.8 pixels; in shares of the eye corners' distance (about 110 px of 256) that is 1.4 to 3.5 %.
    assert all(spread < 0.035 for spread in union.spreads.values())


def test_every_written_position_is_near_the_computed_one(shapes: dict[str, tuple[Layout, FloatArray]]) -> None:
    union = unite(shapes)
    for name, (layout, _) in shapes.items():
        steps = _steps(union, layout)
        assert np.sqrt((steps**2).mean()) < 0.26, name
        # Closed mouths (FRL) leave open which lip a point beside the corner is on.
        assert (np.abs(steps) < 0.7).mean() > 0.98, name


def test_the_shipped_template_is_the_computed_one(shapes: dict[str, tuple[Layout, FloatArray]], tmp_path: Path) -> None:
    from vtrack.template import TEMPLATE

    write_template(unite(shapes).template, tmp_path / "template.csv")
    made, shipped = (path.read_text().splitlines() for path in (tmp_path / "template.csv", TEMPLATE))
    shipped = [row for row in shipped if not is_of_mesh(row)]
    assert [row.split(",")[0] for row in made] == [row.split(",")[0] for row in shipped]
    computed, written = (
        np.genfromtxt(rows, delimiter=",", skip_header=1, usecols=(1, 2, 3)) for rows in (made, shipped)
    )
    assert computed == pytest.approx(written, abs=2e-3)


def test_the_template_is_symmetric_and_holds_every_part() -> None:
    curves = load_template().curves
    assert set(curves) == set(PARTS)
    assert curves["left_eye"].at(np.array([0.0])) == pytest.approx(np.array([[-0.5, 0.0]]), abs=0.02)
    assert curves["jaw"].at(np.array([0.5]))[0, 0] == pytest.approx(0, abs=1e-6)


def test_places_between_knots_lie_between() -> None:
    jaw = load_template().curves["jaw"]
    low, middle, high = jaw.at(np.array([0.0, 1 / 64, 1 / 32]))
    assert middle == pytest.approx((low + high) / 2, abs=1e-4)
    eye = load_template().curves["left_eye"]
    assert eye.at(np.array([0.9999]))[0] == pytest.approx(eye.at(np.array([0.0]))[0], abs=1e-3)


def test_means_do_not_care_for_place_size_turn_or_a_wrong_label() -> None:
    face = load_template().locate(load_layout("300w").query)
    rng = np.random.default_rng(0)
    angles, scales = rng.uniform(-0.5, 0.5, 40), rng.uniform(10, 90, 40)
    turns = np.stack(
        [np.stack([np.cos(angles), -np.sin(angles)], -1), np.stack([np.sin(angles), np.cos(angles)], -1)], 1
    )
    shapes = face @ turns * scales[:, None, None] + rng.uniform(0, 500, (40, 1, 2))
    shapes[3, 10] += 200
    mean = mean_shape(shapes)
    assert aligned(face[None], mean)[0] == pytest.approx(mean, abs=1e-2)


def test_what_cannot_be_united() -> None:
    layout = load_layout("helen29")
    shape = load_template().locate(layout.query)
    with pytest.raises(DataError, match="starts from the mean shape of 300w"):
        unite({"helen29": (layout, shape)})
    with pytest.raises(QueryError, match="not on the face template"):
        load_template().locate(parse_query("jaw").__class__(("tongue",), (0.5,)))


def test_the_groups_below_the_map_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: dict[float, list[tuple[float, float]]] = {}
    write = facemap._write

    def noted(canvas: ImageArray, text: str, at: tuple[float, float], scale: float, *rest: Any, **options: Any) -> None:
        if " = " in text:
            lines.setdefault(at[1], []).append((at[0], at[0] + facemap._text_width(text, scale)))
        write(canvas, text, at, scale, *rest, **options)

    monkeypatch.setattr(facemap, "_write", noted)
    height, width, _ = draw_map().shape
    assert sum(len(line) for line in lines.values()) == len(GROUPS) - 1 and max(lines) < height
    for line in lines.values():
        edges = [edge for span in sorted(line) for edge in span]
        assert edges == sorted(edges) and edges[-1] < width


def test_the_map_shows_what_is_asked() -> None:
    whole, eyes = draw_map(), draw_map(parse_query("eyes:40"))
    assert whole.shape == eyes.shape and whole.dtype == np.uint8
    ink = [float((image < 200).mean()) for image in (whole, eyes)]
    assert 0.004 < ink[1] < ink[0] < 0.2
    with pytest.raises(QueryError, match="cannot be drawn"):
        draw_map(parse_query("jaw").__class__(('"tongue"',), (0.5,)))
