"""`vtrack export`: a training run as a model that `vtrack run --model` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """example:
  vtrack export --run runs/mine --name mine -o models
  vtrack run clip.mp4 --model models/mine.json
  vtrack export --run runs/faces --name faces -o models        (a run of vtrack train --task detect)
  vtrack run clip.mp4 --detector native --detector-model models/faces.json"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "export",
        help="make a model of a training run",
        description="Write the weights, the ONNX graph and the card of a training run: sigma, or the detector's scores, "
        "calibrated on validation photographs.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run", dest="folder", type=Path, required=True, metavar="DIR", help="what `vtrack train --out` wrote"
    )
    parser.add_argument("--name", required=True, help="the model's name")
    parser.add_argument("--summary", default="", help="one line for `vtrack models`")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where the three files go")
    parser.add_argument("--overwrite", action="store_true", help="replace a model of this name")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Publish the run."""
    from vtrack.errors import SinkError, UsageError
    from vtrack.training.detect import OPTIONS
    from vtrack.training.publish import publish

    if Path(args.name).name != args.name or not args.name:
        raise UsageError(f"{args.name!r} cannot be a model's name; use letters, digits and dashes")
    target = args.out / f"{args.name}.json"
    if target.exists() and not args.overwrite:
        raise SinkError(f"{target} exists; give another --name or --overwrite")
    if (args.folder / OPTIONS).is_file():
        return _detector(args.folder, target)
    print(publish(args.folder, args.name, args.summary, args.out))
    return 0


def _detector(folder: Path, target: Path) -> int:
    """Publish a run of the face detector."""
    from detectors import load_detector
    from vtrack.training.detect_export import ship

    target.parent.mkdir(parents=True, exist_ok=True)
    report = ship(folder, target, lambda card: load_detector("native", device="cpu", model_path=card, threshold=0.02))
    print(report.table())
    print(target)
    return 0
