"""The query network: what equations 1-7 promise, whatever the weights."""

from pathlib import Path

import pytest
import torch

from vtrack.errors import ModelError, UsageError
from vtrack.models.systems.udfld import TEXT_DIM, Attention, Udfld, UdfldConfig, initialise, place_code
from vtrack.text import embed
from vtrack.training.landmarks.loop import open_stores


@pytest.fixture(scope="module", params=[True, False], ids=["attention", "no attention"])
def network(request: pytest.FixtureRequest) -> Udfld:
    torch.manual_seed(0)
    network = Udfld(UdfldConfig(input_size=64, dim=32, heads=4, hidden=64, attention=request.param))
    for layer in network.layers:
        last = layer.offset[-1] if request.param else layer.offset
        torch.nn.init.normal_(last.weight, std=0.01)  # offsets start at zero, which would hide the layers
    return network.eval()


def query(points: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(points, TEXT_DIM, generator=generator), torch.rand(points, generator=generator)


def crops(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def test_every_layer_answers_every_query(network: Udfld) -> None:
    output = network(crops(), *query(7))
    assert [tuple(points.shape) for points in output.points] == [(2, 7, 2)] * 3
    assert output.log_sigma.shape == (2, 7)
    assert output.presence.shape == (2,)


def test_each_layer_moves_points_by_part_position_and_picture(network: Udfld) -> None:
    pictures, (parts, positions) = crops(), query(3)
    output = network(pictures, parts, positions)
    moved = output.points[-1] - output.points[0]
    assert (moved.abs() > 1e-6).all()
    for changed in ((parts.flip(0), positions), (parts, positions.flip(0))):
        other = network(pictures, *changed)
        assert not torch.isclose(other.points[-1] - other.points[0], moved).all(-1)[:, [0, 2]].any()
    assert not torch.isclose(moved[0], moved[1]).all(-1).any()


def test_the_order_of_the_queries_does_not_matter(network: Udfld) -> None:
    parts, positions = query(9)
    order = torch.randperm(9)
    straight = network(crops(), parts, positions)
    shuffled = network(crops(), parts[order], positions[order])
    assert torch.allclose(straight.points[-1][:, order], shuffled.points[-1], atol=1e-5)
    assert torch.allclose(straight.log_sigma[:, order], shuffled.log_sigma, atol=1e-4)


def test_faces_of_a_batch_do_not_touch_each_other(network: Udfld) -> None:
    together = network(crops(3), *query(5)).points[-1]
    alone = network(crops(3)[1:2], *query(5)).points[-1]
    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_attention_that_has_made_up_its_mind_says_the_same_without_vanishing_weights() -> None:
    attention = Attention(16, 2)
    rows = torch.randn(1, 9, 16, generator=torch.Generator().manual_seed(3)) * 300
    exact = attention.train()(rows, rows, rows)
    torch.testing.assert_close(attention.eval()(rows, rows, rows), exact, rtol=1e-5, atol=1e-4)


def split_map(side: int) -> tuple[torch.Tensor, torch.nn.Conv2d, torch.Tensor]:
    """Terms of a map of `side` cells that are all zero."""
    lateral = torch.nn.Conv2d(8, 16, 1)
    torch.nn.init.zeros_(lateral.bias)
    return torch.zeros(1, 8, side, side), lateral, torch.zeros(1, 16, side // 2, side // 2)


def test_queries_start_where_the_map_is_like_them() -> None:
    fine, lateral, coarse = split_map(8)
    fine[0, 3, 2, 5] = 100.0  # row 2, column 5
    like = lateral.weight[:, 3, 0, 0].detach()
    queries, coordinates, _ = initialise(fine, lateral, coarse, (like / like.norm() * 10)[None, None])
    assert torch.allclose(coordinates[0, 0], torch.tensor([5.5 / 8, 2.5 / 8]), atol=1e-4)
    assert torch.allclose(queries[0, 0], 100 * like, atol=1e-2)


def test_like_everywhere_means_the_middle() -> None:
    _, coordinates, _ = initialise(*split_map(8), torch.ones(1, 1, 16))
    assert torch.allclose(coordinates[0, 0], torch.tensor([0.5, 0.5]))


def test_the_start_is_equation_2_on_the_sum_of_both_maps() -> None:
    generator = torch.Generator().manual_seed(4)
    fine, coarse = (torch.randn(2, *shape, generator=generator) for shape in ((8, 8, 12), (16, 4, 6)))
    encodings, lateral = torch.randn(1, 5, 16, generator=generator), torch.nn.Conv2d(8, 16, 1)
    cells = (lateral(fine) + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)).flatten(2)
    weights = (encodings @ cells / 4).softmax(-1)
    ys, xs = torch.meshgrid((torch.arange(8) + 0.5) / 8, (torch.arange(12) + 0.5) / 12, indexing="ij")
    queries, coordinates, logits = initialise(fine, lateral, coarse, encodings)
    torch.testing.assert_close(queries, weights @ cells.transpose(1, 2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(coordinates, weights @ torch.stack([xs, ys], -1).flatten(0, 1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits.flatten(2).softmax(-1), weights, rtol=1e-4, atol=1e-6)


def test_places_have_codes_of_their_own_also_outside_the_crop() -> None:
    places = torch.tensor([[[0.2, 0.3], [0.3, 0.2], [-0.4, 1.3]]])
    codes = place_code(places)[0]
    assert torch.cdist(codes, codes).fill_diagonal_(9.0).min() > 0.5


def test_learnable_parts_have_rows_of_their_own_by_name(faces_dir: Path, tmp_path: Path) -> None:
    store = open_stores([f"frl189:{faces_dir}/frl189.zip"], "val", tmp_path)[0]
    network = Udfld(UdfldConfig(input_size=64, dim=32, heads=4, parts="learnable", vocabulary=40)).eval()
    network.prepare([store])
    names = tuple(dict.fromkeys(store.layout.query.parts))
    positions = torch.full((len(names),), 0.5)
    encoded = network.encode_queries(torch.from_numpy(embed(names)), positions)
    expected = network.query_norm(network.part_table.weight[: len(names)] + network.position_mlp(positions[:, None]))
    assert torch.allclose(encoded, expected, atol=1e-6)
    with pytest.raises(UsageError, match="set vocabulary to at least that"):
        Udfld(UdfldConfig(input_size=64, dim=32, heads=4, parts="learnable", vocabulary=3)).prepare([store])


def test_a_table_of_parts_needs_a_size() -> None:
    with pytest.raises(ModelError, match="learnable or tuned with a vocabulary"):
        UdfldConfig(parts="learnable")


def test_tuned_parts_start_as_their_names_and_are_trained_slowly(faces_dir: Path, tmp_path: Path) -> None:
    store = open_stores([f"frl189:{faces_dir}/frl189.zip"], "train", tmp_path)[0]
    size = {"input_size": 64, "dim": 32, "heads": 4}
    tuned = Udfld(UdfldConfig(**size, parts="tuned", vocabulary=40, encoder_rate=0.1)).eval()  # type: ignore[arg-type]
    plain = Udfld(UdfldConfig(**size)).eval()  # type: ignore[arg-type]
    tuned.prepare([store])
    shared = {name: tensor for name, tensor in plain.state_dict().items() if name in tuned.state_dict()}
    tuned.load_state_dict(shared, strict=False)
    query = store.layout.query
    parts, positions = torch.from_numpy(embed(query.parts)), torch.tensor(query.positions, dtype=torch.float32)
    assert torch.allclose(tuned.encode_queries(parts, positions), plain.encode_queries(parts, positions), atol=1e-2)
    assert tuned.part_table.weight.requires_grad
    rates = {name: tuned.rate_of(name) for name in ("part_table.weight", "backbone.conv1.weight", "pyramid.x")}
    assert list(rates.values()) == [0.1, 0.1, 1.0]
    assert plain.rate_of("backbone.conv1.weight") == 1.0
