"""`vtrack draw`: the pictures of `run --video` from its table, and one line for a table of another video."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import write_clip
from tests.pipelines.tables_of_others import write_dlc, write_openface
from vtrack.cli.main import OK, USAGE, main
from vtrack.pipelines.outputs.base import sidecar_path
from vtrack.pipelines.outputs.tables.read import read_table

SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"


def pictures(path: Path) -> tuple[np.ndarray, list[float]]:
    """(frames, height, width, 3) the frames of a video, and their times."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [
        float(frame.time or 0) for frame in frames
    ]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over some frames of the sample from its middle, with its video."""
    folder = tmp_path_factory.mktemp("run")
    options = [
        "--start",
        "2",
        "--stop",
        "2.6",
        "--every",
        "2",
        "--parts",
        "eyes,lips",
        "--draw",
        "points,boxes",
        "--quiet",
    ]
    assert (
        main(["run", str(SAMPLE), "--csv", str(folder / "t.csv"), "--video", str(folder / "run.mp4"), *options]) == OK
    )
    return folder


@pytest.fixture
def table(run_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(run_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "t.csv"


def fails(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    """The one line of a drawing that is wrong usage."""
    assert main(["draw", *map(str, args)]) == USAGE
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.startswith("vtrack: ")
    return captured.err


def test_the_video_of_a_run_is_drawn_from_its_table(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", str(table), str(SAMPLE), "--draw", "points,boxes"]) == OK
    assert capsys.readouterr().err.splitlines()[-1] == f"wrote {table.with_suffix('.mp4')}"
    (drawn, times), (expected, known) = pictures(table.with_suffix(".mp4")), pictures(table.with_name("run.mp4"))
    assert times == known and len(drawn) == 9
    # Points in tables have three decimals, so that the edge of a dot differs a little, and the encoder's choices with it.
    difference = np.abs(drawn.astype(int) - expected)
    assert difference.mean() < 0.4 and difference.max() < 80
    with av.open(str(table.with_suffix(".mp4"))) as container:
        assert len(container.streams.audio) == 1


def test_other_styles_and_other_frames(table: Path, tmp_path: Path) -> None:
    assert main(["draw", str(table), str(SAMPLE), "-o", str(tmp_path / "plain.mp4"), "--draw", "none", "--quiet"]) == OK
    assert main(["draw", str(table), str(SAMPLE), "-o", str(tmp_path / "ids.mp4"), "--draw", "ids", "--quiet"]) == OK
    plain, ids = pictures(tmp_path / "plain.mp4")[0], pictures(tmp_path / "ids.mp4")[0]
    assert np.abs(plain.astype(int) - ids).max(axis=(1, 2, 3)).min() > 100
    more = ["--start", "1.9", "--stop", "2.2", "--every", "1", "--draw", "ids", "--quiet"]
    assert main(["draw", str(table), str(SAMPLE), "-o", str(tmp_path / "more.mp4"), *more]) == OK
    assert len(pictures(tmp_path / "more.mp4")[0]) == 9  # with those that the table has no row for


def test_two_tables_in_two_colours(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read = read_table(table)
    lines = (line.split(",") for line in table.read_text().splitlines())
    header, rows = next(lines), [*lines]
    lower = [i for i, name in enumerate(header) if name.endswith("_y")]
    for row in rows:
        for place in lower:
            row[place] = f"{float(row[place]) + 200:.3f}"
    other = tmp_path / "other.csv"
    other.write_text("".join(",".join(row) + "\n" for row in [header, *rows[1:]]))
    drawn = ["--with", str(other), "--draw", "points", "--quiet"]
    assert main(["draw", str(table), str(SAMPLE), *drawn, "-o", str(tmp_path / "two.mp4")]) == OK
    two = pictures(tmp_path / "two.mp4")[0].astype(int)
    (x, y), shown = read.to_numpy()[4, 0].mean(0), two[4]

    def colour(height: float) -> np.ndarray:
        """What the points around a height add to red, green and blue."""
        area = np.s_[int(height) - 60 : int(height) + 60, int(x) - 60 : int(x) + 60]
        change = (shown - pictures(SAMPLE)[0][68].astype(int))[area]
        return change.reshape(-1, 3)[np.abs(change).sum(-1).ravel() > 150].mean(0)

    assert np.subtract(*colour(y)[[0, 2]]) > 50 and np.subtract(*colour(y + 200)[[2, 0]]) > 50
    assert "--other-parts needs --with OTHER" in fails(capsys, table, SAMPLE, "--other-parts", "eyes")
    assert "other.csv has 36 other points than these 17" in fails(
        capsys, table, SAMPLE, "--with", other, "--other-parts", "jaw"
    )
    other.write_text(table.read_text().replace("\n62,", "\n63,"))
    assert "other.csv is not of sample.mp4" in fails(capsys, table, SAMPLE, "--with", other, "--every", "1")


def test_a_table_of_another_video(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 100)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert "its frames have 640x480 pixels, those of the video" in fails(capsys, table, clip)
    sidecar_path(table).unlink()
    assert "t.csv is not of clip.mp4: frame 60 is at 2.000 s in the table, at" in fails(capsys, table, clip)
    short = write_clip(tmp_path / "short.mp4", 12)
    assert "the table has a frame 60, and the video ends with 11" in fails(capsys, table, short)
    late = ["--start", "2.1", "--stop", "2.3", "--quiet"]
    assert main(["draw", str(table), str(SAMPLE), "-o", str(tmp_path / "late.mp4"), *late]) == OK
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {*before, "short.mp4", "late.mp4"} - {"t.csv.meta.json"}
    )


def test_tables_of_other_programs(tmp_path: Path) -> None:
    rows = ["2,400.0,100.0,0.9,520.0,210.0,0.9", "3,,,,,,"]
    dlc = write_dlc(tmp_path / "dlc.csv")
    dlc.write_text("\n".join([*dlc.read_text().splitlines()[:-1], *rows]) + "\n")
    assert main(["draw", str(dlc), str(SAMPLE), "--stop", "0.2", "--quiet"]) == OK
    openface = write_openface(tmp_path / "openface.csv")
    assert main(["draw", str(openface), str(SAMPLE), "--stop", "0.1", "--quiet"]) == OK
    drawn, plain = pictures(tmp_path / "dlc.mp4")[0], pictures(SAMPLE)[0][:6]
    changed = np.abs(drawn.astype(int) - plain).max(-1)
    assert changed[2, 90:110, 390:410].max() > 30 and changed[2, 200:220, 510:530].max() > 30
    assert changed[3, 90:220, 390:530].max() < 30
    assert len(pictures(tmp_path / "openface.mp4")[0]) == 3 and read_table(openface).frames[-1] == 2


def test_wrong_usage_is_one_line(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in [
        (["-o", "x.csv"], "x.csv: .csv is not an ending of an annotated video; end its name in .mp4"),
        (["-o", "-"], "an annotated video cannot be written to stdout"),
        (["--draw", "hats"], "choose from points"),
        (["--crf", "99"], "--crf must be"),
        (["--parts", "jaw"], "has 36 other points than these 17"),
        (["-o", tmp_path / "run.mp4"], "run.mp4 exists already; add --overwrite"),
        (["-o", tmp_path / "nowhere" / "x.mp4"], "there is no folder"),
    ]:
        assert message in fails(capsys, table, SAMPLE, *options)
    assert "--fps" in fails(capsys, table, SAMPLE, "--fps", "3")
    clip = write_clip(tmp_path / "clip.mp4", 12)
    content = clip.read_bytes()
    sidecar_path(table).unlink()
    assert "is the input itself" in fails(capsys, table, clip, "-o", clip, "--overwrite")
    assert clip.read_bytes() == content
    table.write_text(table.read_text()[:-40])
    assert "the file is cut off or damaged" in fails(capsys, table, SAMPLE, "--start", "2")
    assert not (tmp_path / "t.mp4").exists()
