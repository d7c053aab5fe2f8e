"""Compares the published systems: trains them alike, repeats the ablations of their papers, and prints the tables.

    python -m vtrack.training.studies.compare --data w68:data/w68.zip --first-pixel w68=1 --out runs/compare --steps 4000

Each network is trained once for each seed, all with the same backbone, crops, steps, batch size and augmentation. Finished
runs are kept in the output folder, so the same command resumes an interrupted study. `--only gv` and the like make one table;
tables without a common network can be made concurrently. Below each table stands what the paper claims of it: the paired
difference over faces and seeds with its standard error, and whether the claim holds. A difference within two of its standard
errors is not shown either way.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vtrack.data import Dataset, load_dataset
from vtrack.errors import UsageError, errors_in_one_line
from vtrack.evaluation import evaluate
from vtrack.evaluation.boxes import disturbed
from vtrack.models.card import Card
from vtrack.models.engines.base import encode_query
from vtrack.models.engines.torch import TorchEngine
from vtrack.models.systems.base import System
from vtrack.models.systems.registry import SYSTEMS, build_system, make_config
from vtrack.training.common.checkpoint import load_run, load_weights
from vtrack.training.landmarks.augment import occlude
from vtrack.training.landmarks.loop import CHECKPOINT, open_stores, train
from vtrack.training.landmarks.recipe import TrainingRecipe
from vtrack.training.studies.claims import Claim, claims
from vtrack.training.studies.markdown import markdown
from vtrack.training.studies.paired import paired
from vtrack.training.studies.papers import CROSS_DATA, NOT_SHOWABLE, SCHEDULES, ComparisonRow, tables
from vtrack.types import FloatArray, ImageArray, Prediction, Query

OF_PAPERS = "papers"
"""A schedule for each system."""
FAILURE = 8.0
"""Mean error of a face, in % of the eye distance, from which it counts as failed."""


class Occluded:
    """A model whose crops are partly covered, in the same way for every model."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine, self.name = engine, engine.name
        self.input_size, self.margin = engine.input_size, engine.margin
        self._random = np.random.default_rng(0)

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Predict on the covered crops."""
        covered = [occlude(crop.transpose(1, 2, 0).copy(), self._random).transpose(2, 0, 1) for crop in crops]
        return self._engine.predict(np.stack(covered), query)


class Comparison:
    """Runs and figures in one folder.

    Args:
        base: The recipe that all runs share.
        shape: Options that all systems share: backbone and size of the crops.
        out: The folder.
        data: Validation faces.
        seeds: Number of trainings of each network.
        schedules: How the rate falls of a system, where not as in `base`.
        references: `NAME:PATH` of the set whose training faces the columns with `references` take as reference faces.
    """

    def __init__(
        self,
        base: TrainingRecipe,
        shape: Mapping[str, Any],
        out: Path,
        data: Dataset,
        seeds: int = 1,
        *,
        schedules: Mapping[str, str] | None = None,
        references: str = "",
    ) -> None:
        self._base, self._shape, self._out, self._data = base, shape, out, data
        self._schedules, self._references = schedules or {}, references
        self.seeds = range(base.seed, base.seed + seeds)

    def figures(self, row: ComparisonRow, column: str, report: Callable[[str], None]) -> list[dict[str, Any]]:
        """The figures of one cell for each seed, measured if the folder does not have them yet."""
        return [self._figure(row, dict(row.columns[column]), seed, report) for seed in self.seeds]

    def errors(self, row: ComparisonRow, column: str, report: Callable[[str], None]) -> FloatArray:
        """(seeds, faces) errors of one cell in % of the eye distance; NaN where a face has none of the points."""
        return np.array([figures["faces"] for figures in self.figures(row, column, report)], np.float64)

    def _figure(
        self, row: ComparisonRow, changes: dict[str, Any], seed: int, report: Callable[[str], None]
    ) -> dict[str, Any]:
        path = self._folder(row.run, seed) / "figures.json"
        figures: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
        key = json.dumps([changes, self._base.steps, *([self._references] if "references" in changes else [])])
        if key not in figures or "faces" not in figures[key]:
            self._train(row, seed, report)
            figures[key] = self._measure(row, changes, seed)
            path.write_text(json.dumps(figures))
        return figures[key]

    def _folder(self, run: str, seed: int) -> Path:
        return self._out / (f"{run}_seed-{seed}" if seed else run)

    def _config(self, system: str, options: Mapping[str, Any]) -> Any:
        return make_config(system, {**self._shape, **options})

    def _train(self, row: ComparisonRow, seed: int, report: Callable[[str], None]) -> None:
        folder = self._folder(row.run, seed)
        done = folder / CHECKPOINT
        if done.exists() and load_run(done)[1]["step"] >= self._base.steps:
            return
        start = str(self._folder(row.start, seed)) if row.start else ""
        recipe = replace(
            self._base,
            model=self._config(row.system, row.options),
            # Weights of one backbone do not fit another.
            init="" if "backbone" in row.options else self._base.init,
            start=start,
            seed=seed,
            schedule=self._schedules.get(row.system, self._base.schedule),
        )
        train(recipe, folder, report=lambda line: report(f"{row.name}, seed {seed}: {line}"))

    def _measure(self, row: ComparisonRow, changes: dict[str, Any], seed: int) -> dict[str, Any]:
        shrink, occluded = changes.pop("shrink", 0.0), changes.pop("occluded", False)
        system, outside = changes.pop("as", row.system), changes.pop("outside", False)
        foreign = changes.pop("references", False)
        weights = load_weights(self._folder(row.run, seed) / CHECKPOINT)
        options = dict(row.options)
        if system != row.system:  # the heatmap model within
            known = {field.name for field in fields(SYSTEMS[system].config)}
            options = {option: value for option, value in options.items() if option in known}
        config = self._config(system, {**options, **changes})
        network = build_system(system, config)
        missing, _ = network.load_state_dict(weights, strict=system == row.system)
        assert not missing
        if foreign:
            network.prepare(open_stores([self._references], "train", self._out / "references"))
        engine = TorchEngine(Card(row.name, system, "", asdict(config)), network, self._base.device)
        boxes = disturbed(self._data.layout.face_box(self._data.points), shift=0.0, shrink=shrink, seed=0)
        outcome = evaluate(Occluded(engine) if occluded else engine, self._data, boxes)
        errors = outcome.errors("inter_ocular") * 100
        if outside and outcome.outside is not None:
            errors = np.where(outcome.outside, errors, np.nan)
        counts = np.isfinite(errors).sum(1)
        faces = np.where(counts, np.nansum(errors, 1) / np.maximum(counts, 1), np.nan)
        return {
            "nme": float(np.nanmean(errors)) if counts.any() else float("nan"),
            "failures_8": float((faces > FAILURE).mean() * 100),
            "faces": [round(float(face), 5) for face in faces],
            **size_of(network, engine),
        }


def size_of(network: System, engine: TorchEngine) -> dict[str, float]:
    """Millions of parameters, billions of multiply-adds, milliseconds per face."""
    crop = np.random.default_rng(0).integers(0, 256, (1, 3, engine.input_size, engine.input_size), dtype=np.uint8)
    layout = getattr(network, "layout", None)
    query = layout.query if layout is not None else Query(("jaw",) * 68, tuple(np.linspace(0, 1, 68)))
    device = next(network.parameters()).device
    parts, positions = (torch.from_numpy(array).to(device) for array in encode_query(query))
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.from_numpy(crop).to(device), parts, positions)
    times = []
    for _ in range(12):
        started = time.perf_counter()
        engine.predict(crop, query)
        times.append(time.perf_counter() - started)
    return {
        "parameters": sum(p.numel() for p in network.parameters()) / 1e6,
        "operations": counter.get_total_flops() / 2e9,
        "milliseconds": float(np.median(times[2:])) * 1000,
    }


def table(
    name: str,
    rows: Sequence[ComparisonRow],
    comparison: Comparison,
    report: Callable[[str], None],
    claimed: Sequence[Claim] = (),
) -> str:
    """One table as Markdown, means over seeds, and what is claimed of it. Rows of one name share a line."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        line = cells.setdefault(row.name, {})
        for column in row.columns:
            figures = comparison.figures(row, column, report)
            mean = {key: float(np.mean([one[key] for one in figures])) for key in figures[0] if key != "faces"}
            line[column] = f"{mean['nme']:.2f}"
            if name == "systems":
                line["failures at 8 %"] = f"{mean['failures_8']:.2f}"
                line["parameters"] = f"{mean['parameters']:.2f} M"
                line["GFLOPs"] = f"{mean['operations']:.2f}"
                line["ms per face"] = f"{mean['milliseconds']:.1f}"
    heads = list(dict.fromkeys(head for line in cells.values() for head in line))
    made = markdown(name, heads, cells)
    if claimed:
        checked = {claim.text: _checked(claim, rows, comparison, report) for claim in claimed}
        made += "\n" + markdown(f"claims of {name}", ["paper", "ours", "difference", "verdict"], checked)
    return made


def _checked(
    claim: Claim, rows: Sequence[ComparisonRow], comparison: Comparison, report: Callable[[str], None]
) -> dict[str, str]:
    """A claim's cells: the paper's figures, ours, their paired difference, and whether the claim holds."""
    better, than = (
        comparison.errors(next(r for r in rows if r.name == name and column in r.columns), column, report)
        for name, column in (claim.better, claim.than)
    )
    difference = paired(better, than)
    ours = f"{np.nanmean(than):.2f} → {np.nanmean(better):.2f}"
    return {"paper": claim.paper, "ours": ours, "difference": str(difference), "verdict": difference.verdict}


def first_pixels(words: Sequence[str]) -> dict[str, float]:
    """`NAME=X` options as numbers by name.

    Raises:
        UsageError: A word is not of this form.
    """
    pixels = {}
    for given in words:
        name, _, value = given.partition("=")
        try:
            pixels[name] = float(value)
        except ValueError:
            raise UsageError(f"--first-pixel needs NAME=X, w68=1 for example, not {given!r}") from None
    return pixels


def main() -> None:
    """Make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="NAME:PATH", help="a data set of the 68-point layout")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where runs and figures go")
    parser.add_argument("--only", action="append", choices=list(tables(256)), help="make this table; repeat for more")
    parser.add_argument("--backbone", default="resnet18-half", help="(default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of the crops (default: %(default)s)")
    parser.add_argument("--first-pixel", action="append", default=[], metavar="NAME=X", help="coordinate that a data set's "
                        "labels give the centre of the first pixel: 1 for w68")  # fmt: skip
    parser.add_argument("--references", default="", metavar="NAME:PATH", help="another set of the same layout, whose training "
                        f"faces are reference faces of rht in the table {CROSS_DATA}")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network (default: %(default)s)")
    parser.add_argument("--init", default="", metavar="FILE", help="weights that every backbone starts from")
    parser.add_argument("--steps", type=int, default=4000, help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=1e-3, help="(default: %(default)s)")
    parser.add_argument("--schedule", default=TrainingRecipe.schedule, metavar="KIND", help="how the rate falls, as in vtrack "
                        f"train, or {OF_PAPERS}: for each system as its paper says (default: %(default)s)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    args = parser.parse_args()
    base = TrainingRecipe(
        data=(args.data,),
        first_pixel=first_pixels(args.first_pixel),
        init=args.init,
        steps=args.steps,
        batch=args.batch,
        rate=args.rate,
        schedule=TrainingRecipe.schedule if args.schedule == OF_PAPERS else args.schedule,
        every=min(args.steps, 1000),
        threads=args.threads,
        in_memory=True,
        device=args.device,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    shape = {"backbone": args.backbone, "input_size": args.size}
    comparison = Comparison(
        base,
        shape,
        args.out,
        load_dataset(args.data, "val"),
        args.seeds,
        schedules=SCHEDULES if args.schedule == OF_PAPERS else None,
        references=args.references,
    )
    if CROSS_DATA in (args.only or ()) and not args.references:
        raise UsageError(f"--only {CROSS_DATA} needs --references NAME:PATH, a set of the same layout")
    chosen = args.only or [name for name in tables(args.size) if name != CROSS_DATA or args.references]

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201

    for name in chosen:
        made = table(name, tables(args.size)[name], comparison, report, claims(args.size).get(name, ()))
        (args.out / f"{name}.md").write_text(made)
        print(made, flush=True)  # noqa: T201
    if not args.only:
        reasons = {what: {"why": reason} for what, reason in NOT_SHOWABLE.items()}
        print(markdown("not showable here", ["why"], reasons), flush=True)  # noqa: T201


if __name__ == "__main__":
    with errors_in_one_line():
        main()
