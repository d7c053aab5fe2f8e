"""`vtrack bench`: how fast vtrack and its pieces are, and how good its smoothing, measured on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vtrack.cli.options import add_options, given_options, make_settings, refuse
from vtrack.errors import MissingExtraError, SinkError, UsageError
from vtrack.pipelines.settings import InputSettings, Settings

if TYPE_CHECKING:
    from vtrack.pipelines.bench.models import ModelTime
    from vtrack.pipelines.bench.smoothing import FilterScores, FilterSpeed

SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"
"""A filmed face of known motion."""

EXAMPLE = """examples:
  vtrack bench clip.mp4 --against mediapipe --plot speed.png
  vtrack bench clip.mp4 --video --rounds 3               and with an annotated video, beside the encoder alone
  vtrack bench --model fast                              ms a face by batch and number of points
  vtrack bench --smooth
  vtrack bench --smooth --plot traces.png"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "bench",
        help="measure how good and how fast the pieces are",
        description="Measure, on this machine, how many frames a second vtrack takes and where the time goes, how long a "
        "landmark model takes for a face, or how good smoothing is.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", nargs="?", metavar="VIDEO", help="a video to run over, from decoding to the table")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--smooth", action="store_true", help="jitter, lag, error and blinks with each kind of smoothing")
    what.add_argument(
        "--model", nargs="?", const=Settings.model, metavar="NAME", help="ms a face of a landmark model alone"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--plot", type=Path, metavar="OUT.png", help="draw bars (VIDEO), or truth, raw and smooth (--smooth)"
    )
    group = parser.add_argument_group("with VIDEO")
    group.add_argument(
        "--parts", default="300w", metavar="QUERY", help="what to track (default: the 68 points of 300w)"
    )
    group.add_argument("--faces", type=int, default=1, metavar="N", help="faces to follow at most (default: 1)")
    group.add_argument("--against", choices=("mediapipe",), help="run this program too, on the same video")
    group.add_argument("--against-python", metavar="PATH", help="the Python that has it (default: this one)")
    group.add_argument("--video", action="store_true", help="also with an annotated video, and the encoder alone")
    group.add_argument("--decoder", action="store_true", help="also the decoder alone")
    add_options(parser, Settings, InputSettings, only=("device", "hwaccel"), groups={"faces": parser, "input": group})
    group.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each program (default: 5)")
    parser.set_defaults(run=run)


_OF_VIDEO = ("parts", "faces", "against", "against_python", "video", "decoder", "hwaccel", "rounds")
"""Options that mean nothing without a VIDEO."""


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if (args.input is not None) + args.smooth + (args.model is not None) != 1:
        raise UsageError("bench measures one thing at a time: a VIDEO, --model or --smooth; see vtrack bench --help")
    if args.plot is not None and args.plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot: {args.plot} must end in .png, .svg or .pdf")
    if args.plot is not None and args.model is not None:
        raise UsageError("--plot draws a VIDEO's figures or --smooth's, not those of --model")
    if args.input is None:
        refuse(args, _OF_VIDEO, "applies to a VIDEO only; name one")
    if args.smooth:
        refuse(args, ["device"], "applies to models only; --smooth measures filters, which run on the CPU")
        return _smooth(args)
    return _model(args) if args.model is not None else _video(args)


def _video(args: argparse.Namespace) -> int:
    """Whole programs on a video."""
    from vtrack.pipelines.bench.report import format_report, plot_report
    from vtrack.pipelines.bench.runner import (
        decoder_program,
        encoder_program,
        facemesh_program,
        run_programs,
        vtrack_program,
    )
    from vtrack.pipelines.sources.open import open_source

    if args.rounds < 1 or args.faces < 1:
        raise UsageError(f"--rounds and --faces must be at least 1, got {args.rounds} and {args.faces}")
    if args.against_python is not None and args.against is None:
        raise UsageError("--against-python applies to --against only; add --against mediapipe")
    values = given_options(args, Settings, InputSettings)
    settings = make_settings(Settings, {**values, "parts": args.parts, "max_faces": args.faces})
    hwaccel = make_settings(InputSettings, values).hwaccel
    with open_source(args.input, hwaccel=hwaccel) as source:
        name, size = source.info.name, source.info.size
    shared = args.input, args.parts, settings.device, args.faces, hwaccel
    programs = [vtrack_program(*shared)]
    if args.against:
        programs.append(facemesh_program(args.input, args.faces, args.against_python))
    if args.video:
        programs += [vtrack_program(*shared, annotate=True), encoder_program(args.input)]
    if args.decoder:
        programs.append(decoder_program(args.input, hwaccel))
    scores = run_programs(programs, args.rounds, lambda program: _tell(f"running {program}"))
    _tell("")
    figures = [score.as_json() for score in scores]
    title = f"{name}, {size[0]}x{size[1]}, median of {args.rounds} rounds"
    if args.plot is not None:
        _draw(args.plot, lambda: plot_report(figures, title, args.plot))
    print(
        json.dumps({"video": title, "programs": figures}, indent=2)
        if args.json
        else f"{title}\n\n{format_report(figures)}"
    )
    return 0


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
        raise MissingExtraError("--plot needs matplotlib; install it with: pip install vtrack[plots]") from error
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
