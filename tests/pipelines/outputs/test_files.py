"""Files that appear only when they are complete, whoever else writes to the same place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.results import QUERY, make_result
from vtrack.errors import SinkError
from vtrack.pipelines.outputs.files import PART_CHARACTERS, PartFile, remove_stale, text_file, whole_file
from vtrack.pipelines.outputs.tables.csv import WideTable


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def written(path: Path, text: str, *, overwrite: bool = True) -> PartFile:
    file = PartFile(path, overwrite=overwrite)
    file.create().write_text(text)
    return file


def test_a_complete_file_replaces_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")
    file = written(tmp_path / "a.csv", "new")
    assert len(file.part.name) == len("a.csv") + PART_CHARACTERS
    assert file.path.read_text() == "old"
    file.settle(keep=True)
    assert file.path.read_text() == "new" and names(tmp_path) == ["a.csv"]


def test_a_file_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "half").settle(keep=False)
    assert names(tmp_path) == []


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with whole_file(path) as part:
        part.write_text("old")
    with pytest.raises(SinkError, match=r"cannot write .*a\.csv: No space left"), whole_file(path) as part:
        part.write_text("half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old" and names(tmp_path) == ["a.csv"]


def test_text_is_kept_after_an_interrupt_and_removed_after_an_error(tmp_path: Path) -> None:
    for failure, kept in ((KeyboardInterrupt, ["0"]), (ValueError, [])):
        folder = tmp_path / failure.__name__
        folder.mkdir()
        with pytest.raises(failure), text_file(folder / "a.csv") as write:
            write("frame\n0\n")
            raise failure
        assert [row for path in folder.iterdir() for row in path.read_text().splitlines()[1:]] == kept
    with (
        pytest.raises(SinkError, match=r"a\.csv was written by another run"),
        text_file(path := tmp_path / "a.csv", overwrite=False),
    ):
        path.write_text("other")
    assert path.read_text() == "other" and len([*tmp_path.iterdir()]) == 3


def test_of_two_runs_into_one_name_the_second_to_finish_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    first, second = WideTable(path, QUERY), WideTable(path, QUERY)
    second.file.overwrite = False
    with pytest.raises(SinkError, match=r"a\.csv was written by another run"), second:
        second.write(make_result(1))
        with first:
            first.write(make_result(0))
    lines = path.read_text().splitlines()
    assert len(lines) == 2 and lines[1].startswith("0,") and names(tmp_path) == ["a.csv"]


def test_the_second_to_finish_replaces_if_told_to(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.csv", "first"), written(tmp_path / "a.csv", "second")
    first.settle(keep=True)
    second.settle(keep=True)
    assert (tmp_path / "a.csv").read_text() == "second" and names(tmp_path) == ["a.csv"]


def test_a_temporary_file_is_no_link_to_another_file(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    file = PartFile(tmp_path / "a.csv")
    file.part.symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError):
        file.create()
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_temporary_file_that_was_removed_is_an_error(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", "gone")
    file.part.unlink()
    with pytest.raises(SinkError, match=r"cannot write .*a\.csv: its temporary file .* was removed"):
        file.settle(keep=True)


def test_a_folder_that_was_removed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    file = written(tmp_path / "out" / "a.csv", "gone")
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(SinkError, match=r"cannot write .*a\.csv"):
        file.settle(keep=True)


@pytest.mark.skipif(os.name == "nt", reason="files that are open cannot be removed there anyway")
def test_files_of_killed_processes_are_removed_and_those_in_use_stay(tmp_path: Path) -> None:
    code = (
        "import sys, time; from vtrack.pipelines.outputs.files import PartFile; "
        f"PartFile({str(tmp_path / 'killed.csv')!r}).create(); print('ready', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    in_use = written(tmp_path / "used.csv", "half")
    (tmp_path / ".theirs.part").write_text("not ours")
    remove_stale(tmp_path)
    assert len(names(tmp_path)) == 3
    process.send_signal(signal.SIGKILL)
    process.wait()
    remove_stale(tmp_path)
    assert names(tmp_path) == sorted([".theirs.part", in_use.part.name])
    in_use.settle(keep=True)


def test_the_umask_of_the_user_holds(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        written(tmp_path / "a.csv", "text").settle(keep=True)
    finally:
        os.umask(before)
    assert (tmp_path / "a.csv").stat().st_mode & 0o777 == 0o640
