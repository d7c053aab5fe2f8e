"""Pictures in planes: what is cut out of them is what would be cut out of the RGB picture."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import write_clip
from vtrack.imaging.crops import Crops
from vtrack.imaging.planes import BT601, BT709, Blank, Colours, Planes, rgb_of
from vtrack.imaging.warp import warp
from vtrack.imaging.warp_torch import warp_there
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.sources.scene_cuts import CutDetector
from vtrack.types import Frame

SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"


@pytest.fixture(scope="module")
def frame() -> Frame:
    with open_source(SAMPLE, stop=0.5) as source:
        return list(source)[-1]


def test_a_usual_video_keeps_its_planes_even_when_it_is_closed(frame: Frame) -> None:
    assert isinstance(frame.pixels, Planes)
    assert frame.image.shape == frame.pixels.shape == (frame.size[1], frame.size[0], 3)
    assert frame.pixels.nbytes * 2 == frame.image.nbytes


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9], ids=["enlarged", "shrunk", "averaged"])
def test_crops_are_those_of_the_rgb_picture(frame: Frame, share: float) -> None:
    width, height = frame.size
    centers = np.array([[0.5 * width, 0.4 * height], [0.97 * width, 0.9 * height]])
    crops = Crops(centers, np.full(2, share * width), np.array([0.3, 0.0]))
    ours, theirs = (warp([pixels], [0, 0], crops, 128).astype(int) for pixels in (frame.pixels, frame.image))
    # FFmpeg's conversion repeats colours where ours are interpolated, and rounds down.
    assert np.abs(ours - theirs).mean() < 1.5
    # The second crop leaves the frame on the right; there is black.
    steps = (np.arange(128) + 0.5) / 128
    places = crops.to_frame(np.stack([np.zeros((2, 128)) + steps, np.full((2, 128), 0.5)], -1))[1]
    # The averaged picture's last column reaches as far as its blocks are wide.
    beyond = places[:, 0] > width + max(2 * share * width / 128, 2)
    assert beyond.any()
    assert (ours[1][:, 64, beyond] <= 1).all()


def test_a_small_picture_is_that_of_the_rgb_picture(frame: Frame) -> None:
    assert isinstance(frame.pixels, Planes)
    size = (frame.size[0] // 3, frame.size[1] // 3)
    theirs = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(frame.pixels.shrunk(size) - theirs).mean() < 2


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9], ids=["enlarged", "shrunk", "averaged"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_crops_on_a_device_are_those_of_the_cpu(frame: Frame, share: float, device: str) -> None:
    """Of planes, and of planes among RGB pictures."""
    width, height = frame.size
    middles = [[0.5 * width, 0.4 * height], [0.97 * width, 0.9 * height], [0.4 * width, 0.5 * height]]
    sizes = np.array([1.0, 1.0, 0.6]) * share * width
    crops, which = Crops(np.array(middles), sizes, np.array([0.3, 0.0, 1.0])), [1, 0, 1]
    for pictures in ([frame.pixels, frame.pixels], [frame.image, frame.pixels]):
        there = warp_there([pictures[place] for place in which], crops, 128, device).cpu().numpy().astype(int)
        here = warp([frame.image] * 2 if pictures[0] is not frame.pixels else pictures, which, crops, 128)
        assert np.abs(there - here).max() <= 3  # one level of a colour plane makes two of RGB
        assert np.abs(there - here).mean() < 0.01


SHADES = (((200, 300), 150), ((100, 150), 110), ((100, 150), 140))


def test_pictures_of_another_range_are_black_beyond_their_edge_too() -> None:
    pictures = []
    for full in (False, True):
        luma, blue, red = (np.full(shape, value, np.uint8) for shape, value in SHADES)
        pictures.append(Planes(luma, blue, red, Colours(*BT709, full), lambda: np.zeros((0, 0, 3), np.uint8)).copied())
    crops = Crops(np.full((2, 2), 10.0), np.full(2, 150.0), np.zeros(2))
    there = warp_there(pictures, crops, 64, "cpu").numpy().astype(int)
    assert not there[:, :, :20, :20].any()
    assert np.abs(there - warp(pictures, [0, 1], crops, 64)).mean() < 1


@pytest.mark.parametrize(("shares", "red"), [(BT601, (81, 90, 240)), (BT709, (63, 102, 240))])
def test_colours_by_the_standards(shares: tuple[float, float], red: tuple[int, int, int]) -> None:
    stored = np.array([(16, 128, 128), (235, 128, 128), red], np.uint8).T.reshape(1, 3, 1, 3)
    shown = rgb_of(stored, Colours(*shares, full=False))[0, :, 0].T
    np.testing.assert_allclose(shown.astype(int), [(0, 0, 0), (255, 255, 255), (255, 0, 0)], atol=2)


def test_full_range() -> None:
    grey = np.array([0, 128, 128, 200, 128, 128], np.uint8).reshape(2, 3, 1, 1)
    assert rgb_of(grey, Colours(*BT709, full=True)).ravel().tolist() == [0] * 3 + [200] * 3


def test_windows_begin_at_even_pixels(frame: Frame) -> None:
    assert isinstance(frame.pixels, Planes)
    part = frame.pixels.part(10, 4, 51, 33)
    assert part.shape == (33, 51, 3)
    np.testing.assert_array_equal(part.whole(), frame.image[4:37, 10:61])
    assert np.abs(part.shrunk((51, 33)).astype(int) - part.whole()).mean() < 3
    with pytest.raises(ValueError, match="even pixels"):
        frame.pixels.part(1, 0, 10, 10)


def test_planes_of_other_sizes_are_refused() -> None:
    luma, half = np.zeros((5, 7), np.uint8), np.zeros((3, 4), np.uint8)
    assert Planes(luma, half, half, Colours(*BT601, full=False), lambda: np.zeros((5, 7, 3), np.uint8)).shape == (
        5,
        7,
        3,
    )
    with pytest.raises(ValueError, match="do not fit together"):
        Planes(luma, half, half[:2], Colours(*BT601, full=False), lambda: np.zeros((5, 7, 3), np.uint8))


def test_odd_sizes_are_cut_alike(tmp_path: Path) -> None:
    def draw(i: int, width: int, height: int) -> np.ndarray:
        rows, columns = np.mgrid[:height, :width]
        return np.stack([columns * 255 // width, rows * 255 // height, np.full_like(rows, 90)], -1).astype(np.uint8)

    clip = write_clip(tmp_path / "odd.mp4", 2, (98, 66), draw=draw)
    with open_source(clip) as source:
        pictures = list(source)
    crops = Crops(np.array([[49.0, 33.0]]), np.array([60.0]), np.array([0.0]))
    ours, theirs = (warp([p], [0], crops, 64).astype(int) for p in (pictures[0].pixels, pictures[0].image))
    assert np.abs(ours - theirs).mean() < 3


def test_a_cut_is_seen_in_planes(frame: Frame) -> None:
    def plain(level: int) -> Planes:
        luma = np.full(frame.image.shape[:2], level, np.uint8)
        half = np.full(frame.pixels.each[1][0].shape, 128, np.uint8)  # type: ignore[union-attr]
        return Planes(luma, half, half, Colours(*BT601, full=False), lambda: frame.image)

    cuts = CutDetector()
    assert [cuts.is_cut(plain(level)) for level in (40, 42, 41, 200, 201)] == [False, False, False, True, False]


def test_a_black_picture_takes_no_memory_when_it_is_copied_to_another_process() -> None:
    blank = Blank((1080, 1920, 3))
    assert blank.shape == (1080, 1920, 3)
    assert not blank.any()
    copied = pickle.dumps(blank)
    assert len(copied) < 200
    np.testing.assert_array_equal(pickle.loads(copied), blank)
    window = blank[:40, :60]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(window)), window)
    grey = blank[:2, :2] + np.uint8(7)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(grey)), np.full((2, 2, 3), 7))


def test_frames_without_pixels_are_small_when_they_are_pickled(frame: Frame) -> None:
    copied = pickle.dumps(frame.without_pixels())
    assert len(copied) < 1000
    assert pickle.loads(copied).size == frame.size


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_frames_go_when_nobody_needs_them_any_more(frame: Frame) -> None:
    """Without Python's search for circles: pictures are too large to wait for it."""

    def megabytes() -> float:
        status = Path("/proc/self/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    gc.collect()
    gc.disable()
    try:
        with open_source(SAMPLE) as source:
            pictures = iter(source)
            for _ in range(20):
                next(pictures)
            before, count = megabytes(), sum(1 for _ in pictures)
        assert count > 60
        assert megabytes() - before < 15 * frame.pixels.nbytes / 2**20
    finally:
        gc.enable()
