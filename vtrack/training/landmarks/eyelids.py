"""Eyes shut by a warp: the skin above an eye is drawn down over it, lashes and all, and its lids' points go along.

Photographs with shut eyes are rare, and those that have them are few and of one kind; of open eyes there are thousands,
marked by people.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vtrack.data.lids import eye_points, narrowed, opening
from vtrack.layouts import Layout
from vtrack.types import FloatArray, ImageArray

_ABOVE, _BELOW = 0.45, 0.25
"""How far above the upper lid skin is stretched, and how far below the lower it gives way, in widths of the eye."""
_NARROW, _WIDE = 0.14, 0.55
"""Openings below and above which an eye is left as it is: shut already, or so wide that the skin above does not reach."""
_BOTH, _WHOLLY, _MOST_LEFT = 0.7, 0.6, 0.6
"""How often both eyes are shut and not one alone, how often wholly, and the largest share of its opening that is left else."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """Places of a layout's six points of each eye, and of the middles that follow from them."""

    points: tuple[tuple[int, ...], ...]
    middles: tuple[int | None, ...]

    @classmethod
    def of(cls, layout: Layout) -> Eyes | None:
        """Those of the 68-point layout, with or without middles; None for others, which mark eyes in other ways."""
        if layout.name.partition("+")[0] != "300w":
            return None
        sides = ("left", "right")
        middles = [layout.query.indices(f"{side}_eye_center") for side in sides]
        return cls(
            tuple(tuple(eye_points(layout, side)) for side in sides), tuple(one[0] if one else None for one in middles)
        )

    def shut(self, image: ImageArray, points: FloatArray, rng: np.random.Generator) -> tuple[ImageArray, FloatArray]:
        """A crop (S, S, 3) and its points (L, 2) in crop units, with one eye or both shut or nearly so."""
        both, wholly = rng.random() < _BOTH, rng.random() < _WHOLLY
        left = 0.0 if wholly else float(rng.uniform(0, _MOST_LEFT))
        chosen = (0, 1) if both else (int(rng.integers(2)),)
        points = points.copy()
        for which in chosen:
            places = list(self.points[which])
            eye = points[places]
            if not _NARROW < opening(eye[None])[0] < _WIDE:
                continue
            shut = narrowed(eye[None], np.array([left]))[0]
            image = _drawn(image, eye * len(image) - 0.5, shut * len(image) - 0.5)
            points[places] = shut
            if self.middles[which] is not None:
                points[self.middles[which]] = shut.mean(0)
        return image, points


def _drawn(image: ImageArray, eye: FloatArray, shut: FloatArray) -> ImageArray:
    """The picture with an eye's lids (6, 2) moved to where they are to be, both in pixels."""
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
    to_upper, to_lower = (_lid(shut, lid, origin, along, down, u) for lid in ((0, 1, 2, 3), (0, 5, 4, 3)))
    # Near the corners the curves may cross.
    lower, to_lower = np.maximum(lower, upper), np.maximum(to_lower, to_upper)
    top, bottom = upper - _ABOVE * width, lower + _BELOW * width
    # From where the new lids lie to where the old ones lay, piece by piece down the eye.
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
    drawn = image.copy()
    drawn[start[1] : stop[1], start[0] : stop[0]] = patch
    return drawn


def _lid(
    eye: FloatArray, lid: tuple[int, ...], origin: FloatArray, along: FloatArray, down: FloatArray, u: FloatArray
) -> FloatArray:
    """How far down a lid lies at places along the eye: the cubic through its four points, where they are well apart."""
    local = eye[list(lid)] - origin
    places, depths = local @ along, local @ down
    if np.diff(places).min() < 0.05 * (places[3] - places[0]):  # a cubic would swing far out
        order = np.argsort(places)
        return np.interp(u, places[order], depths[order])
    curve = np.polynomial.Polynomial.fit(places, depths, 3)
    return np.asarray(curve(u.clip(places[0], places[3])))
