"""Outputs appear complete or not at all, and unwritable outputs are reported before the first frame."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.pipelines.results import QUERY, make_face, make_result
from vtrack import __version__
from vtrack.errors import SinkError, UsageError
from vtrack.pipelines.outputs.base import Sink, check_outputs, sidecar_path, write_sidecar
from vtrack.pipelines.outputs.tables.csv import LongTable, WideTable
from vtrack.pipelines.outputs.tables.jsonl import JsonLines
from vtrack.pipelines.outputs.tables.parquet import ParquetTable
from vtrack.pipelines.outputs.video import VideoSink

NOISE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)

SINKS: dict[str, Callable[[Path], Sink]] = {
    "a.csv": lambda path: WideTable(path, QUERY),
    "a.long.csv": lambda path: LongTable(path, QUERY),
    "a.jsonl": lambda path: JsonLines(path, QUERY),
    "a.parquet": lambda path: ParquetTable(path, QUERY),
    "a.mp4": VideoSink,
    "a.mkv": VideoSink,
}


@pytest.fixture(params=SINKS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Path of an output of each kind."""
    if request.param == "a.parquet":
        pytest.importorskip("pyarrow")
    return tmp_path / request.param


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def fill(path: Path, frames: int, raising: BaseException | None = None) -> None:
    with SINKS[path.name](path) as sink:
        for i in range(frames):
            assert not path.exists()
            sink.write(make_result(i, make_face(at=np.sqrt(i)), image=np.roll(NOISE, 7 * i)))
        if raising is not None:
            raise raising


def test_a_finished_run_leaves_only_its_file(path: Path) -> None:
    fill(path, 3)
    assert names(path.parent) == [path.name]


def test_an_error_leaves_nothing(path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fill(path, 3, ZeroDivisionError())
    assert names(path.parent) == []


def test_an_error_keeps_the_old_file(path: Path) -> None:
    path.write_text("kept")
    with pytest.raises(ZeroDivisionError), SINKS[path.name](path) as sink:
        sink.write(make_result(0, make_face()))
        raise ZeroDivisionError
    assert path.read_text() == "kept" and names(path.parent) == [path.name]


def test_an_interrupt_keeps_what_was_written(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill(path, 3, KeyboardInterrupt())
    assert names(path.parent) == [path.name]
    if path.suffix in (".mp4", ".mkv"):
        with av.open(str(path)) as container:
            assert len(list(container.decode(video=0))) == 3
    else:
        interrupted = path.read_bytes()
        path.unlink()
        fill(path, 3)
        assert path.read_bytes() == interrupted


def test_without_frames_a_table_has_its_header_and_there_is_no_video(path: Path) -> None:
    fill(path, 0)
    assert path.exists() == (path.suffix not in (".mp4", ".mkv"))
    assert set(names(path.parent)) <= {path.name}


def test_a_folder_that_is_deleted(path: Path) -> None:
    gone = path.parent / "gone" / path.name
    with pytest.raises(SinkError, match=f"cannot write {gone}: No such file or directory"):
        fill(gone, 1)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Limit the size of files of this process, so that writing fails as on a full disk."""
    former, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk(path: Path) -> None:
    with pytest.raises(SinkError, match=f"cannot write {path}: .*(too large|limit)"), file_size_limit(4000):
        fill(path, 200)
    assert names(path.parent) == []


def test_a_full_disk_at_the_very_end(path: Path) -> None:
    fill(path, 20)
    enough = path.stat().st_size
    path.unlink()
    with pytest.raises(SinkError, match=f"cannot write {path}: "), file_size_limit(enough - 1):
        fill(path, 20)
    assert names(path.parent) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system takes root and CAP_SYS_ADMIN")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.mp4"])
def test_no_space_left_on_device(tiny_disk: Path, name: str) -> None:
    path = tiny_disk / name
    with pytest.raises(SinkError, match=f"cannot write {path}: .*No space left on device"):
        fill(path, 3000)
    assert names(tiny_disk) == []


def test_a_sink_must_be_entered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="use the sink in a `with` statement"):
        WideTable(tmp_path / "a.csv", QUERY).write(make_result(0))


def test_valid_outputs_pass_the_check(tmp_path: Path) -> None:
    check_outputs([tmp_path / "a.csv", tmp_path / "a.mp4"], source=tmp_path / "a.avi")
    check_outputs([], source="rtsp://camera/1")
    (tmp_path / "a.csv").touch()
    check_outputs([tmp_path / "a.csv"], overwrite=True)
    assert names(tmp_path) == ["a.csv"]


def test_existing_outputs_need_overwrite(tmp_path: Path) -> None:
    one, other = tmp_path / "a.csv", tmp_path / "b.mp4"
    one.touch()
    with pytest.raises(SinkError, match=rf"^{one} exists already; add overwrite=True or choose another path$"):
        check_outputs([one, other])
    other.touch()
    with pytest.raises(SinkError, match=f"^{one}, {other} exist already"):
        check_outputs([one, other])


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"^cannot write .*x\.csv: File name too long$"):
        check_outputs([tmp_path / f"{'x' * 300}.csv"], source=tmp_path / "a.avi")


def test_outputs_of_one_path(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(UsageError, match="two outputs would go to"):
        check_outputs([tmp_path / "a.csv", tmp_path / "sub" / ".." / "a.csv"], overwrite=True)


def test_the_input_is_never_written(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match=r"link\.mp4 is the input itself"):
        check_outputs([tmp_path / "link.mp4"], source=tmp_path / "a.mp4", overwrite=True)


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="it is a folder; give the path of a file"):
        check_outputs([tmp_path])
    with pytest.raises(SinkError, match=r"there is no folder .*nowhere; create it first"):
        check_outputs([tmp_path / "nowhere" / "a.csv"])


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that not even root can write to")
def test_unwritable_folder() -> None:
    with pytest.raises(SinkError, match="cannot write into folder /proc: "):
        check_outputs([Path("/proc/a.csv")])


def test_sidecar(tmp_path: Path) -> None:
    output = tmp_path / "a.csv"
    source = {"path": tmp_path, "time_base": Fraction(1, 4), "size": np.array([64, 48]), "duration": np.float32(0.5)}
    path = write_sidecar(output, options={"parts": "eyes"}, model={"id": "é"}, source=source, counts={"frames": 3})
    assert path == sidecar_path(output) == tmp_path / "a.csv.meta.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "vtrack": __version__,
        "options": {"parts": "eyes"},
        "model": {"id": "é"},
        "source": {"path": str(tmp_path), "time_base": 0.25, "size": [64, 48], "duration": 0.5},
        "counts": {"frames": 3},
    }
    assert names(tmp_path) == [path.name]


def test_an_unwritable_sidecar(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"cannot write .*meta\.json: No such file"):
        write_sidecar(tmp_path / "gone" / "a.csv", options={}, model={}, source={}, counts={})
