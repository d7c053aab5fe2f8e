"""Eyes shut by a warp."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.faces import template_faces
from vtrack.data.lids import eye_points, opening
from vtrack.layouts import load_layout
from vtrack.training.landmarks.eyelids import Eyes
from vtrack.types import FloatArray, ImageArray

LAYOUT = load_layout("300w+middles")
SKIN, BALL = (200, 160, 140), (20, 40, 160)


@pytest.fixture
def face() -> tuple[ImageArray, FloatArray]:
    """A crop of one skin colour whose eyes are filled with another, and its points."""
    points = template_faces(LAYOUT, 1, scale=90)[0]
    points = (points - points.mean(0)) / 256 + 0.5
    image = np.full((256, 256, 3), SKIN, np.uint8)
    for side in ("left", "right"):
        ring = points[eye_points(LAYOUT, side)] * 256 - 0.5
        cv2.fillPoly(image, [ring.round().astype(np.int32)], BALL)
    return image, points


def balls(image: ImageArray) -> list[int]:
    """How many pixels of the left and of the right half look like an eyeball."""
    blue = image[..., 2].astype(int) > image[..., 0]
    return [int(blue[:, :128].sum()), int(blue[:, 128:].sum())]


class Fixed(np.random.Generator):
    """Always the same number."""

    def __init__(self, number: float) -> None:
        super().__init__(np.random.PCG64(0))
        self._number = number

    def random(self, *_: object, **__: object) -> float:  # type: ignore[override]
        return self._number


def test_skin_covers_eyes_that_are_shut(face: tuple[ImageArray, FloatArray]) -> None:
    image, points = face
    eyes = Eyes.of(LAYOUT)
    assert eyes is not None and min(balls(image)) > 100
    shut, moved = eyes.shut(image, points, Fixed(0.1))
    assert max(balls(shut)) < 0.25 * min(balls(image))
    changed = (shut != image).any(-1)
    rows = np.flatnonzero(changed.any(1))
    ring = points[[*eye_points(LAYOUT, "left"), *eye_points(LAYOUT, "right")]] * 256
    assert rows.min() > ring[:, 1].min() - 30 and rows.max() < ring[:, 1].max() + 20
    for side in ("left", "right"):
        places = eye_points(LAYOUT, side)
        assert opening(moved[None, places])[0] < 1e-6
        middle = LAYOUT.query.indices(f"{side}_eye_center")
        np.testing.assert_allclose(moved[middle[0]], moved[places].mean(0))
        np.testing.assert_array_equal(moved[[places[0], places[3]]], points[[places[0], places[3]]])
    others = [i for i, part in enumerate(LAYOUT.query.parts) if "eye" not in part]
    np.testing.assert_array_equal(moved[others], points[others])


def test_a_wink_shuts_one_eye_alone(face: tuple[ImageArray, FloatArray]) -> None:
    image, points = face
    eyes = Eyes.of(LAYOUT)
    assert eyes is not None
    before, after = balls(image), balls(eyes.shut(image, points, Fixed(0.9))[0])
    kept = [new / old for new, old in zip(after, before, strict=True)]
    assert max(kept) == 1 and min(kept) < 0.9


def test_other_layouts_are_left_alone() -> None:
    assert Eyes.of(load_layout("scut86")) is None
    assert Eyes.of(load_layout("300w")) is not None
