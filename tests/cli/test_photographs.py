"""`vtrack run` on photographs: a row for each face with its file, and what is said of what cannot be."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import vtrack
from vtrack.cli.main import FAILED, OK, USAGE, main

LONDON = Path(__file__).parents[1] / "data" / "london" / "images"


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two photographs of different sizes, and one of two faces."""
    folder = tmp_path / "album"
    folder.mkdir()
    shutil.copy(LONDON / "004.jpg", folder / "anna, 1.jpg")
    first, second = (cv2.imread(str(LONDON / name)) for name in ("004.jpg", "006.jpg"))
    assert first is not None and second is not None
    cv2.imwrite(str(folder / "bert.png"), cv2.resize(second, None, fx=2, fy=2))
    small = cv2.copyMakeBorder(cv2.resize(first, (264, 264)), 0, 88, 0, 0, cv2.BORDER_REPLICATE)
    cv2.imwrite(str(folder / "both.png"), np.hstack([small, second]))
    return folder


def test_a_table_names_the_file_of_each_face(album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["run", str(album), "--parts", "eyes", "--columns", "inside"]
    assert main([*command, "-o", str(out), "--csv", "--jsonl", "--parquet"]) == OK
    assert "album: 3 photographs, 3 with faces, 4 faces" in capsys.readouterr().err
    with (out / "album.vtrack.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["file"], row["face"]) for row in rows] == [
        ("0", "anna, 1.jpg", "0"),
        ("1", "bert.png", "0"),
        ("2", "both.png", "0"),
        ("2", "both.png", "1"),
    ]
    assert list(rows[0])[:4] == ["frame", "time_s", "file", "face"]
    assert float(rows[2]["box_x"]) > 264 > float(rows[3]["box_x"])  # the larger face first
    assert main([*command, "--csv", str(out / "long.csv"), "--format", "long"]) == OK
    expected = vtrack.track(album, parts="eyes").table(["inside"])
    assert expected.file == tuple(row["file"] for row in rows) and expected.files == (
        "anna, 1.jpg",
        "bert.png",
        "both.png",
    )
    for name in ("album.vtrack.csv", "album.vtrack.jsonl", "album.vtrack.parquet", "long.csv"):
        table = vtrack.read_table(out / name)
        assert table.file == expected.file
        np.testing.assert_allclose(table.points, expected.points, atol=1e-3)
    assert tuple(expected.to_pandas().file) == expected.file
    assert set(expected.to_pandas(long=True).file) == set(expected.files)
    assert expected.to_xarray().points.sel(file="bert.png", face=0).shape == (16, 2)
    facts = json.loads((out / "album.vtrack.csv.meta.json").read_text())
    assert facts["source"]["photographs"] and facts["counts"]["tracks"] == 4


def test_each_photograph_is_as_if_alone(album: Path) -> None:
    tracker = vtrack.Tracker("eyes", measures=True)
    for result in tracker.track(album):
        alone = tracker.image(album / result.frame.file)
        assert result.frame.size == alone.frame.size and len(result.faces) == len(alone.faces)
        for one, other in zip(result.faces, alone.faces, strict=True):
            np.testing.assert_array_equal(one.points, other.points)
            assert one.measures is not None and one.measures["left_eye_open"] > 0 and one.measures["blinks"] == 0


def test_a_broken_photograph(
    album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (album / "broken.jpg").write_bytes((album / "anna, 1.jpg").read_bytes()[:4000])
    assert main(["run", str(album), "--parts", "pupils", "-o", str(tmp_path)]) == FAILED
    said = capsys.readouterr().err
    assert "broken.jpg: a damaged or unusual image, which cannot be decoded; skipped" in caplog.text
    assert "3 photographs, 3 with faces, 4 faces" in said and "1 file skipped" in said
    assert len(vtrack.read_table(tmp_path / "album.vtrack.csv")) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--video", "--video applies to videos and numbered images only; album is photographs"),
        ("--format dlc", "--format dlc applies to films only; album is photographs; use wide or long"),
        ("--smooth kalman", "--smooth applies to films only"),
        ("--smooth.eyes 0.3", "--smooth.eyes applies to films only"),
        ("--detect-every 1", "--detect-every applies to films only"),
        ("--expressions --neutral 1", "--neutral applies to films only"),
        ("--fps 30", "--fps applies to films only; album is photographs, of which --images sequence makes a film"),
        ("--stop 1", "photographs have no times"),
        ("--hwaccel cuda", "--hwaccel applies to video only"),
        ("--images film", "there is no kind of images 'film'; "),
    ],
)
def test_what_is_of_films(album: Path, capsys: pytest.CaptureFixture[str], options: str, message: str) -> None:
    assert main(["run", str(album), *options.split()]) == USAGE
    assert message in capsys.readouterr().err
    assert not list(album.parent.glob("*.csv"))
