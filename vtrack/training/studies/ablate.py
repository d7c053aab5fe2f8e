"""Ablations of the default model: part names as text, several data sets, layouts never seen, shifted boxes in training.

    python -m vtrack.training.studies.ablate --data w68:data/w68.zip --data scut86:data/scut86.zip --first-pixel w68=1 \\
        --out runs/ablations

Trains one network in several ways for each seed and prints tables of errors on validation faces: on the sets that it has
learned from and, in brackets, on those that it has not, whose layouts it answers as queries. The second table takes the
points of these apart: those at positions that the network has learned from other sets, those between such positions, and those
on parts that it does not know. Below stands what the paper claims, with paired differences over faces and seeds.

A network of a single data set is trained on as many faces of that set as the network of all sets. Finished runs are kept in
the output folder, so the same command resumes an interrupted study.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.data import Dataset, load_dataset
from vtrack.errors import UsageError, errors_in_one_line
from vtrack.evaluation.boxes import disturbed
from vtrack.evaluation.landmarks import evaluate
from vtrack.models.backbones.registry import BACKBONES
from vtrack.models.card import Card
from vtrack.models.decoding.interpolation import TaughtPositions, taught_positions
from vtrack.models.engines.torch import TorchEngine
from vtrack.models.systems.registry import build_system
from vtrack.models.systems.udfld import UdfldConfig
from vtrack.options import nearest_of
from vtrack.training.common.checkpoint import load_weights
from vtrack.training.landmarks.loop import train
from vtrack.training.landmarks.recipe import TrainingRecipe
from vtrack.training.studies.compare import first_pixels
from vtrack.training.studies.markdown import markdown
from vtrack.training.studies.paired import paired
from vtrack.training.studies.unlearned import cells_of, kinds
from vtrack.training.studies.variants import (
    LANGUAGE,
    LEARNABLE,
    SLOW,
    STUDIES,
    TUNED,
    set_name,
    variants,
    with_encoder,
)
from vtrack.types import FloatArray

OFF = 0.2
"""By how much of their side boxes are shifted for the last column."""
QUERIED = "{}, queried"
"""Errors of a set that was not learned, each point queried by itself."""


def tables(
    base: TrainingRecipe,
    out: Path,
    report: Callable[[str], None],
    seeds: int = 1,
    *,
    encoders: Mapping[str, str] | None = None,
    only: Sequence[str] = STUDIES,
) -> str:
    """Train and evaluate the variants of some studies.

    Returns:
        Markdown tables: errors on each data set, in brackets where it was not learned; of these, errors by kinds of points;
        errors of every second point and of the others; and what the paper claims.
    """
    sets = {set_name(spec): load_dataset(spec, "val") for spec in base.data}
    first = set_name(base.data[0])
    off = f"{first}, boxes off by {OFF:g}"
    errors: dict[str, dict[str, FloatArray]] = {}
    cells: dict[str, dict[str, str]] = {}
    points: dict[str, dict[str, str]] = {}
    unlearned: dict[str, dict[str, str]] = {}
    for name, recipe in variants(base, encoders, only).items():
        by_seed = [
            _errors(name, replace(recipe, seed=base.seed + seed), out, sets, off, report) for seed in range(seeds)
        ]
        errors[name] = {column: np.array([one[column] for one in by_seed]) for column in by_seed[0]}
        names = set(map(set_name, recipe.data))
        learned = {*names, *([off] if first in names else [])}
        cells[name] = {
            column: _mean(errors[name][column]) if column in learned else f"({_mean(errors[name][column])})"
            for column in (*sets, off)
        }
        taught = TaughtPositions.of(_card(name, recipe, sets))
        for own, data in sets.items():
            if own not in names or own in recipe.hold_out:
                masks = kinds(data.layout, taught)
                queried = errors[name][QUERIED.format(own)]
                unlearned[f"{name} → {own}"] = cells_of(errors[name][own], queried, masks)
        if name in (LANGUAGE, f"{first} alone") or recipe.hold_out:
            second = sets[first].layout.every_second
            whole = errors[name][first]
            points[name] = {"every second point": _mean(whole[..., second]), "the others": _mean(whole[..., ~second])}
    made = [markdown("learned from", [*sets, off], cells)]
    if unlearned:
        heads = list(dict.fromkeys(head for line in unlearned.values() for head in line))
        made.append(markdown("not learned", heads, unlearned))
    made.append(markdown(f"of {first}", ["every second point", "the others"], points))
    made.append(_checked(list(sets), list(encoders or {}), errors))
    return "\n".join(made)


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
    names = set(map(set_name, recipe.data))
    apart = [own for own in sets if own not in names or own in recipe.hold_out]
    kept = out / folder / f"errors-{recipe.steps}.npz"
    if kept.exists():
        with np.load(kept) as file:
            if {*sets, off, *map(QUERIED.format, apart)} <= set(file):
                return dict(file)
    path = train(recipe, out / folder, _named(name, report))
    network = build_system("udfld", recipe.model)
    network.load_state_dict(load_weights(path))
    card = _card(name, recipe, sets)
    engine = TorchEngine(card, network, recipe.device)
    errors: dict[str, Any] = {own: _percent(engine, data) for own, data in sets.items()}
    first = next(iter(sets.values()))
    errors[off] = _percent(engine, first, _shifted(first))
    plain = TorchEngine(replace(card, taught={}), network, recipe.device)
    errors |= {QUERIED.format(own): _percent(plain, sets[own]) for own in apart}
    np.savez(kept, **errors)
    return errors


def _card(name: str, recipe: TrainingRecipe, sets: Mapping[str, Dataset]) -> Card:
    """The card of a variant, with the positions that it learns."""
    names = set(map(set_name, recipe.data))
    learned = [(data.layout, own in recipe.hold_out) for own, data in sets.items() if own in names]
    return Card(name, "udfld", "", asdict(recipe.model), taught=taught_positions(learned))


def _percent(engine: TorchEngine, data: Dataset, boxes: FloatArray | None = None) -> FloatArray:
    """(faces, points) errors in % of the distance of the eyes."""
    return evaluate(engine, data, boxes).errors("inter_ocular") * 100


def _checked(sets: list[str], encoders: list[str], errors: Mapping[str, Mapping[str, FloatArray]]) -> str:
    """The claims of the paper as a Markdown table: errors of faces, paired; those of whose networks both were trained."""
    first = f"{sets[0]} alone"
    asked = {
        **{f"{own}: language beats learnable parts (table 5)": (LANGUAGE, LEARNABLE, own) for own in sets},
        **{f"{own}: tuned vectors beat fixed ones": (TUNED, SLOW, own) for own in sets},
        **{f"{own}: the encoder at a tenth of the rate is better": (SLOW, LANGUAGE, own) for own in sets},
        **{f"{own}: all sets beat one (table 4)": (LANGUAGE, f"{own} alone", own) for own in sets},
        **{
            f"{own}, not learned: the other sets beat {sets[0]} alone (table 4)": (f"all sets but {own}", first, own)
            for own in sets[1:]
        },
        **{
            f"{own}: {encoder} beats the default encoder (table 6a)": (with_encoder(LANGUAGE, encoder), LANGUAGE, own)
            for encoder in encoders
            for own in sets
        },
        **{
            f"{own}: {encoder} beats the default encoder, {sets[0]} alone learned (table 6b)": (
                with_encoder(first, encoder),
                first,
                own,
            )
            for encoder in encoders
            for own in sets
        },
    }
    lines = {}
    for text, (better, than, own) in asked.items():
        if better not in errors or than not in errors:
            continue
        one, other = (errors[name][own].mean(-1) for name in (better, than))
        difference = paired(one, other)
        ours = f"{np.nanmean(other):.2f} → {np.nanmean(one):.2f}"
        lines[text] = {"ours": ours, "difference": str(difference), "verdict": difference.verdict}
    return markdown("claims", ["ours", "difference", "verdict"], lines)


def _named(name: str, report: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: report(f"{name}: {line}")


def _shifted(data: Dataset) -> np.ndarray:
    return disturbed(data.layout.face_box(data.points), shift=OFF, shrink=0.0, seed=0)


def _mean(errors: FloatArray) -> str:
    return f"{np.nanmean(errors):.2f}"


def image_encoders(words: Sequence[str]) -> dict[str, str]:
    """`NAME` and `NAME=FILE` options: the file of each image encoder's weights, empty for none.

    Raises:
        UsageError: There is no such encoder, or no such file.
    """
    encoders = {name: weights for name, _, weights in (word.partition("=") for word in words)}
    for name, weights in encoders.items():
        if name not in BACKBONES:
            raise UsageError(f"there is no image encoder {name!r}; {nearest_of(name, BACKBONES)}")
        if weights and not Path(weights).is_file():
            raise UsageError(f"--encoder {name}: there is no file {weights}")
    return encoders


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
    parser.add_argument("--schedule", default=TrainingRecipe.schedule, metavar="KIND", help="how the rate falls, as in vtrack "
                        "train; steps:0.78 in the paper (default: %(default)s)")  # fmt: skip
    parser.add_argument("--first-pixel", action="append", default=[], metavar="NAME=X", help="coordinate that a data set's "
                        "labels give the centre of the first pixel: 1 for w68")  # fmt: skip
    parser.add_argument("--init", default="", metavar="FILE", help="weights that every image encoder starts from")
    parser.add_argument("--only", action="append", choices=STUDIES, help="networks of this study alone; repeat for more: "
                        "parts (table 5), sets (3 and 4), boxes, positions, encoders (6)")  # fmt: skip
    parser.add_argument("--encoder", action="append", default=[], metavar="NAME[=FILE]", help="another image encoder, with "
                        "the file of its weights: resnet101=resnet101.pth; repeat for more")  # fmt: skip
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
        schedule=args.schedule,
        every=min(args.steps, 1000),
        threads=args.threads,
        device=args.device,
        in_memory=True,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    only = args.only or STUDIES
    if args.only and "encoders" in only and not args.encoder:
        raise UsageError("--only encoders needs --encoder NAME, resnet50 for example; repeat it for more")
    made = tables(
        base,
        args.out,
        lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
        args.seeds,
        encoders=image_encoders(args.encoder),
        only=only,
    )
    (args.out / "tables.md").write_text(made)
    print(made, flush=True)  # noqa: T201


if __name__ == "__main__":
    with errors_in_one_line():
        main()
