"""`vtrack crops`: aligned crops of the faces of a table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vtrack.cli.options import add_options, given_options
from vtrack.cli.tables.options import add_table_options
from vtrack.cli.tables.progress import frame_bar
from vtrack.errors import UsageError
from vtrack.pipelines.settings import CropSettings, OutputSettings, Selection

EXAMPLES = """examples:
  vtrack crops talk.vtrack.csv talk.mp4                          talk.vtrack.crops/face-0/000000.png ...
  vtrack crops talk.vtrack.csv talk.mp4 --size 512 --margin 2 -o faces
  vtrack crops talk.vtrack.csv talk.mp4 --video --face 0         talk.vtrack.crops/face-0.mp4, with its sound
  vtrack crops talk.vtrack.csv talk.mp4 --align face --constant-scale --start 1:30 --stop 2:00
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "crops",
        help="cut the faces of a table out of its video, aligned",
        description="Cut the faces of a table out of the video that it was made of, each upright and at one place: a folder "
        "of pictures, or a stabilised video for each face. crops.csv has the matrix of each crop.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_table_options(parser)
    parser.add_argument("video_file", metavar="VIDEO", help="the video that the table was made of, or photographs")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder to write into, beside the table by default")
    parser.add_argument("--face", metavar="IDS", help="ids of the faces, as 0,2 (default: all)")
    add_options(parser, CropSettings)
    add_options(parser, OutputSettings, only=("codec", "crf", "preset"))
    add_options(parser, Selection)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Cut the crops, and say what was written."""
    from vtrack.cli.main import OK
    from vtrack.pipelines.tables.crops.crops import crop_table

    settings = CropSettings(**given_options(args, CropSettings))
    look = given_options(args, OutputSettings)
    if look and not settings.video:
        raise UsageError(f"--{next(iter(look))} applies to videos only; add --video")
    with frame_bar(quiet=args.quiet, every_frame=False) as progress:
        counts = crop_table(
            args.table,
            args.video_file,
            args.output,
            settings=settings,
            look=OutputSettings(**look),
            selection=Selection(**given_options(args, Selection)),
            faces=_ids(args.face),
            parts=args.parts or "",
            overwrite=args.overwrite,
            progress=progress,
        )
    if not args.quiet:
        faces = "1 face" if counts.faces == 1 else f"{counts.faces} faces"
        held = f", {counts.unaligned} of them held in place" if counts.unaligned else ""
        print(f"{Path(args.table).name}: {counts.crops} crops of {faces}{held}\nwrote {counts.folder}", file=sys.stderr)
    return OK


def _ids(text: str | None) -> tuple[int, ...]:
    """Ids by `0,2`."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    if wrong := [word for word in words if not word.isdecimal()]:
        raise UsageError(f"--face takes ids of faces, as 0,2, got {wrong[0]!r}")
    return tuple(map(int, words))
