"""`vtrack run` and what users get wrong: one clear line, the right exit code, nothing lost and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clips import truncate, write_clip, write_sound
from vtrack.cli.main import FAILED, USAGE, main


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", 12)


def fails(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str]:
    """Exit code and the one line of a run that fails before it begins."""
    try:
        code = main(["run", *map(str, args)])
    except SystemExit as error:  # argparse's own
        code = int(error.code or 0)
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def one_line(text: str) -> bool:
    return text.startswith("vtrack: ") and text.count("\n") == 1 and "Traceback" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parts", "eyse"], "did you mean eyes"),
        (["--parts", "lips:0"], "lips"),
        (["--smooth", "median"], "rts"),
        (["--smooth.strength", "3"], "strength"),
        (["--smooth.lips", "-1"], "lips"),
        (["--max-faces", "0"], "--max-faces must be at least 1"),
        (["--detect-every", "9"], "--detect-every must be 0 to 1 seconds"),
        (["--every", "0"], "--every must be at least 1"),
        (["--start", "5", "--stop", "2"], "must come after --start"),
        (["--format", "excel"], "choose from wide, long"),
        (["--format", "dlc", "--jsonl"], "add --csv"),
        (["--columns", "colour"], "choose from"),
        (["--video", "--draw", "hats"], "choose from points"),
        (["--video", "--codec", "theora"], "choose from"),
        (["--video", "--crf", "99"], "--crf must be"),
        (["--video", "--preset", "warp"], "choose from"),
        (["--video", "x.wmv"], ".wmv"),
        (["--csv", "same", "--jsonl", "same"], "two outputs would go to"),
    ],
)
def test_an_invalid_option_is_wrong_usage(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, text = fails(capsys, clip, *options)
    assert code == USAGE
    assert one_line(text)
    assert message in text
    assert list(tmp_path.iterdir()) == [clip]


@pytest.mark.parametrize("options", [["--start", "1:75"], ["--start", "-3"], ["--crf", "good"], ["--strenght", "1"]])
def test_what_cannot_be_parsed_is_wrong_usage(
    clip: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    code, text = fails(capsys, clip, *options)
    assert code == USAGE
    assert one_line(text)


def test_a_source_that_is_no_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text_file = tmp_path / "notes.mp4"
    text_file.write_text("this is not a video\n" * 50)
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    sound = write_sound(tmp_path / "sound.m4a")
    cut = truncate(write_clip(tmp_path / "cut.mp4", 12), 0.3)
    absent = tmp_path / "absent.mp4"
    before = sorted(tmp_path.iterdir())
    for path, message in [
        (text_file, "notes.mp4"),
        (empty, "empty.mp4"),
        (sound, "no video"),
        (cut, "cut.mp4"),
        (absent, "no such file"),
    ]:
        code, text = fails(capsys, path, "--video")
        assert code == FAILED
        assert one_line(text)
        assert message in text
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_that_exists_is_kept(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "clip.vtrack.csv"
    table.write_text("precious")
    code, text = fails(capsys, clip)
    assert code == FAILED
    assert one_line(text)
    assert "exists already; add --overwrite or choose another path" in text
    # Whoever has mistyped another option, too, is told so first.
    for options in (["--model", "fsat"], ["--device", "tpu"], ["--video", "x.wmv"], ["--detector", "dog"]):
        code, text = fails(capsys, clip, "--csv", table, *options)
        assert code == USAGE
        assert "exists already" not in text
    code, text = fails(capsys, clip, "-o", tmp_path / "new", "--model", "fsat")
    assert code == USAGE
    assert not (tmp_path / "new").exists()
    assert table.read_text() == "precious"


def test_a_folder_of_videos_goes_to_batch(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = fails(capsys, tmp_path)
    assert code == FAILED
    assert f"holds 1 video, no images; try `vtrack batch {tmp_path}`" in text
    (tmp_path / "poster.jpg").write_bytes(b"")
    code, text = fails(capsys, tmp_path)
    assert code == FAILED
    assert one_line(text)
    assert f"holds 1 video and 1 image; for the videos try `vtrack batch {tmp_path}`, for the images" in text


def test_the_input_is_no_output(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = clip.read_bytes()
    code, text = fails(capsys, clip, "--video", clip, "--overwrite")
    assert code == USAGE
    assert "is the input itself" in text
    assert clip.read_bytes() == content


def test_a_folder_that_cannot_be_written(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = fails(capsys, clip, "--csv", tmp_path / "nowhere" / "table.csv")
    assert code == FAILED
    assert one_line(text)
    assert "there is no folder" in text
    # A file where a folder is wanted fails for root too, whom permissions do not stop.
    code, text = fails(capsys, clip, "-o", clip / "out")
    assert code == FAILED
    assert one_line(text)
    assert "cannot make the folder" in text
    code, text = fails(capsys, clip, "-o", "/proc/self")
    assert code == FAILED
    assert one_line(text)


def test_an_unknown_model_device_or_detector(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in [
        (["--model", "huge"], "there is no model 'huge'"),
        (["--device", "tpu"], "there is no device 'tpu'"),
        (["--engine", "steam"], "there is no engine 'steam'"),
        (["--detector", "dog"], "there is no detector 'dog'"),
    ]:
        code, text = fails(capsys, clip, *options)
        assert code in (FAILED, USAGE)
        assert one_line(text)
        assert message in text
    assert list(tmp_path.iterdir()) == [clip]
