"""Times of frames are those of the file, and are repaired where it has none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.clips import (
    read,
    write_clip,
)
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.sources.timestamps import TimestampRepair


def test_variable_rate_is_kept(tmp_path: Path) -> None:
    times = [0, 0.04, 0.3, 0.31, 0.9, 2.0, 2.02]
    with open_source(write_clip(tmp_path / "clip.mp4", times=times)) as source:
        rows = read(source)
    assert [time for _, _, time in rows] == pytest.approx(times, abs=1e-4)


def test_start_of_the_clock_is_kept(tmp_path: Path) -> None:
    with open_source(write_clip(tmp_path / "clip.mp4", 10, start=3, b_frames=2, audio=1)) as source:
        assert source.info.start_time == 3.0
        assert [time for _, _, time in read(source)] == pytest.approx([3 + i / 25 for i in range(10)])


def test_missing_timestamps_follow_the_rate(tmp_path: Path) -> None:
    with open_source(write_clip(tmp_path / "clip.h264", 20, b_frames=2)) as source:
        assert source.expected is None
        rows = read(source)
    assert [number for _, number, _ in rows] == list(range(20))
    assert [time for _, _, time in rows] == pytest.approx([i / 25 for i in range(20)])
    with open_source(tmp_path / "clip.h264", start=0.4) as source:
        assert [index for index, _, _ in read(source)] == list(range(10, 20))


def test_avi_times_are_even(tmp_path: Path) -> None:
    with open_source(write_clip(tmp_path / "clip.avi", 40, b_frames=2, time_base=Fraction(1, 25))) as source:
        assert source.expected == 40
        rows = read(source)
    assert [number for _, number, _ in rows] == list(range(40))
    assert [time for _, _, time in rows][:38] == pytest.approx([i / 25 for i in range(38)])
    assert [time for _, _, time in rows] == sorted({time for _, _, time in rows})


def test_timestamp_repair() -> None:
    def run(*stamps: int | None) -> list[int]:
        repair = TimestampRepair(Fraction(1, 100), Fraction(25))
        return [repair(stamp) for stamp in stamps]

    assert run(3, 7, 20, 21) == [3, 7, 20, 21]
    assert run(None, None, None) == [0, 4, 8]
    assert run(0, None, 8, None) == [0, 4, 8, 12]
    assert run(0, 4, 4, 8) == [0, 4, 5, 8]
    assert run(0, 40, 20, 44) == [0, 40, 41, 44]
    assert run(500, 504, 0, 4, 8) == [500, 504, 508, 512, 516]
