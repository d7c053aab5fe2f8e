"""`vtrack draw`: a table on its video."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vtrack.cli.options import add_options, given_options
from vtrack.cli.tables.options import add_table_options
from vtrack.cli.tables.progress import frame_bar
from vtrack.pipelines.settings import OutputSettings, Selection

EXAMPLES = """examples:
  vtrack draw talk.vtrack.csv talk.mp4                       talk.vtrack.mp4
  vtrack draw talk.vtrack.csv talk.mp4 --draw boxes,ids -o boxes.mp4
  vtrack draw talk.vtrack.parquet talk.mp4 --start 1:30 --stop 2:00 -o part.mp4
  vtrack draw fast.csv talk.mp4 --with accurate.csv          one table in orange, the other in blue
  vtrack draw clipDLC_resnet50.csv clip.mp4 -o clip-points.mp4
"""

LOOK = ("draw", "codec", "crf", "preset")


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "draw",
        help="draw a table on its video",
        description="Draw the faces of a table on the video that it was made of, with its sound: in other colours of the "
        "same run, without tracking again.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_table_options(parser)
    parser.add_argument("video", metavar="VIDEO", help="the video that the table was made of")
    parser.add_argument(
        "--with",
        dest="other",
        metavar="OTHER",
        help="another table of the video, drawn in blue; all of TABLE is orange then",
    )
    parser.add_argument("--other-parts", metavar="QUERY", help="what the points of OTHER are, if nothing tells")
    parser.add_argument("-o", "--output", metavar="FILE", help="video to write, beside the table by default")
    add_options(parser, OutputSettings, only=LOOK)
    add_options(parser, Selection)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw, and say what was written."""
    from vtrack.cli.main import OK
    from vtrack.pipelines.tables.draw import draw_table

    with frame_bar(quiet=args.quiet, every_frame=True) as progress:
        path, summary = draw_table(
            args.table,
            args.video,
            args.output,
            other=args.other,
            look=OutputSettings(**given_options(args, OutputSettings)),
            selection=given_options(args, Selection),
            parts=args.parts or "",
            other_parts=args.other_parts or "",
            overwrite=args.overwrite,
            progress=progress,
        )
    if not args.quiet:
        frames = "1 frame" if summary.frames == 1 else f"{summary.frames} frames"
        facts = f"{frames}, {summary.frames_with_faces} with faces, {summary.seconds:.1f} s, {summary.fps:.1f} fps"
        print(f"{Path(args.table).name}: {facts}\nwrote {path}", file=sys.stderr)
    if summary.interrupted:
        raise KeyboardInterrupt
    return OK
