"""Rigid motion told apart from what moves on it."""

from __future__ import annotations

import numpy as np

from vtrack.filters.rigid import Body, fit, normalised, to_complex, to_plane

RNG = np.random.default_rng(0)
SHAPE = RNG.normal(size=(1, 8)) + 1j * RNG.normal(size=(1, 8))
NOTHING = np.full((1, 8), np.nan)


def test_numbers_and_points_are_the_same() -> None:
    points = RNG.normal(size=(3, 4, 2))
    np.testing.assert_array_equal(to_plane(to_complex(points)), points)


def test_fit_finds_shift_turn_and_size_and_minds_weights() -> None:
    moved = 3 - 2j + 1.7 * np.exp(0.6j) * SHAPE
    shift, turn = fit(SHAPE, moved, np.ones((1, 8)))
    np.testing.assert_allclose([shift[0], turn[0]], [3 - 2j, 1.7 * np.exp(0.6j)])
    moved[0, 2] += 50
    weights = np.ones((1, 8))
    weights[0, 2] = 0
    shift, turn = fit(SHAPE, moved, weights)
    np.testing.assert_allclose([shift[0], turn[0]], [3 - 2j, 1.7 * np.exp(0.6j)])


def test_a_body_splits_and_joins() -> None:
    body = Body(1, np.arange(6))
    parts, shift, turn = body.split(SHAPE, np.ones((1, 8)), NOTHING)
    np.testing.assert_allclose(parts[:, :6], normalised(SHAPE[:, :6], np.ones((1, 6))))
    for angle, size in ((0.3, 2.0), (-1.0, 0.4)):
        moved = 5j + size * np.exp(1j * angle) * SHAPE
        again, shift, turn = body.split(moved, np.ones((1, 8)), parts)
        np.testing.assert_allclose(again, parts)
        np.testing.assert_allclose(shift + turn * again[0], moved[0])


def test_an_anchor_that_strays_does_not_take_the_head_along() -> None:
    body = Body(1, np.arange(8))
    parts, shift, _turn = body.split(SHAPE, np.full((1, 8), 0.01), NOTHING)
    strayed = SHAPE.copy()
    strayed[0, 1] += 2.0
    _, moved, _ = body.split(strayed, np.full((1, 8), 0.01), parts)
    assert abs(moved[0] - shift[0]) < 0.01  # a plain fit would move by 2 / 8


def test_a_doubtful_anchor_has_little_say() -> None:
    body = Body(1, np.arange(8))
    sigma = np.full((1, 8), 1.0)
    sigma[0, 1] = 20.0
    parts, shift, _ = body.split(SHAPE, sigma, NOTHING)
    strayed = SHAPE.copy()
    strayed[0, 1] += 2.0
    _, moved, _ = body.split(strayed, sigma, parts)
    assert abs(moved[0] - shift[0]) < 0.02


def test_a_track_is_split_the_same_beside_one_that_is_missing() -> None:
    alone, beside = Body(1, np.arange(6)), Body(2, np.arange(6))
    first, sigma = SHAPE + 0.1, np.linspace(0.1, 0.3, 8)[None]
    expected, expected_beside = NOTHING, np.full((2, 8), np.nan)
    for turned in (1.0, 1.2 + 0.3j, 0.9 - 0.2j):
        one = alone.split(first * turned, sigma, expected)
        two = beside.split(np.concatenate([first * turned, NOTHING]), np.repeat(sigma, 2, 0), expected_beside)
        for single, double in zip(one, two, strict=True):
            np.testing.assert_array_equal(single[0], double[0])
            assert np.isnan(double[1]).all()
        expected, expected_beside = one[0], two[0]


def test_a_track_that_starts_again_has_its_new_shape() -> None:
    body = Body(2, np.arange(6))
    parts, *_ = body.split(np.concatenate([SHAPE, SHAPE]), np.ones((2, 8)), np.full((2, 8), np.nan))
    parts, *_ = body.split(np.concatenate([SHAPE, SHAPE]), np.ones((2, 8)), parts)
    other = SHAPE**2  # of another shape
    started, *_ = body.split(np.concatenate([SHAPE, other]), np.ones((2, 8)), np.concatenate([parts[:1], NOTHING]))
    again, shift, turn = body.split(2 * np.concatenate([SHAPE, other]), np.ones((2, 8)), started)
    np.testing.assert_allclose(again, started)
    np.testing.assert_allclose(shift[:, None] + turn[:, None] * again, 2 * np.concatenate([SHAPE, other]))


def test_missing_anchors() -> None:
    body = Body(2, np.arange(8))
    points = np.concatenate([SHAPE, SHAPE])
    points[1, 3] = np.nan  # a track does not begin with half of its anchors
    parts, _, turn = body.split(points, np.ones((2, 8)), np.full((2, 8), np.nan))
    assert np.isfinite(turn[0]) and np.isnan(turn[1]) and np.isnan(parts[1]).all()
    points = 2j + 1.5 * SHAPE
    points[0, 3] = np.nan  # but goes on with them
    again, _shift, turn = body.split(np.concatenate([points, points]), np.ones((2, 8)), parts)
    np.testing.assert_allclose(np.delete(again[0], 3), np.delete(parts[0], 3), atol=1e-9)
    assert np.isnan(again[0, 3])
    assert np.isnan(body.split(np.full((2, 8), np.nan + 0j), np.ones((2, 8)), parts)[2]).all()
