"""The systems of the papers in training: the loop takes any of them, and what comes out is a model like any other."""

from __future__ import annotations

import csv
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.models import published
from vtrack.errors import ModelError, UsageError
from vtrack.models import load_model
from vtrack.models.card import Card
from vtrack.models.networks import save_weights
from vtrack.models.systems.registry import build_system, make_config
from vtrack.query import parse_query
from vtrack.training.common.checkpoint import load_run, save_run, without_prefix
from vtrack.training.landmarks.loop import train
from vtrack.training.landmarks.publish import publish
from vtrack.training.landmarks.recipe import TrainingRecipe

SMALL: dict[str, Any] = {"backbone": "resnet18-half", "input_size": 64, "layout": "frl189"}
MAPS: dict[str, Any] = {"resolution": 16, "neck": "pyramid", "dim": 16}


def recipe(faces_dir: Path, system: str, **knobs: Any) -> TrainingRecipe:
    config = make_config(system, SMALL | knobs)
    return TrainingRecipe(data=(f"frl189:{faces_dir}/frl189.zip",), model=config, steps=4, batch=4, every=4, rate=3e-3)


def kept(run: Path) -> dict[str, torch.Tensor]:
    return without_prefix("mean", load_run(run / "last.safetensors")[0])


@pytest.mark.parametrize(
    ("system", "knobs"),
    [
        ("keyposs", MAPS),
        ("gv", {"resolution": 16, "dim": 16}),
        ("gcn", MAPS | {"visual": 8, "classes": 8}),
        ("rht", {"widths": (16, 8, 8), "hidden": 16, "heads": 2, "encoder_layers": 1, "references": 3}),
    ],
)
def test_a_run_becomes_a_model_that_torch_and_onnx_agree_on(
    system: str, knobs: dict[str, Any], faces_dir: Path, tmp_path: Path
) -> None:
    train(recipe(faces_dir, system, **knobs), tmp_path / "run")
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"spread", "presence", "validation"} < set(rows[-1])
    card = str(publish(tmp_path / "run", "tiny", "a test", tmp_path / "models"))
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), dtype=np.uint8)
    query = parse_query("left_eye:5,jaw:9,right_pupil")
    # The references of rht are chosen by SIFT, which a graph does not have: it takes the neutral one.
    settings = {"reference": "neutral"} if system == "rht" else {}
    by_torch = load_model(card, device="cpu", engine="torch", settings=settings).predict(images, query)
    by_onnx = load_model(card, device="cpu", engine="onnx").predict(images, query)
    # Where two cells are nearly as bright, half precision and whole precision may choose differently.
    away = np.abs(by_torch.points - by_onnx.points).max(-1)
    assert np.median(away) < 1e-3
    assert np.allclose(by_torch.presence, by_onnx.presence, atol=1e-3)


def test_any_heatmap_model_can_be_read_by_any_decoder(tmp_path: Path) -> None:
    config = make_config("heatmap", SMALL | MAPS)
    torch.manual_seed(0)
    save_weights(build_system("heatmap", config), tmp_path / "maps.safetensors")
    Card("maps", "heatmap", "a test", asdict(config)).write(tmp_path / "maps.json")
    card = str(tmp_path / "maps.json")
    crops = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)

    def cells(decoder: str) -> torch.Tensor:
        network = load_model(card, device="cpu", settings={"decoder": decoder}).network  # type: ignore[attr-defined]
        with torch.no_grad():
            points: torch.Tensor = network.decode(network.extract_features(crops)).points[-1] * 16 - 0.5
        return points

    one_hot, two_hot, keyposs = (cells(decoder) for decoder in ("one-hot", "two-hot", "keyposs"))
    assert torch.allclose(one_hot, one_hot.round(), atol=1e-4)
    assert 0 < float((two_hot - one_hot).abs().max()) <= 0.26
    assert not torch.allclose(keyposs, one_hot, atol=0.1)
    with pytest.raises(UsageError, match="decoder cannot be changed in the graph"):
        load_model(card, device="cpu", engine="onnx", settings={"decoder": "keyposs"})
    with pytest.raises(ModelError, match="decoder must be one of"):
        load_model(card, device="cpu", settings={"decoder": "argmax"})
    with pytest.raises(ModelError, match="weights of another model"):
        load_model(card, device="cpu", settings={"dim": "8"})


def test_a_graph_on_a_finished_heatmap_model(faces_dir: Path, tmp_path: Path) -> None:
    train(recipe(faces_dir, "heatmap", **MAPS), tmp_path / "maps")
    graph = recipe(faces_dir, "gcn", **MAPS, visual=8, classes=8, frozen=True)
    train(replace(graph, start=str(tmp_path / "maps")), tmp_path / "graph")
    maps, both = kept(tmp_path / "maps"), kept(tmp_path / "graph")
    shared = [name for name in maps if name.startswith(("backbone.", "neck.", "out."))]
    assert len(shared) > 50
    assert all(torch.equal(maps[name], both[name]) for name in shared)


def test_rht_keeps_training_faces_as_references(faces_dir: Path, tmp_path: Path) -> None:
    knobs = {"widths": (16, 8, 8), "hidden": 16, "heads": 2, "encoder_layers": 1, "references": 3}
    train(recipe(faces_dir, "rht", **knobs), tmp_path / "run")
    weights = kept(tmp_path / "run")
    assert weights["references.images"].dtype == torch.uint8
    assert weights["references.images"].float().std((1, 2, 3)).min() > 10
    assert ((weights["references.points"] > -0.5) & (weights["references.points"] < 1.5)).all()


def test_published_weights_to_start_from(faces_dir: Path, tmp_path: Path) -> None:
    tensors = published.tensors(published.resnet((2, 2, 2, 2), wide=False))
    torch.save(tensors, tmp_path / "resnet18.pth")
    started = replace(
        recipe(faces_dir, "regression", backbone="resnet18"), init=str(tmp_path / "resnet18.pth"), steps=1, rate=1e-9
    )
    train(started, tmp_path / "run")
    assert torch.allclose(kept(tmp_path / "run")["backbone.conv1.weight"], tensors["conv1.weight"], atol=1e-4)


def test_what_does_not_fit_is_refused(faces_dir: Path, tmp_path: Path) -> None:
    wrong = make_config("regression", SMALL | {"layout": "300w"})
    with pytest.raises(UsageError, match="has the points of the layout 300w, but frl189 has those of frl189"):
        train(replace(recipe(faces_dir, "regression"), model=wrong), tmp_path / "run")
    train(replace(recipe(faces_dir, "regression"), steps=1), tmp_path / "run")
    with pytest.raises(UsageError, match="is of another model"):
        train(recipe(faces_dir, "heatmap", **MAPS), tmp_path / "run")
    with pytest.raises(UsageError, match=r"only \d+ of its \d+ tensors fit"):
        other = recipe(faces_dir, "rht", backbone="resnet50", widths=(16, 8, 8), heads=2, hidden=16, layout="frl189")
        train(replace(other, start=str(tmp_path / "run")), tmp_path / "other")


def test_weights_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    save_weights(torch.nn.Linear(2, 2), tmp_path / "weights.safetensors")
    save_run(tmp_path / "last.safetensors", {"weights": torch.zeros(2)}, {"step": 1})
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {(tmp_path / "plain").stat().st_mode}
