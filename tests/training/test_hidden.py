"""Learning which points are hidden: what a batch says of it, and that a head learns it while nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vtrack.data.store import FaceStore
from vtrack.errors import UsageError
from vtrack.models import load_model
from vtrack.models.card import read_card
from vtrack.models.systems.losses import hidden_loss
from vtrack.models.systems.udfld import UdfldConfig
from vtrack.training.common.checkpoint import load_weights
from vtrack.training.landmarks.batches import draw_batch
from vtrack.training.landmarks.loop import CHECKPOINT, Run, open_stores, train
from vtrack.training.landmarks.publish import publish
from vtrack.training.landmarks.recipe import Augmentation, TrainingRecipe
from vtrack.types import Query

BLIND = UdfldConfig(input_size=64, dim=32, heads=4, layers=1, hidden=32)
TELLING = replace(BLIND, occlusion=True)
CALM = Augmentation(angle=0.0, scale=0.0, shift=0.0, flip=False, picture=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def store(faces_dir: Path, folder: Path) -> FaceStore:
    return open_stores([f"frl189:{faces_dir}/frl189.zip"], "val", folder / "cache")[0]


@pytest.fixture(scope="module")
def recipe(faces_dir: Path) -> TrainingRecipe:
    return TrainingRecipe((f"frl189:{faces_dir}/frl189.zip",), model=BLIND, steps=2, batch=4)


def test_a_batch_knows_what_is_hidden_where_things_are_drawn(store: FaceStore) -> None:
    plain = draw_batch(store, 64, 1.25, 8, 999, CALM, np.random.default_rng(0))
    assert np.isnan(plain.hidden).all()
    covered = draw_batch(store, 64, 1.25, 8, 999, replace(CALM, occlude=1.0), np.random.default_rng(0))
    faces, points = covered.hidden[covered.is_face], covered.points[covered.is_face]
    outside = ~((points > 0) & (points < 1)).all(-1)
    assert np.array_equal(np.isnan(faces), outside) and np.isnan(covered.hidden[~covered.is_face]).all()
    assert 0.02 < np.nanmean(faces) < 0.6 and set(np.unique(faces[~outside])) == {0, 1}
    np.testing.assert_array_equal(covered.points, plain.points)  # hidden points are taught, too


def test_what_is_unknown_costs_nothing() -> None:
    truth = torch.tensor([[1.0, 0.0, float("nan")]])
    assert hidden_loss(torch.tensor([[9.0, -9.0, 4.0]]), truth) < 1e-3
    assert hidden_loss(torch.tensor([[-9.0, -9.0, 4.0]]), truth).item() == pytest.approx(4.5, abs=0.01)
    assert hidden_loss(torch.zeros(1, 3), torch.full((1, 3), torch.nan)) == 0


def test_the_head_alone_learns_it_and_points_stay(recipe: TrainingRecipe, store: FaceStore, folder: Path) -> None:
    train(recipe, folder / "blind")
    before = load_weights(folder / "blind" / CHECKPOINT)
    covered = replace(CALM, occlude=1.0)
    told = replace(
        recipe,
        model=TELLING,
        start=str(folder / "blind"),
        only=("hidden_head",),
        augmentation=covered,
        rate=1e-2,
        steps=30,
    )
    run = Run(told, folder / "telling", [store])
    batch = draw_batch(store, 64, 1.25, 8, 999, covered, np.random.default_rng(0))
    losses = [run.learn(batch)["hidden"].item() for _ in range(30)]
    assert losses[-1] < 0.95 * losses[0]  # of features that have learned nothing
    after = run.model.state_dict()
    assert {name for name in after if name not in before} == {name for name in after if name.startswith("hidden_head.")}
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_head_needs_things_drawn(recipe: TrainingRecipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="occlusion=yes needs --augment occlude=P"):
        train(replace(recipe, model=TELLING), tmp_path / "run")


def test_every_engine_of_a_published_model_tells_the_same(
    recipe: TrainingRecipe, tmp_path: Path, store: FaceStore
) -> None:
    told = replace(recipe, model=TELLING, augmentation=replace(CALM, occlude=1.0))
    train(told, tmp_path / "run")
    card = publish(tmp_path / "run", "tiny", "a test", tmp_path)
    assert read_card(card).tells_hidden
    crops = draw_batch(store, 64, 1.25, 3, 999, CALM, np.random.default_rng(0)).images
    models = [load_model(str(card), device="cpu", engine=engine) for engine in ("torch", "onnx")]
    for query in (store.layout.query, Query(("left_eye",), (0.0,))):
        torch_says, onnx_says = (model.predict(crops, query) for model in models)
        assert torch_says.hidden is not None and onnx_says.hidden is not None
        assert torch_says.hidden.shape == (len(crops), len(query)) and (np.abs(torch_says.hidden - 0.5) < 0.5).all()
        np.testing.assert_allclose(torch_says.hidden, onnx_says.hidden, atol=2e-3)
        np.testing.assert_allclose(torch_says.points, onnx_says.points, atol=2e-3)
