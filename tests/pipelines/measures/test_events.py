"""Comparison of detected events with true ones."""

from __future__ import annotations

import numpy as np

from vtrack.pipelines.measures.events import Counts, compare, intervals


def test_consecutive_flags_are_events() -> None:
    times = np.arange(8) * 0.1
    found = intervals([True, False, True, True, False, False, True, True], times)
    np.testing.assert_allclose(found, [(0, 0), (0.2, 0.3), (0.6, 0.7)])
    assert intervals([False] * 8, times) == []


def test_every_true_event_counts_once() -> None:
    true = [(1.0, 1.2), (3.0, 3.1), (5.0, 5.2)]
    assert compare([(1.3, 1.5), (3.0, 3.1)], true, 0.2) == Counts(2, 0, 1)
    assert compare([(1.0, 1.1), (1.15, 1.3), (4.0, 4.1)], true, 0.2) == Counts(1, 2, 2)
    assert compare([], [], 0.2) == Counts(0, 0, 0)


def test_f1() -> None:
    assert Counts(0, 0, 0).f1 == 1
    assert Counts(0, 3, 0).f1 == 0
    assert (Counts(1, 0, 1) + Counts(2, 1, 0)).f1 == 2 * 3 / (6 + 1 + 1)
