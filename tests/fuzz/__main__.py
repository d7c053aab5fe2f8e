"""`python -m tests.fuzz --minutes 10 --seed 1`: run random cases and report what came of them."""

from __future__ import annotations

import argparse
import math
import sys
import time

import numpy as np

from tests.fuzz.outcomes import Tally
from tests.fuzz.worker import Worker

TARGETS = {"videos": 8, "files": 3, "weights": 3, "zips": 3, "tables": 3, "messages": 1, "processes": 1}
"""Modules with `run_case`, and how often each is taken."""


def _positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def main() -> int:
    """Run cases until the time is over; 1 if any ended badly."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=2.0)
    length.add_argument("--cases", type=_positive, help="number of cases, however long they take")
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", choices=TARGETS, help="one target alone")
    parser.add_argument("--case", help="one case again, by its name in a report: videos:17")
    args = parser.parse_args()
    tally = Tally()
    if args.case:
        cases = iter([args.case.split(":")[:2]])
    else:
        names = [args.only] if args.only else [name for name, weight in TARGETS.items() for _ in range(weight)]
        rounds = -(-(args.cases or 0) // len(names)) or 1000
        order = np.random.default_rng(args.seed).permuted(names * rounds).tolist()[: args.cases]
        cases = ([name, str(args.seed * 1_000_000 + number)] for number, name in enumerate(order))
    worker, end = Worker(), math.inf if args.cases else time.monotonic() + args.minutes * 60
    for target, number in cases:
        outcome = worker.run(target, int(number))
        tally.add(target, int(number), outcome)
        if outcome.kind in ("crash", "hang"):
            worker.close()
            worker = Worker()
        if time.monotonic() > end:
            break
    worker.close()
    sys.stdout.write(tally.report() + "\n")
    return int(tally.failed)


if __name__ == "__main__":
    sys.exit(main())
