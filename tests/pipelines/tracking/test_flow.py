"""Optical flow of faces: a photograph that swings there and back, and pictures in which there is nothing to follow."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from samples.portrait import POINTS, photograph
from vtrack.pipelines.tracking.flow import Flow
from vtrack.types import FloatArray, Frame, ImageArray

SIZE = (640, 360)
FACE = np.concatenate([POINTS.min(0), np.ptp(POINTS, 0)])
"""x, y, w, h of the face in the photograph."""


def frame(image: ImageArray, index: int) -> Frame:
    return Frame(image, index, index, Fraction(1, 30))


def swinging(count: int) -> tuple[list[Frame], FloatArray, FloatArray]:
    """The frames, and the true boxes and rolls: there and back by more than the face's width."""
    frames, boxes, rolls = [], [], []
    middle, picture = FACE[:2] + FACE[2:] / 2, np.ascontiguousarray(photograph())
    for i in range(count):
        swing = np.sin(np.pi * i / (count - 1))
        matrix = cv2.getRotationMatrix2D(middle.tolist(), -20.0 * swing, 1.0 + 0.2 * swing)
        matrix[:, 2] += np.array([200 + 150 * swing, 180 + 30 * swing]) - middle
        size = FACE[2:] * (1.0 + 0.2 * swing)
        boxes.append(np.concatenate([matrix[:, :2] @ middle + matrix[:, 2] - size / 2, size]))
        rolls.append(np.radians(20.0 * swing))
        frames.append(frame(cv2.warpAffine(picture, matrix, SIZE, borderMode=cv2.BORDER_REPLICATE), i))
    return frames, np.array(boxes), np.array(rolls)


def test_a_face_that_swings_there_and_back() -> None:
    frames, boxes, rolls = swinging(11)
    flow = Flow.through(frames, boxes[0], rolls[0])
    assert flow is not None
    assert flow.times == [one.time for one in frames]
    assert np.abs(flow.boxes - boxes).max() < 0.05 * boxes[0, 2:].max()
    assert np.abs(flow.angles - rolls).max() < 0.05
    at = flow.at(frames[4].time)
    assert at is not None
    np.testing.assert_array_equal(at[0], flow.boxes[4])
    assert at[1] == flow.angles[4]
    assert flow.at(0.5) is None


def test_what_covers_a_third_of_a_face_does_not_carry_it_away() -> None:
    frames, boxes, rolls = swinging(11)
    for i, one in enumerate(frames):
        x, y, w, h = boxes[0].astype(int)
        one.image[y + 2 * h // 3 : y + h, x + 12 * i : x + w + 12 * i] = 60
    flow = Flow.through(frames[:6], boxes[0], rolls[0])
    assert flow is not None
    assert np.abs(flow.boxes - boxes[:6]).max() < 0.1 * boxes[0, 2:].max()


def test_there_is_no_flow_where_nothing_is_to_follow() -> None:
    box = np.array([100.0, 80, 60, 70])
    for width, height in (SIZE, (1, 1), (3, 200)):
        blank = [frame(np.full((height, width, 3), 90, np.uint8), i) for i in range(3)]
        assert Flow.through(blank, box, 0.0) is None
    frames = swinging(3)[0]
    assert Flow.through(frames, np.array([-900.0, 9000, 60, 70]), 0.0) is None
