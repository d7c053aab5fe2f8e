"""Training: what a batch shows, what the losses say, and that a run can be broken off and gone on with."""

import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vtrack.cli.main import main
from vtrack.data.store import STORED_SIDE, FaceStore, plain_batches
from vtrack.errors import DataError, ModelError, UsageError
from vtrack.layouts import load_layout
from vtrack.models import load_model
from vtrack.models.backbones.registry import normalise
from vtrack.models.card import read_card
from vtrack.models.checksums import checksums_of
from vtrack.models.decoding.interpolation import taught_positions
from vtrack.models.systems.losses import landmark_loss, place_loss, spread_loss, wing
from vtrack.models.systems.output import Output
from vtrack.models.systems.udfld import Udfld, UdfldConfig
from vtrack.pipelines.tracking.doubt import WorstFace
from vtrack.training.common.checkpoint import load_run, load_weights
from vtrack.training.landmarks import loop
from vtrack.training.landmarks.augment import make_augmentation
from vtrack.training.landmarks.average import average
from vtrack.training.landmarks.batches import draw_batch
from vtrack.training.landmarks.loop import CHECKPOINT, Run, open_stores, train
from vtrack.training.landmarks.publish import publish
from vtrack.training.landmarks.recipe import Augmentation, TrainingRecipe
from vtrack.training.landmarks.teacher import with_teacher
from vtrack.training.landmarks.widen import widened

CALM = Augmentation(angle=0.0, scale=0.0, shift=0.0, flip=False, picture=0.0)
TINY = UdfldConfig(input_size=64, dim=32, heads=4, layers=1, hidden=32)


@pytest.fixture(scope="module")
def store(faces_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    return open_stores([f"frl189:{faces_dir}/frl189.zip"], "val", tmp_path_factory.mktemp("cache"))[0]


def test_wing_loss_is_logarithmic_near_and_linear_far() -> None:
    near, far, further = wing(torch.tensor([1.0, 20.0, 21.0]) / 256)
    assert near.item() == pytest.approx(10 * math.log1p(0.5))
    assert further.item() - far.item() == pytest.approx(1.0, abs=1e-4)
    edge = wing(torch.tensor([10.0 - 1e-3, 10.0 + 1e-3]) / 256)
    assert edge[0].item() == pytest.approx(edge[1].item(), abs=1e-2)


def test_spread_is_cheapest_where_it_tells_the_mean_error() -> None:
    errors = torch.tensor([[[0.03, -0.01]]])
    choices = torch.linspace(-6, -1, 501)
    losses = spread_loss(errors.expand(501, 1, 2), choices[:, None])[:, 0]
    assert choices[losses.argmin()].exp().item() == pytest.approx(0.02, rel=0.02)


def test_where_a_point_starts_is_cheapest_where_its_mean_is_the_point() -> None:
    height, width = 8, 10
    target = torch.tensor([[[0.43, 0.61]]])
    known = torch.ones(1, 1, dtype=torch.bool)
    likeness = torch.zeros(1, 1, height, width, requires_grad=True)
    optimiser = torch.optim.Adam([likeness], lr=0.3)
    for _ in range(300):
        optimiser.zero_grad()
        place_loss(likeness, target, known).backward()
        optimiser.step()
    weights = likeness.detach().flatten(2).softmax(-1).view(height, width)
    x = (weights.sum(0) * (torch.arange(width) + 0.5) / width).sum()
    y = (weights.sum(1) * (torch.arange(height) + 0.5) / height).sum()
    assert torch.allclose(torch.stack([x, y]), target[0, 0], atol=2e-3)


def test_starts_on_the_rim_beyond_it_or_without_label_cost_nothing() -> None:
    targets = torch.tensor([[[0.5, 0.5], [0.01, 0.5], [1.2, 0.5], [0.5, 0.5]]])
    known = torch.tensor([[True, True, True, False]])
    likeness = torch.randn(1, 4, 8, 8, requires_grad=True)
    place_loss(likeness, targets, known).backward()
    assert likeness.grad is not None
    assert [bool(part.any()) for part in likeness.grad[0]] == [True, False, False, False]


def test_augmentation_comes_from_words() -> None:
    assert make_augmentation({"shift": "0.1", "flip": "0"}) == replace(Augmentation(), shift=0.1, flip=False)
    with pytest.raises(UsageError, match=r"choose from angle=18, scale=0\.12, shift=0\.06, flip=1, picture=0\.4"):
        make_augmentation({"shfit": "0.1"})
    with pytest.raises(UsageError, match="at least 0 and below"):
        make_augmentation({"scale": "-1"})


def test_points_without_labels_and_empty_crops_cost_nothing_but_presence() -> None:
    points = torch.rand(2, 3, 2)
    truth = points.clone()
    truth[0, 0] = float("nan")
    truth[1] = float("nan")
    output = Output([points.requires_grad_()], torch.zeros(2, 3), torch.tensor([9.0, -9.0]))
    loss, told = landmark_loss(output, truth, torch.tensor([True, False]), trust=1.0)
    loss.backward()
    assert told["wing"] == 0.0
    assert torch.isfinite(points.grad).all()
    assert told["presence"] < 1e-3


def test_an_undisturbed_batch_is_what_validation_sees(store: FaceStore) -> None:
    images, points, _ = next(plain_batches(store, 96, 1.25, len(store)))
    batch = draw_batch(store, 96, 1.25, len(store), 999, CALM, np.random.default_rng(0))
    real = batch.images[batch.is_face]
    assert np.array_equal(real, images)
    assert np.allclose(batch.points[batch.is_face], points[:, batch.chosen], atol=1e-6)
    assert np.isnan(batch.points[~batch.is_face]).all()


def test_points_follow_every_disturbance() -> None:
    """White discs on black at the points: wherever a turn, a shift or a flip moves them, the points must lie on them."""
    layout = load_layout("300w")
    rng = np.random.default_rng(3)
    points = rng.uniform(0.3, 0.7, (4, 1, 2)) + rng.uniform(-0.2, 0.2, (4, len(layout), 2))
    images = np.zeros((4, STORED_SIDE, STORED_SIDE, 3), np.uint8)
    for image, face in zip(images, points, strict=True):
        for x, y in face * STORED_SIDE - 0.5:
            cv2.circle(image, (round(x), round(y)), 4, (255, 255, 255), -1)
    store = FaceStore("300w", layout, images, points.astype(np.float32), np.full(4, 0.01))
    batch = draw_batch(store, 192, 1.6, 4, 999, Augmentation(picture=0.0), rng)
    pixels = np.clip(np.rint(batch.points[:4] * 192 - 0.5).astype(int), 0, 191)
    inside = ((batch.points[:4] > 0.02) & (batch.points[:4] < 0.98)).all(-1)
    values = np.stack([image[0, at[:, 1], at[:, 0]] for image, at in zip(batch.images, pixels, strict=False)])
    assert inside.mean() > 0.7
    assert (values[inside] > 200).all()


def test_labels_that_count_from_one_stay_as_far_right_of_their_points_in_the_mirror() -> None:
    """A disc at every point, labels one source pixel to the right: flipped or not, the label lies that far to the right."""
    layout = load_layout("300w")
    rng = np.random.default_rng(4)
    truth = np.repeat(rng.uniform(0.35, 0.65, (1, len(layout), 2)), 16, 0)
    pixel = 0.02
    labels = truth + [pixel, 0.0]
    images = np.zeros((16, STORED_SIDE, STORED_SIDE, 3), np.uint8)
    store = FaceStore("300w", layout, images, labels.astype(np.float32), np.full(16, pixel))
    how = replace(CALM, flip=True)
    batch = draw_batch(store, 160, 1.25, 16, None, how, rng, first_pixel=1.0)
    crops = (truth[0] * STORED_SIDE - STORED_SIDE / 2) / (STORED_SIDE * 1.25 / 2) + 0.5  # crop units
    mirror = crops[layout.mirror] * [-1, 1] + [1, 0]
    off = np.stack([batch.points[:16] - crops, batch.points[:16] - mirror])  # (2, 16, points, 2)
    nearest = np.abs(off).max((2, 3)).argmin(0)
    assert set(nearest) == {0, 1}
    assert np.allclose(off[nearest, np.arange(16)], [pixel * 2 / 1.25, 0.0], atol=1e-5)


def test_flipped_faces_keep_their_left_on_the_left(store: FaceStore) -> None:
    rng = np.random.default_rng(5)
    batch = draw_batch(store, 64, 1.25, len(store), 999, replace(CALM, flip=True), rng)
    left, right = (
        np.flatnonzero(np.isin(batch.chosen, store.layout.query.indices(f"{side}_eye"))) for side in ("left", "right")
    )
    faces = batch.points[batch.is_face]
    assert (faces[:, left, 0].mean(1) < faces[:, right, 0].mean(1)).all()


def test_a_run_learns_resumes_to_the_step_and_becomes_a_model(faces_dir: Path, tmp_path: Path) -> None:
    recipe = TrainingRecipe(data=(f"frl189:{faces_dir}/frl189.zip",), model=TINY, steps=8, batch=4, every=4, rate=3e-3)
    train(recipe, tmp_path / "whole")
    stopped = _Stop()
    with pytest.raises(_Stop):
        train(recipe, tmp_path / "broken", report=stopped)
    train(recipe, tmp_path / "broken")
    whole, state = load_run(tmp_path / "whole" / "last.safetensors")
    broken, _ = load_run(tmp_path / "broken" / "last.safetensors")
    assert state["step"] == 8
    assert all(torch.equal(whole[name], broken[name]) for name in whole)

    train(replace(recipe, loaders=2), tmp_path / "loaded")  # processes make the batches that the thread made
    loaded, _ = load_run(tmp_path / "loaded" / "last.safetensors")
    assert all(torch.equal(whole[name], loaded[name]) for name in whole)

    card = publish(tmp_path / "whole", "tiny", "a test", tmp_path / "models")
    assert read_card(card).scores["frl189"]["errors_within_sigma_percent"] == pytest.approx(68, abs=1)
    assert read_card(card).checksums == checksums_of(card)
    worst = WorstFace.of(load_model(str(card), device="cpu"))
    assert 0.001 <= worst.sigma <= 1 and 0 <= worst.presence <= 1  # eight steps may leave a presence that rounds to 0
    assert asdict(worst) == read_card(card).faces
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), dtype=np.uint8)
    query = open_stores(recipe.data, "val", tmp_path / "cache")[0].layout.query
    by_torch = load_model(str(card), device="cpu", engine="torch").predict(images, query)
    by_onnx = load_model(str(card), device="cpu", engine="onnx").predict(images, query)
    assert np.abs(by_torch.points - by_onnx.points).max() < 1e-4
    assert np.allclose(by_torch.sigma, by_onnx.sigma, rtol=1e-3)
    assert np.allclose(by_torch.presence, by_onnx.presence, atol=1e-4)


def test_training_goes_on_from_a_published_model(faces_dir: Path, tmp_path: Path) -> None:
    """Its norms are folded away; before the first step the new run must be as good as the model is, in training too."""
    recipe = TrainingRecipe(data=(f"frl189:{faces_dir}/frl189.zip",), model=TINY, steps=8, batch=4, every=8, rate=3e-3)
    train(recipe, tmp_path / "run")
    publish(tmp_path / "run", "tiny", "a test", tmp_path)
    stores = open_stores(recipe.data, "val", tmp_path / "cache")
    before, after = (
        Run(replace(recipe, start=str(start)), tmp_path / "new", stores)
        for start in (tmp_path / "run", tmp_path / "tiny.safetensors")
    )
    assert after.validate(stores)["frl189"] == pytest.approx(before.validate(stores)["frl189"], rel=2e-3)
    crops = torch.from_numpy(next(plain_batches(stores[0], 64, 1.25, 64))[0])
    learning, done = after.model.train().backbone, after.mean.eval().backbone
    for one, other in zip(learning(normalise(crops)), done(normalise(crops)), strict=True):
        assert torch.allclose(one, other, atol=0.02 * float(other.detach().abs().max()))

    init = Run(replace(recipe, init=str(tmp_path / "tiny.safetensors")), tmp_path / "newer", stores)
    for one, other in zip(init.mean.eval().backbone(normalise(crops)), done(normalise(crops)), strict=True):
        assert torch.allclose(one, other, atol=1e-3)
    with pytest.raises(ModelError, match="the weights cannot be read"):
        Run(replace(recipe, start=str(tmp_path / "absent.safetensors")), tmp_path / "none", stores)


def test_a_wider_backbone_starts_as_the_narrow_one_and_its_copies_part_ways(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "vtrack.training.common.precision.faster_on_cpu", lambda: False
    )  # half precision rounds either otherwise
    recipe = TrainingRecipe(data=(f"frl189:{faces_dir}/frl189.zip",), model=TINY, steps=8, batch=4, every=8, rate=3e-3)
    train(recipe, tmp_path / "narrow")
    stores = open_stores(recipe.data, "val", tmp_path / "cache")
    narrow = Run(recipe, tmp_path / "narrow", stores)
    wider = replace(recipe, model=replace(TINY, backbone="resnet18"), start=str(tmp_path / "narrow"))
    run = Run(wider, tmp_path / "wide", stores)
    assert run.validate(stores)["frl189"] == pytest.approx(narrow.validate(stores)["frl189"], rel=1e-4)
    second = run.model.state_dict()["backbone.layer1.0.conv2.weight"]
    assert not torch.allclose(second[:, :32], second[:, 32:], atol=1e-3)  # what reads the copies tells them apart
    first = run.model.state_dict()["backbone.conv1.weight"]
    assert torch.equal(first[:32], first[32:])
    run.learn(draw_batch(stores[0], 64, 1.25, 4, 68, CALM, np.random.default_rng(0)))
    assert not torch.equal(first[:32], first[32:])


def test_only_a_whole_number_of_times_the_width_is_spread() -> None:
    theirs = {"backbone.bn1.weight": torch.ones(32), "out.weight": torch.ones(4, 32)}
    odd = {"backbone.bn1.weight": torch.ones(48), "out.weight": torch.ones(4, 48)}
    assert widened(theirs, odd) == theirs
    thrice = widened(theirs, {"backbone.bn1.weight": torch.ones(96), "out.weight": torch.ones(8, 96)})
    assert thrice["backbone.bn1.weight"].shape == (96,)
    assert torch.allclose(thrice["out.weight"].view(4, 3, 32).sum(1), torch.ones(4, 32))


def test_a_teacher_moves_labels_towards_what_it_says(faces_dir: Path, tmp_path: Path) -> None:
    store = open_stores([f"frl189:{faces_dir}/frl189.zip"], "val", tmp_path / "cache")[0]
    labels = store.points + np.float32(0.03)
    labels[0, 3] = np.nan
    wrong = replace(store, points=labels)
    whole, half = (with_teacher(wrong, "fast", share).points for share in (1.0, 0.5))
    assert np.isnan(whole[0, 3]).all() and np.isnan(whole).sum() == 2
    assert np.linalg.norm(whole - store.points, axis=-1)[1:].mean() < 0.015  # wrong by 0.04 before
    assert np.allclose(half, (whole + labels) / 2, equal_nan=True, atol=1e-6)
    recipe = TrainingRecipe((f"frl189:{faces_dir}/frl189.zip",), model=TINY, steps=2, batch=4, teacher="fast")
    assert train(recipe, tmp_path / "run").exists()
    for faulty, message in (
        ({"teacher": "none"}, "there is no model 'none'"),
        ({"teacher_share": 0.0}, "must be above 0"),
        ({"labels_only": ("w68",)}, "labels only: there is no data set 'w68' here"),
    ):
        with pytest.raises((UsageError, ModelError), match=message):
            train(replace(recipe, **faulty), tmp_path / "wrong")


def test_a_set_of_labels_only_is_learned_without_the_teacher(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[str] = []

    def noted(store: FaceStore, *options: object) -> FaceStore:
        taught.append(store.name)
        return store

    monkeypatch.setattr(loop, "with_teacher", noted)
    recipe = TrainingRecipe((f"frl189:{faces_dir}/frl189.zip",), model=TINY, steps=2, batch=4, teacher="fast")
    train(replace(recipe, labels_only=("frl189",)), tmp_path / "alone")
    assert not taught
    train(recipe, tmp_path / "taught")
    assert taught == ["frl189"]


def test_a_teacher_s_share_is_nothing_without_a_teacher(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", "--data", "w68:w68.zip", "--out", str(tmp_path / "run"), "--teacher-share", "0.3"]) == 2
    assert "add --teacher" in capsys.readouterr().err


def test_runs_have_a_mean_that_can_be_published(faces_dir: Path, tmp_path: Path) -> None:
    recipe = TrainingRecipe((f"frl189:{faces_dir}/frl189.zip",), model=TINY, steps=2, batch=4)
    train(recipe, tmp_path / "one")
    train(replace(recipe, start=str(tmp_path / "one"), seed=1), tmp_path / "other")
    runs = tmp_path / "one", tmp_path / "other"
    one, other = (load_weights(run / CHECKPOINT) for run in runs)
    mixed = load_weights(average(runs, tmp_path / "mean", (3, 1)))
    assert mixed.keys() == one.keys()
    floats = [name for name in one if one[name].is_floating_point()]
    assert all(torch.allclose(mixed[name], (3 * one[name] + other[name]) / 4, atol=1e-6) for name in floats)
    assert not all(torch.equal(mixed[name], one[name]) for name in floats)
    told = read_card(publish(tmp_path / "mean", "tiny", "a test", tmp_path)).recipe
    assert (told["steps_done"], told["mean_of"]) == (4, [3, 1])
    train(replace(recipe, model=replace(TINY, layers=2)), tmp_path / "larger")
    with pytest.raises(UsageError, match="larger is of another model"):
        average((runs[0], tmp_path / "larger"), tmp_path / "none")
    for shares in ((1, 0), (1, float("nan")), (float("inf"), 1)):
        with pytest.raises(UsageError, match="two runs or more"):
            average(runs, tmp_path / "none", shares)
    with pytest.raises(UsageError, match="one holds a run, which would be replaced"):
        average(runs, runs[0])
    assert load_run(runs[0] / CHECKPOINT)[1]["step"] == 2
    average(runs, tmp_path / "mean")  # of a mean there is another any time
    with pytest.raises(UsageError, match="is a mean of runs and cannot be resumed"):
        train(recipe, tmp_path / "mean")
    train(replace(recipe, start=str(tmp_path / "mean")), tmp_path / "on")


def test_only_some_weights_may_learn(faces_dir: Path, tmp_path: Path) -> None:
    recipe = TrainingRecipe((f"frl189:{faces_dir}/frl189.zip",), model=replace(TINY, layers=2), steps=2, batch=4)
    train(recipe, tmp_path / "whole")
    start = load_weights(tmp_path / "whole" / CHECKPOINT)
    # A layer less is all that need not fit.
    shorter = replace(
        recipe, model=replace(TINY, layers=1), start=str(tmp_path / "whole"), only=("sigma_head",), rate=0.1
    )
    train(shorter, tmp_path / "short")
    learned = load_weights(tmp_path / "short" / CHECKPOINT)
    assert not any(name.startswith("layers.1") for name in learned)
    networks = [Udfld(shorter.model).eval() for _ in range(2)]
    for network, weights in zip(networks, (start, learned), strict=True):
        network.load_state_dict({name: weights[name] for name in learned})
    crops = torch.randint(0, 255, (2, 3, TINY.input_size, TINY.input_size), dtype=torch.uint8)
    before, after = (network(crops, torch.ones(3, 384), torch.linspace(0, 1, 3)) for network in networks)
    for one, other in zip(before.points, after.points, strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.allclose(after.log_sigma, before.log_sigma)
    told = read_card(publish(tmp_path / "short", "tiny", "a test", tmp_path)).recipe
    assert (told["only"], told["before"]["steps_done"], told["before"].get("only")) == (["sigma_head"], 2, None)
    for start in (tmp_path / "short" / CHECKPOINT, tmp_path / "tiny.safetensors"):
        train(replace(shorter, start=str(start), steps=1), tmp_path / "again")
        told = load_run(tmp_path / "again" / CHECKPOINT)[1]["before"]
        assert (list(told["only"]), told["steps_done"], told["before"]["steps_done"]) == (["sigma_head"], 2, 2)
        with pytest.raises(UsageError, match=r"learns other weights, --only \['sigma_head'\]"):
            train(replace(shorter, only=("layers",)), tmp_path / "again")
        shutil.rmtree(tmp_path / "again")
    for wrong in ("sigma_heat", ""):
        with pytest.raises(UsageError, match=f"no weights of udfld begin with '{wrong}'; it has backbone"):
            train(replace(shorter, only=(wrong,)), tmp_path / "wrong")
    with pytest.raises(UsageError, match="--only needs --start"):
        train(replace(shorter, start=""), tmp_path / "wrong")


def test_what_is_said_of_a_data_set_that_is_not_there(faces_dir: Path, tmp_path: Path) -> None:
    recipe = TrainingRecipe((f"frl189:{faces_dir}/frl189.zip",), model=TINY, steps=1, batch=4)
    for said in (
        {"shares": {"w68": 2.0}},
        {"trust": {"w68": 0.5}},
        {"first_pixel": {"w68": 1.0}},
        {"hold_out": ("w68",)},
    ):
        with pytest.raises(UsageError, match="there is no data set 'w68' here, only frl189"):
            train(replace(recipe, **said), tmp_path / "run")  # type: ignore[arg-type]


def test_a_published_model_tells_what_it_was_taught(faces_dir: Path, tmp_path: Path) -> None:
    recipe = TrainingRecipe((f"frl189:{faces_dir}/frl189.zip",), model=TINY, steps=1, batch=4, hold_out=("frl189",))
    train(recipe, tmp_path / "run")
    layout = load_layout("frl189")
    told = read_card(publish(tmp_path / "run", "tiny", "a test", tmp_path)).taught
    assert told == taught_positions([(layout, True)])
    assert sum(len(places["knots"]) for places in told.values()) == (~layout.every_second).sum()


class _Stop(Exception):
    """Breaks a run off right after its first checkpoint was due."""

    def __call__(self, line: str) -> None:
        if line.startswith("step 8/"):
            raise self


def test_a_checkpoint_of_another_model_is_refused(faces_dir: Path, tmp_path: Path) -> None:
    recipe = TrainingRecipe(data=(f"frl189:{faces_dir}/frl189.zip",), model=TINY, steps=1, batch=2)
    train(recipe, tmp_path / "run")
    with pytest.raises(UsageError, match="is of another model"):
        train(replace(recipe, model=replace(TINY, dim=16)), tmp_path / "run")
    checkpoint = tmp_path / "run" / "last.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"last\.safetensors: not a readable checkpoint"):
        train(recipe, tmp_path / "run")


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one data set"):
        train(TrainingRecipe(data=()), tmp_path)
    with pytest.raises(UsageError, match="at least 1 step"):
        train(TrainingRecipe(data=("w68:x.zip",), steps=0), tmp_path)
    with pytest.raises(UsageError, match="--points must be at least 1"):
        train(TrainingRecipe(data=("w68:x.zip",), most_points=0), tmp_path)
