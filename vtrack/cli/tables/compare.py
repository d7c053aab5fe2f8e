"""`vtrack compare`: how far apart two tables of one video are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Literal

from vtrack.errors import UsageError, spelled

EXAMPLES = """examples:
  vtrack compare fast.csv accurate.csv                           two models
  vtrack compare talk.vtrack.csv hands.csv                       a table and labels by hand
  vtrack compare talk.vtrack.csv openface.csv --json out.json    another program, all figures
  vtrack compare a.csv b.csv talk.mp4 --pictures worst           the worst frames, both sets of points on them
  vtrack compare talk.csv openface.csv --measures --shift auto   eyes, mouth and head turn; frames that lag behind
  vtrack compare talk.csv clipDLC_resnet50.csv --same nose_bridge_3=nosetip
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "compare",
        help="compare two tables of one video",
        description="Compare two tables of one video: two runs, two models, another program's table or labels by hand. "
        "Faces are paired by position, points by part and place on it. Offsets are A minus B; percentages are of the distance "
        "between the outer eye corners, as B has them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "first", metavar="A", help="table to read: .csv, .jsonl or .parquet, OpenFace's or DeepLabCut's"
    )
    parser.add_argument("second", metavar="B", help="the table to compare it with")
    parser.add_argument("video", metavar="VIDEO", nargs="?", help="what both were made of; needed by --pictures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON; - for stdout")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write pictures of the worst frames into a folder")
    parser.add_argument(
        "--worst", type=int, default=12, metavar="N", help="number of the worst frames, 0 to 99 (default: %(default)s)"
    )
    parser.add_argument("--parts", metavar="QUERY", help="what the points of A are, if no .meta.json beside it tells")
    parser.add_argument("--other-parts", metavar="QUERY", help="what the points of B are, if nothing tells")
    parser.add_argument(
        "--same", metavar="A=B,...", help="points of A that are called differently in B, as nose_bridge_3=nosetip"
    )
    parser.add_argument(
        "--fps", type=float, metavar="RATE", help="frames per second, where neither table has times (DeepLabCut's)"
    )
    parser.add_argument(
        "--shift",
        default="0",
        metavar="FRAMES",
        help="by how many frames B lags behind A; auto: as their motion tells (default: %(default)s)",
    )
    parser.add_argument(
        "--measures",
        action="store_true",
        help="measure eyes, mouth, brows and head turn of tables that lack these columns, and compare them",
    )
    parser.add_argument("--ignore-times", action="store_true", help="pair frames by their numbers alone")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    parser.add_argument("--quiet", action="store_true", help="no text on the screen")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print the figures, and say what was written."""
    from vtrack.cli.main import OK
    from vtrack.pipelines.outputs.stdout import STDOUT
    from vtrack.pipelines.tables.comparison.compare import compare_tables
    from vtrack.pipelines.tables.comparison.pictures import check_folder, save_pictures
    from vtrack.pipelines.tables.comparison.report import comparison_text, save_comparison
    from vtrack.pipelines.tables.targets import check_targets

    if not 0 <= args.worst <= 99:
        raise UsageError(f"{spelled('worst')} must lie in 0..99, got {args.worst}")
    if args.pictures is not None:
        if args.video is None:
            raise UsageError(
                f"{spelled('pictures')} needs the video: vtrack compare A B VIDEO {spelled('pictures', 'DIR')}"
            )
        check_folder(args.pictures, overwrite=args.overwrite)
    elif args.video is not None:
        raise UsageError(f"a video is needed for {spelled('pictures', 'DIR')} alone; add it or leave {args.video} out")
    if args.json is not None:
        check_targets([args.json], args.first, args.second, args.video, overwrite=args.overwrite)
    comparison = compare_tables(
        args.first,
        args.second,
        fps=args.fps,
        parts=args.parts or "",
        other_parts=args.other_parts or "",
        same=_pairs_of_names(args.same),
        ignore_times=args.ignore_times,
        shift=_shift(args.shift),
        measure=args.measures,
        worst=args.worst,
    )
    written = []
    if args.json == STDOUT:
        sys.stdout.write(comparison.to_json())
    elif not args.quiet:
        sys.stdout.write(comparison_text(comparison))
    if args.json is not None and args.json != STDOUT:
        save_comparison(comparison, args.json, overwrite=args.overwrite)
        written.append(str(args.json))
    if args.pictures is not None and args.video is not None:
        names = Path(args.first).name, Path(args.second).name
        pictures = save_pictures(
            comparison.worst, args.video, args.pictures, names, times=comparison.timed and not args.ignore_times
        )
        written.append(f"{len(pictures)} pictures to {args.pictures}")
    if written and not args.quiet:
        sys.stderr.write("".join(f"wrote {each}\n" for each in written))
    return OK


def _shift(text: str) -> int | Literal["auto"]:
    """A number of frames, or `auto`."""
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{spelled('shift')} is a whole number of frames, or auto, got {text!r}") from error


def _pairs_of_names(text: str | None) -> dict[str, str]:
    """Names of points by `NAME=NAME,NAME=NAME`."""
    pairs = {}
    for pair in filter(None, (text or "").split(",")):
        name, sign, other = (word.strip() for word in pair.partition("="))
        if not (name and sign and other):
            raise UsageError(f"{spelled('same')} takes pairs of names, nose_bridge_3=nosetip, got {pair!r}")
        pairs[name] = other
    return pairs
