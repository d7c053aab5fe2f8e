"""Gaussian vectors: labels, band pooling and decoding inside and outside the crop, by the formulas of Xiong et al."""

from __future__ import annotations

import math

import pytest
import torch

from vtrack.models.decoding import heatmaps as hm
from vtrack.models.decoding import vectors
from vtrack.models.decoding.registry import decode


def crop(*cells: float, size: int = 64) -> torch.Tensor:
    """A point (1, 1, 2) from its cells."""
    return hm.to_crop(torch.tensor([[cells]]), size)


def test_labels_follow_equation_2() -> None:
    label = vectors.encode(crop(20.0, 40.0), 64, sigma=2.0, theta=3.0)[0, 0]
    assert label.shape == (2, 64)
    assert float(label[0, 20]) == 4.0
    assert float(label[1, 40]) == 4.0
    assert float(label[0, 21]) == pytest.approx(math.exp(-1 / 8))
    assert float(label[0, 25]) == pytest.approx(math.exp(-25 / 8))
    # Equation 2: zero from a distance of three sigmas on.
    assert float(label[0, 26]) == 0.0
    assert int((label[0] > 0).sum()) == 11


def test_biased_labels_are_those_of_the_nearest_cell() -> None:
    assert torch.equal(vectors.encode(crop(20.3, 39.8), 64), vectors.encode(crop(20.0, 40.0), 64))
    unbiased = vectors.encode(crop(20.3, 39.8), 64, biased=False)[0, 0]
    assert float(unbiased[0, 20]) == pytest.approx(3.0 + math.exp(-(0.3**2) / 8))


def test_bands_average_the_cells_that_exist() -> None:
    heatmap = torch.arange(16.0).view(1, 1, 4, 4)
    columns, rows = [6.0, 7.0, 8.0, 9.0], [1.5, 5.5, 9.5, 13.5]  # means over rows and over columns
    assert vectors.band_pool(heatmap, (1,))[0, 0].tolist() == [columns, rows]
    wide = vectors.band_pool(heatmap, (3,))[0, 0]
    assert wide[0].tolist() == pytest.approx([6.5, 7.0, 8.0, 8.5])
    padded = vectors.band_pool(heatmap, (3,), count_padding=True)[0, 0]
    assert padded[0].tolist() == pytest.approx([13 / 3, 7.0, 8.0, 17 / 3])
    mixed = vectors.band_pool(heatmap, (1, 3), alpha=0.25)[0, 0]
    assert torch.allclose(mixed, 0.25 * vectors.band_pool(heatmap, (1,))[0, 0] + 0.75 * wide)


def test_padding_with_zeros_hides_points_beyond_the_box() -> None:
    # A map whose mean over rows is the Gaussian of a point one cell to the left of the crop.
    line = torch.arange(32.0)
    heatmap = (torch.exp(-((line + 1) ** 2) / 8) * 2).expand(1, 1, 32, 32)
    counted, uncounted = (
        vectors.band_pool(heatmap, (3, 5), count_padding=counts)[0, 0, 0].argmax().item() for counts in (True, False)
    )
    assert (counted, uncounted) == (1, 0)
    vector = vectors.band_pool(heatmap, (3, 5))
    assert float(vectors.beyond_box(vectors.decode(vector), vector)[0, 0, 0]) < 0.0


def test_plain_decoding_moves_a_quarter_cell_to_the_higher_neighbour() -> None:
    label = vectors.encode(crop(20.4, 39.8), 64, biased=False)
    assert torch.allclose(vectors.decode(label), crop(20.25, 39.75), atol=1e-6)
    ends = vectors.encode(crop(0.3, 62.9), 64, biased=False)
    assert torch.allclose(vectors.decode(ends), crop(0.0, 63.0), atol=1e-6)


@pytest.mark.parametrize(("tau", "sigma"), [(2.0, 2.0), (1.0, 2.0), (2.5, 1.5)])
def test_beyond_box_inverts_equation_6(tau: float, sigma: float) -> None:
    distance = 1.7
    vector = torch.zeros(1, 1, 2, 64)
    line = torch.arange(64.0)
    vector[0, 0, 0] = tau * torch.exp(-((line + distance) ** 2) / (2 * sigma**2))
    vector[0, 0, 1] = tau * torch.exp(-((line - 63 - distance) ** 2) / (2 * sigma**2))
    outside = vectors.beyond_box(vectors.decode(vector), vector, tau, sigma)
    assert torch.allclose(outside, crop(-distance, 63 + distance), atol=1e-5)


def test_beyond_box_leaves_inner_points_and_peaks_at_the_rim_alone() -> None:
    label = vectors.encode(crop(20.0, 0.0), 64)  # the raised peak at the rim is higher than tau
    points = vectors.decode(label)
    assert torch.equal(vectors.beyond_box(points, label), points)


def test_beyond_box_reaches_no_further_than_labels_do() -> None:
    nothing = torch.zeros(1, 1, 2, 64)
    outside = vectors.beyond_box(vectors.decode(nothing), nothing, tau=2.0, sigma=2.0)
    assert torch.allclose(outside, crop(-6.0, -6.0), atol=1e-5)


def test_beyond_box_works_for_any_heatmap() -> None:
    outside = crop(-2.0, 30.0, size=64)
    heatmap = hm.encode(outside, 64, 2.0)
    plain = decode(heatmap, "two-hot", sigma=2.0)
    assert torch.allclose(plain[..., 0], crop(0.0, 30.0)[..., 0])
    assert torch.allclose(decode(heatmap, "two-hot", sigma=2.0, beyond=True), outside, atol=1e-4)


def test_decoding_takes_a_batch() -> None:
    points = torch.rand(3, 68, 2)
    told = vectors.decode(vectors.encode(points, 32, biased=False))
    assert told.shape == points.shape
    assert float((told - points).abs().max()) <= 0.51 / 32


def test_spread_grows_with_doubt() -> None:
    point = crop(30.0, 30.0)
    sure = vectors.encode(point, 64, theta=0.0)
    doubtful = (vectors.encode(point - 0.1, 64, theta=0.0) + vectors.encode(point + 0.1, 64, theta=0.0)) / 2
    small, large = (float(vectors.spread(vector, point, 2.0)) for vector in (sure, doubtful))
    assert small < 0.025
    assert large == pytest.approx(0.1, abs=0.02)
