"""`vtrack check`: how good a table is, without labels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vtrack.cli.tables.options import add_table_options
from vtrack.cli.tables.progress import result_bar
from vtrack.errors import UsageError, spelled

EXAMPLES = """examples:
  vtrack check talk.vtrack.csv talk.mp4                    how far off the points are, and where not to trust them
  vtrack check talk.vtrack.csv                             by the table alone
  vtrack check talk.vtrack.csv talk.mp4 --csv talk.quality.csv --json talk.quality.json
  vtrack check clipDLC_resnet50.csv clip.mp4 --fps 25      a table without times
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "check",
        help="estimate how far off the points of a table are, without labels",
        description="Estimate for each face and second how far off the points of a table are, in % of the distance between the "
        "outer eye corners, and list where not to trust them, with the reasons. It needs no labels and no model. With the "
        "video the motion of the points is compared with that of the picture.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_table_options(parser)
    parser.add_argument("video", metavar="VIDEO", nargs="?", help="the video that the table was made of")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write each face and second, with its signals")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON; - for stdout")
    parser.add_argument(
        "--worst",
        type=int,
        default=12,
        metavar="N",
        help="number of the worst doubtful stretches, 0 to 99 (default: %(default)s)",
    )
    parser.add_argument(
        "--fps", type=float, metavar="RATE", help="frames per second of a table without times, as DeepLabCut's"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, print the figures, and say what was written."""
    from vtrack.cli.main import OK
    from vtrack.pipelines.outputs.files import write_text
    from vtrack.pipelines.outputs.stdout import STDOUT
    from vtrack.pipelines.tables.quality.check import check_table
    from vtrack.pipelines.tables.quality.text import check_text
    from vtrack.pipelines.tables.targets import check_targets

    if not 0 <= args.worst <= 99:
        raise UsageError(f"{spelled('worst')} must lie in 0..99, got {args.worst}")
    if args.csv == STDOUT:
        raise UsageError(f"{spelled('csv')} writes a file; give its path")
    written = [path for path in (args.csv, args.json) if path is not None]
    check_targets(written, args.table, args.video, overwrite=args.overwrite)
    check = check_table(
        args.table,
        args.video,
        csv=args.csv,
        parts=args.parts or "",
        fps=args.fps,
        worst=args.worst,
        overwrite=args.overwrite,
        progress=result_bar(Path(args.table).name, quiet=args.quiet),
    )
    if args.json == STDOUT:
        sys.stdout.write(check.to_json())
    elif not args.quiet:
        sys.stdout.write(check_text(check, Path(args.table).name))
    if args.json is not None and args.json != STDOUT:
        write_text(args.json, check.to_json(), overwrite=args.overwrite)
    if not args.quiet:
        sys.stderr.write("".join(f"wrote {path}\n" for path in written if path != STDOUT))
    return OK
