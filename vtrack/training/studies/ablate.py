"""Ablations of the default model: part names as text, several data sets, layouts never seen, shifted boxes in training.

    python -m vtrack.training.studies.ablate --data w68:data/w68.zip --data scut86:data/scut86.zip --first-pixel w68=1 \\
        --out runs/ablations

Trains one network in several ways for each seed and prints tables of errors on validation faces: on the sets that it has
learned from and, in brackets, on those that it has not, whose layouts it answers as queries. Below stands what the paper
claims, with paired differences over faces and seeds. A network of a single data set is trained on as many faces of that set
as the network of all sets. Finished runs are kept in the output folder, so the same command resumes an interrupted study.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.data import Dataset, load_dataset
from vtrack.errors import errors_in_one_line
from vtrack.evaluation.boxes import disturbed
from vtrack.evaluation.landmarks import evaluate
from vtrack.models.card import Card
from vtrack.models.decoding.interpolation import taught_positions
from vtrack.models.engines.torch import TorchEngine
from vtrack.models.systems.registry import build_system
from vtrack.models.systems.udfld import UdfldConfig
from vtrack.training.common.checkpoint import load_weights
from vtrack.training.landmarks.loop import train
from vtrack.training.landmarks.recipe import TrainingRecipe
from vtrack.training.studies.compare import first_pixels
from vtrack.training.studies.markdown import markdown
from vtrack.training.studies.paired import paired
from vtrack.types import FloatArray

OFF = 0.2
"""By how much of their side boxes are shifted for the last column."""
VOCABULARY = 128
"""More parts than all data sets have together."""


LANGUAGE, LEARNABLE, TUNED, SLOW = (
    "all sets",
    "all sets, learnable parts",
    "all sets, tuned part vectors",
    "all sets, encoder at a tenth of the rate",
)


def variants(base: TrainingRecipe) -> dict[str, TrainingRecipe]:
    """Recipe of each variant, by name. `base` trains on all data sets; the first of them is studied in more variants."""
    steps = max(base.steps // len(base.data), 1)
    alone = {_name(spec): _of(base, (spec,), steps) for spec in base.data}
    first = _name(base.data[0])
    learnable = replace(base.model, parts="learnable", vocabulary=VOCABULARY)
    unshifted = replace(base.augmentation, shift=0.0)
    held_out = [spec for spec in base.data if len(base.data) > 1]
    return {
        LANGUAGE: base,
        LEARNABLE: replace(base, model=learnable),
        TUNED: replace(base, model=replace(learnable, parts="tuned", encoder_rate=0.1)),
        SLOW: replace(base, model=replace(base.model, encoder_rate=0.1)),
        "all sets, boxes never shifted": replace(base, augmentation=unshifted),
        **{f"{name} alone": recipe for name, recipe in alone.items()},
        **{
            f"all sets but {_name(spec)}": _of(base, tuple(other for other in base.data if other != spec), base.steps)
            for spec in held_out
        },
        f"{first} alone, learnable parts": replace(alone[first], model=learnable),
        f"{first} alone, boxes never shifted": replace(alone[first], augmentation=unshifted),
        f"{first} alone, every second point held out": replace(alone[first], hold_out=(first,)),
    }


def _of(base: TrainingRecipe, data: tuple[str, ...], steps: int) -> TrainingRecipe:
    """The recipe with fewer data sets, and without options that name the others."""
    names = set(map(_name, data))
    pixels = {name: pixel for name, pixel in base.first_pixel.items() if name in names}
    return replace(base, data=data, steps=steps, first_pixel=pixels)


def tables(base: TrainingRecipe, out: Path, report: Callable[[str], None], seeds: int = 1) -> str:
    """Train and evaluate all variants.

    Returns:
        Three Markdown tables: errors on each data set, in brackets where it was not learned; errors of every second point
        and of the others; and what the paper claims of them.
    """
    sets = {_name(spec): load_dataset(spec, "val") for spec in base.data}
    first = _name(base.data[0])
    off = f"{first}, boxes off by {OFF:g}"
    errors: dict[str, dict[str, FloatArray]] = {}
    cells: dict[str, dict[str, str]] = {}
    points: dict[str, dict[str, str]] = {}
    for name, recipe in variants(base).items():
        by_seed = [
            _errors(name, replace(recipe, seed=base.seed + seed), out, sets, off, report) for seed in range(seeds)
        ]
        errors[name] = {column: np.array([one[column] for one in by_seed]) for column in by_seed[0]}
        learned = {*map(_name, recipe.data), *([off] if first in map(_name, recipe.data) else [])}
        cells[name] = {
            column: _mean(of_faces.mean(-1)) if column in learned else f"({_mean(of_faces.mean(-1))})"
            for column, of_faces in errors[name].items()
        }
        if name in (LANGUAGE, f"{first} alone") or recipe.hold_out:
            second = sets[first].layout.every_second
            whole = errors[name][first]
            points[name] = {"every second point": _mean(whole[..., second]), "the others": _mean(whole[..., ~second])}
    made = markdown("learned from", [*sets, off], cells) + "\n"
    made += markdown(f"of {first}", ["every second point", "the others"], points)
    return made + "\n" + _checked(list(sets), errors)


def _errors(
    name: str,
    recipe: TrainingRecipe,
    out: Path,
    sets: Mapping[str, Dataset],
    off: str,
    report: Callable[[str], None],
) -> dict[str, FloatArray]:
    """(faces, points) errors of one network on each data set, and on the first with shifted boxes."""
    folder = name.replace(",", "").replace(" ", "-")
    folder += f"-seed-{recipe.seed}" if recipe.seed else ""
    kept = out / folder / f"errors-{recipe.steps}.npz"
    if kept.exists():
        with np.load(kept) as file:
            return dict(file)
    path = train(recipe, out / folder, _named(name, report))
    network = build_system("udfld", recipe.model)
    network.load_state_dict(load_weights(path))
    known = [(data.layout, own in recipe.hold_out) for own, data in sets.items() if own in map(_name, recipe.data)]
    card = Card(name, "udfld", "", asdict(recipe.model), taught=taught_positions(known))
    engine = TorchEngine(card, network, recipe.device)
    errors: dict[str, Any] = {own: evaluate(engine, data).errors("inter_ocular") * 100 for own, data in sets.items()}
    first = next(iter(sets.values()))
    errors[off] = evaluate(engine, first, _shifted(first)).errors("inter_ocular") * 100
    np.savez(kept, **errors)
    return errors


def _checked(sets: list[str], errors: Mapping[str, Mapping[str, FloatArray]]) -> str:
    """The claims of the paper as a Markdown table: errors of faces, paired."""
    asked = {
        **{f"{own}: language beats learnable parts (table 5)": (LANGUAGE, LEARNABLE, own) for own in sets},
        **{f"{own}: tuned vectors beat fixed ones": (TUNED, SLOW, own) for own in sets},
        **{f"{own}: the encoder at a tenth of the rate is better": (SLOW, LANGUAGE, own) for own in sets},
        **{f"{own}: all sets beat one (table 4)": (LANGUAGE, f"{own} alone", own) for own in sets},
    }
    lines = {}
    for text, (better, than, own) in asked.items():
        one, other = (errors[name][own].mean(-1) for name in (better, than))
        difference = paired(one, other)
        ours = f"{np.nanmean(other):.2f} → {np.nanmean(one):.2f}"
        lines[text] = {"ours": ours, "difference": str(difference), "verdict": difference.verdict}
    return markdown("claims", ["ours", "difference", "verdict"], lines)


def _named(name: str, report: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: report(f"{name}: {line}")


def _name(spec: str) -> str:
    return spec.partition(":")[0]


def _shifted(data: Dataset) -> np.ndarray:
    return disturbed(data.layout.face_box(data.points), shift=OFF, shrink=0.0, seed=0)


def _mean(errors: FloatArray) -> str:
    return f"{np.nanmean(errors):.2f}"


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
    parser.add_argument("--first-pixel", action="append", default=[], metavar="NAME=X", help="coordinate that a data set's "
                        "labels give the centre of the first pixel: 1 for w68")  # fmt: skip
    parser.add_argument("--init", default="", metavar="FILE", help="weights that every image encoder starts from")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    args = parser.parse_args()
    base = TrainingRecipe(
        data=tuple(args.data),
        model=UdfldConfig(input_size=args.size, layers=args.layers, position_waves=6),
        first_pixel=first_pixels(args.first_pixel),
        init=args.init,
        steps=args.steps,
        batch=args.batch,
        rate=args.rate,
        every=min(args.steps, 1000),
        threads=args.threads,
        device=args.device,
        in_memory=True,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    made = tables(base, args.out, lambda line: print(line, file=sys.stderr, flush=True), args.seeds)  # noqa: T201
    (args.out / "tables.md").write_text(made)
    print(made, flush=True)  # noqa: T201


if __name__ == "__main__":
    with errors_in_one_line():
        main()
