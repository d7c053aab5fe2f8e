"""AVI files whose packets' times repeat, and their copies in Matroska, tracked as a user does."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests import avi
from tests.conftest import ROOT
from vtrack.cli.main import main
from vtrack.pipelines.outputs.tables.read import read_table
from vtrack.pipelines.sources.open import open_source

FRAMES = 16
LOST = 1
"""The last picture but one: nothing follows that would bring it out of the decoder."""


def tracked(clip: Path, folder: Path, *options: str) -> np.ndarray:
    """(frames, points, 2) of the only face."""
    assert main(["run", str(clip), "--parts", "eyes,lips", "-o", str(folder), "--quiet", "--csv", *options]) == 0
    return read_table(folder / f"{clip.stem}.vtrack.csv").to_numpy()[:, 0]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an AVI file as it should be, one as old programs wrote it, and the old one copied to Matroska."""
    folder = tmp_path_factory.mktemp("films")
    with open_source(ROOT / "samples" / "sample.mp4") as source:
        plain = avi.write_plain(folder / "plain.avi", [frame.image for frame in islice(source, FRAMES)])
    avi.copy_streams(avi.write_old(folder / "old.avi", plain), folder / "old.mkv")
    return folder


def times_of(path: Path, kind: str) -> list[float]:
    """Decoding time of each packet with data, in seconds."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.best(kind)) if packet.size]
        return [float(packet.dts * packet.time_base) for packet in packets]


def test_the_old_files_are_as_meant(films: Path) -> None:
    sound, pictures = times_of(films / "old.avi", "audio"), times_of(films / "old.avi", "video")
    assert sum(after == before for before, after in pairwise(sound)) > len(sound) / 2
    assert max(np.diff(pictures)) > 1.5 * min(np.diff(pictures))
    assert min(np.diff(times_of(films / "old.mkv", "audio"))) < 0.002
    with av.open(str(films / "old.mkv")) as container:
        shown = [frame.pts for frame in container.decode(video=0)]
    assert any(after <= before for before, after in pairwise(shown)) and len(shown) == FRAMES - LOST


@pytest.mark.parametrize("name", ["old.avi", "old.mkv"])
def test_times_that_repeat_leave_the_points_where_they_are(films: Path, tmp_path: Path, name: str) -> None:
    expected = tracked(films / "plain.avi", tmp_path / "plain")
    points = tracked(films / name, tmp_path / "old")
    assert len(expected) == FRAMES and len(points) == FRAMES - LOST
    assert np.abs(points[:-1] - expected[: FRAMES - 2]).max() < 5
    np.testing.assert_array_equal(tracked(films / name, tmp_path / "video", "--video"), points)
    film = tmp_path / "video" / "old.vtrack.mp4"
    sound = times_of(film, "audio")
    assert min(np.diff(times_of(film, "video"))) > 0 and len(times_of(film, "video")) == FRAMES - LOST
    assert len(sound) == len(times_of(films / name, "audio")) and min(np.diff(sound)) > 0
