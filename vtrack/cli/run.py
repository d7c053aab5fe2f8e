"""`vtrack run`: one video in, a table out, and an annotated video if wanted."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vtrack.errors import SinkError
from vtrack.parts import GROUPS, PARTS

if TYPE_CHECKING:
    from vtrack.pipelines.pipeline import Summary
    from vtrack.pipelines.settings import OutputSettings
    from vtrack.pipelines.sources.base import Source
    from vtrack.types import FrameResult

EXAMPLES = """examples:
  vtrack run input.mp4                               input.vtrack.csv with the whole face
  vtrack run input.mp4 --parts eyes,lips --video     and input.vtrack.mp4 with the points drawn
  vtrack run input.mp4 --parts lips:40,pupils -o out --parquet
  vtrack run talk.mkv --start 1:30 --stop 2:00 --max-faces 1 --smooth.lips 0.2
  vtrack run rtsp://host/door --stop 60 --csv door.csv --detector mediapipe
"""

OUTPUTS = {
    "csv": "a CSV table",
    "jsonl": "JSON lines, one frame a line",
    "parquet": "a Parquet table",
    "video": "an annotated video",
}
BESIDE = ""
"""What an output option holds when it was given without a path."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `vtrack`."""
    parser = commands.add_parser(
        "run",
        help="track faces through one video",
        description="Track faces through one video, stream or folder of images; write a table and an annotated video.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "input", help="video file, http/RTSP address, folder of images or quoted pattern like 'img/*.png'"
    )
    parser.add_argument(
        "--parts", default="face", metavar="QUERY", help="what to track: `eyes,lips:40` (default: face)"
    )
    add_output_options(parser)
    add_tracking_options(parser)
    add_decoding_options(parser)
    parser.set_defaults(run=run)


def add_decoding_options(parser: argparse._ActionsContainer) -> None:
    """What decodes the video."""
    parser.add_argument(
        "--hwaccel",
        default="none",
        metavar="NAME",
        help="decode on cuda (NVDEC), qsv, videotoolbox ... (default: none)",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """What is written, and where."""
    group = parser.add_argument_group("outputs", "A table beside the input, INPUT.vtrack.csv, unless told otherwise.")
    for name, what in OUTPUTS.items():
        group.add_argument(f"--{name}", nargs="?", const=BESIDE, metavar="PATH", help=f"write {what}")
    group.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="folder for outputs without a path; made if absent"
    )
    group.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    add_looks_options(group)


def add_looks_options(group: argparse._ArgumentGroup) -> None:
    """How outputs look, and how much is said meanwhile."""
    group.add_argument("--format", default="wide", metavar="NAME", help="of the CSV: wide, long, openface, dlc")
    group.add_argument(
        "--columns",
        type=names,
        action="extend",
        default=[],
        metavar="NAMES",
        help="extra columns: raw,inside,measures",
    )
    group.add_argument(
        "--measures",
        dest="columns",
        action="append_const",
        const="measures",
        help="columns of eye opening, blinks, mouth, brows, smile and head turn; the same as --columns measures",
    )
    group.add_argument("--draw", default="points,curves", metavar="NAMES", help="points,curves,boxes,ids or none")
    group.add_argument("--codec", default="h264", help="of the video: h264, hevc (default: h264)")
    group.add_argument("--crf", type=int, help="quality of the video, 0 best to 51 smallest")
    group.add_argument("--preset", default="veryfast", help="effort of the video encoder, ultrafast to veryslow")
    group.add_argument("--quiet", action="store_true", help="no progress and no summary")


def add_tracking_options(parser: argparse.ArgumentParser) -> None:
    """What is read of the input, and how faces are found, followed and smoothed."""
    group = parser.add_argument_group("input")
    group.add_argument("--start", type=seconds, metavar="TIME", help="first moment, in seconds or [h:]mm:ss")
    group.add_argument("--stop", type=seconds, metavar="TIME", help="moment to stop before")
    group.add_argument("--every", type=int, default=1, metavar="N", help="take each N-th frame (default: 1)")
    add_face_options(parser, smooth="rts", choices="rts (no lag), kalman, one-euro or none")


def add_face_options(parser: argparse.ArgumentParser, *, smooth: str, choices: str) -> None:
    """How faces are found, followed and smoothed."""
    group = parser.add_argument_group("faces")
    group.add_argument("--model", default="fast", help="landmark model, see `vtrack models` (default: fast)")
    group.add_argument("--detector", default="auto", help="auto, native, mediapipe, yunet or boxes (default: auto)")
    group.add_argument("--detector-model", type=Path, metavar="PATH", help="file that the detector is read from")
    group.add_argument("--detect-size", type=int, metavar="PIXELS", help="longer side of the picture that is searched")
    group.add_argument("--small-faces", action="store_true", help="search larger pictures, for small and far faces")
    group.add_argument(
        "--detect-every", type=float, metavar="SECONDS", help="time between detections, 0..1 (default: 0.3)"
    )
    group.add_argument("--max-faces", type=int, metavar="N", help="keep at most the N largest faces")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    group.add_argument("--engine", default="auto", help="auto, torch, onnx, int8 or bf16 (default: auto)")

    group = parser.add_argument_group("smoothing")
    group.add_argument("--smooth", default=smooth, help=f"{choices} (default: {smooth})")
    group.add_argument("--smooth.strength", dest="strength", type=float, metavar="0..1", help="of all parts")
    group.description = (
        "`--smooth.PART 0..1` gives one part, one group or the head a strength of its own: --smooth.lips 0.2"
    )
    for part in ("head", *GROUPS, *PARTS):
        group.add_argument(f"--smooth.{part}", type=float, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Track, write, and say what was done."""
    from vtrack.pipelines.outputs.base import check_outputs, write_sidecar
    from vtrack.pipelines.outputs.open import make_sinks
    from vtrack.pipelines.pipeline import Pipeline
    from vtrack.pipelines.pipeline import run as send
    from vtrack.pipelines.settings import Settings
    from vtrack.pipelines.sources.open import open_source
    from vtrack.runtime.threads import interruptible

    settings = Settings(args.parts, **tracking_settings(args)).check_used()
    outputs = output_paths(args)
    look = output_settings(args, outputs).check_used()
    with open_source(args.input, start=args.start, stop=args.stop, every=args.every, hwaccel=args.hwaccel) as source:
        if args.output is not None:
            _make_folder(args.output)
        check_outputs(list(outputs.values()), source=args.input, overwrite=args.overwrite)
        sinks = make_sinks(outputs, look, settings.query, source, max_faces=settings.max_faces)
        pipeline = Pipeline(settings)
        with interruptible() as stop, _progress(source, args.quiet) as progress:
            summary = send(pipeline, source, sinks, stop=stop, progress=progress, pixels="video" in outputs)
    if outputs:
        write_sidecar(
            next(iter(outputs.values())),
            options=_plain_options(args),
            model=pipeline.card,
            source=dataclasses.asdict(source.info),
            counts=dataclasses.asdict(summary),
        )
    if not args.quiet:
        print(describe(source.info.name, summary, outputs, pipeline.detector.name), file=sys.stderr)
    if summary.interrupted:
        raise KeyboardInterrupt
    return 0


def tracking_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_tracking_options` as `Settings` takes them; what was not given is left to its default."""
    strengths = {
        name.removeprefix("smooth."): value for name, value in vars(args).items() if name.startswith("smooth.")
    }
    settings = {
        "model": args.model,
        "detector": args.detector,
        "device": args.device,
        "engine": args.engine,
        "max_faces": args.max_faces,
        "detect_every": args.detect_every,
        "smooth": args.smooth,
        "measures": "measures" in args.columns,
        "detector_model": args.detector_model,
        "detect_size": args.detect_size,
        "small_faces": args.small_faces,
        "strength": args.strength,
        "strengths": {part: value for part, value in strengths.items() if value is not None},
    }
    return {name: value for name, value in settings.items() if value is not None}


def output_paths(args: argparse.Namespace) -> dict[str, Path]:
    """The path of each output, by its option. A table in CSV comes unless another table was asked for."""
    from vtrack.pipelines.registry import SUFFIXES, TABLES

    asked = {name: getattr(args, name) for name in SUFFIXES if getattr(args, name) is not None}
    if not any(table in asked for table in TABLES):
        asked = {"csv": BESIDE, **asked}
    beside = default_output(args.input, args.output)
    return {
        name: Path(path) if path != BESIDE else beside.with_name(beside.name + SUFFIXES[name])
        for name, path in asked.items()
    }


def default_output(source: str, folder: Path | None) -> Path:
    """Where outputs go, but for their suffix: beside the input, or in `folder`; for an address here."""
    from vtrack.pipelines.sources.open import is_address

    if is_address(source):
        name, beside = Path(urlsplit(source).path).stem or "stream", Path()
    else:
        path = Path(source).absolute()
        # A pattern stands for its folder.
        path = path.parent if any(mark in path.name for mark in "*?[") and not path.exists() else path
        name, beside = path.name if path.is_dir() else path.stem, path.parent
    return (folder or beside) / f"{name}.vtrack"


def output_settings(args: argparse.Namespace, outputs: Collection[str]) -> OutputSettings:
    """The options of `add_looks_options` as the sinks take them."""
    from vtrack.pipelines.settings import OutputSettings

    return OutputSettings(
        outputs=tuple(outputs),
        format=args.format,
        columns=tuple(args.columns),
        draw=args.draw,
        codec=args.codec,
        crf=args.crf,
        preset=args.preset,
    )


def describe(name: str, summary: Summary, outputs: dict[str, Path], detector: str) -> str:
    """What a run did, in a line or two."""
    facts = [
        _count(summary.frames, "frame"),
        f"{summary.frames_with_faces} with faces",
        _count(summary.tracks, "track"),
        f"{summary.seconds:.1f} s",
        f"{summary.fps:.1f} fps",
        f"detector {detector}",
    ]
    if summary.damaged:
        facts.append(f"{_count(summary.damaged, 'damaged part')} skipped")
    return f"{name}: {', '.join(facts)}\nwrote {', '.join(str(path) for path in outputs.values())}"


def _plain_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options as given; those of single parts only where they were."""
    skipped = {"run", "command"}
    return {
        name: value
        for name, value in vars(args).items()
        if name not in skipped and not (name.startswith("smooth.") and value is None)
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {path}: {error.strerror or error}") from error


@contextmanager
def _progress(source: Source, quiet: bool) -> Iterator[Callable[[FrameResult], object]]:
    """A bar with frames, frames per second and time left, on a terminal only."""
    from tqdm import tqdm

    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=source.expected, desc=source.info.name, unit=" frames", disable=hidden, leave=False) as bar:
        yield lambda result: bar.update()


def seconds(text: str) -> float:
    """`90`, `1:30` and `0:01:30.5` as seconds."""
    if re.fullmatch(r"(?:(?:\d+:[0-5]?\d|\d+):[0-5]?\d|\d+)(?:\.\d*)?", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write seconds or [h:]mm:ss")
    time = 0.0
    for piece in text.split(":"):
        time = time * 60 + float(piece)
    return time


def names(text: str) -> tuple[str, ...]:
    """`a,b` as a tuple."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
