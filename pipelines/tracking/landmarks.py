"""Landmarks of faces in frames: crops around boxes, the landmark model in batches, and new crops where a box was wrong.

Boxes are always a little wrong. The model also places points outside its crop, so the points show where the face really
is. A face far from where its crop was taken, or with low presence, is cropped again around its own points; all such faces
of a batch are predicted again together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vtrack.anchors import ANCHORS, box_around
from vtrack.imaging.boxes import differences
from vtrack.imaging.crops import Crops
from vtrack.imaging.planes import Pixels
from vtrack.imaging.warp import warp
from vtrack.models.own import check_prediction
from vtrack.runtime.stopwatch import Stopwatch
from vtrack.types import FloatArray, Frame, LandmarkModel, Prediction, Query

PRESENCE_THRESHOLD = 0.5
"""Presence from which a crop shows a face."""

MIN_VISIBLE = 0.1
"""Share of a face's box that must lie in the frame; models also report faces in the black area outside it."""

_MAX_CROPS = 3
"""Largest number of crops of one face in one frame."""
_LARGEST_ERROR = (0.12, 0.18, 0.30)
"""Largest `differences` of a face from the box of its crop before it is cropped again."""
_HOPELESS = 0.1
"""Presence in the second crop below which a third has never shown a face."""
_PRESENCE_MARGIN = 0.1
"""A new crop replaces the one before unless its presence is lower by this much."""

_CPU_BATCH, _GPU_BATCH = 32, 256

_THREAD_START_TIME = 1e-4
"""Seconds to sleep after submitting a batch, so that its thread can start. Without it the thread waits milliseconds for
the global interpreter lock while the submitting thread continues in small steps."""

_EYES = [i for i, part in enumerate(ANCHORS.parts) if part in ("left_eye", "right_eye")]
_MOUTH = [i for i, part in enumerate(ANCHORS.parts) if part == "outer_lip"]


@dataclass(frozen=True, eq=False, slots=True)
class Sighting:
    """One face in one frame, as located by the landmark model."""

    points: FloatArray
    """(points, 2) in frame pixels: the user's points, then the anchors."""
    sigma: FloatArray
    """(points,) standard deviation of each coordinate, in frame pixels."""
    presence: float
    """Probability that the crop shows a face, 0..1."""
    box: FloatArray
    """(4,) x, y, w, h in frame pixels: the tight box around the face, from its anchors."""
    angle: float
    """Roll in radians, clockwise on screen."""
    hidden: FloatArray | None = None
    """(points,) probability that something hides the point; NaN or None where the model does not tell."""

    @property
    def anchors(self) -> FloatArray:
        """(anchors, 2) in frame pixels."""
        return self.points[-len(ANCHORS) :]

    @property
    def center(self) -> FloatArray:
        """(2,) center of the box."""
        return self.box[:2] + self.box[2:] / 2

    @property
    def side(self) -> float:
        """Longer side of the box in pixels."""
        return float(self.box[2:].max())


def roll_of(anchors: FloatArray) -> FloatArray:
    """Return the roll (...) of faces in radians, clockwise on screen, from their anchors (..., anchors, 2).

    The line through the eyes is short in profile and the line from eyes to mouth is short when the head nods. So both
    lines count, each weighted by its length.
    """
    eyes = anchors[..., _EYES, :]
    half = len(_EYES) // 2
    across = eyes[..., half:, :].mean(-2) - eyes[..., :half, :].mean(-2)
    down = anchors[..., _MOUTH, :].mean(-2) - eyes.mean(-2)
    return np.arctan2(across[..., 1] - down[..., 0], across[..., 0] + down[..., 1])


def unique_points(query: Query) -> tuple[Query, npt.NDArray[np.integer]]:
    """Remove repeated points from a query: many anchors are also among the user's points.

    Args:
        query: Any query.

    Returns:
        The query of the distinct points, and the index in it of each point of `query`.
    """
    points = list(zip(query.parts, query.positions, strict=True))
    distinct = list(dict.fromkeys(points))
    unique = Query(tuple(part for part, _ in distinct), tuple(position for _, position in distinct))
    return unique, np.array([distinct.index(point) for point in points])


class Landmarker:
    """Locates the landmarks of faces in frames: the user's points and the anchors, in frame pixels.

    Close it after use, to end its threads.

    Args:
        model: Landmark model.
        query: The user's points; the anchors are added.
        batch: Largest number of crops for one call of the model; None for the default of its device.
        watch: Stopwatch for the stages "crop" and "landmarks".
    """

    def __init__(
        self, model: LandmarkModel, query: Query, *, batch: int | None = None, watch: Stopwatch | None = None
    ) -> None:
        self.model = model
        self.watch = watch or Stopwatch()
        self.query = query + ANCHORS
        self._unique, self._indices = unique_points(self.query)
        self.device: str | None = getattr(model, "device", None)
        # Larger batches do not help a CPU, and each crop takes megabytes on its way through a network.
        self.batch = batch or (_CPU_BATCH if self.device in (None, "cpu") else _GPU_BATCH)
        self._concurrency: int = getattr(model, "concurrency", 1)
        self._batch_multiple: int = getattr(model, "batch_multiple", 1)
        self._threads = ThreadPoolExecutor(self._concurrency, "vtrack-model")

    def close(self) -> None:
        """End its threads; it cannot be used any more."""
        self._threads.shutdown(cancel_futures=True)

    def locate(
        self, frames: Sequence[Frame], frame_indices: Sequence[int], boxes: FloatArray, angles: FloatArray
    ) -> list[Sighting]:
        """Locate one face in each box.

        Args:
            frames: The frames that hold the faces.
            frame_indices: (n,) the index in `frames` of each box's frame.
            boxes: (n, 4) x, y, w, h in frame pixels.
            angles: (n,) roll of each face in radians.
        """
        return self.submit(frames, frame_indices, boxes, angles)()

    def submit(
        self, frames: Sequence[Frame], frame_indices: Sequence[int], boxes: FloatArray, angles: FloatArray
    ) -> Callable[[], list[Sighting]]:
        """Start to locate faces, see `locate`; return a function that waits for the sightings."""
        if not len(frame_indices):
            return list
        pixels = [frame.pixels for frame in frames]
        indices = np.asarray(frame_indices)
        crop_boxes, crop_angles = np.array(boxes, np.float64), np.array(angles, np.float64)
        sizes = np.array([frame.size for frame in frames])[indices]
        first_prediction = self._predict(pixels, indices, crop_boxes, crop_angles)

        def result() -> list[Sighting]:
            points, sigma, presence, hidden = first_prediction()
            for look in range(1, _MAX_CROPS):
                face_boxes, rolls = box_around(points[:, -len(ANCHORS) :]), roll_of(points[:, -len(ANCHORS) :])
                errors = differences(crop_boxes, crop_angles, face_boxes, rolls)
                wrong = (errors > _LARGEST_ERROR).any(1) | (presence < PRESENCE_THRESHOLD)
                if look > 1:
                    wrong &= presence >= _HOPELESS
                again = np.flatnonzero(_plausible(face_boxes, crop_boxes) & wrong)
                if not len(again):
                    break
                crop_boxes[again], crop_angles[again] = face_boxes[again], rolls[again]
                new_points, new_sigma, new_presence, new_hidden = self._predict(
                    pixels, indices[again], crop_boxes[again], crop_angles[again]
                )()
                # The new crop is better placed: it counts unless the model finds a face much less likely in it.
                better = new_presence > presence[again] - _PRESENCE_MARGIN
                points[again[better]], sigma[again[better]] = new_points[better], new_sigma[better]
                presence[again[better]], hidden[again[better]] = new_presence[better], new_hidden[better]
            face_boxes, rolls = box_around(points[:, -len(ANCHORS) :]), roll_of(points[:, -len(ANCHORS) :])
            # A face that is not finite or not in the frame is none, and must not become the place of the next crop.
            valid = np.isfinite(points).all((1, 2)) & (visible_share(face_boxes, sizes) >= MIN_VISIBLE)
            presence = np.where(valid, presence, 0.0)
            return [
                Sighting(points[i], sigma[i], float(presence[i]), face_boxes[i], float(rolls[i]), hidden[i])
                for i in range(len(indices))
            ]

        return result

    def _predict(
        self, pixels: Sequence[Pixels], indices: npt.NDArray[np.integer], boxes: FloatArray, angles: FloatArray
    ) -> Callable[[], tuple[FloatArray, FloatArray, FloatArray, FloatArray]]:
        """Start one prediction; return a function that waits for points (n, L, 2) and sigma (n, L) in frame pixels, presence
        (n,), and the probability (n, L) that points are hidden, NaN where the model does not tell."""
        crops = Crops.around(boxes, self.model.margin, angles)
        futures: list[Future[Prediction]] = []
        for batch in self._batches(len(crops)):
            if len(futures) >= 2 * self._concurrency:  # the crops of a crowd take too much memory to wait all at once
                futures[-2 * self._concurrency].result()
            # Warped here, not in the threads: short calls from many threads would make each other wait for the lock.
            with self.watch("crop"):
                images = warp(pixels, indices[batch], crops[batch], self.model.input_size, self.device)
            futures.append(self._threads.submit(self._run_model, images))
            time.sleep(_THREAD_START_TIME)

        def result() -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
            predictions = [future.result() for future in futures]
            points, sigma, presence = (
                np.concatenate([getattr(one, name) for one in predictions]) for name in ("points", "sigma", "presence")
            )
            hidden = np.concatenate(
                [np.full_like(one.sigma, np.nan) if one.hidden is None else one.hidden for one in predictions]
            )
            points, sigma, hidden = (values[:, self._indices] for values in (points, sigma, hidden))
            return crops.to_frame(points), sigma * crops.sides[:, None], presence, hidden

        return result

    def _run_model(self, images: Any) -> Prediction:
        with self.watch("landmarks"):
            return check_prediction(self.model, self.model.predict(images, self._unique), len(images), self._unique)

    def _batches(self, count: int) -> list[slice]:
        """Split `count` crops into batches: one for each thread where there are enough crops for all."""
        shares = max(min(self._concurrency, count // max(self._batch_multiple, 2)), 1)
        share = -(-count // shares)
        size = min(self.batch, round(share / self._batch_multiple) * self._batch_multiple if shares > 1 else count)
        return [slice(start, start + size) for start in range(0, count, size)]


def visible_share(boxes: FloatArray, sizes: npt.ArrayLike) -> FloatArray:
    """Return the share (n,) of each box (n, 4) in its frame, of sizes (n, 2) or (2,); NaN where a box is not finite."""
    inside = np.minimum(boxes[:, :2] + boxes[:, 2:], sizes) - np.maximum(boxes[:, :2], 0)
    share: FloatArray = np.maximum(inside, 0).prod(1) / np.maximum(boxes[:, 2:].prod(1), 1e-9)
    return share


def _plausible(face_boxes: FloatArray, boxes: FloatArray) -> np.ndarray:
    """(n,) whether the points make a box worth a new crop: finite, and within a factor of three of the crop's box."""
    sides, face_sides = boxes[:, 2:].max(1), face_boxes[:, 2:].max(1)
    return np.isfinite(face_boxes).all(1) & (face_sides > sides / 3) & (face_sides < 3 * sides)
