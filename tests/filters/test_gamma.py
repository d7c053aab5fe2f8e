"""Quantiles of the gamma distribution, against SciPy's."""

from __future__ import annotations

import pytest
from scipy import stats

from vtrack.filters.gamma import gamma_quantile, gamma_tail

SHAPES = [half / 2 for half in range(2, 13)]


@pytest.mark.parametrize("shape", SHAPES)
def test_tails_and_quantiles_are_those_of_scipy(shape: float) -> None:
    for tail in (1e-12, 1e-3, 0.1, 0.5, 0.999):
        value = gamma_quantile(tail, shape)
        assert value == pytest.approx(stats.gamma.isf(tail, shape), rel=1e-12)
        assert gamma_tail(value, shape) == pytest.approx(stats.gamma.sf(value, shape), rel=1e-12)


@pytest.mark.parametrize(("tail", "shape"), [(0.0, 1.0), (1.0, 1.0), (0.1, 0.5), (0.1, 1.2)])
def test_what_has_no_quantile_is_refused(tail: float, shape: float) -> None:
    with pytest.raises(ValueError, match="tail must lie in"):
        gamma_quantile(tail, shape)
