"""`vtrack train`: learn a landmark model, or the face detector, from annotated photographs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vtrack.cli.options import refuse
from vtrack.errors import UsageError
from vtrack.models.systems.registry import SYSTEMS, make_config
from vtrack.options import words
from vtrack.training.detector.recipe import DetectorRecipe
from vtrack.training.landmarks.recipe import SYSTEM, Augmentation, TrainingRecipe

EXAMPLE = """example:
  vtrack train --data w68:data/w68.zip --data scut86:data/scut86.zip --share w68=2 --out runs/mine --steps 20000
  vtrack train --data w68:data/w68.zip --model gv --backbone resnet18-half --size 128 --set resolution=32 --out runs/gv
  vtrack train --task detect --data data --out runs/faces     (data: the folder of the photograph zips)
  (the same command again goes on from the last checkpoint)"""

_OF_LANDMARKS = (
    "share",
    "trust",
    "first_pixel",
    "hold_out",
    "loaders",
    "teacher",
    "teacher_share",
    "labels_only",
    "model",
    "backbone",
    "dim",
    "layers",
    "set",
    "init",
    "only",
    "points",
    "gaps",
    "schedule",
    "in_memory",
    "augment",
)
"""Options that mean nothing to the detector."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "train",
        help="train a landmark model or the face detector",
        description="Train a landmark model on any mix of data sets, or the face detector on scenes composed of "
        "photographs.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--task", default="landmarks", choices=("landmarks", "detect"), help="what to train "
        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--data", action="append", required=True, metavar="NAME:PATH", help="a data set; repeat for "
        "more (with --task detect: the folder of the zips)")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where checkpoint and log go")
    parser.add_argument("--share", action="append", default=[], metavar="NAME=X", help="draw this set X times as often")
    parser.add_argument("--trust", action="append", default=[], metavar="NAME=X", help="weight of this set's labels")
    parser.add_argument("--first-pixel", action="append", default=[], metavar="NAME=X", help="what this set's labels call the "
        "centre of the first pixel: 1 if they count from 1, 0.5 from the corner (default: 0)")  # fmt: skip
    parser.add_argument("--hold-out", action="append", default=[], metavar="NAME", help="never learn every second "
        "point of this set's parts, to see how well udfld knows them all the same")  # fmt: skip
    parser.add_argument("--teacher", default="", metavar="MODEL", help="a shipped model, or the .json of your own, that is "
        "learned from beside the labels")  # fmt: skip
    parser.add_argument("--teacher-share", type=float, default=TrainingRecipe.teacher_share, metavar="X",
        help="how much of what is "
        "learned is the teacher's (default: %(default)s)")  # fmt: skip
    parser.add_argument("--labels-only", action="append", default=[], metavar="NAME", help="learn this set from its labels "
        "alone, without the teacher")  # fmt: skip
    parser.add_argument("--model", default=SYSTEM, metavar="SYSTEM", help=f"{words(list(SYSTEMS))}: udfld "
        "gives any points of any layout, the others those of one; by default as large as in their papers")  # fmt: skip
    parser.add_argument("--backbone", help="image encoder (default: the system's)")
    parser.add_argument("--size", type=int, help="side of the crops, or of the detector's scenes "
        f"(default: the system's; {DetectorRecipe.size} with --task detect)")  # fmt: skip
    parser.add_argument("--dim", type=int, help="width of queries and maps (default: the system's)")
    parser.add_argument("--layers", type=int, help="decoder layers of udfld (default: the system's)")
    parser.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE", help="any other knob of the system, "
        "theta=2 or bandwidths=3,5 for example; a wrong one lists them all")  # fmt: skip
    parser.add_argument("--init", default="", metavar="FILE", help="published weights for the backbone to start from: "
        "torchvision's ResNets, HRNets, timm's and FaRL's ViT, models of our own")  # fmt: skip
    parser.add_argument("--augment", action="append", default=[], metavar="KNOB=VALUE", help="how far crops are disturbed: "
        f"{_augmentation()} by default")  # fmt: skip
    parser.add_argument(
        "--start",
        default="",
        metavar="RUN",
        help="another run, or a published model's FILE.safetensors; its weights are taken where they fit, and spread "
        "over a backbone that is a whole number of times as wide",
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="learn only the weights whose names begin "
        "so, sigma_head for example; the others stay as --start has them")  # fmt: skip
    parser.add_argument("--steps", type=int, help=f"number of steps {_defaults('steps')}")
    parser.add_argument("--batch", type=int, help=f"faces, or scenes, a step {_defaults('batch')}")
    parser.add_argument(
        "--points",
        type=int,
        default=TrainingRecipe.most_points,
        help="most points of a face a step (default: %(default)s)",
    )
    parser.add_argument("--gaps", type=float, default=TrainingRecipe.gaps, metavar="X",
        help="weight of the distances from lid to lid and "
        "from lip to lip beside that of the points, 0.3 for example; of udfld alone (default: %(default)s)")  # fmt: skip
    parser.add_argument("--rate", type=float, help=f"highest learning rate {_defaults('rate')}")
    parser.add_argument("--schedule", metavar="KIND", help="how the rate falls: cosine or linear, to nothing or to a share "
        "of itself (cosine:0.1), or steps, after each of which a tenth is left: steps:0.78 of the training "
        f"(default: {TrainingRecipe.schedule})")  # fmt: skip
    parser.add_argument("--every", type=int, help=f"steps between validations {_defaults('every')}")
    parser.add_argument(
        "--seed", type=int, default=TrainingRecipe.seed, help="seed of all random numbers (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=TrainingRecipe.threads, help="CPU threads (default: %(default)s)"
    )
    parser.add_argument("--device", default=TrainingRecipe.device, help="cpu, cuda or mps (default: %(default)s)")
    parser.add_argument("--loaders", type=int, default=TrainingRecipe.loaders,
        help="processes that cut and disturb crops, to keep a GPU busy "
        "(default: a thread does)")  # fmt: skip
    parser.add_argument("--in-memory", action="store_true", help="hold all faces in memory (0.3 MB each)")
    parser.add_argument("--cache", type=Path, default=DetectorRecipe.cache, metavar="DIR", help="where the detector's "
        "labels are kept, made by python -m vtrack.data.scenes.labels DATA DIR (default: %(default)s)")  # fmt: skip
    parser.set_defaults(run=run)


def _defaults(name: str) -> str:
    """The defaults of an option that both tasks have."""
    return f"(default: {getattr(TrainingRecipe, name)}; {getattr(DetectorRecipe, name)} with --task detect)"


def _augmentation() -> str:
    return ", ".join(f"{name}={float(value):g}" for name, value in asdict(Augmentation()).items())


def run(args: argparse.Namespace) -> int:
    """Train until the last step."""
    checkpoint = _detector(args) if args.task == "detect" else _landmarks(args)
    print(f"checkpoint: {checkpoint}")
    return 0


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the options that were given; each task has its own defaults."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def _detector(args: argparse.Namespace) -> Path:
    """The face detector; the folder of its run."""
    from vtrack.training.detector.loop import train_detector

    refuse(args, _OF_LANDMARKS, "applies to landmark models only; leave out --task detect")
    if len(args.data) != 1:
        raise UsageError("--task detect takes one --data: the folder that holds the zips")
    return train_detector(
        Path(args.data[0]),
        args.out,
        cache=args.cache,
        seed=args.seed,
        device=args.device,
        threads=args.threads,
        workers=min(args.threads - 1, 2),
        start=Path(args.start) if args.start else None,
        report_line=lambda line: print(line, flush=True),
        **_given(args, "steps", "batch", "rate", "every", "size"),
    )


def _landmarks(args: argparse.Namespace) -> Path:
    """A landmark model; its checkpoint."""
    from vtrack.training.landmarks.augment import make_augmentation
    from vtrack.training.landmarks.loop import train

    refuse(args, ["cache"], "applies to the face detector only; add --task detect")
    if not args.teacher:
        refuse(args, ["teacher_share"], "applies to a teacher only; add --teacher")
        refuse(args, ["labels_only"], "applies to a teacher only; add --teacher")
    named = {"backbone": args.backbone, "input_size": args.size, "dim": args.dim, "layers": args.layers}
    settings = {knob: value for knob, value in named.items() if value is not None}
    model = make_config(args.model, settings | knobs(args.set))
    recipe = TrainingRecipe(
        data=tuple(args.data),
        shares=_weights(args.share),
        trust=_weights(args.trust),
        first_pixel=_weights(args.first_pixel),
        hold_out=tuple(args.hold_out),
        teacher=args.teacher,
        teacher_share=args.teacher_share,
        labels_only=tuple(args.labels_only),
        model=model,
        init=args.init,
        start=args.start,
        only=tuple(args.only),
        augmentation=make_augmentation(knobs(args.augment)),
        most_points=args.points,
        gaps=args.gaps,
        seed=args.seed,
        threads=args.threads,
        device=args.device,
        loaders=args.loaders,
        in_memory=args.in_memory,
        **_given(args, "steps", "batch", "rate", "schedule", "every"),
    )
    return train(recipe, args.out, report=lambda line: print(line, flush=True))


def knobs(pairs: list[str]) -> dict[str, str]:
    """`theta=2` and the like."""

    settings = dict(pair.partition("=")[::2] for pair in pairs)
    if not all(settings.values()):
        raise UsageError(f"{pairs} are not all KNOB=VALUE, for example theta=2")
    return settings


def _weights(pairs: list[str]) -> dict[str, float]:
    """`name=2` and the like."""

    weights = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        try:
            weights[name] = float(value)
        except ValueError:
            equals = ""
        if not equals or weights[name] <= 0:
            raise UsageError(f"{pair!r} is not NAME=X with a positive number, for example w68=2")
    return weights
