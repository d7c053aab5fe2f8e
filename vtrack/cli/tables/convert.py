"""`vtrack convert`: a table in another format."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vtrack.cli.options import add_options
from vtrack.cli.tables.options import add_table_options
from vtrack.errors import UsageError, spelled
from vtrack.options import words
from vtrack.pipelines.registry import INTERCHANGE
from vtrack.pipelines.settings import OutputSettings

EXAMPLES = """examples:
  vtrack convert talk.vtrack.csv --to parquet          talk.vtrack.parquet
  vtrack convert talk.vtrack.parquet -o talk.csv       and back
  vtrack convert talk.vtrack.csv --to long             talk.vtrack.long.csv, a row for each point
  vtrack convert talk.vtrack.csv --to dlc -o - | head  as DeepLabCut writes it
  vtrack convert openface.csv --to wide                a table of OpenFace
  vtrack convert clipDLC_resnet50.csv -o clip.jsonl --fps 25
  vtrack convert mesh.npy -o mesh.csv --fps 30 --size 640x480      a dump of mediapipe's face mesh
  vtrack convert talk.vtrack.csv --to coco             talk.vtrack.json, COCO keypoints
  vtrack convert talk.vtrack.events.csv --to vtt       captions of blinks; or of a table with the columns raw
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "convert",
        help="write a table in another format",
        description="Write a table in another format, or a file for another program: times, faces and points stay the same. "
        "It reads the tables that vtrack writes, the CSV files of OpenFace and DeepLabCut, and dumps of mediapipe's face mesh "
        "(.csv, .json, .jsonl, .npy).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_table_options(parser)
    parser.add_argument(
        "--to",
        metavar="FORMAT",
        help="wide, long, openface, dlc (forms of CSV), jsonl, parquet; for other programs "
        f"{words([*INTERCHANGE])} (default: by -o's ending)",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="file to write, beside the table by default; - for stdout"
    )
    add_options(parser, OutputSettings, only=("columns",), groups={"outputs": parser})
    parser.add_argument(
        "--fps", type=float, metavar="RATE", help="frames per second of a table without times, as DeepLabCut's"
    )
    parser.add_argument(
        "--size",
        metavar="WxH",
        help="size of the frames in pixels, if no .meta.json beside the table tells; for dumps of mediapipe's face mesh",
    )
    parser.add_argument(
        "--max-faces",
        type=int,
        metavar="N",
        help="faces that --to dlc and dlc-h5 have columns for (default: the most of a frame)",
    )
    parser.set_defaults(run=run)


def _size(text: str | None) -> tuple[int, int] | None:
    """Width and height by `640x480`."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"{spelled('size')} is width and height in pixels, as 640x480, got {text!r}")
    return int(width), int(height)


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was written."""
    from vtrack.cli.main import OK
    from vtrack.pipelines.outputs.stdout import named
    from vtrack.pipelines.tables.convert import convert_table

    done = convert_table(
        args.table,
        args.to,
        args.output,
        columns=getattr(args, "columns", None),
        parts=args.parts or "",
        fps=args.fps,
        size=_size(args.size),
        max_faces=args.max_faces,
        overwrite=args.overwrite,
    )
    if not args.quiet:
        tracks = "1 track" if done.tracks == 1 else f"{done.tracks} tracks"
        count, what = (done.frames, "frame") if done.events is None else (done.events, "event")
        counted = f"1 {what}" if count == 1 else f"{count} {what}s"
        print(f"{Path(args.table).name}: {counted}, {tracks}\nwrote {named(done.path)}", file=sys.stderr)
    return OK
