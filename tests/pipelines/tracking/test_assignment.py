"""The assignment problem, against SciPy's solution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from vtrack.pipelines.tracking.assignment import cheapest_pairs


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (2, 2), (4, 7), (7, 4), (12, 12)])
@pytest.mark.parametrize("forbidden", [0.0, 0.5, 0.9])
def test_pairs_are_those_of_scipy(shape: tuple[int, int], forbidden: float) -> None:
    """Costs as in tracking: real numbers, which are never equal, and one large cost for pairs that may not be."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        cost = np.where(rng.random(shape) < forbidden, 1e3, rng.random(shape))
        pairs = cheapest_pairs(cost)
        rows, columns = zip(*pairs, strict=True)
        expected = [*zip(*(index.tolist() for index in linear_sum_assignment(cost)), strict=True)]
        assert len(pairs) == len(set(rows)) == len(set(columns)) == min(shape)
        assert [pair for pair in pairs if cost[pair] < 1e3] == [pair for pair in expected if cost[pair] < 1e3]
        assert list(rows) == sorted(rows)
