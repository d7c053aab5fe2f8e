"""A trained detector as the third teacher: it settles what the first two left doubtful, and finds faces they missed.

`python -m vtrack.training.detector.refine DATA CACHE WEIGHTS` reads `labels.npz` in the cache folder, keeps it as
`labels_first.npz` and writes the refined one.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from vtrack.data.scenes.album import Album
from vtrack.data.scenes.labels import AGREED, DOUBTFUL, HULL, TRUTH
from vtrack.detectors.geometry import cell_grid, decode_boxes, suppress
from vtrack.detectors.network import FaceNet
from vtrack.errors import UsageError
from vtrack.imaging.boxes import areas, intersections, iou
from vtrack.types import FloatArray, ImageArray

log = logging.getLogger(__name__)

SURE, SELDOM, NEVER = 0.6, 0.3, 0.05
"""Scores of the network from which a place is a face, down to which it may be one, and under which it is none."""
AT_EDGE = 0.45
"""Faces cut by the photograph's edge are what the first teachers miss: there this much is enough to look away."""


@torch.inference_mode()
def look(net: FaceNet, image: ImageArray) -> tuple[FloatArray, FloatArray]:
    """Boxes x0, y0, x1, y1 and scores of what the network takes for faces."""
    height, width = (-(-side // 32) * 32 for side in image.shape[:2])
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    cells = net(torch.from_numpy(canvas).permute(2, 0, 1)[None].float())[0].numpy()
    score = 1 / (1 + np.exp(-cells[0]))
    good = np.flatnonzero(score > 0.1)
    centers, strides = cell_grid(height, width)
    boxes = decode_boxes(cells[:, good], centers[good], strides[good])
    kept, scores = suppress(boxes, score[good])
    return boxes[kept], scores


def settle(kinds: np.ndarray, boxes: FloatArray, found: FloatArray, score: FloatArray) -> np.ndarray:
    """(faces,) the kinds of one photograph's faces after a third opinion; -1 where there is none after all."""
    shared = iou(boxes, found) > 0.35
    opinion = np.where(shared, score, 0.0).max(1, initial=0.0)
    settled = kinds.copy()
    settled[(kinds == AGREED) & (opinion < SELDOM)] = DOUBTFUL
    settled[(kinds == DOUBTFUL) & (opinion > SURE)] = AGREED
    settled[(kinds == DOUBTFUL) & (opinion < NEVER)] = -1
    return settled


def missed(boxes: FloatArray, found: FloatArray, score: FloatArray, size: tuple[int, int]) -> np.ndarray:
    """Indices of finds that may be faces without a label: apart from labelled ones, and sure, or cut by the edge."""
    smaller = np.minimum(areas(found)[:, None], areas(boxes)[None])
    apart = (intersections(found, boxes) < 0.3 * smaller).all(1)
    cut = (found[:, :2] < 1).any(1) | (found[:, 2:] > np.array(size) - 2).any(1)
    return np.flatnonzero(apart & (score > np.where(cut, AT_EDGE, SURE)))


def refine(data: Path, cache: Path, weights: Path) -> None:
    """Write the labels again, after the network at `weights` has looked at every photograph."""
    net = FaceNet()
    net.load_state_dict(load_file(weights))
    net.eval()
    labels = np.load(cache / "labels.npz")
    rows, hulls, anchors = labels["rows"], labels["hulls"], labels["anchors"]
    photograph = np.cumsum(rows[:, 3] == TRUTH) - 1
    images: dict[int, tuple[ImageArray, float]] = {}
    for split in ("train", "val"):
        places = np.unique(photograph[rows[:, 2] == (split == "val")])
        for place, picture in zip(places, Album(data, cache, split).pictures, strict=True):
            known = hulls[np.searchsorted(photograph, place)]
            # The album's pictures may be smaller than the photographs that the labels speak of.
            images[int(place)] = picture.levels[0], float(np.ptp(picture.hulls[0][:, 0]) / np.ptp(known[:, 0]))

    new_rows, new_hulls, new_anchors = [], [], []
    for place, (image, scale) in sorted(images.items()):
        mine = np.flatnonzero(photograph == place)
        boxes = np.concatenate([hulls[mine].min(1), hulls[mine].max(1)], 1)
        found, score = look(net, image)
        found = found / scale
        for row, kind in zip(mine, settle(rows[mine, 3], boxes, found, score), strict=True):
            if kind >= 0:
                new_rows.append([*rows[row, :3], kind])
                new_hulls.append(hulls[row])
                new_anchors.append(anchors[row])
        for box in found[missed(boxes, found, score, (int(image.shape[1] / scale), int(image.shape[0] / scale)))]:
            corners = box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)
            new_rows.append([*rows[mine[0], :3], DOUBTFUL])
            new_hulls.append(np.concatenate([corners, np.repeat(corners[-1:], HULL - 4, 0)]))
            # Nothing learns the roll of a doubtful face: upright will do.
            new_anchors.append(box[:2] + (box[2:] - box[:2]) * np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.75]]))
    (cache / "labels.npz").replace(cache / "labels_first.npz")
    np.savez(
        cache / "labels.npz",
        rows=np.array(new_rows),
        hulls=np.array(new_hulls, np.float32),
        anchors=np.array(new_anchors, np.float32),
    )
    for name, kinds in (("before", rows[:, 3]), ("after", np.array(new_rows)[:, 3])):
        log.info("%s: %d annotated, %d agreed, %d doubtful", name, *np.bincount(kinds, minlength=3))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) != 4:
        raise UsageError("usage: python -m vtrack.training.detector.refine DATA CACHE WEIGHTS")
    torch.set_num_threads(1)
    refine(*map(Path, sys.argv[1:]))
