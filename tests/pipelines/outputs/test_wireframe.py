"""Wireframes: neighbouring points are joined, openings are not crossed; black pictures hold what is drawn alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vtrack
from tests.pipelines.outputs.test_drawing import GREY, changed, circle_face, draw, even
from tests.pipelines.results import make_result
from vtrack.cli.main import OK, main
from vtrack.layouts import load_layout
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.outputs.drawing.wireframe import wireframe
from vtrack.query import parse_query
from vtrack.template import load_template
from vtrack.types import Query

SAMPLE = str(Path(__file__).parents[3] / "samples" / "sample.mp4")


@pytest.mark.parametrize("name", ["300w", "mesh", "wflw"])
def test_lines_join_neighbours_and_do_not_cross(name: str) -> None:
    query = load_layout(name).query
    lines, places = wireframe(query), load_template().locate(query)
    assert len(lines) > 2 * len(np.unique(places.round(6), axis=0)) - 20
    assert (np.bincount(lines.ravel(), minlength=len(query)) > 0).mean() > 0.95
    starts, ends = places[lines[:, 0]], places[lines[:, 1]]

    def sides(of: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(n, n) on which side of each line from a to b each point lies."""
        offsets, along = of[None] - a[:, None], (b - a)[:, None]
        return along[..., 0] * offsets[..., 1] - along[..., 1] * offsets[..., 0]

    apart = sides(starts, starts, ends) * sides(ends, starts, ends) < -1e-9
    assert not (apart & apart.T).any()


def test_no_line_crosses_an_eye_or_the_open_mouth() -> None:
    query = load_layout("300w").query + load_layout("mesh").query
    joined = {tuple(line) for line in wireframe(query).tolist()}
    for part in ("left_eye", "right_eye", "inner_lip", "left_mesh_eye", "right_mesh_eye", "mesh_inner_lip"):
        points = query.indices(part)
        around = {tuple(sorted((points[i - 1], points[i]))) for i in range(len(points))}
        assert {(a, b) for a, b in joined if a in points and b in points} == around & joined


def test_points_beside_the_template_and_too_few_points_have_no_lines() -> None:
    assert len(wireframe(Query(('"a mole"',) * 4, (0.0, 0.3, 0.6, 1.0)))) == 0
    assert len(wireframe(even("nose_bridge", 2))) == 0
    mixed = parse_query("eyes,lips") + Query(('"a mole"',), (0.0,))
    assert len(wireframe(mixed)) and wireframe(mixed).max() < len(mixed) - 1


def test_lines_are_drawn_between_points_that_are_there() -> None:
    query = even("jaw", 9)
    points = circle_face(query).points.copy()
    x, y = np.rint(points[4]).astype(int)
    whole = changed(draw(circle_face(query), "wireframe")) > 40
    points[4] = np.nan
    part = changed(draw(circle_face(query, points=points), "wireframe")) > 40
    around = slice(y - 5, y + 6), slice(x - 5, x + 6)
    assert whole.sum() > part.sum() > 200 and whole[around].any() and not part[around].any()


def test_a_black_picture_has_what_is_drawn_alone() -> None:
    query = even("jaw", 9)
    frame, face = np.full((480, 640, 3), GREY, np.uint8), circle_face(query)
    image = Drawing(query, ["black", "curves"])(make_result(0, face, image=frame, query=query))
    assert (frame == GREY).all() and image.max() > 150 and np.median(image) == 0
    empty = Drawing(query, ["black"])(make_result(0, image=frame, query=query))
    assert empty.max() == 0


def test_a_film_of_a_wireframe(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    options = ["--parts", "300w", "--stop", "0.2", "--quiet", "--draw", "wireframe,black", "--video", str(video)]
    assert main(["run", SAMPLE, *options, "--csv", str(tmp_path / "a.csv")]) == OK
    for frame in vtrack.open_source(video):
        bright = frame.image.max(2) > 60
        assert 1000 < bright.sum() < 20_000 and not bright[:, :150].any() and np.median(frame.image) < 3
