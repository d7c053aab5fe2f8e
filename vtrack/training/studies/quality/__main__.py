"""Measures how well `vtrack check` tells the error of points, on clips whose true points are known.

    python -m vtrack.training.studies.quality w68:data/w68.zip runs/quality

Each person is filmed with three of the kinds of degradation (`clips`), tracked, and checked with the video. Each person is
judged by a model of the error that was fitted to all others. `--save` makes the mean picture of faces of the training part, and
writes it and a model that was fitted to all people into the files that `vtrack check` reads. Clips that are there are not made
again.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from vtrack.data.sources import load_dataset
from vtrack.detectors import load_detector
from vtrack.errors import errors_in_one_line
from vtrack.models import load_model
from vtrack.pipelines.tables.quality.error_model import PATH
from vtrack.training.studies.quality.picture import save_mean_picture
from vtrack.training.studies.quality.seconds import check_clip, fit, make_clips, report, seconds_of

log = logging.getLogger(__name__)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description="Measure how well vtrack check tells the error of points.")
    parser.add_argument("data", metavar="NAME:PATH", help="photographs of faces, as of vtrack train")
    parser.add_argument("folder", type=Path, metavar="DIR", help="where clips and tables are written")
    parser.add_argument(
        "--people", type=int, default=20, metavar="N", help="number of photographs (default: %(default)s)"
    )
    parser.add_argument("--model", default="fast", help="name of the landmark model")
    parser.add_argument(
        "--save", action="store_true", help="write the mean picture and the model of the error that vtrack check reads"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args.folder.mkdir(parents=True, exist_ok=True)
    data = load_dataset(args.data, "val")
    if args.save:
        save_mean_picture(load_dataset(args.data, "train"))
    clips = make_clips(data, args.folder, args.people, load_model(args.model), load_detector())
    seconds = seconds_of([row for clip in clips for row in check_clip(clip, data.layout)])
    if args.save:
        fit(seconds).save(PATH)
    log.info(report(seconds))


if __name__ == "__main__":
    with errors_in_one_line():
        main()
