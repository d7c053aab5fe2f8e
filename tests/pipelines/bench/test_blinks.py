"""Blinks found in video beside those that are marked."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from vtrack.errors import DataError
from vtrack.pipelines.bench.blinks import marked_clips, score
from vtrack.pipelines.measures.events import Counts

SAMPLE = Path(__file__).parents[3] / "samples" / "sample.mp4"


def test_blinks_of_the_sample_are_found(tmp_path: Path) -> None:
    clip = Path(shutil.copy(SAMPLE, tmp_path / "sample.mp4"))
    marks = np.zeros(270, int)
    for at in (0.9, 3.1, 5.0, 6.3, 8.1, 8.45):
        marks[int(at * 30) - 1 : int(at * 30) + 2] = 1
    clip.with_suffix(".csv").write_text("\n".join(map(str, marks)))
    (tmp_path / "other.mp4").touch()
    assert marked_clips(tmp_path) == [clip]
    found = score("fast", clip)
    assert found.counts == Counts(6, 0, 0)
    assert len(found.onsets) == 6 and max(map(abs, found.onsets)) < 4
    clip.with_suffix(".csv").write_text("0\n1\n")
    with pytest.raises(DataError, match="2 lines for a clip of"):
        score("fast", clip)
