"""`vtrack bench`: how fast vtrack and its pieces are, and how good its smoothing, measured on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from vtrack.cli.options import add_options, given_options, make_settings, refuse
from vtrack.errors import MissingExtraError, SinkError, UsageError
from vtrack.pipelines.settings import InputSettings, Settings

if TYPE_CHECKING:
    from vtrack.pipelines.bench.models import ModelTime
    from vtrack.pipelines.bench.runner import Program
    from vtrack.pipelines.bench.smoothing import FilterScores, FilterSpeed
    from vtrack.pipelines.bench.suite.clips import SuiteClip

SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"
"""A filmed face of known motion."""

EXAMPLE = """examples:
  vtrack bench clip.mp4 --against mediapipe --plot speed.png
  vtrack bench clip.mp4 --video --rounds 3               and with an annotated video, beside the encoder alone
  vtrack bench --suite --plot suite.png                  clips of twelve kinds, beside mediapipe if it is installed
  vtrack bench --suite --clips DIR --seconds 4           the videos of a folder instead
  vtrack bench --model fast                              ms a face by batch and number of points
  vtrack bench --smooth
  vtrack bench --smooth --plot traces.png"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "bench",
        help="measure how good and how fast the pieces are",
        description="Measure, on this machine, how many frames a second vtrack takes on a video or on clips of many kinds, how "
        "long a landmark model takes for a face, or how good smoothing is.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", nargs="?", metavar="VIDEO", help="a video to run over, from decoding to the table")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--suite", action="store_true", help="run over clips of many kinds; a table of ratios")
    what.add_argument("--smooth", action="store_true", help="jitter, lag, error and blinks with each kind of smoothing")
    what.add_argument(
        "--model", nargs="?", const=Settings.model, metavar="NAME", help="ms a face of a landmark model alone"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--plot", type=Path, metavar="OUT.png", help="draw bars (VIDEO, --suite), or truth, raw and smooth (--smooth)"
    )
    group = parser.add_argument_group("with VIDEO or --suite")
    group.add_argument(
        "--parts", default="300w", metavar="QUERY", help="what to track (default: the 68 points of 300w)"
    )
    group.add_argument("--faces", type=int, default=1, metavar="N", help="faces to follow at most (default: 1)")
    group.add_argument(
        "--against", metavar="PROGRAM", help="run this too, on the same video: mediapipe, or the folder of a checkout of "
        "another version of vtrack (default for --suite: mediapipe if it is installed)",
    )  # fmt: skip
    group.add_argument("--against-python", metavar="PATH", help="the Python that has mediapipe (default: this one)")
    group.add_argument("--video", action="store_true", help="also with an annotated video, and the encoder alone")
    group.add_argument("--decoder", action="store_true", help="also the decoder alone")
    add_options(parser, Settings, InputSettings, only=("device", "hwaccel"), groups={"faces": parser, "input": group})
    group.add_argument(
        "--rounds", type=int, metavar="N", help="turns of each program (default: 5; on each clip of --suite 3)"
    )
    suite = parser.add_argument_group("with --suite")
    suite.add_argument(
        "--clips", type=Path, metavar="DIR", help="run over the videos of this folder instead of made ones"
    )
    suite.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep made clips in this folder, and use those that are there"
    )
    suite.add_argument("--only", metavar="NAMES", help="clips to run over: talk-small,crowd (default: all)")
    suite.add_argument("--seconds", type=float, default=6.0, metavar="S", help="longest part of a clip (default: 6)")
    parser.set_defaults(run=run)


_OF_RUNS = ("parts", "faces", "against", "against_python", "hwaccel", "rounds")
"""Options that mean nothing without a VIDEO or clips."""
_OF_VIDEO = ("video", "decoder")
_OF_SUITE = ("clips", "keep", "only", "seconds")
_SUITE_ROUNDS, _VIDEO_ROUNDS = 3, 5
_SHORTEST = 0.5
"""Seconds of the shortest clip of a suite."""
_NO_MATPLOTLIB = "--plot needs matplotlib; install it with: pip install vtrack[plots]"


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if (args.input is not None) + args.suite + args.smooth + (args.model is not None) != 1:
        raise UsageError(
            "bench measures one thing at a time: a VIDEO, --suite, --model or --smooth; see vtrack bench --help"
        )
    if args.plot is not None and args.plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot: {args.plot} must end in .png, .svg or .pdf")
    if args.plot is not None and args.model is not None:
        raise UsageError("--plot draws the figures of a VIDEO, of --suite or of --smooth, not those of --model")
    if args.plot is not None and not args.plot.parent.is_dir():
        raise UsageError(f"--plot: there is no folder {args.plot.parent}; make it first")
    if args.input is None:
        refuse(args, _OF_VIDEO, "applies to a VIDEO only; name one")
    if args.input is None and not args.suite:
        refuse(args, _OF_RUNS, "applies to a VIDEO or --suite only; name one")
    if not args.suite:
        refuse(args, _OF_SUITE, "applies to --suite only")
    if args.suite:
        return _suite(args)
    if args.smooth:
        refuse(args, ["device"], "applies to models only; --smooth measures filters, which run on the CPU")
        return _smooth(args)
    return _model(args) if args.model is not None else _video(args)


def _video(args: argparse.Namespace) -> int:
    """Whole programs on a video."""
    from vtrack.pipelines.bench.report import format_report, plot_report
    from vtrack.pipelines.bench.runner import decoder_program, encoder_program, run_programs, vtrack_program
    from vtrack.pipelines.sources.open import open_source

    rounds = _VIDEO_ROUNDS if args.rounds is None else args.rounds
    settings, hwaccel = _checked(args, rounds)
    with open_source(args.input, hwaccel=hwaccel) as source:
        name, size = source.info.name, source.info.size
    shared = args.input, args.parts, settings.device, args.faces, hwaccel
    programs = [vtrack_program(*shared)]
    programs += [_rival(args, args.against, *shared)] if args.against else []
    if args.video:
        programs += [vtrack_program(*shared, annotate=True), encoder_program(args.input)]
    if args.decoder:
        programs.append(decoder_program(args.input, hwaccel))
    scores = run_programs(programs, rounds, lambda program: _tell(f"running {program}"))
    _tell("")
    figures = [score.as_json() for score in scores]
    title = f"{name}, {size[0]}x{size[1]}, median of {rounds} rounds"
    if args.plot is not None:
        _draw(args.plot, lambda: plot_report(figures, title, args.plot))
    print(
        json.dumps({"video": title, "programs": figures}, indent=2)
        if args.json
        else f"{title}\n\n{format_report(figures)}"
    )
    return 0


def _suite(args: argparse.Namespace) -> int:
    """Whole programs on clips of many kinds."""
    from vtrack.cli.main import FAILED, OK
    from vtrack.pipelines.bench.runner import decoder_program, vtrack_program
    from vtrack.pipelines.bench.suite.clips import folder_clips, make_clips
    from vtrack.pipelines.bench.suite.measure import SuiteFigures, measure_suite
    from vtrack.pipelines.bench.suite.report import format_suite, plot_suite

    rounds = _SUITE_ROUNDS if args.rounds is None else args.rounds
    settings, hwaccel = _checked(args, rounds)
    if args.clips is None:
        refuse(args, ["faces"], "applies to --clips only; made clips have their own number of faces")
    else:
        refuse(args, ["keep"], "applies to made clips only, not to --clips")
    if args.seconds < _SHORTEST:
        raise UsageError(f"--seconds must be at least {_SHORTEST}, got {args.seconds:g}")
    if args.plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError(_NO_MATPLOTLIB)
    against = args.against or ("mediapipe" if args.against_python or _has_mediapipe() else None)
    names = [name.strip() for name in args.only.split(",")] if args.only else []

    def programs(clip: SuiteClip) -> list[Program]:
        shared = str(clip.path), args.parts, settings.device, clip.faces, hwaccel
        rival = [_rival(args, against, *shared)] if against else []
        return [vtrack_program(*shared), *rival, decoder_program(str(clip.path), hwaccel)]

    with TemporaryDirectory() as scratch:
        if args.clips is None:
            clips = make_clips(args.keep or Path(scratch), args.seconds, names)
        else:
            clips = folder_clips(args.clips, Path(scratch), args.seconds, args.faces, names)
        figures = SuiteFigures(measure_suite(clips, programs, rounds, _tell), rounds, args.seconds)
    _tell("")
    print(json.dumps(figures.as_json(), indent=2) if args.json else format_suite(figures))
    if args.plot is not None and figures.measured:
        _draw(args.plot, lambda: plot_suite(figures, args.plot))
    return OK if len(figures.measured) == len(figures.clips) else FAILED


def _checked(args: argparse.Namespace, rounds: int) -> tuple[Settings, str]:
    """Settings of a run and what decodes, from the options of a VIDEO or --suite."""
    if rounds < 1 or args.faces < 1:
        raise UsageError(f"--rounds and --faces must be at least 1, got {rounds} and {args.faces}")
    if args.against_python is not None and args.against not in ((None, "mediapipe") if args.suite else ("mediapipe",)):
        raise UsageError("--against-python applies to --against mediapipe only; add it")
    values = given_options(args, Settings, InputSettings)
    settings = make_settings(Settings, {**values, "parts": args.parts, "max_faces": args.faces})
    return settings, make_settings(InputSettings, values).hwaccel


def _rival(
    args: argparse.Namespace, against: str, video: str, parts: str, device: str, faces: int, hwaccel: str
) -> Program:
    """The program that `--against` names."""
    from vtrack.pipelines.bench.runner import facemesh_program, vtrack_program

    if against == "mediapipe":
        return facemesh_program(video, faces, args.against_python)
    return vtrack_program(video, parts, device, faces, hwaccel, root=Path(against))


def _has_mediapipe() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("mediapipe", "cv2"))


def _model(args: argparse.Namespace) -> int:
    """A landmark model alone."""
    from vtrack.pipelines.bench.models import measure

    settings = make_settings(Settings, {**given_options(args, Settings), "model": args.model})
    rows = list(measure(args.model, settings.device))
    print(json.dumps([dataclasses.asdict(row) for row in rows]) if args.json else model_table(args.model, rows))
    return 0


def _smooth(args: argparse.Namespace) -> int:
    """Every kind of smoothing."""
    from vtrack.pipelines.bench.smoothing import filter_speed, plot_traces, score_filters
    from vtrack.pipelines.bench.smoothing_clips import filmed

    sample = SAMPLE if SAMPLE.exists() else None
    rows, film = score_filters(), score_filters(filmed(sample)) if sample else []
    pace = filter_speed()
    if args.plot is not None:
        _draw(args.plot, lambda: plot_traces(args.plot))
    if args.json:
        tables = {
            name: [dataclasses.asdict(row) for row in table] for name, table in (("smooth", rows), ("film", film))
        }
        print(json.dumps({**tables, "speed": dataclasses.asdict(pace)}))
    else:
        print(smooth_table(rows, film, pace))
    return 0


def _draw(path: Path, draw: Callable[[], None]) -> None:
    try:
        draw()
    except ImportError as error:
        raise MissingExtraError(_NO_MATPLOTLIB) from error
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from error


def _tell(text: str) -> None:
    """What is being run, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def model_table(name: str, rows: Sequence[ModelTime]) -> str:
    """Milliseconds a face, a line for each engine."""
    usual = rows[0].points
    batches = sorted({row.batch for row in rows})
    # A GPU takes hundredths of a millisecond. What does not fit in memory for one engine may fit for the other.
    cells: defaultdict[tuple[str, int, int], str] = defaultdict(lambda: f"{'–':>9}")
    cells |= {(row.engine, row.batch, row.points): f"{row.ms:9.{2 if row.ms >= 0.1 else 4}f}" for row in rows}
    lines = [f"{name}: milliseconds a face", f"{'':8}{f'{usual} points, faces at once':>{9 * len(batches)}}"]
    lines.append(f"{'engine':8}" + "".join(f"{batch:9}" for batch in batches))
    engines = list(dict.fromkeys(row.engine for row in rows))
    lines += [f"{engine:8}" + "".join(cells[engine, batch, usual] for batch in batches) for engine in engines]
    for batch in batches:
        title = "one face, points" if batch == 1 else f"{batch} faces at once, points"
        counts = sorted({row.points for row in rows if row.batch == batch})
        if len(counts) > 1:
            lines += ["", f"{'':8}{title:>{9 * len(counts)}}", f"{'engine':8}" + "".join(f"{n:9}" for n in counts)]
            lines += [f"{engine:8}" + "".join(cells[engine, batch, count] for count in counts) for engine in engines]
    return "\n".join(lines)


def smooth_table(rows: list[FilterScores], film: list[FilterScores], pace: FilterSpeed) -> str:
    """The tables as people read them."""
    lines = [
        "jitter: standard deviation on a still face; error: mean distance to the truth; both in % of the distance",
        "between the outer corners of the eyes. lag: frames on a moving face. blink: depth kept.",
        "",
        "Faces of made-up motion and noise:",
        *_figures(rows),
        "",
    ]
    if film:
        lines += ["samples/sample.mp4 as the model `fast` sees it, and its first frame under a sensor's noise:"]
        lines += [*_figures(film), ""]
    else:
        lines += ["Nothing was measured on film: samples/sample.mp4, which comes with the source, is not here.", ""]
    return "\n".join(
        [
            *lines,
            f"98 points: {pace.ours:.0f} µs a step, filterpy {pace.filterpy:.0f} µs: "
            f"{pace.filterpy / pace.ours:.0f} times as fast",
        ]
    )


def _figures(rows: list[FilterScores]) -> list[str]:
    raw, clips = rows[0], list(rows[0].errors)
    head = f"{'filter':10}{'jitter':>8}{'less by':>9}{'lag':>7}{'blink':>8}   error: "
    return [head + "".join(f"{clip:>8}" for clip in clips)] + [
        f"{row.filter:10}{row.jitter:8.3f}{raw.jitter / row.jitter:8.1f}x{row.lag:7.2f}{row.blink:7.1f}%{'':10}"
        + "".join(f"{row.errors[clip]:8.3f}" for clip in clips)
        for row in rows
    ]
