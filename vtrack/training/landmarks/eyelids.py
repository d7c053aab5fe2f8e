"""Closes eyes in training crops by a warp: the skin above an eye is stretched down over it, and the points of its lids move.

Annotated photographs with closed eyes are rare and similar to each other; there are thousands with open eyes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vtrack.data.lids import eye_points, narrowed, opening
from vtrack.layouts import Layout
from vtrack.types import FloatArray, ImageArray

_ABOVE, _BELOW = 0.45, 0.25
"""Extent of the stretched skin above the upper lid and of the compressed skin below the lower one, in eye widths."""
_MIN_OPENING, _MAX_OPENING = 0.14, 0.55
"""Range of openings (height over width) of eyes that are warped: narrower ones are closed already, for wider ones there is too
little skin above."""
_BOTH_EYES, _FULLY_CLOSED, _MAX_SHARE_LEFT = 0.7, 0.6, 0.6
"""Probability that both eyes are closed and not one, probability of closing them fully, and the largest share of the opening
that is left otherwise."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """Indices of the points of both eyes in a layout."""

    points: tuple[tuple[int, ...], ...]
    """The six points of the left and of the right eye."""
    middles: tuple[int | None, ...]
    """The middle of each eye, if the layout has it."""

    @classmethod
    def of(cls, layout: Layout) -> Eyes | None:
        """The eyes of the 68-point layout, with or without middles; None for other layouts, which mark eyes differently."""
        if layout.name.partition("+")[0] != "300w":
            return None
        sides = ("left", "right")
        middles = [layout.query.indices(f"{side}_eye_center") for side in sides]
        return cls(
            tuple(tuple(eye_points(layout, side)) for side in sides), tuple(one[0] if one else None for one in middles)
        )

    def shut(self, image: ImageArray, points: FloatArray, rng: np.random.Generator) -> tuple[ImageArray, FloatArray]:
        """Close one eye or both, fully or partly, in a crop (S, S, 3) with points (L, 2) in crop units."""
        both, fully = rng.random() < _BOTH_EYES, rng.random() < _FULLY_CLOSED
        share_left = 0.0 if fully else float(rng.uniform(0, _MAX_SHARE_LEFT))
        sides = (0, 1) if both else (int(rng.integers(2)),)
        points = points.copy()
        for side in sides:
            indices = list(self.points[side])
            eye = points[indices]
            if not _MIN_OPENING < opening(eye[None])[0] < _MAX_OPENING:
                continue
            closed = narrowed(eye[None], np.array([share_left]))[0]
            image = _warp_lids(image, eye * len(image) - 0.5, closed * len(image) - 0.5)
            points[indices] = closed
            if self.middles[side] is not None:
                points[self.middles[side]] = closed.mean(0)
        return image, points


def _warp_lids(image: ImageArray, eye: FloatArray, closed: FloatArray) -> ImageArray:
    """Warp an image so that the points of an eye (6, 2) move to those of the closed eye, both in pixels."""
    origin, axis = (eye[0] + eye[3]) / 2, eye[3] - eye[0]
    width = float(np.linalg.norm(axis))
    if width < 2:
        return image
    along = axis / width
    down = np.array([-along[1], along[0]])
    if (eye[[4, 5]] - eye[[1, 2]]).mean(0) @ down < 0:
        down = -down
    reach = np.ceil(width * 1.1)
    start = np.maximum(np.floor(origin - reach), 0).astype(int)
    stop = np.minimum(np.ceil(origin + reach) + 1, (image.shape[1], image.shape[0])).astype(int)
    if (stop - start < 2).any():
        return image
    xs, ys = np.meshgrid(np.arange(start[0], stop[0]), np.arange(start[1], stop[1]))
    offsets = np.stack([xs, ys], -1) - origin
    u, v = offsets @ along, offsets @ down
    inside = np.abs(u) < width / 2
    upper, lower = (_lid(eye, lid, origin, along, down, u) for lid in ((0, 1, 2, 3), (0, 5, 4, 3)))
    to_upper, to_lower = (_lid(closed, lid, origin, along, down, u) for lid in ((0, 1, 2, 3), (0, 5, 4, 3)))
    # Near the corners the curves may cross.
    lower, to_lower = np.maximum(lower, upper), np.maximum(to_lower, to_upper)
    top, bottom = upper - _ABOVE * width, lower + _BELOW * width
    # Map the bands between the new lids to those between the old ones: above, between and below the lids.
    source = v.copy()
    for (a, b), (c, d) in (
        ((top, to_upper), (top, upper)),
        ((to_upper, to_lower), (upper, lower)),
        ((to_lower, bottom), (lower, bottom)),
    ):
        here = inside & (v >= a) & (v < b)
        source[here] = (c + (v - a) / np.maximum(b - a, 1e-3) * (d - c))[here]
    moved = offsets + (source - v)[..., None] * down + origin
    patch = cv2.remap(
        image, moved[..., 0].astype(np.float32), moved[..., 1].astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    warped = image.copy()
    warped[start[1] : stop[1], start[0] : stop[0]] = patch
    return warped


def _lid(
    eye: FloatArray, lid: tuple[int, ...], origin: FloatArray, along: FloatArray, down: FloatArray, u: FloatArray
) -> FloatArray:
    """Offset of a lid across the eye, for offsets `u` along it: a cubic through its four points."""
    local = eye[list(lid)] - origin
    places, depths = local @ along, local @ down
    if np.diff(places).min() < 0.05 * (places[3] - places[0]):  # a cubic through close points overshoots
        order = np.argsort(places)
        return np.interp(u, places[order], depths[order])
    curve = np.polynomial.Polynomial.fit(places, depths, 3)
    return np.asarray(curve(u.clip(places[0], places[3])))
