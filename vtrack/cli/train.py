"""`vtrack train`: learn a landmark model from annotated photographs."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """example:
  vtrack train --data w68:data/w68.zip --data scut86:data/scut86.zip --share w68=2 --out runs/mine --steps 20000
  vtrack train --data w68:data/w68.zip --model gv --backbone resnet18-half --size 128 --set resolution=32 --out runs/gv
  (the same command again goes on from the last checkpoint)"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "train",
        help="train a landmark model",
        description="Train a landmark model on any mix of data sets.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", action="append", required=True, metavar="NAME:PATH", help="a data set; repeat for more"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where checkpoint and log go")
    parser.add_argument("--share", action="append", default=[], metavar="NAME=X", help="draw this set X times as often")
    parser.add_argument("--trust", action="append", default=[], metavar="NAME=X", help="weight of this set's labels")
    parser.add_argument("--first-pixel", action="append", default=[], metavar="NAME=X", help="what this set's labels call the "
        "centre of the first pixel: 1 if they count from 1, 0.5 from the corner (default: 0)")  # fmt: skip
    parser.add_argument("--model", default="udfld", metavar="SYSTEM", help="udfld (any points of any layout), or "
        "one of a layout: gcn, rht, keyposs, gv, heatmap, regression; by default as large as in their papers")  # fmt: skip
    parser.add_argument("--backbone", help="image encoder (default: the system's)")
    parser.add_argument("--size", type=int, help="side of the crops (default: the system's)")
    parser.add_argument("--dim", type=int, help="width of queries and maps (default: the system's)")
    parser.add_argument("--layers", type=int, help="decoder layers of udfld (default: 2)")
    parser.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE", help="any other knob of the system, "
        "theta=2 or bandwidths=3,5 for example; a wrong one lists them all")  # fmt: skip
    parser.add_argument("--init", default="", metavar="FILE", help="published weights for the backbone to start from: "
        "torchvision's ResNets, HRNets, timm's and FaRL's ViT")  # fmt: skip
    parser.add_argument("--augment", action="append", default=[], metavar="KNOB=VALUE", help="how far crops are disturbed: "
        "angle=18, scale=0.12, shift=0.06, picture=0.4, flip=1 by default")  # fmt: skip
    parser.add_argument(
        "--start", default="", metavar="RUN", help="another run, whose weights are taken where they fit"
    )
    parser.add_argument("--steps", type=int, default=20_000, help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="faces a step (default: %(default)s)")
    parser.add_argument("--points", type=int, default=68, help="most points of a face a step (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1000, help="steps between validations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: %(default)s)")
    parser.add_argument("--in-memory", action="store_true", help="hold all faces in memory (0.3 MB each)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train until the last step."""
    from vtrack.models.systems import make_config
    from vtrack.training.augment import make_augmentation
    from vtrack.training.loop import Recipe, train

    named = {"backbone": args.backbone, "input_size": args.size, "dim": args.dim, "layers": args.layers}
    settings = {knob: value for knob, value in named.items() if value is not None}
    model = make_config(args.model, settings | knobs(args.set))
    recipe = Recipe(
        data=tuple(args.data),
        shares=_weights(args.share),
        trust=_weights(args.trust),
        first_pixel=_weights(args.first_pixel),
        model=model,
        init=args.init,
        start=args.start,
        augmentation=make_augmentation(knobs(args.augment)),
        steps=args.steps,
        batch=args.batch,
        most_points=args.points,
        rate=args.rate,
        every=args.every,
        seed=args.seed,
        threads=args.threads,
        device=args.device,
        in_memory=args.in_memory,
    )
    checkpoint = train(recipe, args.out, report=lambda line: print(line, flush=True))
    print(f"checkpoint: {checkpoint}")
    return 0


def knobs(pairs: list[str]) -> dict[str, str]:
    """`theta=2` and the like."""
    from vtrack.errors import UsageError

    settings = dict(pair.partition("=")[::2] for pair in pairs)
    if not all(settings.values()):
        raise UsageError(f"{pairs} are not all KNOB=VALUE, for example theta=2")
    return settings


def _weights(pairs: list[str]) -> dict[str, float]:
    """`name=2` and the like."""
    from vtrack.errors import UsageError

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
