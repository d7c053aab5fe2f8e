"""Training of landmark models: any mix of data sets, one data set a batch, resumable to the step."""

from __future__ import annotations

import csv
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vtrack.data import Dataset, load_dataset, outliers
from vtrack.data.store import FaceStore, plain_batches, plain_faces
from vtrack.errors import DataError, EmptySplitError, UsageError
from vtrack.models.backbones.pretrained import init_backbone
from vtrack.models.backbones.registry import channels_last, normalise
from vtrack.models.decoding.interpolation import taught_positions
from vtrack.models.networks import unfold_norms
from vtrack.models.systems.base import LabelledBatch, System
from vtrack.models.systems.losses import facing
from vtrack.models.systems.registry import SYSTEMS, build_system, system_of
from vtrack.models.systems.udfld import UdfldConfig
from vtrack.text import embed
from vtrack.training.common.checkpoint import (
    load_run,
    load_weights,
    optimiser_tensors,
    prefixed,
    recipe_of,
    restore_optimiser,
    save_run,
    without_prefix,
)
from vtrack.training.common.precision import autocast
from vtrack.training.common.running_mean import update_mean
from vtrack.training.common.schedule import parse_schedule
from vtrack.training.common.team import Team
from vtrack.training.landmarks.batches import TrainingBatch, draw_batch
from vtrack.training.landmarks.feed import batches_ahead
from vtrack.training.landmarks.recipe import TrainingRecipe
from vtrack.training.landmarks.teacher import with_teacher
from vtrack.training.landmarks.widen import widened
from vtrack.types import Query

log = logging.getLogger(__name__)

CHECKPOINT = "last.safetensors"


def train(recipe: TrainingRecipe, out: Path, report: Callable[[str], None] = log.info) -> Path:
    """Train a landmark model, resuming from the checkpoint in `out` if there is one.

    Processes started by `torchrun` train together: a step is `batch` faces of each.

    Args:
        recipe: Data, model and options of the run.
        out: Folder of the run.
        report: Called with a line of progress.

    Returns:
        Path of the checkpoint.

    Raises:
        UsageError: Options that do not fit each other, the data or the checkpoint.
        DataError: A data set cannot be read or has no faces.
    """
    if recipe.loaders < 0:
        raise UsageError(f"--loaders must be 0 (a thread) or more, not {recipe.loaders}")
    if recipe.batch < 2 or recipe.steps < 1:
        raise UsageError(f"a run needs at least 1 step and a batch of 2, got {recipe.steps} and {recipe.batch}")
    if recipe.most_points < 1:
        raise UsageError(f"--points must be at least 1, not {recipe.most_points}")
    if recipe.gaps and not isinstance(recipe.model, UdfldConfig):
        raise UsageError("only udfld learns the distances from lid to lid; leave --gaps out")
    if getattr(recipe.model, "occlusion", False) and not recipe.augmentation.occlude:
        raise UsageError(
            "--set occlusion=yes needs --augment occlude=P: what hides points is learned from things drawn in front of faces"
        )
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    team = Team(recipe.device)
    with team.leader_first():
        stores = open_stores(recipe.data, "train", out.parent / "cache", in_memory=recipe.in_memory)
        checks = open_stores(recipe.data, "val", out.parent / "cache")
    recipe.check_names([store.name for store in stores])
    if recipe.teacher:
        stores = [
            store
            if store.name in recipe.labels_only
            else with_teacher(store, recipe.teacher, recipe.teacher_share, str(team.device))
            for store in stores
        ]
    run = Run(recipe, out, stores, team)
    with (out / "log.csv" if team.leads else Path(os.devnull)).open("a", newline="") as file:
        writer = csv.writer(file)
        started, first = time.monotonic(), run.step
        make = partial(_batch, recipe, stores, rank=team.rank)
        for batch in batches_ahead(make, run.step, recipe.steps, recipe.loaders, pin=team.device.type == "cuda"):
            parts = run.learn(batch)
            due = run.step % recipe.every == 0 or run.step == recipe.steps
            if due:
                team.check(run.model, run.step)
            scores = run.validate(checks) if due and team.leads else {}
            if team.leads and (due or run.step % 50 == 0):
                seconds = time.monotonic() - started
                losses = {name: f"{loss.item():.4f}" for name, loss in parts.items()}
                if file.tell() == 0:
                    writer.writerow(["step", "seconds", "rate", "set", *losses, "validation"])
                validation = " ".join(f"{name}={score:.3f}" for name, score in scores.items())
                writer.writerow(
                    [run.step, f"{seconds:.0f}", f"{run.rate():.2e}", batch.store, *losses.values(), validation]
                )
                file.flush()
                speed = (run.step - first) * recipe.batch * team.size / seconds
                main = next(iter(losses))
                report(f"step {run.step}/{recipe.steps} {speed:.0f} images/s {main} {losses[main]} {validation}")
            if due and team.leads:
                run.save()
    team.leave()
    return out / CHECKPOINT


def open_stores(specs: Sequence[str], split: str, cache: Path, *, in_memory: bool = False) -> list[FaceStore]:
    """The faces of one split of each data set, cropped and cached, without outliers of the training split."""
    if not specs:
        raise DataError("nothing to train on; give at least one data set as NAME:PATH")
    return [FaceStore.of(data, cache, in_memory=in_memory) for data in _load(specs, split)]


def _load(specs: Sequence[str], split: str) -> list[Dataset]:
    """One split of each data set; some may have no validation faces, but not all."""
    sets = []
    for spec in specs:
        try:
            data = load_dataset(spec, split)
        except EmptySplitError:
            if split == "train":
                raise
            continue
        sets.append(data[~outliers(data)] if split == "train" else data)
    if not sets:
        raise DataError(f"no faces for validation in any of {', '.join(specs)}")
    return sets


class Run:
    """Model, running mean of its weights, optimiser and step of one training run."""

    def __init__(
        self, recipe: TrainingRecipe, out: Path, stores: Sequence[FaceStore], team: Team | None = None
    ) -> None:
        self.recipe, self.path, self.step = recipe, out / CHECKPOINT, 0
        self.team = team or Team(recipe.device)
        self._schedule = parse_schedule(recipe.schedule)
        self.system, self.device = system_of(recipe.model), self.team.device
        self.model, self.mean = self._fresh(), self._fresh()
        if recipe.hold_out and not self.model.any_points:
            raise UsageError(f"--hold-out needs --model udfld; {self.system} learns all points of its layout")
        self._before: dict[str, Any] | None = None
        """The recipe of the run that this one started from, and its own `before`."""
        self._queries: dict[tuple[str, ...], Tensor] = {}
        self.model.prepare(stores)
        learned = [(store.layout, store.name in recipe.hold_out) for store in stores]
        self._taught = taught_positions(learned) if self.model.any_points else {}
        if not self.path.exists():
            self._start(stores[0])
        self.mean.load_state_dict(self.model.state_dict())
        self._still = self._freeze()
        self.optimiser = torch.optim.AdamW(_groups(self.model, recipe.decay), lr=recipe.rate, betas=(0.9, 0.99))
        if self.path.exists():
            self._resume()

    def _fresh(self) -> System:
        return channels_last(build_system(self.system, self.recipe.model).to(self.device))

    def _freeze(self) -> list[nn.Module]:
        """Freeze all weights but those of `only`; returns the batch norms to keep in evaluation mode."""
        only = self.recipe.only
        if not only:
            return []
        if not self.recipe.start:
            raise UsageError("--only needs --start: the weights that are not trained must come from a run or model")
        names = [name for name, _ in self.model.named_parameters()]
        for beginning in only:
            if not beginning or not any(name.startswith(beginning) for name in names):
                roots = dict.fromkeys(name.partition(".")[0] for name in names)
                raise UsageError(f"no weights of {self.system} begin with {beginning!r}; it has {', '.join(roots)}")
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.startswith(only))
        norms = [(name, one) for name, one in self.model.named_modules() if isinstance(one, nn.BatchNorm2d)]
        return [norm for name, norm in norms if not name.startswith(only)]

    def _start(self, store: FaceStore) -> None:
        """Load the weights of `init` and `start`, if given."""
        if not (self.recipe.init or self.recipe.start):
            return
        config = self.recipe.model
        faces = plain_faces(store, np.arange(min(len(store), 64)), config.input_size, config.margin)[0]
        crops = torch.from_numpy(faces).to(self.device)
        if self.recipe.init:
            init_backbone(self.model.backbone, Path(self.recipe.init))
            unfold_norms(self.model.backbone, normalise(crops))
        if self.recipe.start:
            path = Path(self.recipe.start)
            path = path / CHECKPOINT if path.is_dir() else path
            self._before = recipe_of(path)
            mine = self.model.state_dict()
            theirs = widened(load_weights(path), mine)
            fit = {name: tensor for name, tensor in theirs.items() if name in mine and mine[name].shape == tensor.shape}
            self._check_parts(path, mine, fit)
            if len(fit) < len(theirs) / 2:
                raise UsageError(f"{path}: only {len(fit)} of its {len(theirs)} tensors fit the model")
            self.model.load_state_dict(fit, strict=False)
            unfold_norms(self.model, crops, *self._encoded(store.layout.query))

    @staticmethod
    def _check_parts(path: Path, mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
        """Raise if learnable parts would get each other's rows: rows are in the order of the training data."""
        known, given = mine.get("known_parts"), theirs.get("known_parts")
        if known is not None and given is not None and not torch.allclose(known, given.to(known), atol=1e-2):
            raise UsageError(f"{path}: its data had other parts, or in another order; give the same --data")

    def rate(self) -> float:
        """Learning rate of the next step."""
        return self.recipe.rate * self._schedule.factor(self.step / self.recipe.steps) + 1e-7

    def learn(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Make one step; returns the terms of its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate() * group["factor"]
        self.model.train()
        for norm in self._still:
            norm.eval()
        images, points, is_face, hidden = (
            self._sent(x) for x in (batch.images, batch.points, batch.is_face, batch.hidden)
        )
        query = batch.query
        parts, positions = self._encoded(query)
        trust = self.recipe.trust.get(batch.store, 1.0)
        with autocast(self.device):
            pairs = self._sent(facing(query)) if self.recipe.gaps else None
            labelled = LabelledBatch(images, parts, positions, points, is_face, trust, pairs, self.recipe.gaps, hidden)
            loss, terms = self.model.loss(labelled)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.team.average_gradients(self.model)
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        update_mean(self.mean, self.model, self.step, self.recipe.average)
        return terms

    def _encoded(self, query: Query) -> tuple[Tensor, Tensor]:
        """Text vectors and positions of a query on the device."""
        names = tuple(dict.fromkeys(query.parts))
        if names not in self._queries:
            self._queries[names] = torch.from_numpy(embed(names)).to(self.device)
        rows = {name: row for row, name in enumerate(names)}
        places = np.array([rows[part] for part in query.parts])
        return self._queries[names][self._sent(places)], self._sent(np.array(query.positions, np.float32))

    def _sent(self, array: np.ndarray | Tensor) -> Tensor:
        """Copy to the device without synchronising."""
        tensor = torch.as_tensor(array)
        return (tensor.pin_memory() if self.device.type == "cuda" else tensor).to(self.device, non_blocking=True)

    @torch.no_grad()
    def validate(self, checks: Sequence[FaceStore]) -> dict[str, float]:
        """Mean error of the running mean of weights on each data set, in % of the distance between the outer eye corners."""
        self.mean.eval()
        scores = {}
        for store in checks:
            parts, positions = self._encoded(store.layout.query)
            errors = []
            for images, truth, _ in plain_batches(store, self.recipe.model.input_size, self.recipe.model.margin, 32):
                with autocast(self.device):
                    output = self.mean(torch.from_numpy(images).to(self.device), parts, positions)
                guess = output.points[-1].cpu().numpy()
                errors.append(np.linalg.norm(guess - truth, axis=-1).mean(1) / store.layout.unit(truth) * 100)
            scores[store.name] = float(np.concatenate(errors).mean())
        return scores

    def save(self) -> None:
        """Write the checkpoint."""
        tensors = {
            **prefixed("model", self.model.state_dict()),
            **prefixed("mean", self.mean.state_dict()),
            **optimiser_tensors(self.model, self.optimiser),
        }
        save_run(
            self.path,
            tensors,
            {
                "step": self.step,
                "system": self.system,
                "recipe": asdict(self.recipe),
                "taught": self._taught,
                "before": self._before,
            },
        )

    def _resume(self) -> None:
        tensors, state = load_run(self.path)
        mine = (self.system, json.loads(json.dumps(asdict(self.recipe.model))))
        # Options newer than the run have their default in it.
        theirs = {**json.loads(json.dumps(asdict(type(self.recipe.model)()))), **state["recipe"]["model"]}
        if (state.get("system", "udfld"), theirs) != mine:
            raise UsageError(f"{self.path} is of another model: {state['recipe']['model']}; choose another --out")
        if tuple(state["recipe"].get("only", ())) != self.recipe.only:
            raise UsageError(
                f"{self.path} learns other weights, --only {state['recipe'].get('only')}; choose another --out"
            )
        if "mean_of" in state["recipe"]:
            raise UsageError(f"{self.path} is a mean of runs and cannot be resumed; --start from it with another --out")
        self.model.load_state_dict(without_prefix("model", tensors))
        self.mean.load_state_dict(without_prefix("mean", tensors))
        restore_optimiser(self.model, self.optimiser, tensors)
        self.step, self._before = int(state["step"]), state.get("before")


def _groups(model: System, decay: float) -> list[dict[str, Any]]:
    """Parameter groups by learning rate; weight decay for matrices only, not for norms and biases."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((model.rate_of(name), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "factor": factor, "weight_decay": decay if matrices else 0.0}
        for (factor, matrices), parameters in groups.items()
    ]


def _batch(recipe: TrainingRecipe, stores: Sequence[FaceStore], step: int, rank: int = 0) -> TrainingBatch:
    """The batch of one step. It depends on the seed and the step alone, so a resumed run continues exactly.

    Processes that train together draw different faces of the same data set.
    """
    rng = np.random.default_rng((recipe.seed, step))
    shares = np.array([recipe.shares.get(store.name, 1.0) for store in stores])
    store = stores[int(rng.choice(len(stores), p=shares / shares.sum()))]
    if rank:
        rng = np.random.default_rng((recipe.seed, step, rank))
    model = recipe.model
    most = recipe.most_points if SYSTEMS[system_of(model)].network.any_points else None
    return draw_batch(
        store,
        model.input_size,
        model.margin,
        recipe.batch,
        most,
        recipe.augmentation,
        rng,
        recipe.first_pixel.get(store.name, 0.0),
        store.name in recipe.hold_out,
    )
