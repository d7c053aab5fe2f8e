"""`vtrack train`: learn a landmark model from annotated photographs."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """example:
  vtrack train --data w68:data/w68.zip --data scut86:data/scut86.zip --share w68=2 --out runs/mine --steps 20000
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
    parser.add_argument("--backbone", default="resnet18-half", help="image encoder (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of the crops (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=128, help="width of queries and maps (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=2, help="decoder layers (default: %(default)s)")
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
    from vtrack.models.udfld import UdfldConfig
    from vtrack.training.loop import Recipe, train

    model = UdfldConfig(backbone=args.backbone, input_size=args.size, dim=args.dim, layers=args.layers)
    recipe = Recipe(
        data=tuple(args.data),
        shares=_weights(args.share),
        trust=_weights(args.trust),
        model=model,
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
