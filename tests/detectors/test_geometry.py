"""Suppression, tiles, and boxes from key points."""

from __future__ import annotations

import numpy as np
import pytest

from vtrack.detectors.geometry import (
    boxes_from_keypoints,
    cell_grid,
    decode_boxes,
    inside_tile,
    suppress,
    tiles,
    vote,
)


def test_suppression_keeps_one_box_a_face_and_overlapping_faces() -> None:
    boxes = np.array([[0, 0, 100, 100], [4, 2, 104, 101], [55, 0, 155, 100], [300, 0, 340, 40]], float)
    kept, scores = suppress(boxes, np.array([0.8, 0.9, 0.75, 0.4]))
    assert kept.tolist() == [1, 2, 3]
    # The neighbour is believed less for its overlap of a third, the one that stands alone as before.
    assert scores[0] == 0.9 and scores[2] == 0.4
    assert 0.4 < scores[1] < 0.6
    kept, scores = suppress(np.zeros((0, 4)), np.zeros(0))
    assert kept.shape == scores.shape == (0,)


def test_a_part_of_a_face_is_no_second_face() -> None:
    boxes = np.array([[0, 0, 100, 100], [30, 50, 70, 90], [60, 60, 140, 140]], float)
    assert suppress(boxes, np.array([0.9, 0.8, 0.7]))[0].tolist() == [0, 2]


def test_votes_come_from_the_same_face_only() -> None:
    boxes = np.array([[0, 0, 100, 100], [10, 0, 110, 100], [200, 0, 300, 100]], float)
    rolls = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    voted, roll = vote(boxes, np.array([0.75, 0.25, 0.5]), rolls, np.array([0, 2]))
    np.testing.assert_allclose(voted, [[2.5, 0, 102.5, 100], [200, 0, 300, 100]])
    np.testing.assert_allclose(roll, [[0.75, 0.25], [-1, 0]])


def test_cells_lie_in_the_middle_of_what_they_cover() -> None:
    centers, strides = cell_grid(64, 96)
    assert len(centers) == 24 * 16 + 12 * 8 + 6 * 4 + 3 * 2
    np.testing.assert_allclose(centers[0], 1.5)
    np.testing.assert_allclose(centers[-1], [79.5, 47.5])
    cells = np.zeros((7, 1))
    np.testing.assert_allclose(
        decode_boxes(cells, centers[-1:], strides[-1:]), [[79.5 - 96, 47.5 - 96, 79.5 + 96, 47.5 + 96]]
    )


@pytest.mark.parametrize("size", [(640, 480), (641, 700), (3840, 2160), (100, 2000)])
def test_tiles_cover_the_frame_and_share_enough(size: tuple[int, int]) -> None:
    windows = tiles(*size, 640, 96)
    covered = np.zeros(size[::-1], int)
    for x, y, w, h in windows:
        assert x >= 0 and y >= 0 and x + w <= size[0] and y + h <= size[1]
        assert max(w, h) <= 640
        covered[y : y + h, x : x + w] += 1
    assert covered.min() > 0
    # A 90-pixel face anywhere is whole in some tile.
    for corner in np.random.default_rng(0).uniform(0, np.maximum(np.array(size) - 90, 1), (50, 2)):
        box = np.array([[*corner, 90, 90]])
        assert any(inside_tile(box, tile, *size)[0] and (corner >= tile[:2] - 1).all() for tile in windows)


def test_faces_may_leave_the_frame_but_not_the_tile() -> None:
    boxes = np.array([[-10.0, 5, 30, 30], [90, 5, 30, 30]])
    assert inside_tile(boxes, np.array([0, 0, 100, 100]), 400, 100).tolist() == [True, False]


@pytest.mark.parametrize("turn", [0.0, 0.7, -1.6, 3.0])
def test_boxes_turn_and_scale_with_their_points(turn: float) -> None:
    # A box whose middle is the origin of the face's frame, 2 wide and 3 high in its units.
    weights = np.zeros((11, 4))
    weights[-1] = [0, 0, 2, 3]
    face = np.array([[[-10.0, -10], [10, -10], [0, 3], [-6, 11], [6, 9]]])
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[cos, -sin], [sin, cos]])
    boxes, rolls = boxes_from_keypoints(face, [3, 4], weights)
    turned, turned_rolls = boxes_from_keypoints(face @ rotation.T * 1.7 + 40, [3, 4], weights)
    assert np.angle(np.exp(1j * (turned_rolls - rolls - turn)))[0] == pytest.approx(0, abs=1e-6)
    middle = (boxes[:, :2] + boxes[:, 2:] / 2) @ rotation.T * 1.7 + 40
    np.testing.assert_allclose(turned[:, :2] + turned[:, 2:] / 2, middle, atol=1e-6)
    assert turned[0, 2] * turned[0, 3] >= 1.7**2 * boxes[0, 2:].prod() * 0.999
    assert rolls[0] == pytest.approx(0)


def test_no_points_no_boxes() -> None:
    boxes, rolls = boxes_from_keypoints(np.zeros((0, 6, 2)), [3], np.zeros((13, 4)))
    assert boxes.shape == (0, 4)
    assert rolls.shape == (0,)
