"""Recordings of live results: what a full disk leaves, and that the session goes on."""

from __future__ import annotations

import csv
import errno
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.clips import write_clip
from tests.conftest import ROOT
from tests.pipelines.live.disk import full_disk
from tests.pipelines.live.patience import PROGRAM
from tests.pipelines.results import QUERY, make_face, make_result
from tests.pipelines.toys import ToyDetector, ToyModel
from vtrack.cli.main import FAILED, main
from vtrack.measures import Measures
from vtrack.pipelines.live.camera import camera_opener
from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.live.recorder import LiveDrawing, LiveRecorder, OnDemandRecorder
from vtrack.pipelines.live.session import LiveResult, LiveSession
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.tables.csv import open_table
from vtrack.pipelines.outputs.video import VideoSink
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.sources.open import open_source

SIZE = (160, 120)


def results(count: int) -> Iterator[LiveResult]:
    """Frames of noise, which no encoder makes small."""
    noise = np.random.default_rng(0)
    for i in range(count):
        face = make_face(measures=Measures(MEASURES, np.zeros(len(MEASURES))))
        result = make_result(i, face, image=noise.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8))
        yield LiveResult(result, result)


def recording(folder: Path, suffix: str, report: Callable[[str], object]) -> LiveRecorder:
    video = VideoSink(folder / f"r{suffix}", draw=LiveDrawing(), fragmented=True)
    return LiveRecorder([video], [open_table(folder / "r.csv", QUERY)], report)


def frames_of(path: Path) -> list[float]:
    with open_source(path) as source:
        return [frame.time for frame in source]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_of_a_recording_on_a_full_disk_the_written_part_is_kept(tmp_path: Path, suffix: str) -> None:
    messages: list[str] = []
    with full_disk(600_000), recording(tmp_path, suffix, messages.append) as recorder:
        for result in results(150):
            recorder.write(result)
    film = tmp_path / f"r{suffix}"
    times = frames_of(film)
    assert 20 < len(times) < 150 and film.stat().st_size <= 600_000
    expected = [result.shown.time for result in results(len(times))]
    assert times == pytest.approx(expected, abs=0.002)
    assert messages == recorder.failures and len(messages) == 1
    assert str(film) in messages[0] and "what was written until then is kept" in messages[0]
    # The table still had room: it is complete.
    assert len(rows_of(tmp_path / "r.csv")) == 150 and recorder.written == [tmp_path / "r.csv"]
    assert not list(tmp_path.glob(".*"))


def test_a_table_on_a_full_disk_ends_with_a_whole_row(tmp_path: Path) -> None:
    with full_disk(20_001), LiveRecorder([], [open_table(tmp_path / "r.csv", QUERY)]) as recorder:
        for result in results(600):
            recorder.write(result)
    rows = rows_of(tmp_path / "r.csv")
    assert [int(row["frame"]) for row in rows] == list(range(len(rows))) and 50 < len(rows) < 600
    assert len(recorder.failures) == 1 and recorder.idle and recorder.written == []


def test_a_recording_of_which_nothing_is_readable_is_removed(tmp_path: Path) -> None:
    messages: list[str] = []  # not print: the file that captures it would be too large as well
    with full_disk(100), recording(tmp_path, ".mp4", messages.append) as recorder:
        for result in results(60):
            recorder.write(result)
    assert (
        messages == recorder.failures and len(messages) == 2 and "nothing of it could be kept" in recorder.failures[0]
    )
    assert not list(tmp_path.iterdir())


def test_files_are_finished_after_an_error_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="driver"), recording(tmp_path, ".mp4", print) as recorder:
        for result in results(10):
            recorder.write(result)
        raise RuntimeError("driver bug")
    assert len(frames_of(tmp_path / "r.mp4")) == len(rows_of(tmp_path / "r.csv")) == 10


def test_a_complete_recording_has_an_index_at_its_end_and_no_fragments(tmp_path: Path) -> None:
    with recording(tmp_path, ".mp4", print) as recorder:
        for result in results(90):
            recorder.write(result)
    data, kinds, position = (tmp_path / "r.mp4").read_bytes(), [], 0
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        kinds.append(kind)
        position += length
    assert kinds == [b"ftyp", b"free", b"mdat", b"moov"] and len(frames_of(tmp_path / "r.mp4")) == 90


def test_a_recording_on_demand_ends_by_itself_on_a_full_disk(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 5, SIZE)
    settings = Settings(QUERY, model=ToyModel(), detector=ToyDetector(), smooth="kalman", measures=True)
    session = LiveSession(Pipeline(settings), Capture(camera_opener(str(clip))))
    recorder = OnDemandRecorder(session, LiveDrawing(), tmp_path)
    with full_disk(400_000):
        recorder.start()
        for result in results(150):
            recorder.write(result)
            if not recorder.on:
                break
    assert not recorder.on and "cannot write" in session.notice and not len(session.recorded_query)
    assert {path.suffix for path in recorder.paths} == {".mp4", ".csv"}
    film, table = recorder.paths
    assert len(frames_of(film)) > 10 and len(rows_of(table)) > 10
    # There is room again. A second recording in the same second gets a name of its own.
    with recorder:
        recorder.start()
        assert recorder.on and session.notice == ""
        for result in results(3):
            recorder.write(result)
    assert {film, table}.isdisjoint(recorder.paths) and len(frames_of(recorder.paths[0])) == 3


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """`vtrack webcam` on a short clip without faces."""
    clip, boxes = write_clip(tmp_path / "clip.mp4", 30, rate=60), tmp_path / "boxes.csv"
    boxes.write_text("frame,x,y,w,h\n")
    options = ["--camera", str(clip), "--parts", "eyes", "--view", "none"]
    return ["webcam", *options, "--detector", "boxes", "--detector-model", str(boxes)]


def test_the_command_goes_on_without_an_output_that_fails(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], every_frame: None
) -> None:
    with full_disk(700):
        assert main([*command, "--csv", str(tmp_path / "o.csv"), "--emit", "ndjson"]) == FAILED
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 30 and "wrote" not in captured.err


def test_the_command_ends_when_no_output_is_left(command: list[str], tmp_path: Path) -> None:
    with full_disk(700):
        assert main([*command, "--loop", "--csv", str(tmp_path / "o.csv")]) == FAILED


def test_without_a_network_the_table_is_written(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    every_frame: None,
) -> None:
    class Unplugged(socket.socket):
        def sendto(self, *data: object) -> int:  # type: ignore[override]
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr("vtrack.pipelines.outputs.streams.udp.socket.socket", Unplugged)
    table = tmp_path / "o.csv"
    assert main([*command, "--csv", str(table), "--emit", "ndjson", "--to", "240.0.0.1:9000"]) == 0
    (warning,) = [record.message for record in caplog.records if record.name.endswith("streams.udp")]
    assert warning == "cannot send to 240.0.0.1:9000: Network is unreachable; going on without"
    rows, said = rows_of(table), capsys.readouterr().err
    assert len(rows) == 30 and "30 datagrams not sent" in said and f"wrote {table}" in said


def test_sigterm_ends_as_ctrl_c_does_and_keeps_all_recordings(tmp_path: Path, command: list[str]) -> None:
    outputs = ["--loop", "--record", str(tmp_path / "o.mp4"), "--csv", str(tmp_path / "o.csv"), "--emit", "ndjson"]
    arguments = [sys.executable, "-m", "vtrack", *command, *outputs]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        for _ in range(10):
            process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    assert process.returncode == 0 and "o.mp4" in said and "o.csv" in said
    assert len(frames_of(tmp_path / "o.mp4")) == len(rows_of(tmp_path / "o.csv")) >= 10
    assert not list(tmp_path.glob(".*"))


def test_a_reader_that_leaves_does_not_end_the_table(tmp_path: Path, command: list[str]) -> None:
    outputs = ["--csv", str(tmp_path / "o.csv"), "--emit", "ndjson"]
    arguments, pipe = [*PROGRAM, *command, *outputs], subprocess.PIPE
    with subprocess.Popen(arguments, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait() == 0
    assert "Error" not in said and f"wrote {tmp_path / 'o.csv'}" in said and len(rows_of(tmp_path / "o.csv")) == 30


def test_a_session_that_nobody_reads_ends(command: list[str]) -> None:
    arguments = [sys.executable, "-m", "vtrack", *command, "--loop", "--emit", "ndjson"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Error" not in process.stderr.read()
        assert process.wait() == 0
