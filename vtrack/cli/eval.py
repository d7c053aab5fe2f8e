"""`vtrack eval`: how good a landmark model, or a face detector, is on annotated photographs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtrack.cli.options import add_options, given_options, make_settings, refuse
from vtrack.errors import UsageError
from vtrack.pipelines.settings import Settings

if TYPE_CHECKING:
    from vtrack.data import Dataset
    from vtrack.types import Detector, FloatArray

EXAMPLE = """examples:
  vtrack eval --model fast --data w68:data/w68.zip --split val
  vtrack eval --data 300w:/data/300w --split test --shift 0.2 --json
  vtrack eval --data w68:data/w68.zip --data wflw:/data/WFLW --plot curves.png --sheet faces.png
  vtrack eval --states --model fast --data data    (data: the folder of the photograph zips)
  vtrack eval --task detect --data data --detector native     (data: the folder of the photograph zips)
  vtrack eval --data csv:my_points.csv --split all       (columns file, left_eye@0_x, left_eye@0_y, ...)"""


_ALMOST_ALL = 0.03
_LENGTHS = {
    "inter_ocular": "inter-ocular distance",
    "inter_pupil": "inter-pupil distance",
    "diagonal": "box's diagonal",
    "box": "box's side",
}


_OF_DETECTOR = ("detector", "detector_model", "detect_size", "small_faces")
_OF_LANDMARKS = (
    *("decoder", "set", "split", "boxes", "shift", "shrink", "seed", "normalise", "batch"),
    *("plot", "sheet", "graph", "sheet_faces", "overwrite"),
)
"""Options that mean nothing to the other kinds of measurement."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "eval",
        help="measure a landmark model on annotated photographs",
        description="Measure a landmark model on annotated photographs: normalised mean error, failure rate and area "
        "under the curve at 8 and 10 percent, per part and per subset, and whether its sigma tells the truth.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--task", default="landmarks", choices=("landmarks", "detect"), help="measure a landmark model, or a face "
        "detector on scenes put together from validation photographs (default: %(default)s)")  # fmt: skip
    add("--states", action="store_true", help="measure the model where faces move: shut eyes, winks, mouths, turned "
        "heads, covered points, blinks in clips (--data: the folder of the zips; --model mediapipe: its mesh)")  # fmt: skip
    add("--data", action="append", required=True, metavar="NAME:PATH", help="a data set; repeat for more (with --task "
        "detect or --states: the folder of the zips)")  # fmt: skip
    add("--decoder", help="read a heatmap model's maps by one-hot, two-hot, distribution-aware or keyposs "
        "(default: the model's own)")  # fmt: skip
    add("--set", action="append", default=[], metavar="KNOB=VALUE", help="turn another knob of the model, beyond=no or "
        "reference=neutral for example")  # fmt: skip
    add("--split", default="val", choices=("train", "val", "test", "all"), help="(default: %(default)s)")
    add("--boxes", default="truth", choices=("truth", "detector"), help="where the face boxes come from: the points' "
        "tight box, or a face detector (default: %(default)s)")  # fmt: skip
    add("--threshold", type=float, default=0.5, help="score that a find of the detector needs, with --task detect "
        "(default: %(default)s)")  # fmt: skip
    add("--shift", type=float, default=0.0, metavar="X", help="move each box by X of its side, in a random direction")
    add("--shrink", type=float, default=0.0, metavar="X", help="make each box smaller by X (negative: larger)")
    add("--seed", type=int, default=0, help="seed of the random directions (default: %(default)s)")
    add("--normalise", metavar="BY", choices=("inter_ocular", "inter_pupil", "diagonal", "box"), help="what errors are "
        "divided by (default: inter_ocular; diagonal for aflw)")  # fmt: skip
    add("--batch", type=_positive, default=64, help="faces at a time (default: %(default)s)")
    add("--json", action="store_true", help="print the figures as JSON")
    add("--plot", type=Path, metavar="OUT", help="draw the cumulative error curves (.png, .svg, .pdf)")
    add("--sheet", type=Path, metavar="OUT.png", help="draw faces with true and predicted points, worst first; with "
        "several data sets their names are added to the file's")  # fmt: skip
    add("--graph", type=Path, metavar="OUT.png", help="draw the connections that a gcn model has learned, on the first "
        "faces of the first data set")  # fmt: skip
    add("--sheet-faces", type=_positive, default=30, metavar="N", help="faces on a sheet (default: %(default)s)")
    add("--overwrite", action="store_true", help="replace pictures that exist")
    models = parser.add_argument_group("models", "The detector with --boxes detector or --task detect.")
    add_options(parser, Settings, only=("model", "device", "engine", *_OF_DETECTOR), groups={"faces": models})
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print the figures."""
    settings = make_settings(Settings, given_options(args, Settings))
    if args.states:
        if args.task == "detect":
            raise UsageError("--states measures a landmark model; leave out --task detect")
        refuse(args, (*_OF_LANDMARKS, *_OF_DETECTOR, "threshold"), "does not apply to --states")
        return _run_states(args, settings)
    if args.task == "detect":
        refuse(args, ("model", "engine", *_OF_LANDMARKS), "applies to landmark models only; leave out --task detect")
        return _run_detector(args, settings)
    refuse(args, ["threshold"], "applies to the face detector only; add --task detect")
    if args.boxes == "truth":
        refuse(args, _OF_DETECTOR, "applies to the face detector only; add --boxes detector")
    if not args.shift:
        refuse(args, ["seed"], "applies to random shifts only; add --shift")
    if args.sheet is None:
        refuse(args, ["sheet_faces"], "applies to the sheet only; add --sheet")
    if not (args.sheet or args.plot or args.graph):
        refuse(args, ["overwrite"], "applies to pictures only; add --plot, --sheet or --graph")
    return _run_landmarks(args, settings)


def _run_landmarks(args: argparse.Namespace, settings: Settings) -> int:
    """A landmark model on each data set."""
    from tqdm import tqdm

    from vtrack.cli.train import knobs
    from vtrack.data import load_dataset
    from vtrack.evaluation import evaluate, summary
    from vtrack.evaluation.boxes import disturbed
    from vtrack.evaluation.graphs import graph_sheet
    from vtrack.evaluation.pictures import save_curves, sheet
    from vtrack.imaging.png import check_free, save_png
    from vtrack.models import load_model

    for path in filter(None, (args.plot, args.sheet, args.graph)):
        check_free(path, overwrite=args.overwrite)
    sets = [load_dataset(spec, args.split) for spec in args.data]
    turned = knobs(args.set) | ({"decoder": args.decoder} if args.decoder else {})
    engine = "torch" if args.graph and settings.engine == "auto" else settings.engine
    model = load_model(str(settings.model), device=settings.device, engine=engine, settings=turned)
    finder = _load_detector(settings) if args.boxes == "detector" else None
    outcomes, reports = [], []
    for data in sets:
        boxes = data.layout.face_box(data.points) if finder is None else _detected(finder, data)
        boxes = disturbed(boxes, shift=args.shift, shrink=args.shrink, seed=args.seed)
        with tqdm(total=len(data), desc=data.name, unit="face", disable=not sys.stderr.isatty()) as bar:
            outcomes.append(evaluate(model, data, boxes, batch=args.batch, progress=bar.update))
        reports.append(summary(outcomes[-1], args.normalise))
    if args.json:
        setting = {"model": model.name, "split": args.split, "boxes": args.boxes, "seed": args.seed}
        setting |= {"shift": args.shift, "shrink": args.shrink}
        print(json.dumps({**setting, "results": reports}, indent=2))
    else:
        for report in reports:
            print(_text(report))
    if args.plot:
        save_curves(outcomes, [report["normalised_by"] for report in reports], args.plot)
    if args.graph:
        save_png(graph_sheet(model, sets[0]), args.graph, overwrite=args.overwrite)
    if args.sheet:
        for outcome, report in zip(outcomes, reports, strict=True):
            name = f"{args.sheet.stem}-{report['data']}" if len(outcomes) > 1 else args.sheet.stem
            picture = sheet(outcome, report["normalised_by"], args.sheet_faces)
            save_png(picture, args.sheet.with_name(name + args.sheet.suffix), overwrite=args.overwrite)
    return 0


def _run_states(args: argparse.Namespace, settings: Settings) -> int:
    """A landmark model where faces move."""
    from vtrack.cli import eval_states

    if len(args.data) != 1 or not Path(args.data[0]).is_dir():
        raise UsageError("--states takes one --data: the folder of the photograph zips, with clips/blinks in it")
    model, folder = str(settings.model), Path(args.data[0])
    return eval_states.run(model, folder, device=settings.device, engine=settings.engine, as_json=args.json)


def _run_detector(args: argparse.Namespace, settings: Settings) -> int:
    """A face detector on composed scenes."""
    from dataclasses import asdict

    from vtrack.data.scenes.validation import eval_scenes, validation_pictures
    from vtrack.evaluation.detector import evaluate_detector

    if len(args.data) != 1:
        raise UsageError("--task detect takes one --data: the folder that holds the zips")
    # Asked for nearly everything it has, so that its whole curve shows; the threshold is applied afterwards.
    finder = _load_detector(settings, _ALMOST_ALL)
    scenes = list(eval_scenes(validation_pictures(Path(args.data[0]))))
    report = evaluate_detector(finder, scenes, args.threshold)
    print(json.dumps(asdict(report), indent=2) if args.json else report.table())
    return 0


def _load_detector(settings: Settings, threshold: float | None = None) -> Detector:
    from vtrack.detectors import load_detector

    return load_detector(
        str(settings.detector), device=settings.device, threshold=threshold, **settings.detector_options
    )


def _detected(finder: Detector, data: Dataset) -> FloatArray:
    """(faces, 4) the detector's box on each annotated face; NaN where none overlaps it."""
    from fractions import Fraction

    import numpy as np

    from vtrack.imaging.boxes import iou, xywh_to_corners
    from vtrack.types import Frame

    boxes = np.full((len(data), 4), np.nan)
    for place, true in enumerate(data.layout.face_box(data.points)):
        frame = Frame(data.image(place), index=place, pts=place, time_base=Fraction(1))
        found = finder.detect([frame])[0].boxes
        shared = iou(xywh_to_corners(found), xywh_to_corners(true)[None])[:, 0]
        if len(found) and shared.max() > 0.3:
            boxes[place] = found[int(shared.argmax())]
    return boxes


def _text(report: dict[str, Any]) -> str:
    """The figures for people."""
    by = _LENGTHS[report["normalised_by"]]
    lines = [f"{report['data']} ({report['layout']}), {report['faces']} faces, errors in % of the {by}"]
    lines.append(_row("all", report))
    lines += [_row(name, figures) for name, figures in report["subsets"].items()]
    if report["parts"]:
        lines.append("  by part      " + "  ".join(f"{part} {error:.2f}" for part, error in report["parts"].items()))
        others = {kind: error for kind, error in report["nme_by"].items() if kind != report["normalised_by"]}
        lines.append(
            "  also         " + "  ".join(f"{kind.replace('_', '-')} {nme:.2f}" for kind, nme in others.items())
        )
        if "outside" in report:
            outside = report["outside"]
            lines.append(
                f"  outside      NME {outside['nme']:.2f} of the {outside['points_percent']:.1f} % of points outside the crop"
            )
        sigma = report["sigma"]
        lines.append(
            f"  sigma        {sigma['within_1_percent']:.1f} % of coordinates within 1 sigma (68.3 if calibrated), "
            f"{sigma['within_2_percent']:.1f} % within 2 (95.4); rank correlation with the error "
            f"{sigma['rank_correlation']:.2f}"
        )
    return "\n".join(lines)


def _row(name: str, figures: dict[str, Any]) -> str:
    """One line for all faces or for a subset."""
    if "nme" not in figures:
        return f"  {name:12} no face found"
    missed = f", {figures['missed']} missed" if figures["missed"] else ""
    return (
        f"  {name:12} NME {figures['nme']:.2f}  median {figures['median']:.2f}  worst {figures['worst']:.1f}   "
        f"AUC@8 {figures['auc_8']:.1f}  AUC@10 {figures['auc_10']:.1f}   "
        f"failures@8 {figures['failures_8']:.2f}  @10 {figures['failures_10']:.2f}   ({figures['faces']} faces{missed})"
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
