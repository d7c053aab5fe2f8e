"""Revises the labels of training photographs by a trained detector: it resolves doubtful faces and adds missed ones.

`python -m vtrack.training.detector.refine DATA CACHE WEIGHTS` reads `labels.npz` in the cache folder, keeps it as
`labels_first.npz` and writes the revised one.
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
from vtrack.errors import UsageError, errors_in_one_line
from vtrack.imaging.boxes import areas, intersections, iou
from vtrack.types import FloatArray, ImageArray

log = logging.getLogger(__name__)

FACE, DOUBTFUL_BELOW, NO_FACE = 0.6, 0.3, 0.05
"""Scores above which a doubtful label becomes a face, below which an agreed label becomes doubtful, and below which a doubtful
label is removed."""
FACE_AT_EDGE = 0.45
"""Score from which an unlabelled detection at the edge of the photograph becomes doubtful: BlazeFace misses faces that are cut
off, so a lower one than `FACE` is enough there."""


@torch.inference_mode()
def detect(net: FaceNet, image: ImageArray) -> tuple[FloatArray, FloatArray]:
    """Boxes x0, y0, x1, y1 and scores of the network's detections."""
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


def revised_kinds(kinds: np.ndarray, boxes: FloatArray, detected: FloatArray, scores: FloatArray) -> np.ndarray:
    """Revise the kinds of one photograph's labels.

    Args:
        kinds: (labels,) TRUTH, AGREED or DOUBTFUL.
        boxes: (labels, 4) x0, y0, x1, y1.
        detected: (detections, 4) boxes of the network.
        scores: (detections,) their scores.

    Returns:
        (labels,) revised kinds; -1 for labels to remove.
    """
    score = np.where(iou(boxes, detected) > 0.35, scores, 0.0).max(1, initial=0.0)
    revised = kinds.copy()
    revised[(kinds == AGREED) & (score < DOUBTFUL_BELOW)] = DOUBTFUL
    revised[(kinds == DOUBTFUL) & (score > FACE)] = AGREED
    revised[(kinds == DOUBTFUL) & (score < NO_FACE)] = -1
    return revised


def unlabelled(boxes: FloatArray, detected: FloatArray, scores: FloatArray, size: tuple[int, int]) -> np.ndarray:
    """Indices of detections that may be faces without a label, by their score and distance from the labelled boxes."""
    smaller = np.minimum(areas(detected)[:, None], areas(boxes)[None])
    apart = (intersections(detected, boxes) < 0.3 * smaller).all(1)
    cut = (detected[:, :2] < 1).any(1) | (detected[:, 2:] > np.array(size) - 2).any(1)
    return np.flatnonzero(apart & (scores > np.where(cut, FACE_AT_EDGE, FACE)))


def refine(data: Path, cache: Path, weights: Path) -> None:
    """Revise the labels of all photographs.

    Args:
        data: Folder of the photograph zips.
        cache: Folder of the labels.
        weights: Weights of the trained network.
    """
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
            # Pictures of the album may be smaller than the photographs, in whose pixels the labels are.
            images[int(place)] = picture.levels[0], float(np.ptp(picture.hulls[0][:, 0]) / np.ptp(known[:, 0]))

    new_rows, new_hulls, new_anchors = [], [], []
    for place, (image, scale) in sorted(images.items()):
        labelled = np.flatnonzero(photograph == place)
        boxes = np.concatenate([hulls[labelled].min(1), hulls[labelled].max(1)], 1)
        detected, scores = detect(net, image)
        detected = detected / scale
        for row, kind in zip(labelled, revised_kinds(rows[labelled, 3], boxes, detected, scores), strict=True):
            if kind >= 0:
                new_rows.append([*rows[row, :3], kind])
                new_hulls.append(hulls[row])
                new_anchors.append(anchors[row])
        size = int(image.shape[1] / scale), int(image.shape[0] / scale)
        for box in detected[unlabelled(boxes, detected, scores, size)]:
            corners = box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)
            new_rows.append([*rows[labelled[0], :3], DOUBTFUL])
            new_hulls.append(np.concatenate([corners, np.repeat(corners[-1:], HULL - 4, 0)]))
            # The loss ignores the roll of a doubtful face, so it may be upright.
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
    with errors_in_one_line():
        if len(sys.argv) != 4:
            raise UsageError("usage: python -m vtrack.training.detector.refine DATA CACHE WEIGHTS")
        torch.set_num_threads(1)
        refine(*map(Path, sys.argv[1:]))
