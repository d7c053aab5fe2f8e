"""`vtrack bench`: how good and how fast the pieces are, measured on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from vtrack.errors import MissingExtraError, SinkError, UsageError

if TYPE_CHECKING:
    from pipelines.smooth_bench import Row, Speed

EXAMPLE = """examples:
  vtrack bench --smooth
  vtrack bench --smooth --plot traces.png"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "bench",
        help="measure how good and how fast the pieces are",
        description="Measure how good and how fast the pieces are on this machine.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--smooth", action="store_true", help="jitter, lag, error and blinks with each kind of smoothing")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw truth, raw and smooth (with --smooth)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from pipelines.smooth_bench import bench, plot, speed

    if args.plot is not None and args.plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot: {args.plot} must end in .png, .svg or .pdf")
    rows, pace = bench(), speed()
    if args.plot is not None:
        try:
            plot(args.plot)
        except ImportError as error:
            raise MissingExtraError("--plot needs matplotlib; install it with: pip install vtrack[plots]") from error
        except OSError as error:
            raise SinkError(f"{args.plot} cannot be written: {error.strerror}") from error
    if args.json:
        print(json.dumps({"smooth": [dataclasses.asdict(row) for row in rows], "speed": dataclasses.asdict(pace)}))
    else:
        print(smooth_table(rows, pace))
    return 0


def smooth_table(rows: list[Row], pace: Speed) -> str:
    """The table as people read it."""
    raw, clips = rows[0], list(rows[0].errors)
    lines = [
        "jitter: standard deviation on a still face; error: mean distance to the truth; both in % of the distance",
        "between the outer corners of the eyes. lag: frames on a moving face. blink: depth kept.",
        "",
        f"{'filter':10}{'jitter':>8}{'less by':>9}{'lag':>7}{'blink':>8}   error: "
        + "".join(f"{clip:>7}" for clip in clips),
    ]
    lines += [
        f"{row.filter:10}{row.jitter:8.3f}{raw.jitter / row.jitter:8.1f}x{row.lag:7.2f}{row.blink:7.1f}%{'':10}"
        + "".join(f"{row.errors[clip]:7.2f}" for clip in clips)
        for row in rows
    ]
    lines += [
        "",
        f"98 points: {pace.ours:.0f} µs a step, filterpy {pace.filterpy:.0f} µs: {pace.filterpy / pace.ours:.0f} times as fast",
    ]
    return "\n".join(lines)
