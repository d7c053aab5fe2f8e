"""The affine map and the losses of rht: what they train, how they are weighed, and that they keep the reference's features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vtrack.models.systems import rht
from vtrack.models.systems.base import LabelledBatch
from vtrack.models.systems.reference_faces import _describe
from vtrack.models.systems.registry import build_system, make_config
from vtrack.text import embed
from vtrack.training.landmarks.batches import draw_batch
from vtrack.training.landmarks.loop import open_stores
from vtrack.training.landmarks.recipe import Augmentation

SMALL: dict[str, Any] = {
    "backbone": "resnet18-half",
    "input_size": 64,
    "layout": "frl189",
    "widths": (16, 8, 8),
    "encoder": False,
    "heads": 2,
    "references": 3,
}
Store = Any


@pytest.fixture(scope="module")
def store(faces_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_stores([f"frl189:{faces_dir}/frl189.zip"], "train", tmp_path_factory.mktemp("cache"))[0]


def network_of(**knobs: Any) -> rht.Rht:
    torch.manual_seed(0)
    network = build_system("rht", make_config("rht", SMALL | knobs))
    assert isinstance(network, rht.Rht)
    return network


def drawn(store: Store, seed: int, size: int = 64, count: int = 12) -> LabelledBatch:
    batch = draw_batch(store, size, 1.25, count, None, Augmentation(), np.random.default_rng(seed))
    query = store.layout.query
    return LabelledBatch(
        torch.from_numpy(batch.images),
        torch.from_numpy(embed(query.parts)),
        torch.tensor(query.positions, dtype=torch.float32),
        torch.from_numpy(batch.points),
        torch.from_numpy(batch.is_face),
        1.0,
    )


def test_hourglasses_give_their_finest_map_to_the_encoder(store: Store) -> None:
    """RHT-HG: the encoder works at a quarter of the crop's resolution, as with an HRNet."""
    network = network_of(backbone="hourglass", encoder=True, encoder_layers=1, heads=1, hidden=8).train()
    batch = drawn(store, 0, count=2)
    cells = []
    network.encoder[0].register_forward_hook(lambda layer, given, out: cells.append(out.shape))
    loss, _ = network.loss(batch)
    loss.backward()
    assert [tuple(shape[1:]) for shape in cells] == [(16 * 16, 8)]
    assert all(parameter.grad is not None for parameter in network.backbone.parameters())


def test_equation_8_trains_the_affine_map_and_not_the_values(store: Store) -> None:
    network = network_of().train()
    batch = drawn(store, 0)
    network.extract_features(batch.crops, batch).disagreement.backward()
    assert all(p.grad is None for p in network.heatmap_features.parameters())
    last = network.localise.tell[-1]
    assert float(last.weight.grad.abs().sum()) > 0  # type: ignore[union-attr]


def test_equation_8_is_summed_over_cells_as_the_losses_of_the_heatmaps_are(store: Store) -> None:
    network = network_of().train()
    batch = drawn(store, 0)
    torch.manual_seed(1)
    with torch.no_grad():
        told = network.extract_features(batch.crops, batch).disagreement
    # Values of order 1 that do not fit differ by some tenths in each of 32 x 32 cells; their mean over cells was under 1.
    assert 32 * 32 * 0.05 < float(told) < 32 * 32 * 2


def test_the_affine_map_is_made_once_a_step(store: Store) -> None:
    network, calls = network_of().train(), []
    network.localise.register_forward_hook(lambda *_: calls.append(1))
    network.loss(drawn(store, 0))
    assert len(calls) == 1


def test_the_affine_map_cannot_leave_the_reference() -> None:
    pushed = network_of()
    last = pushed.localise.tell[-1]
    last.bias.data = torch.full((6,), 50.0)  # type: ignore[union-attr]
    affine = pushed.localise(torch.randn(2, 32, 8, 8))
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    assert float((affine - identity).abs().max()) <= 1.0
    values = torch.rand(2, 8, 32, 32) + 0.1
    assert float(rht.move(values, affine).min()) > 0.0  # zeros outside would have come in
    assert float(rht.move(values, affine, "zeros").min()) == 0.0
    free = network_of(deviation=0.0)
    free.localise.tell[-1].bias.data = torch.full((6,), 50.0)  # type: ignore[union-attr]
    assert float(free.localise(torch.randn(2, 32, 8, 8)).max()) == 50.0


def test_the_affine_map_learns_where_the_reference_has_its_landmarks(store: Store) -> None:
    network = network_of().train()
    moved: list[torch.Tensor] = []
    network.localise.register_forward_hook(lambda _, __, affine: moved.append(affine.detach()))

    def losses(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Equation 8 and the distance of the landmarks: what trains the map alone, without backbone and decoder."""
        batch = drawn(store, seed, count=8)
        return network._transformed(batch.crops, batch, network._drawn(batch.targets))[1:]

    def mean_distance() -> float:
        torch.manual_seed(2)  # the same references
        with torch.no_grad():
            return float(np.mean([float(losses(seed)[1]) for seed in range(1000, 1006)]))

    identity = mean_distance()
    trained = [*network.localise.parameters(), *network.image_features.parameters()]
    optimiser = torch.optim.AdamW(trained, 3e-3)
    for seed in range(80):
        disagreement, distance = losses(seed)
        optimiser.zero_grad()
        (network.config.balance * disagreement + network.config.guidance * distance).backward()
        optimiser.step()
    assert mean_distance() < 0.85 * identity
    assert float((torch.cat(moved) - torch.tensor([[1.0, 0, 0], [0, 1, 0]])).abs().max()) <= 1.0
    batch = drawn(store, 2000, count=8)
    with torch.no_grad():
        values = network.heatmap_features(network._drawn(batch.targets))
        for value in values:
            alive = rht.move(value, moved[-1][: len(value)])
            assert float((alive != 0).float().mean()) > 0.5 * float((value != 0).float().mean())


@pytest.mark.parametrize("size", [64, 128])
def test_a_boundary_weighs_as_much_as_a_landmark(store: Store, size: int) -> None:
    batch = drawn(store, 0, size, count=4)
    even, plain = ({}, {"even": False})
    ratios = []
    for knobs in (even, plain):
        network = network_of(input_size=size, soft=False, hard=False, **knobs).train()
        torch.nn.init.zeros_(network.out.bias)  # type: ignore[arg-type]
        terms = network.loss(batch)[1]  # of maps that are nearly zero: of the labels alone
        ratios.append(float(terms["boundary"] / terms["heatmap"]))
    assert 0.6 < ratios[0] < 1.6
    assert ratios[1] > 1.5 * ratios[0]


def test_references_are_large_enough_to_be_matched(store: Store) -> None:
    network = network_of()
    network.prepare([store])
    assert network.references.images.shape[-1] == 128
    large = network.references.images.permute(0, 2, 3, 1).numpy()
    small = network.references.resized(32)
    assert small.shape == (3, 3, 32, 32)
    features = [len(found) for found in _describe(large)]
    assert min(features) > 40
    network.eval()
    with torch.no_grad():
        crops = drawn(store, 0).crops
        assert network.references.choose(crops, "sift").shape == (len(crops),)
        network.extract_features(crops)
