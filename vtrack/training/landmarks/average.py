"""Averages the weights of several runs, which is often better than each of them.

python -m vtrack.training.landmarks.average runs/one runs/other --shares 3,1 --out runs/mean
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from vtrack.errors import UsageError, VTrackError
from vtrack.training.common.checkpoint import load_run, prefixed, save_run, without_prefix
from vtrack.training.landmarks.loop import CHECKPOINT

_NONE = torch.empty(0)


def average(runs: Sequence[Path], out: Path, shares: Sequence[float] = ()) -> Path:
    """Write a run whose weights are the weighted mean of other runs' running means.

    Args:
        runs: Folders of runs of one model; the recipe is taken from the first.
        out: Folder of the new run.
        shares: Weight of each run; by default all alike.

    Returns:
        Path of the new checkpoint.

    Raises:
        UsageError: The runs are of different models, or `out` holds another run.
    """
    shares = shares or [1.0] * len(runs)
    if len(runs) < 2 or len(shares) != len(runs) or not all(0 < share < math.inf for share in shares):
        raise UsageError(f"give two runs or more, each with a share above 0, not {len(runs)} runs with shares {shares}")
    place = out / CHECKPOINT
    if place.exists() and "mean_of" not in load_run(place)[1]["recipe"]:
        raise UsageError(f"{out} holds a run, which would be replaced; choose another --out")
    loaded = [load_run(run / CHECKPOINT) for run in runs]
    states = [state for _, state in loaded]
    shapes = [json.dumps([state.get("system", "udfld"), state["recipe"]["model"]], sort_keys=True) for state in states]
    for run, shape in zip(runs, shapes, strict=True):
        if shape != shapes[0]:
            raise UsageError(f"{run} is of another model than {runs[0]}; give runs of one model")
    means = [without_prefix("mean", tensors) for tensors, _ in loaded]
    for run, mean in zip(runs, means, strict=True):
        if not torch.equal(mean.get("known_parts", _NONE), means[0].get("known_parts", _NONE)):
            raise UsageError(
                f"{run} was trained on other parts than {runs[0]}, or in another order; give runs of the same data"
            )
    weights = torch.tensor(shares) / sum(shares)
    mixed = {
        name: torch.einsum("r,r...->...", weights, torch.stack([mean[name] for mean in means]).float())
        if first.is_floating_point()
        else first
        for name, first in means[0].items()
    }
    out.mkdir(parents=True, exist_ok=True)
    steps = sum(int(state["step"]) for state in states)
    recipe = {**states[0]["recipe"], "mean_of": list(shares)}
    save_run(place, prefixed("mean", mixed), {**states[0], "step": steps, "recipe": recipe})
    return place


def main() -> None:
    """Average the runs named on the command line."""
    parser = argparse.ArgumentParser(description="The mean of several runs' weights, as a run to publish.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--shares", type=_numbers, default=[], metavar="X,X", help="of each run (default: all alike)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    try:
        average(args.runs, args.out, args.shares)
    except VTrackError as error:
        parser.error(str(error))


def _numbers(word: str) -> list[float]:
    """`3,1` and the like."""
    return [float(number) for number in word.split(",")]


if __name__ == "__main__":
    main()
