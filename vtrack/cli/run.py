"""`vtrack run`: one video in, a table out, and an annotated video if wanted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtrack.cli.options import add_config_option, add_options, chosen_options, make_settings, refuse, worker_count
from vtrack.pipelines.registry import CSV_FORMATS, MEASURED_GROUPS, OUTPUTS
from vtrack.pipelines.settings import InputSettings, OutputSettings, Settings

if TYPE_CHECKING:
    from vtrack.pipelines.pipeline import Summary
    from vtrack.pipelines.sources.base import Source
    from vtrack.types import FrameResult

EXAMPLES = """examples:
  vtrack run input.mp4                               input.vtrack.csv with the whole face
  vtrack run input.mp4 --parts eyes,lips --video     and input.vtrack.mp4 with the points drawn
  vtrack run input.mp4 --parts lips:40,pupils -o out --parquet
  vtrack run lecture.mp4 --workers auto              an hour of video on all cores
  vtrack run talk.mkv --start 1:30 --stop 2:00 --max-faces 1 --smooth.lips 0.2
  ffmpeg ... -f matroska - | vtrack run - --csv - | head
  vtrack run photographs --parts eyes --pictures marked
  vtrack run rtsp://host/door --stop 60 --csv door.csv --detector mediapipe
"""

BESIDE = ""
"""What an output option holds when it was given without a path."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "run",
        help="track faces through one video, or find them in photographs",
        description="Track faces through one video, stream or folder of images; write a table and an annotated video. "
        "Photographs are images of different sizes or names; faces are found in each of them anew.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "input",
        help="video file, http/RTSP address, image, folder of images, quoted pattern like 'img/*.png', or - for a video "
        "from stdin",
    )
    add_config_option(parser)
    group = parser.add_argument_group("outputs", "A table beside the input, INPUT.vtrack.csv, unless told otherwise.")
    for name, entry in OUTPUTS.items():
        or_stdout = "; - for stdout" if entry.stdout else ""
        path = "DIR" if entry.folder else "PATH"
        group.add_argument(f"--{name}", nargs="?", const=BESIDE, metavar=path, help=f"write {entry.help}{or_stdout}")
    group.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="folder for outputs without a path; made if absent"
    )
    group.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    group.add_argument("--quiet", action="store_true", help="no progress and no summary")
    parser.add_argument(
        "--workers",
        default="1",
        metavar="N",
        help="processes that find faces in pieces of a video file of a minute or more; auto: one for each core; the outputs "
        "are the same (default: 1)",
    )
    add_options(parser, Settings, InputSettings, OutputSettings, groups={"outputs": group})
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Track, write, and say what was done."""
    values = run_values(args)
    settings, inputs = make_settings(Settings, values).check_used(args.given), make_settings(InputSettings, values)
    output = make_settings(OutputSettings, values).with_table().check_used(args.given)
    given = {name: getattr(args, name) or None for name in output.outputs}
    if all(given.values()):
        refuse(args, ["output"], "applies to outputs without a path only, and each has one")

    from vtrack.cli.main import FAILED, OK
    from vtrack.pipelines.outputs.paths import output_paths
    from vtrack.pipelines.outputs.stdout import STDOUT
    from vtrack.pipelines.pipeline import check_parts_known
    from vtrack.pipelines.run import record
    from vtrack.pipelines.sources.open import check_applies, open_source

    workers = worker_count(args.workers)
    outputs = output_paths(given, args.input, args.output)
    with open_source(args.input, **vars(inputs)) as source:
        check_applies(args.given, source)
        check_parts_known(settings)
        # Rows on a terminal and a bar would overwrite each other.
        rows = STDOUT in outputs.values() and sys.stdout is not None and sys.stdout.isatty()
        with _progress(source, args.quiet or rows) as (progress, watch_share):
            summary, pipeline = record(
                settings,
                inputs,
                output,
                source,
                outputs,
                folder=args.output,
                overwrite=args.overwrite,
                progress=progress,
                workers=workers,
                watch_share=watch_share,
            )
    if not args.quiet:
        single = source.info.photographs
        said = describe(source.info.name, summary, outputs, pipeline.detector.name, photographs=single)
        print(said, file=sys.stderr)
    if summary.interrupted:
        raise KeyboardInterrupt
    return FAILED if source.files and summary.damaged else OK


def run_values(args: argparse.Namespace) -> dict[str, Any]:
    """What was chosen on the command line and in the configuration file, by the names of settings."""
    values = chosen_options(args, Settings, InputSettings, OutputSettings)
    if outputs := tuple(name for name in OUTPUTS if getattr(args, name) not in (None, False)):
        values["outputs"] = outputs
    table = CSV_FORMATS.get(values.get("format", OutputSettings.format))
    if table is not None and table.parts:
        values.setdefault("parts", table.parts)
    columns = values.get("columns", OutputSettings.columns)
    # Measures in the table need measured faces, and who measures wants to see it in the table; so do pose and expressions.
    if asked := [name for name in MEASURED_GROUPS if name in columns or values.get(name)]:
        values |= {**dict.fromkeys(asked, True), "columns": (*columns, *asked)}
    if any(OUTPUTS[name].measures for name in values.get("outputs", ())):
        values["measures"] = True
    return values


def describe(name: str, summary: Summary, outputs: dict[str, Path], detector: str, *, photographs: bool = False) -> str:
    """What a run did, in a line or two."""
    from vtrack.pipelines.outputs.stdout import named

    frame, track, damaged = ("photograph", "face", "file") if photographs else ("frame", "track", "damaged part")
    facts = [
        _count(summary.frames, frame),
        f"{summary.frames_with_faces} with faces",
        _count(summary.tracks, track),
        f"{summary.seconds:.1f} s",
        f"{summary.fps:.1f} fps",
        f"detector {detector}",
    ]
    if summary.damaged:
        facts.append(f"{_count(summary.damaged, damaged)} skipped")
    if summary.absurd:
        facts.append(f"{_count(summary.absurd, 'absurd point')} replaced")
    return f"{name}: {', '.join(facts)}\nwrote {', '.join(map(named, outputs.values()))}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@contextmanager
def _progress(
    source: Source, quiet: bool
) -> Iterator[tuple[Callable[[FrameResult], object], Callable[[float], object]]]:
    """A bar with frames, frames per second and time left, on a terminal only: what is called with each result, and what is
    called before with the share of the video in which workers have found the faces.
    """
    if quiet or not sys.stderr.isatty():
        yield (lambda result: None), (lambda share: None)
        return
    from tqdm import tqdm

    name = source.info.name
    with tqdm(total=source.expected, desc=name, unit=" frames", leave=False) as bar:
        written = 0

        def show_share(share: float) -> None:
            bar.set_description(f"{name}, faces", refresh=False)
            bar.update(int(share * (source.expected or 0)) - bar.n)

        def show_result(result: FrameResult) -> None:
            nonlocal written
            if not written and bar.n:
                bar.reset()
                bar.set_description(f"{name}, outputs", refresh=False)
            written += 1
            bar.update()

        yield show_result, show_share
