"""`vtrack export`: a training run as a model for vtrack, or a model's answer to one query as a file for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from vtrack.errors import SinkError, UsageError

EXAMPLE = """examples:
  vtrack export --run runs/mine --name mine -o models      models/mine.json, for vtrack run --model
  vtrack export --run runs/faces --name faces -o models    the same of vtrack train --task detect, for --detector-model
  vtrack export --model fast --parts eyes,lips -o eyes.onnx
  vtrack export --model fast --parts 300w --format torchscript -o face68.pt

An exported file of --model takes one square crop around a face, bytes (height, width, 3) of RGB in any size, and gives
points (points, 2), sigma (points,) in units of the crop, and presence. Its metadata, under `vtrack`, says how the crop is
cut and what each point is called. Beside an ONNX file a program is written that uses it without vtrack: eyes_example.py."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "export",
        help="make a model of a training run, or a file for other programs of a model",
        description="With --run: write the weights, the ONNX graphs and the card of a training run, sigma (or the "
        "detector's scores) calibrated on validation faces. With --model: write one file that answers one query, "
        "everything inside, checked against torch.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", dest="folder", type=Path, metavar="DIR", help="what `vtrack train --out` wrote")
    what.add_argument("--model", metavar="NAME", help="a shipped model, or the .json of your own")
    parser.add_argument("--name", help="with --run: the model's name")
    parser.add_argument("--summary", default="", help="with --run: one line for `vtrack models`")
    parser.add_argument("--parts", metavar="QUERY", help="with --model: the points that the file answers, eyes,lips:40")
    parser.add_argument("--format", help="with --model: onnx, torchscript or openvino (default: onnx)")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="PATH",
        help="folder of the model (--run), or the file (--model)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Publish the run, or bake the model."""
    other = (
        {"--parts": args.parts, "--format": args.format}
        if args.folder
        else {"--name": args.name, "--summary": args.summary}
    )
    stray = [option for option, value in other.items() if value]
    if stray:
        raise UsageError(
            f"{stray[0]} does not go with {'--run' if args.folder else '--model'}; see vtrack export --help"
        )
    return _publish(args) if args.folder else _bake(args)


def _publish(args: argparse.Namespace) -> int:
    from vtrack.training.detector.loop import OPTIONS
    from vtrack.training.landmarks.publish import publish

    if not args.name:
        raise UsageError("--run needs a --name for the model")
    if Path(args.name).name != args.name:
        raise UsageError(f"{args.name!r} cannot be a model's name; use letters, digits and dashes")
    target = args.out / f"{args.name}.json"
    _check_free(target, args.overwrite)
    if (args.folder / OPTIONS).is_file():
        return _detector(args.folder, target)
    print(publish(args.folder, args.name, args.summary, args.out))
    return 0


def _detector(folder: Path, target: Path) -> int:
    """Publish a run of the face detector."""
    from vtrack.detectors import load_detector
    from vtrack.training.detector.export import ship

    target.parent.mkdir(parents=True, exist_ok=True)
    report = ship(folder, target, lambda card: load_detector("native", device="cpu", model_path=card, threshold=0.02))
    print(report.table())
    print(target)
    return 0


def _bake(args: argparse.Namespace) -> int:
    from vtrack.models.export.standalone import SUFFIXES, export, files_of
    from vtrack.query import parse_query

    format = args.format or "onnx"
    if format not in SUFFIXES:
        raise UsageError(f"there is no format {format!r}; choose from {', '.join(SUFFIXES)}")
    if not args.parts:
        raise UsageError("--model needs --parts: the points that the file is to answer, `eyes,lips` for example")
    first = SUFFIXES[format][0]
    if args.out.suffix != first:
        raise UsageError(f"-o {args.out}: a file of format {format} ends in {first}")
    query = parse_query(args.parts)
    for path in files_of(args.out, format):
        _check_free(path, args.overwrite)
    if not args.out.parent.is_dir():
        raise SinkError(f"{args.out.parent}: there is no such folder")
    try:
        done = export(args.model, query, format, args.out)
    except OSError as error:
        raise SinkError(f"cannot write {args.out}: {error.strerror or error}") from error
    size = sum(path.stat().st_size for path in files_of(args.out, format)) / 1e6
    print(f"{done.path}: {done.points} points, {size:.1f} MB, within {done.gap:.1e} of torch")
    return 0


def _check_free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise SinkError(f"{path} exists; give another path or name, or --overwrite")
