"""Things drawn in front of faces: they change the picture where they hide points, and nowhere far from themselves."""

from __future__ import annotations

import numpy as np
import pytest

from tests.faces import template_faces
from vtrack.data.occluders import MADE_KINDS, TAUGHT_KINDS, UNTAUGHT_KINDS, cover, random_kinds
from vtrack.data.occluders.face_frame import FaceFrame
from vtrack.layouts import Layout, load_layout
from vtrack.types import BoolArray, FloatArray, ImageArray

LAYOUT = load_layout("300w")
SIZE = 128
OTHER = np.random.default_rng(1).integers(0, 256, (160, 200, 3), dtype=np.uint8)


def face(layout: Layout = LAYOUT) -> FloatArray:
    """(L, 2) points in the middle of a crop, in crop units."""
    points = template_faces(layout, 1)[0]
    low, span = points.min(0), float(np.ptp(points, axis=0).max())
    return (points - low) / span * 0.7 + 0.15


def covered(kind: str, count: int = 24) -> tuple[ImageArray, list[tuple[ImageArray, BoolArray]]]:
    """The crop, and what it becomes by things of a kind."""
    rng = np.random.default_rng(3)
    image = np.full((SIZE, SIZE, 3), 128, np.uint8)
    return image, [cover(image, face(), LAYOUT, [kind], OTHER, rng) for _ in range(count)]


@pytest.mark.parametrize("kind", MADE_KINDS)
def test_points_are_hidden_where_the_picture_changed(kind: str) -> None:
    image, results = covered(kind)
    places = (face() * SIZE).astype(int)
    hidden = np.stack([behind for _, behind in results])
    changes = np.stack([np.abs(out.astype(int) - image).max(-1)[places[:, 1], places[:, 0]] for out, _ in results])
    assert hidden.any() and not hidden.all(1).any()
    assert (changes[hidden] > 3).mean() > 0.9  # a thing may have the colour of what it hides
    assert changes[hidden].mean() > 3 * changes[~hidden].mean()  # others lie in a shadow at most
    assert all(out.shape == image.shape and out.dtype == np.uint8 for out, _ in results)


def test_sunglasses_hide_the_eyes_and_spectacles_do_not() -> None:
    eyes = LAYOUT.query.indices("eyes")
    dark, clear = (np.stack([behind for _, behind in covered(kind)[1]]) for kind in ("sunglasses", "spectacles"))
    assert dark[:, eyes].mean() > 0.7
    assert clear[:, eyes].mean() < 0.3
    assert not dark[:, LAYOUT.query.indices("lips")].any()


def test_points_outside_the_crop_are_never_hidden() -> None:
    points = face() + (0.6, 0.0)
    outside = points[:, 0] > 1
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    rng = np.random.default_rng(0)
    for kind in MADE_KINDS:
        assert not cover(image, points, LAYOUT, [kind], OTHER, rng)[1][outside].any()


def test_training_draws_none_of_the_kinds_that_it_is_evaluated_by() -> None:
    rng = np.random.default_rng(0)
    drawn = {kind for _ in range(300) for kind in random_kinds(rng)}
    assert drawn == set(TAUGHT_KINDS) and not drawn & set(UNTAUGHT_KINDS)


@pytest.mark.parametrize("name", ["300w", "mesh", "cofw"])
def test_eyes_and_mouth_are_found_in_every_layout(name: str) -> None:
    layout = load_layout(name)
    frame = FaceFrame.of(face(layout) * SIZE, layout)
    left, right, mouth = frame.to_pixels(np.array([[-0.5, 0], [0.5, 0], [0, 1]]))
    assert left[0] < mouth[0] < right[0] and mouth[1] > max(left[1], right[1])
