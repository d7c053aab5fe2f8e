"""`vtrack refine`: smoothing and measures anew, from the raw columns of a table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vtrack.cli.options import add_options, given_options
from vtrack.cli.tables.options import add_table_options
from vtrack.pipelines.registry import MEASURED_GROUPS, OUTPUTS
from vtrack.pipelines.settings import EXPRESSION, SMOOTHING, SPACE, OutputSettings, Settings

EXAMPLES = """examples:
  vtrack run talk.mp4 --columns raw,measures                talk.vtrack.csv, once
  vtrack refine talk.vtrack.csv --smooth.strength 0.3       talk.vtrack.refined.csv
  vtrack refine talk.vtrack.csv --smooth none -o plain.parquet
  vtrack refine talk.vtrack.csv --smooth.lips 0.2 --parts lips:40 -o lips.csv
  vtrack refine talk.vtrack.csv --events                    talk.vtrack.refined.events.csv
"""

BESIDE = ""
"""What `--events` holds when it was given without a path."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "refine",
        help="smooth and measure the faces of a table anew",
        description="Smooth and measure the faces of a table anew, as a run with these settings would have done it, without "
        "tracking again. The table needs the columns raw, and its .meta.json beside it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_table_options(
        parser, "points of the new table: of the same parts, between its points by curves (default: as the table)"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="table to write, TABLE.refined.csv by default; - for stdout"
    )
    parser.add_argument(
        "--to",
        metavar="FORMAT",
        help="wide, long (forms of CSV), jsonl or parquet (default: as the table, or by -o's ending)",
    )
    parser.add_argument(
        "--events",
        nargs="?",
        const=BESIDE,
        metavar="PATH",
        help=f"write {OUTPUTS['events'].help}; - for stdout; alone unless -o or --to is given",
    )
    add_options(
        parser,
        OutputSettings,
        Settings,
        only=("columns", *MEASURED_GROUPS),
        groups={"outputs": parser, "faces": parser},
        default="as the table",
    )
    add_options(
        parser, Settings, only=(*SMOOTHING, *SPACE, *EXPRESSION), groups={"faces": parser}, default="as the run"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Refine, and say what was written."""
    from vtrack.cli.main import OK
    from vtrack.pipelines.outputs.stdout import named
    from vtrack.pipelines.tables.refine import refine_table

    given = given_options(args, Settings)
    done = refine_table(
        args.table,
        args.output,
        to=args.to,
        events=True if args.events == BESIDE else args.events,
        parts=args.parts,
        columns=getattr(args, "columns", None),
        overwrite=args.overwrite,
        **{name: given[name] for name in (*SMOOTHING, *MEASURED_GROUPS, *SPACE, *EXPRESSION) if name in given},
    )
    if not args.quiet:
        counts = done.counts
        tracks = "1 track" if counts["tracks"] == 1 else f"{counts['tracks']} tracks"
        frames = "1 frame" if counts["frames"] == 1 else f"{counts['frames']} frames"
        said = f"{frames}, {counts['frames_with_faces']} with faces, {tracks}"
        print(f"{Path(args.table).name}: {said}\nwrote {', '.join(map(named, done.paths))}", file=sys.stderr)
    return OK
