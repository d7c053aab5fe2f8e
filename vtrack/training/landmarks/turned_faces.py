"""Makes a training set of faces that look to the side: annotated photographs turned in depth (`vtrack.data.turning`).

python -m vtrack.training.landmarks.turned_faces data runs/turned.zip
vtrack train --data turned68:runs/turned.zip ...
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.formats.archives import LabelledFace, write_zip
from vtrack.data.mean_face import mean_face
from vtrack.data.sources import load_dataset
from vtrack.data.turning import turned
from vtrack.errors import errors_in_one_line

log = logging.getLogger(__name__)

COPIES = 2
"""Turned copies of each training photograph; validation photographs have one."""
SMALLEST_YAW, LARGEST_YAW = 30.0, 80.0
"""Range of the yaw of the copies in degrees."""
LARGEST_TURN = 45.0
"""Largest turn in degrees: beyond it, too much of the head is not in the photograph."""
_QUALITY = 93
"""JPEG quality of the copies."""


def turned_copies(data: Dataset, split: str, count: int, seed: int = 0) -> Iterator[LabelledFace]:
    """Turn each face further to the side to which it looks, to a yaw drawn at random; copies that would not turn are left out.

    Args:
        data: Faces in the layout `300w`.
        split: What the zip says of the faces.
        count: Copies of each face.
        seed: Seed of the angles.
    """
    rng = np.random.default_rng(seed)
    for i in range(len(data)):
        yaw = float(np.degrees(mean_face().pose(data.points[i]).yaw))
        image = data.image(i)
        for copy in range(count):
            goal = min(rng.uniform(SMALLEST_YAW, LARGEST_YAW), abs(yaw) + LARGEST_TURN)
            if goal <= abs(yaw):
                continue
            angle = np.radians(goal - abs(yaw)) * (1 if yaw >= 0 else -1)
            picture, points = turned(image, data.points[i], angle)
            options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
            content = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1].tobytes()
            yield LabelledFace(f"{Path(data.files[i]).stem}-{copy}.jpg", content, split, data.groups[i], points)


def _both_splits(spec: str) -> Iterator[LabelledFace]:
    for split, count in (("train", COPIES), ("val", 1)):
        yield from turned_copies(load_dataset(spec, split), split, count)


def main() -> None:
    """Write the data set."""
    parser = argparse.ArgumentParser(description="Make a data set of faces that look to the side, from `w68`.")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the zips")
    parser.add_argument("out", type=Path, metavar="OUT.zip")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log.info("%s: %d faces", args.out, write_zip(_both_splits(f"w68:{args.data / 'w68.zip'}"), args.out))


if __name__ == "__main__":
    with errors_in_one_line():
        main()
