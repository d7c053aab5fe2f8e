"""Draws the connections between landmarks that a `gcn` model has learned."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vtrack.data import Dataset
from vtrack.errors import UsageError
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.models.systems.gcn import Gcn
from vtrack.types import FloatArray, ImageArray, LandmarkModel

_SIDE, _GAP, _COLUMNS = 560, 8, 3
# Drawing is done in eighths of a pixel.
_SCALE = 8

STRONGEST = 3
"""Edges drawn for each landmark."""


def graph_sheet(model: LandmarkModel, data: Dataset, faces: int = 6) -> ImageArray:
    """(H, W, 3) the first faces of a data set with the strongest connections of each landmark.

    A line is thicker and brighter the larger its weight. A landmark is green if its heatmap is confident and red if not.

    Raises:
        UsageError: The model is not a `gcn` run by torch.
    """
    network = getattr(model, "network", None)
    if not isinstance(network, Gcn):
        raise UsageError(f"{model.name} has no graph to draw; give a gcn model")
    places = np.arange(min(faces, len(data)))
    crops = Crops.around(data.layout.face_box(data.points[places]), model.margin)
    images = [data.image(int(place)) for place in places]
    cut = warp(images, range(len(images)), crops, model.input_size)
    with torch.inference_mode():
        features = network.extract_features(torch.from_numpy(cut).to(next(network.parameters()).device))
        confidence = features.heatmap.heatmaps.sigmoid().flatten(2).amax(-1)
    shown = warp(images, range(len(images)), crops, _SIDE).transpose(0, 2, 3, 1)
    arrays = (tensor.float().cpu().numpy() for tensor in (features.points, features.edges, confidence))
    tiles = [_tile(*face) for face in zip(shown, *arrays, strict=True)]
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    page = np.full((rows * (_SIDE + _GAP) + _GAP, columns * (_SIDE + _GAP) + _GAP, 3), 250, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (_SIDE + _GAP) + _GAP, (i % columns) * (_SIDE + _GAP) + _GAP
        page[top : top + _SIDE, left : left + _SIDE] = tile
    return page


def _tile(image: ImageArray, points: FloatArray, edges: FloatArray, confidence: FloatArray) -> ImageArray:
    """One face: points (L, 2) in crop units, edges (L, L) and confidences (L,)."""
    page = np.ascontiguousarray(image // 2)  # darker, so that thin lines show
    pixels = [(int(x), int(y)) for x, y in np.round((points * _SIDE - 0.5) * _SCALE)]
    sources = np.argsort(-edges, axis=1)[:, :STRONGEST].ravel()
    targets = np.repeat(np.arange(len(points)), STRONGEST)
    weights = edges[targets, sources]
    for edge in np.argsort(weights):  # the strongest last, on top
        share = float(weights[edge] / max(weights.max(), 1e-9))
        colour = (int(70 + 185 * share), int(70 + 140 * share), int(110 - 60 * share))
        ends = pixels[targets[edge]], pixels[sources[edge]]
        cv2.line(page, *ends, colour, 1 + round(2 * share), cv2.LINE_AA, 3)
    for point, confident in zip(pixels, confidence, strict=True):
        share = float(np.clip(confident / max(float(np.median(confidence)), 1e-9), 0, 1))
        cv2.circle(page, point, 4 * _SCALE, (int(235 - 175 * share), int(64 + 126 * share), 70), -1, cv2.LINE_AA, 3)
    return page
