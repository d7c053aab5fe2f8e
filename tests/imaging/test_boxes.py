"""Boxes: conversions and intersection over union."""

from __future__ import annotations

import numpy as np

from vtrack.imaging.boxes import corners_to_xywh, iou, xywh_to_corners


def test_iou_of_boxes_that_overlap_touch_or_lie_apart() -> None:
    xywh = np.array([[0.0, 0, 10, 10], [5, 0, 10, 10], [10, 0, 5, 5], [50, 50, 1, 1]])
    corners = xywh_to_corners(xywh)
    np.testing.assert_allclose(iou(corners, corners)[0], [1, 50 / 150, 0, 0])
    np.testing.assert_array_equal(iou(corners, corners), iou(corners, corners).T)
    np.testing.assert_array_equal(corners_to_xywh(corners), xywh)


def test_iou_of_empty_and_degenerate_boxes() -> None:
    assert iou(np.zeros((0, 4)), np.ones((3, 4))).shape == (0, 3)
    assert iou(np.array([[5.0, 5, 5, 5]]), np.array([[5.0, 5, 5, 5]]))[0, 0] == 0
