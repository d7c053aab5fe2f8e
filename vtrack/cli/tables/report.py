"""`vtrack report`: a table, or a folder of tables, as HTML pages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtrack.cli.tables.options import add_table_options

if TYPE_CHECKING:
    from vtrack.types import FrameResult

EXAMPLES = """examples:
  vtrack report talk.vtrack.csv                        talk.vtrack.report.html
  vtrack report talk.vtrack.csv --video talk.mp4       its pictures out of this file
  vtrack report talk.vtrack.parquet -o talk.html
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "report",
        help="show a table as a page: what is doubtful, a timeline, plots",
        description="Make a page of a table: where not to trust it, with pictures; a timeline of the faces; confidence, eyes, "
        "mouth and head pose over time; settings and speed of the run. The page is one HTML file that needs no network.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_table_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="page to write, TABLE.report.html by default")
    parser.add_argument(
        "--video", metavar="VIDEO", help="what the table was made of, for pictures (default: as its .meta.json says)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the page, and say what was written."""
    from vtrack.cli.main import OK
    from vtrack.pipelines.tables.report.report import report_table

    report = report_table(
        args.table,
        args.output,
        video=args.video,
        parts=args.parts or "",
        overwrite=args.overwrite,
        progress=_bar(Path(args.table).name, quiet=args.quiet),
    )
    if not args.quiet:
        survey = report.survey
        frames = "1 frame" if survey.course.frames == 1 else f"{survey.course.frames} frames"
        doubtful = "1 doubtful stretch" if survey.stretches == 1 else f"{survey.stretches} doubtful stretches"
        without = "" if report.stills else ", without pictures"
        print(f"{Path(args.table).name}: {frames}, {doubtful}{without}\nwrote {report.path}", file=sys.stderr)
    return OK


def _bar(name: str, *, quiet: bool) -> Any:
    """What counts the frames of a table on a terminal."""

    def counted(results: Iterator[FrameResult]) -> Iterator[FrameResult]:
        from tqdm import tqdm

        hidden = quiet or not sys.stderr.isatty()
        yield from tqdm(results, desc=name, unit=" frames", disable=hidden, leave=False)

    return counted
