"""Outputs at an address: sent when they are whole, found again by the next run, and others' files left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.batch.batching import batch, recipe, summary, tables, write_toys
from vtrack.errors import SinkError
from vtrack.pipelines.batch.files import FilePatterns, find_videos
from vtrack.pipelines.batch.run import BatchOptions, BatchRun
from vtrack.pipelines.batch.store import RemoteStore
from vtrack.pipelines.batch.workers.worker import TrackingWork

pytest.importorskip("fsspec")
ROOT = Path(__file__).parents[3]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def to_store(
    inputs: Path, there: Path, here: Path, *, overwrite: bool = False, kinds: tuple[str, ...] = ("csv",)
) -> BatchRun:
    """A batch whose outputs go to an address."""
    videos = find_videos([str(inputs)], here, FilePatterns())
    work = TrackingWork(recipe(kinds), overwrite, RemoteStore(f"file://{there}", here))
    return BatchRun(videos, work, here, BatchOptions(workers=1))


def test_outputs_arrive_and_are_known_again(tmp_path: Path) -> None:
    write_toys(tmp_path / "in" / "below" / "a.mp4", 8)
    write_toys(tmp_path / "in" / "b.mp4", 8)
    (tmp_path / "in" / "bad.mp4").write_bytes(b"nonsense" * 100)
    there = tmp_path / "there"
    batch(tmp_path / "in", tmp_path / "local", recipe(("csv",)), workers=1).run()
    to_store(tmp_path / "in", there, tmp_path / "one").run()
    local = {name: data for name, data in tables(tmp_path / "local").items() if not name.endswith(".lock")}
    assert tables(there) == local
    # Another machine, or the same after the folder on the way is gone.
    again = to_store(tmp_path / "in", there, tmp_path / "two")
    again.run(on_event=lambda event: None if event == [] else pytest.fail(f"work was done: {event}"))
    assert (again.done_before, again.failed_before) == (2, 1)
    # A transfer that broke off.
    (there / "b.vtrack.csv").write_bytes(b"half")
    begun: list[object] = []
    to_store(tmp_path / "in", there, tmp_path / "three").run(on_event=begun.append)
    assert [video.name for video in begun[0]] == ["b.mp4"]  # type: ignore[attr-defined]
    assert tables(there) == local
    # What is no longer asked for goes.
    to_store(tmp_path / "in", there, tmp_path / "four", kinds=("jsonl",)).run()
    assert not list(there.rglob("*.vtrack.csv"))
    assert len(list(there.rglob("*.vtrack.jsonl"))) == 2


def test_files_of_others_are_kept(tmp_path: Path) -> None:
    write_toys(tmp_path / "in" / "a.mp4", 8)
    there = tmp_path / "there"
    there.mkdir()
    (there / "a.vtrack.csv").write_text("precious")
    to_store(tmp_path / "in", there, tmp_path / "one").run()
    assert (there / "a.vtrack.csv").read_text() == "precious"
    assert "exists already at file://" in summary(there)["a.mp4"]["error"]
    to_store(tmp_path / "in", there, tmp_path / "two", overwrite=True).run()
    assert (there / "a.vtrack.csv").read_text() != "precious"
    assert json.loads((there / "a.vtrack.meta.json").read_text())["counts"]["status"] == "done"


def test_a_store_in_memory(tmp_path: Path) -> None:
    """No folder behind it, and a key that points out of the folder is not followed."""
    import fsspec

    memory = fsspec.filesystem("memory")
    store = RemoteStore("memory://bucket/out", tmp_path / "here")
    file = tmp_path / "here" / "below" / "a.vtrack.meta.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    assert store.size(file) is None
    store.move(file)
    assert (store.size(file), file.exists()) == (2, False)
    memory.pipe_file("/bucket/out/below/../../../evil.vtrack.meta.json", b"{}")
    assert store.fetch_all(".meta.json")[file] == 2
    assert file.read_text() == "{}"
    assert not list(tmp_path.rglob("evil*"))
    store.remove(file)
    store.remove(file)
    assert store.size(file) is None
    with pytest.raises(SinkError, match="nosuch://x"):
        RemoteStore("nosuch://x", tmp_path).size(tmp_path / "a")


def test_the_command(tmp_path: Path) -> None:
    write_toys(tmp_path / "in" / "clip.mp4", 8)
    (tmp_path / "in" / "boxes.csv").write_text("frame,x,y,w,h\n0,40,20,50,60\n")
    boxes = ["--detector", "boxes", "--detector-model", str(tmp_path / "in" / "boxes.csv"), "--parts", "eyes"]
    command = [
        sys.executable,
        "-m",
        "vtrack",
        "batch",
        str(tmp_path / "in"),
        "-o",
        f"file://{tmp_path / 'out'}",
        *boxes,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"summary: file://{tmp_path / 'out'}/summary.csv" in done.stderr
    assert set(files(tmp_path / "out")) == {"clip.vtrack.csv", "clip.vtrack.meta.json", "summary.csv"}
    refused = subprocess.run([*command, "--merge", "all.csv"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (refused.returncode, "--merge reads the tables in a folder" in refused.stderr) == (2, True)
