"""Faces simple enough for plain image processing, so that everything around the models is tested for real.

A toy face is an ellipse, red above and green below, and each has its own share of blue. `ToyDetector` finds them in
frames and `ToyModel` finds their points in crops, from the pixels alone; neither knows what was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from vtrack.anchors import ANCHORS
from vtrack.imaging.crops import Crops
from vtrack.types import Detections, FloatArray, Frame, ImageArray, Prediction, Query

WIDTH, HEIGHT = 0.8, 1.0
"""Of a face of side 1."""

# Where the anchors lie on a face of side 1 about (0, 0): their tight box is the ellipse's.
_TEMPLATE = {
    "jaw": [(-0.4, -0.1), (-0.3, 0.35), (0.0, 0.5), (0.3, 0.35), (0.4, -0.1)],
    "left_brow": [(-0.2, -0.5)],
    "right_brow": [(0.2, -0.5)],
    "left_eye": [(-0.28, -0.2), (-0.12, -0.2)],
    "right_eye": [(0.12, -0.2), (0.28, -0.2)],
    "nose_bridge": [(0.0, 0.1)],
    "outer_lip": [(-0.12, 0.25), (0.12, 0.25)],
}


@dataclass(frozen=True)
class ToyFace:
    """Position of one face in one frame."""

    center: tuple[float, float]
    side: float = 60.0
    angle: float = 0.0
    blue: int = 60


Scene = Callable[[int], Sequence[ToyFace]]
"""The faces of each frame, from back to front."""


def painter(scene: Scene) -> Callable[[int, int, int], ImageArray]:
    """Return a function that draws the frames of a scene, for `write_clip`."""

    def draw(index: int, width: int, height: int) -> ImageArray:
        image = np.full((height, width, 3), 70, np.uint8)
        ys, xs = np.mgrid[:height, :width]
        for face in scene(index):
            x, y = xs - face.center[0], ys - face.center[1]
            right = x * np.cos(face.angle) + y * np.sin(face.angle)
            down = y * np.cos(face.angle) - x * np.sin(face.angle)
            inside = (2 * right / WIDTH) ** 2 + (2 * down / HEIGHT) ** 2 <= face.side**2
            image[inside & (down < 0)] = (220, 40, face.blue)
            image[inside & (down >= 0)] = (40, 220, face.blue)
        return image

    return draw


def true_points(face: ToyFace, query: Query) -> FloatArray:
    """(points, 2) true points of a face in its frame."""
    crops = Crops(np.array([face.center]), np.array([face.side]), np.array([face.angle]))
    return crops.to_frame(_template(query)[None] + 0.5)[0]


def _template(query: Query) -> FloatArray:
    """(points, 2) of a face of side 1: the anchors' own places, any other point by its position around the ellipse."""
    places = {
        (part, position): next(spots)
        for part, spots in ((part, iter(spots)) for part, spots in _TEMPLATE.items())
        for anchor, position in zip(ANCHORS.parts, ANCHORS.positions, strict=True)
        if anchor == part
    }
    turns = 2 * np.pi * np.array(query.positions)
    around = np.stack([WIDTH / 2 * np.cos(turns), HEIGHT / 2 * np.sin(turns)], -1)
    keys = zip(query.parts, query.positions, strict=True)
    return np.array([places.get(key, spot) for key, spot in zip(keys, around, strict=True)])


def _halves(image: ImageArray) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of (H, W, 3) are red and which are green."""
    difference = image[..., 0].astype(int) - image[..., 1]
    return difference > 90, difference < -90


@dataclass
class ToyDetector:
    """Detects toy faces by their blue, largest first."""

    name: str = "toy"
    min_score: float = 0.0
    score: float = 0.95
    calls: list[int] = field(default_factory=list)
    """Index of every frame it was called with."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One `Detections` for each frame."""
        self.calls += [frame.index for frame in frames]
        return [self._detect(frame.image) for frame in frames]

    def _detect(self, image: ImageArray) -> Detections:
        red, green = _halves(image)
        boxes = []
        for low in range(30, 255, 60):
            blue = (image[..., 2] >= low) & (image[..., 2] < low + 60)
            count, _, stats, _ = cv2.connectedComponentsWithStats(((red | green) & blue).astype(np.uint8))
            boxes += [stats[i, :4] for i in range(1, count) if stats[i, 4] > 60]
        boxes.sort(key=lambda box: -box[2] * box[3])
        count = len(boxes)
        return Detections(np.array(boxes, float).reshape(-1, 4), np.full(count, self.score), np.zeros(count))


@dataclass
class ToyModel:
    """Locates the points of a toy face in a crop by its red and green halves."""

    name: str = "toy"
    min_score: float = 0.0
    input_size: int = 64
    margin: float = 1.6
    calls: list[int] = field(default_factory=list)
    """Crops of every batch."""

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Points, sigma and presence of a batch of crops (B, 3, S, S)."""
        self.calls.append(len(crops))
        template = _template(query)
        found = [self._find(crop.transpose(1, 2, 0)) for crop in np.asarray(crops)]
        places = Crops(
            np.array([center for center, *_ in found]),
            np.array([side for _, side, *_ in found]),
            np.array([angle for _, _, angle, _ in found]),
        )
        points = places.to_frame(np.broadcast_to(template + 0.5, (len(crops), *template.shape)))
        sigma = np.full(points.shape[:2], 0.01)
        return Prediction(points, sigma, np.array([presence for *_, presence in found]))

    def _find(self, crop: ImageArray) -> tuple[FloatArray, float, float, float]:
        """Centre, side (in crop units), angle and presence of the face nearest to the middle of a crop."""
        size = crop.shape[0]
        red, green = _halves(crop)
        ys, xs = np.nonzero(red | green)
        if len(xs) < 0.02 * size * size:
            return np.array([0.5, 0.5]), 1 / self.margin, 0.0, 0.02
        nearest = np.argmin((xs - size / 2) ** 2 + (ys - size / 2) ** 2)
        blue = np.abs(crop[..., 2].astype(int) - int(crop[ys[nearest], xs[nearest], 2])) < 25
        halves = [np.argwhere(half & blue)[:, ::-1] for half in (red, green)]
        area = len(halves[0]) + len(halves[1])
        if min(len(half) for half in halves) < 0.01 * size * size:
            return np.array([0.5, 0.5]), 1 / self.margin, 0.0, 0.1
        up = halves[0].mean(0) - halves[1].mean(0)
        middle = (halves[0].mean(0) + halves[1].mean(0)) / 2
        side = np.sqrt(area / (np.pi / 4 * WIDTH * HEIGHT))
        return (middle + 0.5) / size, float(side) / size, float(np.arctan2(up[0], -up[1])), 0.98
