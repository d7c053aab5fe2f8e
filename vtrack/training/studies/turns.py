"""Measures how well head turns are found: validation photographs are turned by known angles, and measured before and after.

    python -m vtrack.training.studies.turns data --model fast

The error is the angle between the rotation that was found and the one that was made, so it does not depend on what counts as
straight. The turned photographs are made like those of `turned_faces`, by a warp over the mean face.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.mean_face import mean_face
from vtrack.data.sources import load_dataset
from vtrack.data.turning import turned
from vtrack.errors import errors_in_one_line
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.models import load_model
from vtrack.pipelines.measures.head_pose import fit_heads
from vtrack.pipelines.measures.points import MEASURE_QUERY
from vtrack.training.landmarks.turned_faces import LARGEST_TURN, LARGEST_YAW, SMALLEST_YAW
from vtrack.types import FloatArray, ImageArray, LandmarkModel

log = logging.getLogger(__name__)

YAWS = (30.0, 45.0, 60.0, 80.0)
"""Limits of the classes of yaw after the turn, in degrees."""
_DISTANCE = 16.0
"""Units that a photographer keeps away."""
ANNOTATED_SIGMA = 0.01
"""Standard deviation of annotated points, in units of the distance between the outer corners of the eyes."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Errors for one face, in degrees."""

    yaw: float
    """After the turn, in degrees."""
    annotated: float
    """With annotated points."""
    predicted: float
    """With points of the model."""


def measure(model: LandmarkModel, data: Dataset, seed: int = 0) -> list[Turn]:
    """Turn each face further to the side to which it looks, and measure it.

    Args:
        model: The landmark model.
        data: Faces in the layout `300w`.
        seed: Seed of the angles.
    """
    rng, turns, chosen = np.random.default_rng(seed), [], measured_places(data)
    for i in range(len(data)):
        image, points = data.image(i), data.points[i].astype(np.float64)
        pose = mean_face().pose(points)
        yaw = float(np.degrees(pose.yaw))
        goal = min(rng.uniform(SMALLEST_YAW, LARGEST_YAW), abs(yaw) + LARGEST_TURN)
        if goal <= abs(yaw):
            continue
        angle = float(np.radians(goal - abs(yaw))) * (1 if yaw >= 0 else -1)
        made = cv2.Rodrigues(pose.rotation[:, 1] * -angle)[0]
        after, moved = turned(image, points, angle)
        sigma = np.full((1, len(chosen)), ANNOTATED_SIGMA * data.layout.unit(points[None])[0])
        annotated = [
            rotation_of(each[None, chosen], sigma, picture) for picture, each in ((image, points), (after, moved))
        ]
        predicted = [
            rotation_of(*predicted_points(model, data.layout.face_box(each[None]), picture), picture)
            for picture, each in ((image, points), (after, moved))
        ]
        turns.append(Turn(goal, _error(annotated, made), _error(predicted, made)))
    return turns


def measured_places(data: Dataset) -> list[int]:
    """Index in the data's layout of each point of `MEASURE_QUERY`."""
    query = data.layout.query
    known = zip(query.parts, query.positions, strict=True)
    places = {(part, round(position, 6)): i for i, (part, position) in enumerate(known)}
    asked = zip(MEASURE_QUERY.parts, MEASURE_QUERY.positions, strict=True)
    return [places[part, round(position, 6)] for part, position in asked]


def predicted_points(model: LandmarkModel, box: FloatArray, image: ImageArray) -> tuple[FloatArray, FloatArray]:
    """Points (1, points, 2) of the face in a box, and their standard deviations (1, points), in pixels."""
    crops = Crops.around(box, model.margin)
    prediction = model.predict(warp([image], [0], crops, model.input_size), MEASURE_QUERY)
    return crops.to_frame(prediction.points), prediction.sigma * crops.sides[:, None]


def rotation_of(points: FloatArray, sigma: FloatArray, image: ImageArray) -> FloatArray:
    """(3, 3) rotation of a head."""
    return fit_heads(points, sigma, (image.shape[1], image.shape[0]), None, _DISTANCE)[0].rotation[0]


def _error(found: Sequence[FloatArray], made: FloatArray) -> float:
    """Angle in degrees between the turn that was found and the one that was made."""
    before, after = found
    return float(turn_angle(after @ (made @ before).T))


def turn_angle(rotation: FloatArray) -> FloatArray:
    """(...) degrees by which rotations (..., 3, 3) turn."""
    trace = np.trace(rotation, axis1=-2, axis2=-1)
    return np.asarray(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0))))


def table(turns: Sequence[Turn]) -> str:
    """Mean errors by yaw, in Markdown."""
    lines = ["| yaw after the turn | faces | annotated points | points of the model |", "|---|---|---|---|"]
    for low, high in itertools.pairwise(YAWS):
        members = [turn for turn in turns if low <= turn.yaw < high]
        if members:
            means = (np.mean([getattr(turn, name) for turn in members]) for name in ("annotated", "predicted"))
            lines.append(
                f"| {low:g} to {high:g}° | {len(members)} | " + " | ".join(f"{mean:.1f}°" for mean in means) + " |"
            )
    return "\n".join(lines)


def main() -> None:
    """Print the table of errors."""
    parser = argparse.ArgumentParser(description="Measure how well turns of heads are found.")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the zips")
    parser.add_argument("--model", default="fast", help="name of the landmark model")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log.info(table(measure(load_model(args.model), load_dataset(f"w68:{args.data / 'w68.zip'}", "val"))))


if __name__ == "__main__":
    with errors_in_one_line():
        main()
