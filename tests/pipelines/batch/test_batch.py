"""Batches of whole videos: damaged and unusual files, repeated runs, killed and hanging workers."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clips import damage, truncate, write_clip, write_sound
from tests.pipelines.batch.batching import batch, grower, killer, recipe, summary, write_toys
from vtrack.detectors.native import NATIVE_CARD
from vtrack.errors import ModelError, SinkError, UsageError
from vtrack.pipelines.batch.lock import lock_folder
from vtrack.pipelines.batch.merge import merge_tables
from vtrack.pipelines.batch.state import Recipe, VideoOutcome
from vtrack.pipelines.batch.workers.dispatch import Finished, Started
from vtrack.pipelines.batch.workers.pool import ProcessPool
from vtrack.pipelines.settings import Settings


@pytest.fixture(scope="module")
def unusual_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every kind of file."""
    folder = tmp_path_factory.mktemp("unusual")
    write_toys(folder / "good.mp4", audio=1)
    write_toys(folder / "below" / "silent.mkv")
    write_toys(folder / "below" / "rotated.mp4", orientation=6)
    write_clip(folder / "huge.mp4", 2, (3840, 2160))
    write_toys(folder / (("n" * 240) + ".mp4"))
    write_toys(folder / os.fsdecode(b"caf\xe9.mp4"))
    write_toys(folder / "twin.mp4")
    write_toys(folder / "twin.mov")
    write_toys(folder / "really.mp4").rename(folder / "really.avi")
    damage(write_clip(folder / "damaged.mp4", 30), [10, 11])
    truncate(write_clip(folder / "cut.mp4", 20), 0.3)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("not a video\n" * 99)
    write_sound(folder / "sound.m4a").rename(folder / "sound.mp4")
    return folder


BAD = {"cut.mp4": "was cut off", "empty.mp4": "0 bytes", "text.mp4": "not a video", "sound.mp4": "no video stream"}


@pytest.fixture(scope="module")
def done(unusual_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What came of it."""
    out = tmp_path_factory.mktemp("done") / "out"
    first = batch(unusual_files, out, recipe(("csv", "video")))
    first.run()
    assert first.failed == len(BAD)
    return out


def test_each_kind_of_file_has_its_outcome(unusual_files: Path, done: Path) -> None:
    rows = summary(done)
    assert len(rows) == sum(path.is_file() for path in unusual_files.rglob("*"))
    for name, row in rows.items():
        assert row["status"] == ("failed" if name in BAD else "done")
        assert BAD.get(name, "") in row["error"]
    for name in ("good.mp4", "below/silent.mkv", "caf\\xe9.mp4", "twin.mov", "really.avi"):
        assert (rows[name]["frames"], rows[name]["frames_with_faces"], rows[name]["tracks"]) == ("30", "30", "1")
    assert "damage" in rows["damaged.mp4"]["warnings"] and rows["damaged.mp4"]["damaged"] == "2"
    assert float(rows["good.mp4"]["fps"]) > 0
    files = {path.relative_to(done).as_posix() for path in done.rglob("*")}
    for stem in ("good", "below/rotated", "twin.mp4", "twin.mov"):
        assert {f"{stem}.vtrack.csv", f"{stem}.vtrack.mp4", f"{stem}.vtrack.meta.json"} <= files
    assert "empty.vtrack.csv" not in files
    assert not [name for name in files if name.endswith(".part")]


def test_a_second_run_does_nothing(unusual_files: Path, done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.vtrack.*")}
    words = (done / "summary.csv").read_bytes()
    again = batch(unusual_files, done, recipe(("csv", "video")))
    again.run(on_event=lambda event: None if event == [] else pytest.fail(f"work was done: {event}"))
    assert again.done_before == len(again.videos) - len(BAD)
    assert again.failed == again.failed_before == len(BAD)
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*.vtrack.*")} == before
    assert (done / "summary.csv").read_bytes() == words


def worked_on(job: object) -> list[str]:
    """Runs a batch; the names of what it did."""
    names: list[str] = []
    job.run(on_event=lambda event: names.append(event.job.name) if isinstance(event, Started) else None)  # type: ignore[attr-defined]
    return sorted(names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_toys(tmp_path / "in" / "a.mp4")
    write_toys(tmp_path / "in" / "b.mp4")
    return tmp_path / "in"


def test_changed_videos_are_done_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert worked_on(batch(folder, out)) == ["a.mp4", "b.mp4"]
    # Touched or copied: the same bytes, so nothing to do.
    os.utime(folder / "a.mp4")
    assert worked_on(batch(folder, out)) == []
    write_toys(folder / "a.mp4", 20)
    assert worked_on(batch(folder, out)) == ["a.mp4"]
    assert summary(out)["a.mp4"]["frames"] == "20"
    (out / "b.vtrack.csv").unlink()
    assert worked_on(batch(folder, out)) == ["b.mp4"]
    (out / "b.vtrack.meta.json").write_text("{")
    (out / "b.vtrack.csv").unlink()
    (out / "b.vtrack.parquet").unlink()
    assert worked_on(batch(folder, out)) == ["b.mp4"]
    other = recipe(("csv",), smooth="none")
    assert worked_on(batch(folder, out, other)) == ["a.mp4", "b.mp4"]
    # What the new options do not ask for would be of the old ones.
    assert not list(out.glob("*.parquet"))
    assert worked_on(batch(folder, out, other)) == []
    assert worked_on(batch(folder, out, other, overwrite=True)) == ["a.mp4", "b.mp4"]


def test_files_of_others_are_kept(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.vtrack.csv").write_text("precious")
    job = batch(folder, out)
    job.run()
    assert (out / "a.vtrack.csv").read_text() == "precious"
    assert "exists already; add --overwrite" in summary(out)["a.mp4"]["error"]
    assert summary(out)["b.mp4"]["status"] == "done"
    batch(folder, out, overwrite=True).run()
    assert (out / "a.vtrack.csv").read_text() != "precious"


def test_a_sidecar_cannot_name_files_elsewhere(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(folder, out).run()
    victim = tmp_path / "victim.csv"
    victim.write_text("precious")
    sidecar = out / "a.vtrack.meta.json"
    facts = json.loads(sidecar.read_text())
    facts["counts"]["files"] = {"../victim.csv": 8, "b.vtrack.csv": 1}
    sidecar.write_text(json.dumps(facts))
    assert worked_on(batch(folder, out)) == ["a.mp4"]
    assert victim.exists()
    assert (out / "b.vtrack.csv").exists()


def test_failures_are_recorded_until_retried(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    good = (folder / "b.mp4").read_bytes()
    (folder / "b.mp4").write_bytes(b"nonsense" * 100)
    assert worked_on(batch(folder, out)) == ["a.mp4", "b.mp4"]
    assert worked_on(batch(folder, out)) == []
    assert worked_on(batch(folder, out, retry_failed=True)) == ["b.mp4"]
    (folder / "b.mp4").write_bytes(good)
    assert worked_on(batch(folder, out)) == ["b.mp4"]
    assert summary(out)["b.mp4"]["status"] == "done"


def test_fail_fast_stops_at_the_first_failure(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.mp4").write_bytes(b"nonsense" * 100_000)  # the largest comes first
    job = batch(folder, tmp_path / "out", workers=1, fail_fast=True)
    job.run()
    rows = summary(tmp_path / "out")
    assert [rows[name]["status"] for name in ("bad.mp4", "a.mp4", "b.mp4")] == ["failed", "waiting", "waiting"]


def test_invalid_settings_end_the_batch(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no table format 'excel'; choose from wide"):
        batch(folder, tmp_path / "out", recipe(format="excel")).run()
    with pytest.raises(UsageError, match="max_faces must be at least 1"):
        batch(folder, tmp_path / "out", recipe(max_faces=0)).run()
    with pytest.raises(UsageError, match="add csv=True"):
        recipe(("parquet",), format="long")
    for options, message in [({"workers": 0}, "workers must be"), ({"timeout": 0}, "timeout must be")]:
        with pytest.raises(UsageError, match=message):
            batch(folder, tmp_path / "out", **options)


def test_one_run_at_a_time(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtrack.pipelines.batch.lock._LOCK_TIMEOUT", 0.2)
    with lock_folder(tmp_path / "out"), pytest.raises(SinkError, match="another `vtrack batch` is writing into"):
        batch(folder, tmp_path / "out").run()
    with pytest.raises(SinkError, match="cannot write into folder"):
        batch(folder, folder / "a.mp4" / "out").run()


ORPHAN = """
import os, sys
from pathlib import Path
from vtrack.pipelines.batch.lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    if os.fork() == 0:
        sys.stdin.read()
    os._exit(0)
"""
"""Takes a lock and ends at once; what it started holds the lock until its input ends."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_workers_of_a_killed_run_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtrack.pipelines.batch.lock._LOCK_TIMEOUT", -1.0)
    with subprocess.Popen([sys.executable, "-c", ORPHAN, str(tmp_path)], stdin=subprocess.PIPE) as process:
        process.wait()
        waits: list[float] = []
        sleep = time.sleep

        def end_worker(seconds: float) -> None:
            waits.append(seconds)
            assert process.stdin is not None
            process.stdin.close()
            sleep(seconds)

        monkeypatch.setattr("vtrack.pipelines.batch.lock.time.sleep", end_worker)
        with lock_folder(tmp_path) as lock:
            assert waits and lock.is_visible()


@pytest.fixture
def slow_server() -> Iterator[str]:
    """The address of a server that answers a byte now and then, so that no network timeout ever strikes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip() -> None:
            while not over.is_set():
                connection, _ = server.accept()
                with connection:
                    try:
                        while not over.wait(0.1):
                            connection.send(b"HTTP/1.0 200 OK\r\nX: y\r\n"[:1])
                    except OSError:
                        pass

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/clip.mp4"
        over.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()


def test_a_hanging_source_fails_alone(
    folder: Path, tmp_path: Path, slow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have all the time that a slow machine needs."""
    videos = tmp_path / "list.txt"
    videos.write_text(f"{slow_server}\nin/a.mp4\nin/b.mp4\n")

    def limit(pool: ProcessPool[Any, Any], worker: Any) -> float:
        return pool._timeout if slow_server in str(worker.job) else math.inf

    monkeypatch.setattr(ProcessPool, "_limit", limit)
    batch(videos, tmp_path / "out", timeout=2).run()
    rows = summary(tmp_path / "out")
    assert [row["status"] for row in rows.values() if "clip" in row["file"]] == ["failed"]
    assert "no progress for 2 s; its worker was ended; timeout sets how long to wait" in next(
        row["error"] for row in rows.values() if "clip" in row["file"]
    )
    assert {rows[name]["status"] for name in ("in/a.mp4", "in/b.mp4")} == {"done"}


def test_a_killed_worker_fails_its_video_alone(folder: Path, tmp_path: Path) -> None:
    write_toys(folder / "wide.mp4", 100, (176, 120))
    deadly = recipe(detector=killer(tmp_path / "killed", width=176))
    batch(folder, tmp_path / "out", deadly, workers=1).run()
    rows = summary(tmp_path / "out")
    assert "killed by SIGKILL (out of memory?)" in rows["wide.mp4"]["error"]
    assert rows["a.mp4"]["status"] == rows["b.mp4"]["status"] == "done"
    assert not list((tmp_path / "out").glob(".*.part"))
    assert worked_on(batch(folder, tmp_path / "out", deadly, retry_failed=True)) == ["wide.mp4"]
    assert summary(tmp_path / "out")["wide.mp4"]["frames"] == "100"


def test_a_file_that_changes_while_it_is_read_fails(folder: Path, tmp_path: Path) -> None:
    wide = write_toys(folder / "wide.mp4", 100, (176, 120))
    batch(folder, tmp_path / "out", recipe(detector=grower(wide, width=176)), workers=1).run()
    assert "changed while it was read" in summary(tmp_path / "out")["wide.mp4"]["error"]


def test_tables_are_merged(folder: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    out, what = tmp_path / "out", recipe()
    job = batch(folder, out, what)
    job.run()
    assert merge_tables(tmp_path / "all.csv", job.videos, what)
    rows = (tmp_path / "all.csv").read_text().splitlines()
    a, b = ((out / f"{name}.vtrack.csv").read_text().splitlines() for name in "ab")
    assert rows == [f"video,{a[0]}", *(f"a.mp4,{row}" for row in a[1:]), *(f"b.mp4,{row}" for row in b[1:])]
    assert merge_tables(tmp_path / "all.parquet", job.videos, what)
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    assert table["video"].to_pylist() == ["a.mp4"] * 30 + ["b.mp4"] * 30
    one = pyarrow.parquet.read_table(out / "b.vtrack.parquet")
    assert table.slice(30).drop_columns("video").equals(one)
    # Nothing changed, nothing to do; then something did.
    assert not merge_tables(tmp_path / "all.parquet", job.videos, what)
    assert merge_tables(tmp_path / "all.parquet", job.videos[:1], what)
    for name, message in [("all.xlsx", "must end in .csv or .parquet"), ("dlc.csv", "cannot be merged")]:
        with pytest.raises(UsageError, match=message):
            merge_tables(tmp_path / name, job.videos, recipe(format="dlc" if "dlc" in name else "wide"))
    (tmp_path / "mine.csv").write_text("precious")
    with pytest.raises(SinkError, match="exists already"):
        merge_tables(tmp_path / "mine.csv", job.videos, what)


def test_the_card_of_a_detector_is_no_landmark_model() -> None:
    with pytest.raises(ModelError, match="this is the card of a face detector, not of a landmark model"):
        Recipe(Settings("eyes", model=str(NATIVE_CARD))).model()


def test_outcomes_are_reported_as_events(folder: Path, tmp_path: Path) -> None:
    seen: list[VideoOutcome] = []
    job = batch(folder, tmp_path / "out")
    job.run(on_event=lambda event: seen.append(event.result) if isinstance(event, Finished) else None)
    assert sorted(outcome.frames for outcome in seen) == [30, 30]
