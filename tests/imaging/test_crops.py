"""Crops: the exact way back, what a warp shows, and that the accelerator's warp shows the same."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.imaging.warp_torch import warp_there
from vtrack.types import ImageArray


def random_crops(count: int, seed: int = 0) -> Crops:
    """Of all sizes and turns, some partly outside a 641 x 361 frame."""
    rng = np.random.default_rng(seed)
    return Crops(
        rng.uniform([-20, -20], [660, 380], (count, 2)), rng.uniform(40, 700, count), rng.uniform(-3, 3, count)
    )


def random_frames(count: int, seed: int = 0) -> list[ImageArray]:
    """Pictures with detail of a few pixels."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (count, 361, 641, 3), np.uint8)
    return [cv2.normalize(cv2.GaussianBlur(image, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX) for image in noise]


def test_to_crop_and_back_is_exact() -> None:
    crops = random_crops(200)
    points = np.random.default_rng(1).uniform(-500, 5000, (200, 30, 2))
    assert np.abs(crops.to_frame(crops.to_crop(points)) - points).max() < 1e-9
    # Points may have passed through single precision, as they do in a model.
    single = crops.to_crop(points).astype(np.float32)
    assert np.abs(crops.to_frame(single) - points).max() < 1e-3
    pixels, maps = crops.to_pixels(points, 96), crops.matrices(96)
    assert np.abs(pixels @ maps[:, :, :2].transpose(0, 2, 1) + maps[:, None, :, 2] - points).max() < 1e-8


def test_a_turned_crop_shows_the_face_upright() -> None:
    """The head leans to the right by `angle`; in its crop the way from chin to brow is straight up."""
    angle = 0.6
    crops = Crops(np.array([[100.0, 80.0]]), np.array([50.0]), np.array([angle]))
    up = np.array([np.sin(angle), -np.cos(angle)])
    inside = crops.to_crop(np.array([[[100.0, 80.0], [100.0, 80.0] + 20 * up]]))[0]
    np.testing.assert_allclose(inside, [[0.5, 0.5], [0.5, 0.1]], atol=1e-12)


def blob(center: tuple[float, float], radius: float, size: tuple[int, int] = (640, 360)) -> ImageArray:
    ys, xs = np.mgrid[: size[1], : size[0]]
    spot = np.exp(-((xs - center[0]) ** 2 + (ys - center[1]) ** 2) / (2 * radius**2))
    return np.repeat((255 * spot).round().astype(np.uint8)[..., None], 3, -1)


def centroid(crop: np.ndarray) -> np.ndarray:
    """(2,) crop units of the middle of what is bright in (3, S, S)."""
    weights = crop[0].astype(float)
    ys, xs = np.mgrid[: crop.shape[1], : crop.shape[2]]
    return (np.array([(weights * xs).sum(), (weights * ys).sum()]) / weights.sum() + 0.5) / crop.shape[1]


@pytest.mark.parametrize("side", [90.0, 130.0, 300.0, 520.0, 900.0])
def test_what_a_warp_shows_is_where_the_geometry_says(side: float) -> None:
    """Also when shrinking by whole blocks; to a hundredth of a crop pixel."""
    center = (301.37, 150.81)
    crops = Crops(np.array([[310.2, 160.4]]), np.array([side]), np.array([0.4]))
    size = 128
    shown = centroid(warp([blob(center, max(side / 30, 4))], [0], crops, size)[0])
    expected = crops.to_crop(np.array([[center]]))[0, 0]
    np.testing.assert_allclose(shown, expected, atol=0.03 / size)


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    board = np.indices((512, 512)).sum(0) % 2 * 255
    image = np.repeat(board.astype(np.uint8)[..., None], 3, -1)
    crop = warp([image], [0], Crops(np.array([[255.5, 255.5]]), np.array([512.0]), np.array([0.0])), 64)
    assert np.abs(crop.astype(int) - 127).max() <= 1


def test_a_crop_of_far_more_than_there_is_to_see() -> None:
    """Something of the picture is left, on an accelerator too."""
    image = np.full((9, 17, 3), 200, np.uint8)
    crops = Crops(np.array([[8.0, 4.0]]), np.array([5000.0]), np.array([0.3]))
    shown = warp([image], [0], crops, 64)
    assert 0 < (shown > 0).sum() < 0.01 * shown.size or shown.max() == 0
    other = warp_there([image], crops, 64, "cpu").numpy()
    assert np.abs(shown.astype(int) - other).max() <= 1


def test_beyond_the_frame_is_black() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    crop = warp([image], [0], Crops(np.array([[0.0, 50.0]]), np.array([100.0]), np.array([0.0])), 50)[0]
    assert not crop[:, :, :24].any()
    assert (crop[:, 2:-2, 27:] == 200).all()


def test_the_tensor_warp_equals_the_other() -> None:
    frames, crops = random_frames(3), random_crops(60)
    which = np.random.default_rng(2).integers(0, 3, 60)
    here = warp(frames, which, crops, 128)
    there = warp_there([frames[place] for place in which], crops, 128, "cpu").numpy()
    difference = np.abs(there.astype(int) - here)
    assert difference.max() <= 1
    assert difference.mean() < 0.01


@pytest.mark.cuda
def test_the_warp_on_a_gpu_equals_the_other() -> None:
    frames, crops = random_frames(3), random_crops(60)
    which = np.random.default_rng(2).integers(0, 3, 60)
    here = warp(frames, which, crops, 128)
    there = warp(frames, which, crops, 128, "cuda")
    assert isinstance(there, torch.Tensor)
    difference = np.abs(there.cpu().numpy().astype(int) - here)
    assert difference.max() <= 2
    assert difference.mean() < 0.01


def test_no_crops() -> None:
    none = Crops.around(np.zeros((0, 4)), 1.25)
    assert warp([], [], none, 64).shape == (0, 3, 64, 64)
    assert warp_there([], none, 64, "cpu").shape == (0, 3, 64, 64)


def test_wrong_crops_are_refused() -> None:
    with pytest.raises(ValueError, match="do not match"):
        Crops(np.zeros((2, 2)), np.ones(3), np.zeros(3))
    with pytest.raises(ValueError, match="positive sides"):
        Crops(np.zeros((1, 2)), np.zeros(1), np.zeros(1))
    with pytest.raises(ValueError, match="finite centers"):
        Crops(np.full((1, 2), np.nan), np.ones(1), np.zeros(1))
