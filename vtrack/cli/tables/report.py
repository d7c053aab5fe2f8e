"""`vtrack report`: a table, or a folder of tables, as HTML pages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vtrack.cli.tables.options import add_table_options
from vtrack.cli.tables.progress import result_bar
from vtrack.errors import UsageError

EXAMPLES = """examples:
  vtrack report talk.vtrack.csv                        talk.vtrack.report.html
  vtrack report talk.vtrack.csv --video talk.mp4       its pictures out of this file
  vtrack report talk.vtrack.parquet -o talk.html
  vtrack report talk.vtrack.csv --check talk.quality.csv      with what vtrack check --csv found
  vtrack report out                                    a page for each table below out, and out/report.html
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "report",
        help="show a table as a page: what is doubtful, a timeline, plots",
        description="Make a page of a table: where not to trust it, with pictures; a timeline of the faces; confidence, eyes, "
        "mouth and head pose over time; settings and speed of the run. The page is one HTML file that needs no network. "
        "Of a folder each table gets a page, unless there is one that is newer, and report.html is their index.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_table_options(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="page to write (default: TABLE.report.html); of a folder the index"
    )
    parser.add_argument(
        "--video", metavar="VIDEO", help="what the table was made of, for pictures (default: as its .meta.json says)"
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="what vtrack check --csv wrote: its estimated errors and reasons are shown, too",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the page, and say what was written."""
    from vtrack.cli.main import OK
    from vtrack.pipelines.tables.report.report import report_table

    if args.table and Path(args.table).is_dir():  # an empty name is no folder, and least of all this one
        return _run_folder(args)
    report = report_table(
        args.table,
        args.output,
        video=args.video,
        check=args.check,
        parts=args.parts or "",
        overwrite=args.overwrite,
        progress=result_bar(Path(args.table).name, quiet=args.quiet),
    )
    if not args.quiet:
        survey = report.survey
        frames = "1 frame" if survey.course.frames == 1 else f"{survey.course.frames} frames"
        doubtful = "1 doubtful stretch" if survey.stretches == 1 else f"{survey.stretches} doubtful stretches"
        without = "" if report.stills else ", without pictures"
        print(f"{Path(args.table).name}: {frames}, {doubtful}{without}\nwrote {report.path}", file=sys.stderr)
    return OK


def _run_folder(args: argparse.Namespace) -> int:
    """Make the pages of a folder and their index, and say what was written."""
    from tqdm import tqdm

    from vtrack.cli.main import FAILED, OK
    from vtrack.pipelines.tables.report.folder import report_folder

    of_table = {"--video": args.video, "--parts": args.parts, "--check": args.check}
    if name := next((name for name, value in of_table.items() if value is not None), None):
        raise UsageError(f"{name} is of one table, and {args.table} is a folder; give the table")
    hidden = args.quiet or not sys.stderr.isatty()
    report = report_folder(
        args.table,
        args.output,
        overwrite=args.overwrite,
        progress=lambda tables: tqdm(tables, desc=Path(args.table).name, unit=" tables", disable=hidden, leave=False),
    )
    failed = [row for row in report.rows if row.error]
    if not args.quiet:
        tables = "1 table" if len(report.rows) == 1 else f"{len(report.rows)} tables"
        pages = "1 page" if report.made == 1 else f"{report.made} pages"
        print(f"{args.table}: {tables}, {pages} made\nwrote {report.index}", file=sys.stderr)
    for row in failed:
        print(f"vtrack: {row.name}: {row.error}", file=sys.stderr)
    return FAILED if failed else OK
