"""vtrack's own face detector: shipped weights, batches, any frame size, small and rolled and cut-off faces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vtrack.detectors.engines import load_engine
from vtrack.detectors.geometry import cells_of, decode, suppress, vote
from vtrack.detectors.tiles import whole, windows
from vtrack.errors import ModelError
from vtrack.imaging.planes import Pixels, Planes
from vtrack.models.card import read_card
from vtrack.types import Detections, FloatArray, Frame, ImageArray

NATIVE_CARD = Path(__file__).parent / "weights" / "native.json"
"""The shipped detector; its network's files lie beside the card."""
DEFAULT_SIZE = 640
MULTIPLE = 32
"""The network halves its input five times."""
CANDIDATES = 400
"""Most cells looked at per view, best first: far more than faces that anybody tracks."""
TILE, OVERLAP = 640, 96
"""Full-sized windows for small faces, and what they share: a face smaller than that is whole in one of them."""
SMALL = 32
"""Faces up to this size in the shrunken frame are taken from tiles: in a tile, half of a large face can look like one."""
ENLARGE = 2.0
"""Frames smaller than the detector's size are enlarged up to this: small frames have small faces."""


@dataclass(frozen=True)
class _View:
    """A window of one frame as the network sees it."""

    place: int
    """Which frame of the batch."""
    window: np.ndarray
    """x, y, w, h in the frame."""
    width: int
    height: int
    """Shrunken size in pixels."""

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the network's input, padded."""
        return -(-self.height // MULTIPLE) * MULTIPLE, -(-self.width // MULTIPLE) * MULTIPLE

    @property
    def scale(self) -> FloatArray:
        """Frame pixels for one of the network's, across and down."""
        return self.window[2:] / np.array([self.width, self.height])


class NativeDetector:
    """An anchor-free convolutional network on CPU (ONNX) or GPU (torch)."""

    name = "native"
    sure = 0.95

    def __init__(
        self,
        card: Path | None = None,
        device: str = "auto",
        size: int = DEFAULT_SIZE,
        threshold: float | None = None,
        small_faces: bool = False,
        threads: int | None = None,
    ) -> None:
        path = card or NATIVE_CARD
        content = read_card(path)
        if content.system != "detector":
            raise ModelError(f"{path}: this is the card of a {content.system!r} model, not of a detector")
        self._engine = load_engine(content, path, device, threads)
        self._size, self._small_faces = size, small_faces
        self._threshold = content.config["threshold"] if threshold is None else threshold
        # Scores of the network and the share of them that were faces on the validation split.
        self._raw, self._share = (np.array(content.config["calibration"][key]) for key in ("score", "share"))

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Faces of each frame; frames of one size go through the network together."""
        found: list[list[FloatArray]] = [[] for _ in frames]
        groups: defaultdict[tuple[int, int], list[_View]] = defaultdict(list)
        for place, frame in enumerate(frames):
            for view in self._views(place, frame):
                groups[view.canvas].append(view)
        for (height, width), views in groups.items():
            most = max(self._engine.pixels // (height * width), 1)
            for start in range(0, len(views), most):
                batch = views[start : start + most]
                pictures = np.zeros((len(batch), height, width, 3), np.uint8)
                for picture, view in zip(pictures, batch, strict=True):
                    _shrink(frames[view.place].pixels, view, picture)
                for cells, view in zip(self._engine.run(pictures), batch, strict=True):
                    found[view.place].append(self._candidates(cells, view, frames[view.place].size))
        return [self._faces(np.concatenate(rows)) if rows else Detections.none() for rows in found]

    def _views(self, place: int, frame: Frame) -> list[_View]:
        """The whole frame, shrunken; for small faces also full-sized tiles."""
        width, height = frame.size
        if not width or not height:
            return []
        scale = min(ENLARGE, self._size / max(frame.size))
        views = [
            _View(place, np.array([0, 0, width, height]), max(round(width * scale), 1), max(round(height * scale), 1))
        ]
        if self._small_faces and scale < 1:
            views += [_View(place, window, *window[2:]) for window in windows(width, height, TILE, OVERLAP)]
        return views

    def _candidates(self, cells: FloatArray, view: _View, size: tuple[int, int]) -> FloatArray:
        """(n, 7) x0, y0, x1, y1 in the frame, score, roll's cosine and sine, of the cells that may be faces."""
        good = np.flatnonzero(cells[0] > self._floor)
        if len(good) > CANDIDATES:
            good = good[np.argpartition(-cells[0, good], CANDIDATES)[:CANDIDATES]]
        middles, strides = cells_of(*view.canvas)
        picked = cells[:, good]
        boxes = decode(picked, middles[good], strides[good])
        corners = (boxes.reshape(-1, 2, 2) + 0.5) * view.scale - 0.5 + view.window[:2]
        rows = np.concatenate([corners.reshape(-1, 4), picked[[0, 5, 6]].T], 1)
        if tuple(view.window[2:]) != size:
            xywh = np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2]], 1)
            small = xywh[:, 2:].max(1) * self._size < SMALL * max(size)
            rows = rows[small & whole(xywh, view.window, *size)]
        return rows

    @property
    def _floor(self) -> float:
        """The network's score at the threshold."""
        return float(np.interp(self._threshold, self._share, self._raw))

    def _faces(self, rows: FloatArray) -> Detections:
        """One box for each face from all candidates of a frame."""
        if not len(rows):
            return Detections.none()
        boxes, scores, rolls = rows[:, :4], rows[:, 4], rows[:, 5:]
        kept, believed = suppress(boxes, scores)
        kept, believed = kept[believed > self._floor], believed[believed > self._floor]
        boxes, rolls = vote(boxes, scores, rolls, kept)
        xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
        calibrated = np.interp(believed, self._raw, self._share)
        return Detections(
            xywh.astype(np.float32),
            calibrated.astype(np.float32),
            np.arctan2(rolls[:, 1], rolls[:, 0]).astype(np.float32),
        )


def _shrink(image: Pixels, view: _View, out: ImageArray) -> None:
    """Draw a view into the top-left of its canvas."""
    x, y, w, h = view.window
    if isinstance(image, Planes):
        # Planes are cut at even pixels only. The whole frame starts at 0, and a tile is not shrunk.
        dx, dy = x % 2, y % 2
        wider = image.part(x - dx, y - dy, w + dx, h + dy).shrunk((view.width + dx, view.height + dy))
        out[: view.height, : view.width] = wider[dy:, dx:]
        return
    part, target = image[y : y + h, x : x + w], out[: view.height, : view.width]
    if (w, h) == (view.width, view.height):
        target[:] = part
    else:
        target[:] = cv2.resize(
            part, (view.width, view.height), interpolation=cv2.INTER_AREA if view.width < w else cv2.INTER_LINEAR
        )
