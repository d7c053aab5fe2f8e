"""The loss of distances from lid to lid and from lip to lip."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vtrack.layouts import load_layout, points_of
from vtrack.models.systems.losses import facing, gap_loss
from vtrack.query import parse_query

LAYOUT = load_layout("300w")


def test_points_that_face_each_other_are_found() -> None:
    pairs = facing(LAYOUT.query)
    parts = [LAYOUT.query.parts[i] for i, _ in pairs]
    assert {part: parts.count(part) for part in parts} == {
        "left_eye": 2,
        "right_eye": 2,
        "outer_lip": 5,
        "inner_lip": 3,
    }
    for upper, lower in pairs:
        (part, above), (other, below) = points_of(LAYOUT.query)[upper], points_of(LAYOUT.query)[lower]
        assert part == other and abs(above + below - 1) < 1e-6
    assert len(facing(parse_query("jaw,nose,left_eye@0,0.5"))) == 0


def face(gap: float) -> Tensor:
    """(1, 4, 2) two points above two others at a distance."""
    return torch.tensor([[[0.4, 0.5], [0.6, 0.5], [0.4, 0.5 + gap], [0.6, 0.5 + gap]]])


PAIRS = torch.tensor([[0, 2], [1, 3]])
KNOWN = torch.ones(1, 4, dtype=torch.bool)


def test_moving_both_lids_alike_costs_nothing_and_a_slit_costs_more_than_a_wide_eye_that_is_wrong() -> None:
    assert gap_loss(face(0.05) + 0.03, face(0.05), KNOWN, PAIRS) < 1e-4
    slit = gap_loss(face(0.01), face(0.0), KNOWN, PAIRS)
    wide = gap_loss(face(0.06), face(0.05), KNOWN, PAIRS)
    assert slit > 2.5 * wide > 0


def test_the_loss_closes_a_slit_and_looks_away_where_there_is_no_label() -> None:
    points = face(0.02).requires_grad_()
    gap_loss(points, face(0.0), KNOWN, PAIRS).backward()
    assert points.grad is not None
    assert (points.grad[0, :2, 1] < 0).all() and (points.grad[0, 2:, 1] > 0).all(), "up goes down and down goes up"
    unknown = KNOWN.clone()
    unknown[0, 2] = False
    points = face(0.02).requires_grad_()
    gap_loss(points, face(0.0), unknown, PAIRS).backward()
    assert points.grad is not None
    np.testing.assert_array_equal(points.grad[0, [0, 2]], 0)
    nothing = gap_loss(face(0.02), face(0.0), KNOWN, torch.zeros(0, 2, dtype=torch.long))
    assert nothing == 0
