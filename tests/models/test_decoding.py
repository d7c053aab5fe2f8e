"""Reading landmarks off heatmaps: the figures of Cheng et al.'s table 1, which need no network, and multilateration itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vtrack.errors import UsageError
from vtrack.models.decoding import heatmaps as hm
from vtrack.models.decoding import multilateration
from vtrack.models.decoding.registry import DECODERS, decode

SIZES = (64, 32, 16, 8, 4)

TABLE_1 = {
    "one-hot": (0.018, 0.036, 0.071, 0.140, 0.290),
    "two-hot": (0.009, 0.018, 0.037, 0.090, 0.271),
    "distribution-aware": (0.000, 0.001, 0.015, 0.112, 0.289),
    "keyposs": (0.000, 0.000, 0.000, 0.000, 0.000),
}

# One-hot decoding is off by 0.3826 cells on average wherever the points are, so the table's first row tells the distance
# of the eyes that its errors are divided by: a third of the crop.
EYES = 0.332


@pytest.fixture(scope="module")
def points() -> Tensor:
    """(4, 250, 2) spread over the inner part of the crop, as faces are."""
    generator = torch.Generator().manual_seed(0)
    return 0.15 + 0.7 * torch.rand(4, 250, 2, generator=generator)


def quantisation_errors(decoder: str, points: Tensor) -> list[float]:
    errors = []
    for size in SIZES:
        heatmaps = hm.encode(points, size, sigma=2.0)
        places = decode(heatmaps, decoder, sigma=2.0)
        errors.append(float((places - points).norm(dim=-1).mean()) / EYES)
    return errors


def test_table_1_keyposs(points: Tensor) -> None:
    assert max(quantisation_errors("keyposs", points)) <= 0.0005
    # And wherever in the crop the points lie.
    assert max(quantisation_errors("keyposs", torch.rand(4, 250, 2))) <= 0.0005


@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_table_1_keyposs_with_more_anchors(points: Tensor, kernel: int) -> None:
    for size in SIZES:
        places = decode(hm.encode(points, size, 2.0), "keyposs", sigma=2.0, kernel=kernel)
        # Larger windows hold anchors more than three sigmas away, whose distances are not believed, only on tiny maps.
        assert float((places - points).norm(dim=-1).mean()) / EYES <= 0.0005


def test_table_1_one_hot(points: Tensor) -> None:
    assert quantisation_errors("one-hot", points) == pytest.approx(TABLE_1["one-hot"], rel=0.04)


def test_table_1_two_hot(points: Tensor) -> None:
    ours, table = quantisation_errors("two-hot", points), TABLE_1["two-hot"]
    assert ours[:3] == pytest.approx(table[:3], rel=0.04)
    # On the smallest maps the table leaves more cells alone than just those without a second neighbour.
    assert all(0.7 * theirs < error < theirs for error, theirs in zip(ours[3:], table[3:], strict=True))


def test_table_1_distribution_aware(points: Tensor) -> None:
    ours = quantisation_errors("distribution-aware", points)
    assert ours == pytest.approx(TABLE_1["distribution-aware"], abs=0.012)
    assert ours[0] < 0.0005


def test_the_labels_scale_does_not_matter_to_multilateration(points: Tensor) -> None:
    heatmaps = hm.encode(points, 16, 2.0)
    assert torch.allclose(decode(heatmaps * 0.3, "keyposs", sigma=2.0), points, atol=1e-4)


def test_multilateration_finds_points_just_outside() -> None:
    outside = torch.tensor([[[-0.03, 0.5], [1.04, 1.02]]])
    assert torch.allclose(decode(hm.encode(outside, 32, 2.0), "keyposs", sigma=2.0), outside, atol=1e-3)


def test_multilateration_from_any_anchors() -> None:
    generator = torch.Generator().manual_seed(1)
    turns = torch.arange(5) * 1.25664 + torch.rand(100, 5, generator=generator)
    anchors = torch.stack([turns.cos(), turns.sin()], -1) * 4 + 5
    places = torch.rand(100, 2, generator=generator) * 10
    squares = ((anchors - places[:, None]) ** 2).sum(-1)
    assert torch.allclose(multilateration.multilaterate(anchors, squares), places, atol=1e-3)


@pytest.mark.parametrize("bend", [0.0, 1e-6, 1e-4, 1e-3, 1e-2])
def test_nearly_collinear_anchors_do_not_throw_the_answer_away(bend: float) -> None:
    anchors = torch.tensor([[0.0, 0.0], [1.0, bend], [2.0, -bend], [3.0, 0.0]])
    place = torch.tensor([1.2, 0.4])
    squares = ((anchors - place) ** 2).sum(-1)
    noisy = squares + torch.tensor([0.02, -0.03, 0.03, -0.02])
    answer = multilateration.multilaterate(anchors, noisy)
    assert torch.isfinite(answer).all()
    # Along the line the anchors tell the place; across it they tell nothing, and the answer stays beside them.
    assert answer[0] == pytest.approx(1.2, abs=0.1)
    assert abs(float(answer[1])) < 0.5


def test_anchors_in_one_place_answer_with_that_place() -> None:
    answer = multilateration.multilaterate(torch.full((4, 2), 3.0), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert torch.allclose(answer, torch.tensor([3.0, 3.0]))


def test_anchors_are_the_brightest_window() -> None:
    heatmap = torch.zeros(1, 1, 5, 5)
    heatmap[0, 0, 3, 1], heatmap[0, 0, 2, 1], heatmap[0, 0, 2, 2], heatmap[0, 0, 3, 2] = 1.0, 0.6, 0.4, 0.7
    cells, values = multilateration.sample_anchors(heatmap, 2)
    assert sorted(map(tuple, cells[0, 0].tolist())) == [(1, 2), (1, 3), (2, 2), (2, 3)]
    assert values[0, 0].sum() == pytest.approx(2.7)
    with pytest.raises(ValueError, match="2 to 5 cells wide, got 6"):
        multilateration.sample_anchors(heatmap, 6)


def test_an_empty_map_has_an_answer_in_the_crop() -> None:
    for decoder in DECODERS:
        answer = decode(torch.zeros(1, 2, 8, 8), decoder, sigma=2.0)
        assert ((answer >= 0) & (answer <= 1)).all(), decoder


def test_noise_cannot_throw_a_point_further_than_labels_reach() -> None:
    generator = torch.Generator().manual_seed(2)
    noise = torch.rand(4, 50, 16, 16, generator=generator)
    window, _ = multilateration.sample_anchors(noise, 2)
    middle = hm.to_crop(window.float().mean(-2), 16)
    away = (multilateration.decode(noise, 2.0) - middle).norm(dim=-1) * 16
    assert float(away.max()) <= 6.0 + 1e-4


def test_multilateration_can_be_trained_through() -> None:
    heatmaps = hm.encode(torch.full((1, 3, 2), 0.4), 16, 2.0).requires_grad_()
    multilateration.decode(heatmaps, 2.0).sum().backward()
    assert heatmaps.grad is not None
    assert torch.isfinite(heatmaps.grad).all()
    assert float(heatmaps.grad.abs().sum()) > 0


def test_biased_labels_have_their_peak_on_a_cell() -> None:
    point = torch.tensor([[[0.31, 0.66]]])
    biased, unbiased = (hm.encode(point, 16, 2.0, biased=way) for way in (True, False))
    assert float(biased.max()) == 1.0
    assert float(unbiased.max()) < 1.0
    assert torch.equal(
        hm.peaks(biased)[0], torch.tensor([[[4, 10]]])
    )  # 0.31 * 16 - 0.5 = 4.46, 0.66 * 16 - 0.5 = 10.06
    assert float(unbiased[0, 0, 10, 4]) == pytest.approx(math.exp(-(0.46**2 + 0.06**2) / 8))


def test_spread_grows_with_doubt() -> None:
    point = torch.tensor([[[0.5, 0.5]]])
    sure = hm.encode(point, 32, 2.0)
    doubtful = (hm.encode(point - 0.1, 32, 2.0) + hm.encode(point + 0.1, 32, 2.0)) / 2
    small, large = (float(hm.spread(heatmap, point, 2.0)) for heatmap in (sure, doubtful))
    assert small < 0.02
    assert large == pytest.approx(0.1, abs=0.02)


def test_unknown_decoders_name_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no decoder 'argmax'; choose from one-hot, two-hot"):
        decode(torch.zeros(1, 1, 8, 8), "argmax", sigma=2.0)
