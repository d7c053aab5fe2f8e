"""Parts, their mirror images, anchors and the box around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vtrack.anchors import ANCHORS, box_around
from vtrack.data import load_dataset
from vtrack.errors import QueryError
from vtrack.parts import GROUPS, PARTS, find_part, is_of_mesh, nearest
from vtrack.query import parse_query
from vtrack.template import load_template


def test_mirroring_twice_changes_nothing() -> None:
    for part in PARTS.values():
        other = PARTS[part.mirror]
        assert other.mirror == part.name
        for position in part.positions(7):
            there = part.mirrored(position)
            assert other.mirrored(there) == pytest.approx(position)
            assert 0 <= there <= 1


def test_mirrors_agree_with_the_template() -> None:
    """A part's place, flipped, is its mirror part's: the rule of positions is geometry, not book-keeping."""
    curves = load_template().curves
    for part in PARTS.values():
        positions = np.array(part.positions())
        mirrored = curves[part.mirror].at(np.array([part.mirrored(position) for position in positions]))
        assert curves[part.name].at(positions) * (-1, 1) == pytest.approx(mirrored, abs=2e-3), part.name


def test_a_closed_part_gets_distinct_points() -> None:
    assert PARTS["left_eye"].positions(4) == (0.0, 0.25, 0.5, 0.75)
    assert PARTS["jaw"].positions(3) == (0.0, 0.5, 1.0)
    assert PARTS["jaw"].positions(1) == (0.5,)
    assert PARTS["left_pupil"].positions(1) == (0.0,)
    with pytest.raises(QueryError, match="at least 1 point"):
        PARTS["jaw"].positions(0)


def test_groups_hold_known_parts() -> None:
    assert {*GROUPS["all"], *GROUPS["portrait"]} == {name for name in PARTS if not is_of_mesh(name)}
    assert not set(GROUPS["all"]) & set(GROUPS["portrait"])
    for members in GROUPS.values():
        assert set(members) <= set(PARTS)
    assert {"eyes", "brows", "lips", "nose", "pupils", "face"} <= set(GROUPS)


def test_wrong_names_get_the_right_ones() -> None:
    with pytest.raises(QueryError, match="left_eye"):
        find_part("left_eyes")
    assert "lips" in nearest("mouth", (*PARTS, *GROUPS))
    assert nearest("zzz", PARTS) == "`vtrack parts` lists them all"


def test_anchors_are_named_apart_and_join_a_query() -> None:
    assert ANCHORS.names == tuple(f"anchor_{i}" for i in range(len(ANCHORS)))
    joined = parse_query("face") + ANCHORS
    assert len(set(joined.names)) == len(joined)


def test_box_around_any_number_of_faces() -> None:
    points = np.array([[10.0, 20.0], [30.0, 25.0], [20.0, 60.0]])
    assert box_around(points) == pytest.approx([10, 20, 20, 40])
    assert box_around(np.stack([[points, points + 1]])).shape == (1, 2, 4)


@pytest.mark.data
def test_the_anchors_box_is_the_landmarks_box(data_dir: Path) -> None:
    data = load_dataset(f"w68:{data_dir / 'w68.zip'}", "val")
    where = dict(
        zip(zip(data.layout.query.parts, np.round(data.layout.query.positions, 6), strict=True), range(68), strict=True)
    )
    anchors = [where[part, round(position, 6)] for part, position in zip(ANCHORS.parts, ANCHORS.positions, strict=True)]
    told, true = box_around(data.points[:, anchors]), data.layout.face_box(data.points)
    edges = np.abs(
        np.concatenate([told[:, :2] - true[:, :2], told[:, :2] + told[:, 2:] - true[:, :2] - true[:, 2:]], 1)
    )
    assert (edges.mean(0) / true[:, 2:].max(1).mean() < 0.015).all()
