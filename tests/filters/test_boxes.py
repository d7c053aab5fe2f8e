"""Boxes: steady at rest, on time in motion, sensible ahead."""

from __future__ import annotations

import numpy as np
import pytest

from vtrack.filters.boxes import BoxFilter


def follow(boxes: np.ndarray, angles: np.ndarray | None = None, fps: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    steady = BoxFilter()
    out = []
    for i, box in enumerate(boxes):
        steady.add(i / fps, box, 0.0 if angles is None else angles[i])
        out.append(steady.predict(i / fps))
    return np.array([box for box, _ in out]), np.array([angle for _, angle in out])


def test_a_still_box_stops_trembling() -> None:
    noise = np.random.default_rng(0).normal(0, 1.0, (200, 4))
    raw = np.array([100.0, 80, 160, 180]) + noise
    steady, _ = follow(raw)
    trembling = np.diff(steady[40:], 2, axis=0).std(0) / np.diff(raw[40:], 2, axis=0).std(0)
    assert (trembling < [0.5, 0.5, 0.35, 0.35]).all()


def test_a_moving_growing_turning_box_does_not_lag() -> None:
    time = np.arange(90)[:, None] / 30
    raw = np.concatenate([300 * time, 50 + 0 * time, 120 * 1.1**time, 150 * 1.1**time], 1)
    steady, angles = follow(raw, 0.8 * time[:, 0])
    np.testing.assert_allclose(steady[30:], raw[30:], atol=0.5)
    np.testing.assert_allclose(angles[30:], 0.8 * time[30:, 0], atol=0.01)


def test_a_sudden_start_is_followed() -> None:
    x = np.concatenate([np.full(30, 100.0), 100 + 12.0 * np.arange(1, 31)])
    raw = np.stack([x, x * 0 + 50, x * 0 + 120, x * 0 + 150], 1)
    steady, _ = follow(raw)
    assert np.abs(steady[:, 0] - x).max() < 12
    assert np.abs(steady[38:, 0] - x[38:]).max() < 2  # a quarter of a second later


def test_turns_go_the_nearer_way_round() -> None:
    angles = np.remainder(np.linspace(2.8, 3.6, 60) + np.pi, 2 * np.pi) - np.pi
    _, steady = follow(np.tile([0.0, 0, 100, 100], (60, 1)), angles)
    assert np.abs(np.remainder(steady - np.linspace(2.8, 3.6, 60) + np.pi, 2 * np.pi) - np.pi).max() < 0.05


@pytest.mark.parametrize("direction", [1, -1])
def test_prediction_goes_on_and_slows_down(direction: int) -> None:
    steady = BoxFilter()
    for i in range(30):
        steady.add(5 + direction * i / 30, np.array([3.0 * i, 0, 100, 100]))
    end = 5 + direction * 29 / 30
    near, far = (steady.predict(end + direction * ahead)[0][0] - 87 for ahead in (0.1, 60.0))
    assert near == pytest.approx(9, rel=0.1)  # 3 pixels a frame
    assert far == pytest.approx(90, rel=0.1)  # one second's worth, however long


def test_a_way_is_smooth_even_where_it_goes_on_from_another() -> None:
    time = np.arange(64) / 30
    truth = np.stack([200 + 80 * np.sin(3 * time), 50 + 0 * time, 120 + 0 * time, 150 + 0 * time], 1)
    noise = np.random.default_rng(1).normal(0, 1.0, truth.shape)
    steady, found = BoxFilter(), [truth[:1]]
    steady.add(time[0], truth[0])
    for start in range(0, 63, 9):
        after = slice(start + 1, start + 10)
        boxes, angles = steady.way(time[start + 9], truth[start + 9] + noise[start + 9], 0.0, time[after])
        found.append(boxes)
        assert (angles == 0).all()
        for at, box in zip(time[after], truth[after] + noise[after], strict=True):
            steady.add(at, box)
    settled = slice(18, 63)
    way, straight = np.concatenate(found)[settled], np.interp(time, time[::9], truth[::9, 0])[settled]
    assert np.abs(way - truth[settled]).max() < 8
    assert np.abs(np.diff(way[:, 0], 2)).max() < np.abs(np.diff(straight, 2)).max() / 2


def test_a_way_takes_the_course_that_was_seen_and_ends_where_it_should() -> None:
    steady = BoxFilter()
    for i in range(10):
        steady.add(i / 30, np.array([0.0, 0, 100, 100]))
    times = [0.4, 0.5, 0.6]
    x = np.array([0.0, 80, 50, 30])  # it drifts by 10 pixels and turns on the way
    course = np.stack([x, 0 * x, 100 + 0 * x, 100 + 0 * x], 1), np.array([0.0, 0.2, 0.1, 0.1])
    plain, _ = steady.way(0.6, np.array([40.0, 0, 100, 100]), 0.0, times)
    way, angles = steady.way(0.6, np.array([40.0, 0, 100, 100]), 0.0, times, course)
    np.testing.assert_allclose(way[-1], plain[-1])
    np.testing.assert_allclose(np.diff(way[:, 0]) - np.diff(x[1:]), (plain[-1, 0] - 30) / 3)
    np.testing.assert_allclose(np.diff(angles), [-0.1 - 0.1 / 3, -0.1 / 3], atol=1e-9)


def test_a_way_is_nothing_learnt() -> None:
    steady = BoxFilter()
    for i in range(10):
        steady.add(i / 30, np.array([0.0, 0, 100, 100]))
    before = steady.predict(0.4)[0]
    steady.way(0.6, np.array([90.0, 0, 100, 100]), 0.0, [0.5])
    np.testing.assert_array_equal(steady.predict(0.4)[0], before)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="no box was added yet"):
        BoxFilter().predict(0.0)
    with pytest.raises(ValueError, match="no box was added yet"):
        BoxFilter().way(1.0, np.ones(4), 0.0, [0.5])
    with pytest.raises(ValueError, match="positive width and height"):
        BoxFilter().add(0.0, np.array([0.0, 0, -1, 5]))
