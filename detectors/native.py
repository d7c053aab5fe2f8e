"""vtrack's own face detector: weights in the package, batches of frames of any size, small, rolled and cut-off faces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vtrack.detectors.config import read_config
from vtrack.detectors.engines import CPU_PIXELS, load_engine
from vtrack.detectors.geometry import cell_grid, decode_boxes, inside_tile, suppress, tiles, vote
from vtrack.imaging.boxes import corners_to_xywh
from vtrack.imaging.planes import Pixels, Planes
from vtrack.models.checksums import warn_without_checksums
from vtrack.types import Detections, Detector, FloatArray, Frame, ImageArray

NATIVE_CARD = Path(__file__).parent / "weights" / "native.json"
"""The shipped detector; its network's files lie beside the card."""
DEFAULT_SIZE = 640
"""Pixels of the longer side that frames are resized to."""
MULTIPLE = 32
"""Sides of the network's input are multiples of this: it halves its input five times."""
MAX_CANDIDATES = 400
"""Cells per view that become boxes, best first: far more than the faces that anybody tracks."""
TILE, OVERLAP = 640, 96
"""Side and overlap of the tiles for small faces, in pixels: a face smaller than the overlap is whole in one of them."""
SMALL = 32
"""Faces up to this size in the resized frame are taken from tiles: in a tile, half of a large face can look like one."""
MAX_ENLARGEMENT = 2.0
"""Factor by which small frames are enlarged at most: small frames have small faces."""


@dataclass(frozen=True)
class _View:
    """One frame, or a tile of it, as the network gets it."""

    frame: int
    """Index of the frame within the batch."""
    window: np.ndarray
    """x, y, w, h in the frame."""
    width: int
    """Width that the window is resized to, in pixels."""
    height: int
    """Height that the window is resized to, in pixels."""

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the network's input, padded."""
        return -(-self.height // MULTIPLE) * MULTIPLE, -(-self.width // MULTIPLE) * MULTIPLE

    @property
    def scale(self) -> FloatArray:
        """(2,) frame pixels per input pixel, horizontally and vertically."""
        return self.window[2:] / np.array([self.width, self.height])


class NativeDetector(Detector):
    """vtrack's own detector: an anchor-free convolutional network, on the CPU by onnxruntime, on a GPU by torch.

    Args:
        card: JSON card of a detector of your own, with its weights beside it; by default the shipped detector.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        size: Pixels of the longer side that frames are resized to. Larger finds smaller faces and takes longer.
        threshold: Score, 0 to 1, from which a face is reported; by default the card's.
        small_faces: Also search full-sized tiles of the frame, for faces too small in the resized one.
        threads: CPU threads; by default all cores, at most 4.

    Raises:
        ModelError: The card or its weights cannot be read, or the card is not a detector's.

    Example:
        >>> import vtrack
        >>> detector = NativeDetector(size=320)
        >>> detections = detector.detect(list(vtrack.open_source("samples/sample.mp4", stop=0.1)))
        >>> detections[0].boxes.shape  # x, y, w, h of each face
        (1, 4)
    """

    name = "native"
    min_score = 0.95

    def __init__(
        self,
        model_path: Path | None = None,
        device: str = "auto",
        size: int = DEFAULT_SIZE,
        threshold: float | None = None,
        small_faces: bool = False,
        threads: int | None = None,
    ) -> None:
        path = model_path or NATIVE_CARD
        card, config = read_config(path)
        warn_without_checksums(card, path)
        self._engine = load_engine(card, path, device, threads)
        self._size, self._small_faces = size, small_faces
        self._threshold = config.threshold if threshold is None else threshold
        self._raw, self._share = config.raw, config.share

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Find the faces of each frame; frames of one size go through the network together."""
        return self._detect(frames, self._size, self._small_faces)

    def glance(self, frame: Frame) -> Detections:
        """Find the faces of a frame at half the size, in a quarter of the time: all but the small ones.

        A GPU takes as long for half the size, so there it is a whole search.
        """
        on_cpu = self._engine.pixels == CPU_PIXELS
        return self._detect([frame], self._size // 2, tiled=False)[0] if on_cpu else self.detect([frame])[0]

    def _detect(self, frames: Sequence[Frame], size: int, tiled: bool) -> list[Detections]:
        """Find the faces of each frame, resized to this longer side, and where asked for of its tiles."""
        candidates: list[list[FloatArray]] = [[] for _ in frames]
        groups: defaultdict[tuple[int, int], list[_View]] = defaultdict(list)
        for index, frame in enumerate(frames):
            for view in self._views(index, frame, size, tiled):
                groups[view.canvas].append(view)
        for (height, width), views in groups.items():
            batch_size = max(self._engine.pixels // (height * width), 1)
            for start in range(0, len(views), batch_size):
                batch = views[start : start + batch_size]
                images = np.zeros((len(batch), height, width, 3), np.uint8)
                for image, view in zip(images, batch, strict=True):
                    _resize(frames[view.frame].pixels, view, image)
                for cells, view in zip(self._engine.run(images), batch, strict=True):
                    candidates[view.frame].append(self._candidates(cells, view, frames[view.frame].size))
        return [self._detections(np.concatenate(rows)) if rows else Detections.none() for rows in candidates]

    def _views(self, index: int, frame: Frame, size: int, tiled: bool) -> list[_View]:
        """The whole frame, resized, and for small faces its tiles at full size."""
        width, height = frame.size
        if not width or not height:
            return []
        scale = min(MAX_ENLARGEMENT, size / max(frame.size))
        views = [
            _View(index, np.array([0, 0, width, height]), max(round(width * scale), 1), max(round(height * scale), 1))
        ]
        if tiled and scale < 1:
            views += [_View(index, tile, *tile[2:]) for tile in tiles(width, height, TILE, OVERLAP)]
        return views

    def _candidates(self, cells: FloatArray, view: _View, size: tuple[int, int]) -> FloatArray:
        """(n, 7) x0, y0, x1, y1 in the frame, score, cosine and sine of the roll, of the cells that may be faces."""
        chosen = np.flatnonzero(cells[0] > self._raw_threshold)
        if len(chosen) > MAX_CANDIDATES:
            chosen = chosen[np.argpartition(-cells[0, chosen], MAX_CANDIDATES)[:MAX_CANDIDATES]]
        centers, strides = cell_grid(*view.canvas)
        chosen_cells = cells[:, chosen]
        boxes = decode_boxes(chosen_cells, centers[chosen], strides[chosen])
        corners = (boxes.reshape(-1, 2, 2) + 0.5) * view.scale - 0.5 + view.window[:2]
        rows = np.concatenate([corners.reshape(-1, 4), chosen_cells[[0, 5, 6]].T], 1)
        if tuple(view.window[2:]) != size:
            xywh = corners_to_xywh(rows[:, :4])
            small = xywh[:, 2:].max(1) * self._size < SMALL * max(size)
            rows = rows[small & inside_tile(xywh, view.window, *size)]
        return rows

    @property
    def _raw_threshold(self) -> float:
        """The threshold as an uncalibrated score of the network."""
        return float(np.interp(self._threshold, self._share, self._raw))

    def _detections(self, rows: FloatArray) -> Detections:
        """One box for each face from all candidates of a frame."""
        if not len(rows):
            return Detections.none()
        boxes, scores, rolls = rows[:, :4], rows[:, 4], rows[:, 5:]
        kept, lowered = suppress(boxes, scores)
        above = lowered > self._raw_threshold
        kept, lowered = kept[above], lowered[above]
        boxes, rolls = vote(boxes, scores, rolls, kept)
        calibrated = np.interp(lowered, self._raw, self._share)
        return Detections(
            corners_to_xywh(boxes).astype(np.float32),
            calibrated.astype(np.float32),
            np.arctan2(rolls[:, 1], rolls[:, 0]).astype(np.float32),
        )


def _resize(image: Pixels, view: _View, out: ImageArray) -> None:
    """Write the resized window of a view into the top-left of its canvas."""
    x, y, w, h = view.window
    if isinstance(image, Planes):
        # Planes are cut at even pixels only. The whole frame starts at 0, and a tile is not resized.
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
