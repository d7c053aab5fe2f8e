"""Scene cut detection."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from vtrack.pipelines.sources.scene_cuts import CutDetector, mark_cuts
from vtrack.types import Frame


def picture(seed: int = 0) -> np.ndarray:
    """A different scene for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return coarse.repeat(20, 0).repeat(20, 1)


def test_fast_motion_is_no_cut() -> None:
    detector = CutDetector()
    wide = picture().repeat(3, 1)
    assert not any(detector.is_cut(wide[:, 8 * i : 8 * i + 160]) for i in range(40))
    assert detector.is_cut(picture(3))


def test_first_frames_of_scenes_are_marked_also_without_pixels() -> None:
    def frames() -> Iterator[Frame]:
        for i in range(90):
            yield Frame(picture(i // 30), i, i, Fraction(1, 30))

    given = list(frames())
    got = list(mark_cuts(given))
    assert [frame.index for frame in got if frame.cut] == [30, 60]
    assert [frame.without_pixels().cut for frame in got] == [frame.cut for frame in got]
    assert all(one is other for one, other in zip(got, given, strict=True) if not one.cut)


def test_images_of_different_sizes_are_compared() -> None:
    detector = CutDetector()
    assert not detector.is_cut(picture())
    assert not detector.is_cut(picture().repeat(2, 0).repeat(2, 1))
    assert detector.is_cut(picture(5))
