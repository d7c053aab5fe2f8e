"""A sink that fails never takes the work of the others with it."""

from __future__ import annotations

import json
import logging
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import write_clip
from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.errors import SinkError
from vtrack.pipelines.outputs.group import SinkGroup
from vtrack.pipelines.outputs.stdout import STDOUT
from vtrack.pipelines.outputs.tables.csv import WideTable
from vtrack.pipelines.outputs.tables.jsonl import JsonLines
from vtrack.pipelines.outputs.video import VideoSink
from vtrack.types import FrameResult

FULL = OSError(28, "No space left on device")


class FailingVideo(VideoSink):
    """A video whose fifth frame, or whose end, cannot be encoded."""

    failure: Exception = FULL
    at_end = False

    def _write(self, result: FrameResult) -> None:
        if result.index == 5 and not self.at_end:
            raise self.failure
        super()._write(result)

    def _finish(self, interrupted: bool) -> None:
        if self.at_end:
            raise self.failure
        super()._finish(interrupted)


def write(group: SinkGroup, raising: BaseException | None = None) -> None:
    with group:
        for i in range(9):
            group.write(make_result(i, make_face()))
        if raising is not None:
            raise raising


@pytest.mark.parametrize("at_end", [False, True])
def test_the_others_are_finished(tmp_path: Path, at_end: bool, caplog: pytest.LogCaptureFixture) -> None:
    video = FailingVideo(tmp_path / "a.mp4")
    video.at_end = at_end
    group = SinkGroup([WideTable(tmp_path / "a.csv", QUERY), video, JsonLines(tmp_path / "a.jsonl", QUERY)])
    with caplog.at_level(logging.WARNING):
        write(group)
    assert ("No space left on device; the other outputs go on" in caplog.text) == (not at_end)
    message = f"cannot write {video.file.path}: No space left on device; saved {tmp_path}/a.csv, {tmp_path}/a.jsonl"
    with pytest.raises(SinkError) as error:
        group.check()
    assert str(error.value) == message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.jsonl"]
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 10


def test_after_an_interrupt_too(tmp_path: Path) -> None:
    group = SinkGroup([FailingVideo(tmp_path / "a.mp4"), WideTable(tmp_path / "a.csv", QUERY)])
    with pytest.raises(KeyboardInterrupt):
        write(group, KeyboardInterrupt())
    with pytest.raises(SinkError, match=r"saved .*a\.csv"):
        group.check()


def test_when_none_is_left_the_run_ends(tmp_path: Path) -> None:
    group = SinkGroup([FailingVideo(tmp_path / "a.mp4"), FailingVideo(tmp_path / "b.mp4")])
    with pytest.raises(SinkError) as error, group:
        for i in range(9):
            group.write(make_result(i))
            assert i < 5
    assert str(error.value).count("No space left") == 2 and "saved" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_is_no_sinks_own_is_raised_as_it_is(tmp_path: Path) -> None:
    video = FailingVideo(tmp_path / "a.mp4")
    video.failure = ZeroDivisionError("a fault of the program")
    group = SinkGroup([video, WideTable(tmp_path / "a.csv", QUERY)])
    write(group)
    with pytest.raises(ZeroDivisionError):
        group.check()
    assert (tmp_path / "a.csv").exists()


def test_an_error_of_the_run_leaves_nothing(tmp_path: Path) -> None:
    group = SinkGroup([WideTable(tmp_path / "a.csv", QUERY), VideoSink(tmp_path / "a.mp4")])
    with pytest.raises(ZeroDivisionError):
        write(group, ZeroDivisionError())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_meanwhile_leaves_what_went_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    group = SinkGroup([WideTable(STDOUT, QUERY), JsonLines(folder / "a.jsonl", QUERY)])
    with group:
        for i in range(9):
            group.write(make_result(i, make_face()))
            if i == 4:
                shutil.rmtree(folder)
    with pytest.raises(SinkError, match=r"cannot write .*/out/a\.jsonl: .* was removed meanwhile; saved stdout"):
        group.check()
    assert len(capsys.readouterr().out.splitlines()) == 10


def test_a_video_that_outgrows_the_disk_leaves_the_table(tmp_path: Path) -> None:
    """With a limit on the size of files that the video exceeds and the table does not."""
    clip = write_clip(tmp_path / "clip.mp4", frames=100, size=(320, 240))
    limit = 12 * 1024

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    # Files are ended by SIGXFSZ, unless it is ignored; then writing fails as on a full disk.
    command = "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    command += "from vtrack.cli.main import main; sys.exit(main())"
    options = ["--parts", "eyes", "--video", "--crf", "0", "--quiet", "-o", str(tmp_path / "out")]
    run = subprocess.run(
        [sys.executable, "-c", command, "run", str(clip), *options],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
    )
    assert run.returncode == 1, run.stderr
    table = tmp_path / "out" / "clip.vtrack.csv"
    last = run.stderr.splitlines()[-1]
    assert last == f"vtrack: cannot write {tmp_path}/out/clip.vtrack.mp4: File too large; saved {table}"
    assert len(table.read_text().splitlines()) == 101
    assert json.loads(table.with_name("clip.vtrack.csv.meta.json").read_text())["counts"]["frames"] == 100
    assert not list(table.parent.glob(".*"))
