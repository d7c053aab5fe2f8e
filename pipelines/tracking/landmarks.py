"""From boxes in frames to landmarks in frames: crops, the model in batches, and a second look where a box was wrong.

Boxes are always a little wrong. The model points beyond its crop too, so its points say where the face really is: a
face that lies far from where its crop was taken for, or whose presence is doubtful, is cropped again around its own
points, and all such faces of a batch are looked at again together.
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
from vtrack.imaging.crops import Crops
from vtrack.imaging.planes import Pixels
from vtrack.imaging.warp import warp
from vtrack.runtime.stopwatch import Stopwatch
from vtrack.types import FloatArray, Frame, LandmarkModel, Prediction, Query

PRESENT = 0.5
"""Presence from which a crop counts as showing a face without doubt."""

_SHOWN = 0.1
"""Share of a face's box that must lie in the picture: nobody is seen beyond its edge, whatever a model says of black crops."""

_LOOKS = 3
"""How often a face is cropped at most."""
_SHIFT, _STRETCH, _TURN = 0.12, 0.18, 0.30
"""How wrong a box may be: offset in box sides, logarithm of the size, radians."""

_CPU_BATCH, _GPU_BATCH = 32, 256

_BEGINNING = 1e-4
"""Seconds in which a thread begins with what it was given. It would else wait for Python's lock, for milliseconds, while
whoever gave it something goes on in small steps."""

_EYES = [i for i, part in enumerate(ANCHORS.parts) if part in ("left_eye", "right_eye")]
_MOUTH = [i for i, part in enumerate(ANCHORS.parts) if part == "outer_lip"]


@dataclass(frozen=True, eq=False, slots=True)
class Sighting:
    """One face as the model saw it in one frame."""

    points: FloatArray
    """(points, 2) in frame pixels: the user's, then the anchors."""
    sigma: FloatArray
    """(points,) in frame pixels."""
    presence: float
    box: FloatArray
    """(4,) the tight box around the face, by its anchors."""
    angle: float
    """Roll in radians, clockwise on screen."""

    @property
    def anchors(self) -> FloatArray:
        """(anchors, 2) in frame pixels."""
        return self.points[-len(ANCHORS) :]

    @property
    def center(self) -> FloatArray:
        """(2,) middle of the box."""
        return self.box[:2] + self.box[2:] / 2

    @property
    def side(self) -> float:
        """Longer side of the box."""
        return float(self.box[2:].max())


def roll_of(anchors: FloatArray) -> FloatArray:
    """(..., anchors, 2) to the roll (...): how far the face is turned from upright, clockwise on screen.

    The line through the eyes is short in profile and the line from eyes to mouth is short when the head nods, so both
    speak, each by its length.
    """
    eyes = anchors[..., _EYES, :]
    half = len(_EYES) // 2
    across = eyes[..., half:, :].mean(-2) - eyes[..., :half, :].mean(-2)
    down = anchors[..., _MOUTH, :].mean(-2) - eyes.mean(-2)
    return np.arctan2(across[..., 1] - down[..., 0], across[..., 0] + down[..., 1])


def once(query: Query) -> tuple[Query, npt.NDArray[np.integer]]:
    """Each place that a query asks for, once, and where among them each of its points is.

    Many anchors are among the user's points, and the model need not be asked twice.
    """
    wanted = list(zip(query.parts, query.positions, strict=True))
    places = list(dict.fromkeys(wanted))
    asked = Query(tuple(part for part, _ in places), tuple(position for _, position in places))
    return asked, np.array([places.index(place) for place in wanted])


class Landmarker:
    """Looks at faces in frames: the user's points and the anchors, in frame pixels. Close it when there are no more."""

    def __init__(
        self, model: LandmarkModel, query: Query, *, batch: int | None = None, watch: Stopwatch | None = None
    ) -> None:
        self.model = model
        self.watch = watch or Stopwatch()
        self.query = query + ANCHORS
        self._once, self._places = once(self.query)
        self.device: str | None = getattr(model, "device", None)
        # A CPU gains nothing from larger batches, and each crop takes megabytes on its way through a network.
        self.batch = batch or (_CPU_BATCH if self.device in (None, "cpu") else _GPU_BATCH)
        self._callers: int = getattr(model, "callers", 1)
        self._grain: int = getattr(model, "grain", 1)
        self._helpers = ThreadPoolExecutor(self._callers, "vtrack-model")

    def close(self) -> None:
        """End its threads; it cannot look any more then."""
        self._helpers.shutdown(cancel_futures=True)

    def look(
        self, frames: Sequence[Frame], places: Sequence[int], boxes: FloatArray, angles: FloatArray
    ) -> list[Sighting]:
        """The face in each box (n, 4), turned by its angle (n,), of the frame at its place."""
        return self.begin(frames, places, boxes, angles)()

    def begin(
        self, frames: Sequence[Frame], places: Sequence[int], boxes: FloatArray, angles: FloatArray
    ) -> Callable[[], list[Sighting]]:
        """The same, not waited for: a function that is called for the faces once there is nothing else to do."""
        if not len(places):
            return list
        pictures = [frame.pixels for frame in frames]
        where, used, turned = np.asarray(places), np.array(boxes, np.float64), np.array(angles, np.float64)
        sizes = np.array([frame.size for frame in frames])[where]
        first = self._predict(pictures, where, used, turned)

        def seen() -> list[Sighting]:
            points, sigma, presence = first()
            for _ in range(_LOOKS - 1):
                found, rolls = box_around(points[:, -len(ANCHORS) :]), roll_of(points[:, -len(ANCHORS) :])
                slipped = _slipped(used, turned, found, rolls)
                again = np.flatnonzero(_sane(found, used) & (slipped | (presence < PRESENT)))
                if not len(again):
                    break
                used[again], turned[again] = found[again], rolls[again]
                new_points, new_sigma, new_presence = self._predict(
                    pictures, where[again], used[again], turned[again]
                )()
                # A second look is better placed; it counts unless it finds the face less likely by far.
                better = new_presence > presence[again] - 0.1
                points[again[better]], sigma[again[better]] = new_points[better], new_sigma[better]
                presence[again[better]] = new_presence[better]
            found, rolls = box_around(points[:, -len(ANCHORS) :]), roll_of(points[:, -len(ANCHORS) :])
            # What is not a number or not in the picture is not a face, and must not become the place of the next crop.
            presence = np.where(np.isfinite(points).all((1, 2)) & (_shown(found, sizes) >= _SHOWN), presence, 0.0)
            return [
                Sighting(points[i], sigma[i], float(presence[i]), found[i], float(rolls[i])) for i in range(len(where))
            ]

        return seen

    def _predict(
        self, pictures: Sequence[Pixels], where: npt.NDArray[np.integer], boxes: FloatArray, angles: FloatArray
    ) -> Callable[[], tuple[FloatArray, FloatArray, FloatArray]]:
        """One look, not waited for: points (n, L, 2) and sigma (n, L) in frame pixels, presence (n,)."""
        crops = Crops.around(boxes, self.model.margin, angles)
        answers: list[Future[Prediction]] = []
        for part in self._parts(len(crops)):
            if len(answers) >= 2 * self._callers:  # the crops of a crowd are too many to wait all at once
                answers[-2 * self._callers].result()
            # Cut here, not in the threads: short calls from many threads would keep each other waiting for Python's lock.
            with self.watch("crop"):
                cut = warp(pictures, where[part], crops[part], self.model.input_size, self.device)
            answers.append(self._helpers.submit(self._ask, cut))
            time.sleep(_BEGINNING)

        def gathered() -> tuple[FloatArray, FloatArray, FloatArray]:
            told = [answer.result() for answer in answers]
            points, sigma, presence = (
                np.concatenate([getattr(one, name) for one in told]) for name in ("points", "sigma", "presence")
            )
            return crops.to_frame(points[:, self._places]), sigma[:, self._places] * crops.sides[:, None], presence

        return gathered

    def _ask(self, cut: Any) -> Prediction:
        with self.watch("landmarks"):
            return self.model.predict(cut, self._once)

    def _parts(self, count: int) -> list[slice]:
        """So many crops in batches: if it is worth it, one for each thread."""
        shares = max(min(self._callers, count // max(self._grain, 2)), 1)
        share = -(-count // shares)
        size = min(self.batch, round(share / self._grain) * self._grain if shares > 1 else count)
        return [slice(start, start + size) for start in range(0, count, size)]


def _slipped(boxes: FloatArray, angles: FloatArray, found: FloatArray, rolls: FloatArray) -> np.ndarray:
    """(n,) whether the face lies elsewhere, is of another size or is turned otherwise than its crop was taken for."""
    sides, found_sides = boxes[:, 2:].max(1), found[:, 2:].max(1)
    shift = np.abs(boxes[:, :2] + boxes[:, 2:] / 2 - found[:, :2] - found[:, 2:] / 2).max(1) / sides
    stretch = np.abs(np.log(np.maximum(found_sides, 1e-6) / sides))
    turn = np.abs(np.remainder(rolls - angles + np.pi, 2 * np.pi) - np.pi)
    return (shift > _SHIFT) | (stretch > _STRETCH) | (turn > _TURN)


def _shown(boxes: FloatArray, sizes: npt.NDArray[np.integer]) -> FloatArray:
    """(n,) what share of each box (n, 4) lies in its picture, of sizes (n, 2); NaN where a box is none."""
    inside = np.minimum(boxes[:, :2] + boxes[:, 2:], sizes) - np.maximum(boxes[:, :2], 0)
    share: FloatArray = np.maximum(inside, 0).prod(1) / np.maximum(boxes[:, 2:].prod(1), 1e-9)
    return share


def _sane(found: FloatArray, boxes: FloatArray) -> np.ndarray:
    """(n,) whether the points make a box worth a second look: finite, and neither a dot nor several times the crop."""
    sides, found_sides = boxes[:, 2:].max(1), found[:, 2:].max(1)
    return np.isfinite(found).all(1) & (found_sides > sides / 3) & (found_sides < 3 * sides)
