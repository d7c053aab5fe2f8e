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

SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"
"""A filmed face of known motion."""

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
    from pipelines.smooth_clips import filmed

    if args.plot is not None and args.plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot: {args.plot} must end in .png, .svg or .pdf")
    sample = SAMPLE if SAMPLE.exists() else None
    rows, film, pace = bench(), bench(filmed(sample)) if sample else [], speed()
    if args.plot is not None:
        try:
            plot(args.plot)
        except ImportError as error:
            raise MissingExtraError("--plot needs matplotlib; install it with: pip install vtrack[plots]") from error
        except OSError as error:
            raise SinkError(f"{args.plot} cannot be written: {error.strerror}") from error
    if args.json:
        tables = {
            name: [dataclasses.asdict(row) for row in table] for name, table in (("smooth", rows), ("film", film))
        }
        print(json.dumps({**tables, "speed": dataclasses.asdict(pace)}))
    else:
        print(smooth_table(rows, film, pace))
    return 0


def smooth_table(rows: list[Row], film: list[Row], pace: Speed) -> str:
    """The tables as people read them."""
    lines = [
        "jitter: standard deviation on a still face; error: mean distance to the truth; both in % of the distance",
        "between the outer corners of the eyes. lag: frames on a moving face. blink: depth kept.",
        "",
        "Faces of made-up motion and noise:",
        *_figures(rows),
        "",
    ]
    if film:
        lines += ["samples/sample.mp4 as the model `fast` sees it, and its first frame under a sensor's noise:"]
        lines += [*_figures(film), ""]
    else:
        lines += ["Nothing was measured on film: samples/sample.mp4, which comes with the source, is not here.", ""]
    return "\n".join(
        [
            *lines,
            f"98 points: {pace.ours:.0f} µs a step, filterpy {pace.filterpy:.0f} µs: "
            f"{pace.filterpy / pace.ours:.0f} times as fast",
        ]
    )


def _figures(rows: list[Row]) -> list[str]:
    raw, clips = rows[0], list(rows[0].errors)
    head = f"{'filter':10}{'jitter':>8}{'less by':>9}{'lag':>7}{'blink':>8}   error: "
    return [head + "".join(f"{clip:>8}" for clip in clips)] + [
        f"{row.filter:10}{row.jitter:8.3f}{raw.jitter / row.jitter:8.1f}x{row.lag:7.2f}{row.blink:7.1f}%{'':10}"
        + "".join(f"{row.errors[clip]:8.3f}" for clip in clips)
        for row in rows
    ]
