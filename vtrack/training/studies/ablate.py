"""Ablations of the default model: part names as text, several data sets, shifted boxes in training.

    python -m vtrack.training.studies.ablate --data w68:data/w68.zip --data scut86:data/scut86.zip --out runs/ablations

Trains one network in several ways and prints two tables of errors on validation faces. A network of a single data set is
trained on as many faces of that set as the network of all sets. Finished runs are kept in the output folder, so the same
command resumes an interrupted study.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from vtrack.data import Dataset, load_dataset
from vtrack.evaluation.boxes import disturbed
from vtrack.evaluation.landmarks import LandmarkEvaluation, evaluate
from vtrack.models.card import Card
from vtrack.models.decoding.interpolation import taught_positions
from vtrack.models.engines.torch import TorchEngine
from vtrack.models.systems.registry import build_system
from vtrack.models.systems.udfld import UdfldConfig
from vtrack.training.common.checkpoint import load_weights
from vtrack.training.landmarks.loop import train
from vtrack.training.landmarks.recipe import TrainingRecipe
from vtrack.training.studies.markdown import markdown

OFF = 0.2
"""By how much of their side boxes are shifted for the last column."""
VOCABULARY = 128
"""More parts than all data sets have together."""


def variants(base: TrainingRecipe) -> dict[str, TrainingRecipe]:
    """Recipe of each variant, by name. `base` trains on all data sets; the first of them is studied in more variants."""
    steps = max(base.steps // len(base.data), 1)
    alone = {_name(spec): replace(base, data=(spec,), steps=steps) for spec in base.data}
    first = _name(base.data[0])
    learnable = replace(base.model, parts="learnable", vocabulary=VOCABULARY)
    return {
        "all sets": base,
        "all sets, learnable parts": replace(base, model=learnable),
        "all sets, boxes never shifted": replace(base, augmentation=replace(base.augmentation, shift=0.0)),
        **{f"{name} alone": recipe for name, recipe in alone.items()},
        f"{first} alone, learnable parts": replace(alone[first], model=learnable),
        f"{first} alone, boxes never shifted": replace(
            alone[first], augmentation=replace(base.augmentation, shift=0.0)
        ),
        f"{first} alone, every second point held out": replace(alone[first], hold_out=(first,)),
    }


def tables(base: TrainingRecipe, out: Path, report: Callable[[str], None]) -> str:
    """Train and evaluate all variants.

    Returns:
        Two Markdown tables: errors on each data set, and errors of every second point and of the others.
    """
    sets = {_name(spec): load_dataset(spec, "val") for spec in base.data}
    first = _name(base.data[0])
    off = f"{first}, boxes off by {OFF:g}"
    errors: dict[str, dict[str, str]] = {}
    points: dict[str, dict[str, str]] = {}
    for name, recipe in variants(base).items():
        path = train(recipe, out / name.replace(",", "").replace(" ", "-"), _named(name, report))
        network = build_system("udfld", recipe.model)
        network.load_state_dict(load_weights(path))
        known = {own: data for own, data in sets.items() if own in map(_name, recipe.data)}
        taught = taught_positions((data.layout, own in recipe.hold_out) for own, data in known.items())
        engine = TorchEngine(Card(name, "udfld", "", asdict(recipe.model), taught=taught), network, base.device)
        outcomes = {own: evaluate(engine, data) for own, data in known.items()}
        errors[name] = {own: _error(outcome) for own, outcome in outcomes.items()}
        if first in known:
            errors[name][off] = _error(evaluate(engine, sets[first], _shifted(sets[first])))
        if name in ("all sets", f"{first} alone") or recipe.hold_out:
            second = sets[first].layout.every_second
            points[name] = {
                "every second point": _error(outcomes[first], second),
                "the others": _error(outcomes[first], ~second),
            }
    return markdown("learned from", [*sets, off], errors) + "\n" + markdown(f"of {first}", [*points[name]], points)


def _named(name: str, report: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: report(f"{name}: {line}")


def _name(spec: str) -> str:
    return spec.partition(":")[0]


def _shifted(data: Dataset) -> np.ndarray:
    return disturbed(data.layout.face_box(data.points), shift=OFF, shrink=0.0, seed=0)


def _error(outcome: LandmarkEvaluation, which: np.ndarray | slice = slice(None)) -> str:
    """Mean error of these points, in % of the distance between the outer eye corners."""
    return f"{np.nanmean(outcome.errors('inter_ocular')[:, which]) * 100:.2f}"


def main() -> None:
    """Make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="NAME:PATH", help="repeat for each data set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where runs and tables go")
    parser.add_argument("--size", type=int, default=128, help="side of the crops (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=2, help="decoder layers (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=7000, help="of the network of all sets (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=3e-3, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    args = parser.parse_args()
    base = TrainingRecipe(
        data=tuple(args.data),
        model=UdfldConfig(input_size=args.size, layers=args.layers, position_waves=6),
        steps=args.steps,
        batch=args.batch,
        rate=args.rate,
        every=min(args.steps, 1000),
        threads=args.threads,
        device=args.device,
        in_memory=True,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    made = tables(base, args.out, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    (args.out / "tables.md").write_text(made)
    print(made, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
