"""`vtrack batch` as users see it: what it says, how it exits, and that it does nothing twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from av.codec.hwaccel import hwdevices_available

from tests.cli.imports import imported_modules
from tests.clips import write_clip
from tests.pipelines.batch.batching import batch, recipe, summary, write_toys
from vtrack.cli.main import FAILED, OK, USAGE, main
from vtrack.errors import UsageError
from vtrack.models import gpu_likely
from vtrack.pipelines.settings import InputSettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One good clip and a table of boxes for the detector."""
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    write_clip(folder / "below" / "clip.mp4", 8)
    (folder / "boxes.csv").write_text("frame,x,y,w,h\n0,40,20,50,60\n")
    return folder


def options(folder: Path, out: Path) -> list[str]:
    boxes = ["--detector", "boxes", "--detector-model", str(folder / "boxes.csv")]
    return ["batch", str(folder), "-o", str(out), "--parts", "eyes", *boxes]


def test_a_chip_that_nobody_knows_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "a.mp4", 3)
    assert main(["batch", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "out"), "--hwaccel", "abacus"]) == USAGE
    assert "unknown hardware decoder 'abacus'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_chip_to_decode_on(tmp_path: Path) -> None:
    """One that nobody knows ends all, one that is not here fails each video."""
    folder = tmp_path / "in"
    write_toys(folder / "a.mp4")
    write_toys(folder / "b.mp4")
    with pytest.raises(UsageError, match="unknown hardware decoder 'abacus'"):
        batch(folder, tmp_path / "out", replace(recipe(), input=InputSettings(hwaccel="abacus"))).run()
    absent = next((name for name in hwdevices_available() if name != "cuda" or not gpu_likely()), None)
    if absent is not None:
        batch(folder, tmp_path / "absent", replace(recipe(), input=InputSettings(hwaccel=absent))).run()
        rows = summary(tmp_path / "absent").values()
        assert any(f"cannot decode with {absent} on this machine" in row["error"] for row in rows)
        assert all(row["status"] == "failed" for row in rows)


def test_a_folder_twice(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, merged = tmp_path / "out", tmp_path / "out" / "all.csv"
    assert main([*options(folder, out), "--merge", str(merged)]) == OK
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("[1/1] below/clip.mp4: 8 frames, ")
    assert said[1].startswith("1 video: 1 done; 8 frames; ")
    assert said[2:] == [f"summary: {out / 'summary.csv'}", f"merged: {merged}"]
    assert (
        len((out / "below" / "clip.vtrack.csv").read_text().splitlines()) == len(merged.read_text().splitlines()) == 9
    )
    again = [*options(folder, out), "--merge", str(merged)]
    assert main(again) == OK
    said_again = capsys.readouterr().err
    assert said_again.startswith("1 video: 1 done (1 of them before); 8 frames; ")
    assert "merged" not in said_again
    # No model is loaded for nothing.
    unneeded = {"torch", "onnxruntime", "openvino", "mediapipe", "scipy", "filterpy", "tqdm", "pyarrow"}
    assert not unneeded & imported_modules(again, OK)


def test_a_failure_shows_in_the_exit_code(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.mp4").write_bytes(b"nonsense" * 100)
    out = tmp_path / "out"
    assert main(options(folder, out)) == FAILED
    said = capsys.readouterr().err
    assert f"bad.mp4: failed: {folder / 'bad.mp4'}: not a video" in said
    assert "2 videos: 1 done, 1 failed; 8 frames; " in said
    assert "--retry-failed" not in said
    assert main(options(folder, out)) == FAILED
    assert "--retry-failed tries again what failed before" in capsys.readouterr().err
    assert main([*options(folder, out), "--quiet"]) == FAILED
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--workers", "many"], USAGE, "--workers is a number or auto"),
        (["--workers", "0"], USAGE, "workers must be at least 1"),
        (["--timeout", "0"], USAGE, "timeout must be more than 0"),
        (["--parts", "eyse"], USAGE, "did you mean eyes"),
        (["--merge", "all.xlsx"], USAGE, "must end in .csv or .parquet"),
        (["--merge", "all.csv", "--format", "dlc"], USAGE, "cannot be merged"),
        (["--parquet", "--format", "long"], USAGE, "add --csv"),
        (["--include", "*.xyz"], FAILED, "no videos and no images in"),
        (["--model", "huge"], USAGE, "there is no model 'huge'"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, message: str
) -> None:
    assert main([*options(folder, tmp_path / "out"), *more]) == code
    said = capsys.readouterr().err
    assert said.startswith("vtrack: ")
    assert said.count("\n") == 1
    assert message in said
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_no_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options(folder, folder / "boxes.csv")) == USAGE
    assert "is not a folder" in capsys.readouterr().err
