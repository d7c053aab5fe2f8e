"""Makes a training set with 68 points of faces with closed eyes, winks and open mouths.

Their points are predicted by a model, `accurate` by default. Those of the eyes are mapped from mediapipe's mesh by a linear map
learned on faces that have both (`vtrack.data.lids`), and lids are brought together where people judged the eyes closed.

    python -m vtrack.data.mesh_labels data runs/mesh.zip        # where mediapipe is installed
    python -m vtrack.training.landmarks.state_labels data runs/mesh.zip runs/states.zip
    vtrack train --data states68:runs/states.zip ...
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.formats.archives import LabelledFace, write_zip
from vtrack.data.lids import LidMap, eye_points, narrowed, opening, share_left
from vtrack.data.sources import load_dataset
from vtrack.data.states import StateFaces, read_states
from vtrack.errors import errors_in_one_line
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.layouts import load_layout
from vtrack.models import load_model
from vtrack.types import FloatArray, LandmarkModel

log = logging.getLogger(__name__)

SETS = ("shut478", "yawn478")
SIDES = ("left", "right")
_JUDGED_BY_PEOPLE = "cew:"
"""Prefix of the groups of faces whose eyes were judged closed by people."""
_ROUNDS = 2
"""Predictions for each face; the second crop is placed around the points of the first."""


def learn_maps(people: Dataset, mesh: Dataset) -> dict[str, LidMap]:
    """Learn the map of each eye from faces that both data sets have.

    Args:
        people: Faces annotated by people, in the layout `300w`.
        mesh: Faces in the layout `mesh`, made by `vtrack.data.mesh_labels`: their files are called `images/<set>-<name>`.
    """
    index = {f"images/{people.name}-{Path(file).name}": i for i, file in enumerate(people.files)}
    pairs = [(index[file], i) for i, file in enumerate(mesh.files) if file in index]
    annotated, meshed = (list(indices) for indices in zip(*pairs, strict=True))
    return {
        side: LidMap.learn(
            mesh.points[meshed][:, eye_points(mesh.layout, side, "mesh_eye")],
            people.points[annotated][:, eye_points(people.layout, side)],
        )
        for side in SIDES
    }


def predicted(model: LandmarkModel, data: Dataset) -> FloatArray:
    """(faces, 68, 2) points predicted by a model: the mean over each image and its mirror image."""
    layout = load_layout("300w")
    points = np.empty((len(data), len(layout), 2), np.float32)
    for i in range(len(data)):
        image, box = data.image(i), data.layout.face_box(data.points[i : i + 1])
        for _ in range(_ROUNDS):
            crops = Crops.around(box, model.margin)
            cut = warp([image], [0], crops, model.input_size)
            both = np.concatenate([cut, cut[..., ::-1]])
            predictions = np.array(model.predict(both, layout.query).points)
            predictions[1] = predictions[1, layout.mirror] * (-1, 1) + (1, 0)
            points[i] = crops.to_frame(predictions.mean(0, keepdims=True))[0]
            box = layout.face_box(points[i : i + 1])
    return points


def with_lids(faces: StateFaces, points: FloatArray, maps: dict[str, LidMap]) -> FloatArray:
    """Replace the eyes of points (faces, 68, 2) by those mapped from the mesh, narrowed or closed according to the state."""
    layout, mesh = load_layout("300w"), faces.data.layout
    rings = {side: faces.data.points[:, eye_points(mesh, side, "mesh_eye")] for side in SIDES}
    openings = {side: opening(rings[side]) for side in SIDES}
    shut = faces.of_group(_JUDGED_BY_PEOPLE)
    narrow = faces.has("closed") | faces.has("half")
    out = np.array(points, np.float32)
    for side, other in (SIDES, SIDES[::-1]):
        winked = faces.has("wink") & (openings[side] < openings[other])
        share = np.where(narrow | winked, share_left(openings[side], shut | winked), 1.0)
        out[:, eye_points(layout, side)] = narrowed(maps[side](rings[side]), share)
    return out


def labelled(sets: Iterable[StateFaces], maps: dict[str, LidMap], model: LandmarkModel) -> Iterator[LabelledFace]:
    """Yield the faces with their 68 points; photographs are unchanged."""
    for faces in sets:
        data = faces.data
        points = with_lids(faces, predicted(model, data), maps)
        for file, group, face in zip(data.files, data.groups, points, strict=True):
            yield LabelledFace(f"{data.name}-{Path(file).name}", data.read(file), "train", f"{data.name}/{group}", face)
        log.info("%s: %d faces", data.name, len(data))


def main() -> None:
    """Write the data set."""
    parser = argparse.ArgumentParser(
        description="Make a data set with 68 points of faces with states (training parts only)."
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of the zips")
    parser.add_argument("mesh", type=Path, metavar="MESH.zip", help="written by python -m vtrack.data.mesh_labels")
    parser.add_argument("out", type=Path, metavar="OUT.zip")
    parser.add_argument(
        "--model", default="accurate", help="predicts all points but those of the eyes (default: %(default)s)"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    maps = learn_maps(load_dataset(f"w68:{args.data / 'w68.zip'}", "train"), load_dataset(f"mesh:{args.mesh}", "train"))
    sets = (read_states(args.data / f"{name}.zip", "train") for name in SETS)
    write_zip(labelled(sets, maps, load_model(args.model)), args.out)


if __name__ == "__main__":
    with errors_in_one_line():
        main()
