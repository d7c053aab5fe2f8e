"""The suite of clips: what is made, what is taken from a folder, and what the figures say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clips import write_clip
from vtrack.errors import SinkError, SourceError, UsageError
from vtrack.pipelines.bench.runner import Program, decoder_program, encoder_program, run_programs, vtrack_program
from vtrack.pipelines.bench.suite.clips import SuiteClip, folder_clips, made_names, make_clips
from vtrack.pipelines.bench.suite.measure import SuiteFigures, measure_suite
from vtrack.pipelines.bench.suite.report import format_suite, plot_suite
from vtrack.pipelines.sources.open import open_source

SAMPLE = Path(__file__).parents[3] / "samples" / "sample.mp4"


def decoded(path: Path) -> tuple[list[float], list[np.ndarray[Any, Any]]]:
    """Times and pictures of a video."""
    with open_source(str(path)) as source:
        frames = list(source)
    return [frame.time for frame in frames], [np.asarray(frame.image) for frame in frames]


def test_made_clips_are_the_same_each_time_and_are_kept(tmp_path: Path) -> None:
    first, second = (next(iter(make_clips(tmp_path / "folders" / name, 0.5, ["uneven"]))) for name in ("one", "two"))
    times, pictures = decoded(first.path)
    again, same = decoded(second.path)
    assert times == again
    assert all(np.array_equal(one, other) for one, other in zip(pictures, same, strict=True))
    assert len({round(step, 3) for step in np.diff(times)}) > 1
    assert first.faces == 1
    assert pictures[0].shape == (480, 640, 3)
    made = first.path.stat().st_mtime_ns
    assert next(iter(make_clips(first.path.parent, 0.5, ["uneven"]))).path.stat().st_mtime_ns == made
    assert not list(first.path.parent.glob("*unfinished*"))


def test_there_are_ten_kinds_and_more() -> None:
    assert len(made_names()) >= 10
    with pytest.raises(UsageError, match="--only: no clip 'crowds'; there are talk-small, "):
        next(iter(make_clips(Path(), 1, ["crowds"])))


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SinkError, match=r"clips cannot be written to .*file: .*; name another folder"):
        next(iter(make_clips(tmp_path / "file", 0.5, ["uneven"])))


def test_a_folder_gives_the_first_seconds_of_its_videos(tmp_path: Path) -> None:
    videos, scratch = tmp_path / "videos", tmp_path / "scratch"
    videos.mkdir()
    with pytest.raises(SourceError, match="holds no videos"):
        next(iter(folder_clips(videos, scratch, 1.0, 2)))
    (videos / "long.mp4").symlink_to(SAMPLE)
    (videos / "notes.txt").write_text("no video")
    (videos / "wrong.avi").write_bytes(b"no video either")
    long, wrong = folder_clips(videos, scratch, 1.0, 2)
    times, pictures = decoded(long.path)
    whole, all_pictures = decoded(SAMPLE)
    assert 25 <= len(times) <= 33
    assert times[:25] == whole[:25]
    assert np.array_equal(pictures[20], all_pictures[20])
    assert long.faces == 2
    assert wrong.path == videos / "wrong.avi"
    assert [clip.name for clip in folder_clips(videos, scratch, 60.0, 1, ["long"])] == ["long"]
    assert next(iter(folder_clips(videos, scratch, 60.0, 1))).path == videos / "long.mp4"
    with pytest.raises(UsageError, match="no clip 'short'"):
        list(folder_clips(videos, scratch, 1.0, 1, ["short"]))


def program(name: str, seconds: float, faces: int = 100, cpu: float = 2.0, frames: int = 100) -> Program:
    """A program that says what it took."""
    told = {"frames": frames, "faces": faces, "seconds": seconds, "cpu": cpu, "peak_mb": 50.0, "versions": "1"}
    return Program(name, [sys.executable, "-c", f"print({json.dumps(json.dumps(told))})"], "nothing")


def figures() -> SuiteFigures:
    """Four clips: twice as fast, half as fast, one where the other finds few faces, and one that cannot be read."""
    clips = [SuiteClip(name, f"kind {name}", SAMPLE, 1) for name in ("calm", "fast", "crowd", "none")]
    programs = {
        "calm": [program("vtrack", 1.0), program("other", 2.0, cpu=8.0), program("decoder alone", 0.5, 0)],
        "fast": [program("vtrack", 2.0), program("other", 1.0, faces=90, cpu=1.0), program("decoder alone", 0.5, 0)],
        "crowd": [program("vtrack", 9.0), program("other", 1.0, faces=89), program("decoder alone", 0.5, 0)],
        "none": [program("vtrack", 1.0), program("other", 1.0, frames=0), program("decoder alone", 0.5, 0)],
    }
    return SuiteFigures(measure_suite(clips, lambda clip: programs[clip.name], rounds=1), rounds=1, seconds=6.0)


def test_means_count_clips_on_which_both_find_the_same_faces(tmp_path: Path) -> None:
    suite = figures()
    output = suite.as_json()
    assert output["counted"] == ["calm", "fast"]
    assert output["geometric_mean"] == pytest.approx(1.0)
    assert output["geometric_mean_cpu"] == pytest.approx((4 * 0.5) ** 0.5, abs=1e-3)
    assert output["worst"] == {"clip": "fast", "ratio": 0.5}
    assert [clip["ratio"] for clip in output["clips"]] == [2.0, 0.5, pytest.approx(1 / 9, abs=1e-3), None]
    assert output["clips"][2]["left_out"] == "other finds 89% of our faces"
    assert output["clips"][3]["left_out"] == "other failed: it reads no frame of the video"
    lines = format_suite(suite).splitlines()
    assert lines[0].split()[:4] == ["clip", "kind", "pixels", "frames"]
    assert lines[1].split()[:4] == ["calm", "kind", "calm", "640x480"]
    assert any(line.startswith("geometric mean of 2 ratios 1.00") and "worst 0.50 (fast)" in line for line in lines)
    assert "left out: crowd (other finds 89% of our faces)" in lines
    assert "left out: none (other failed: it reads no frame of the video)" in lines
    plot_suite(suite, tmp_path / "suite.png")
    assert (tmp_path / "suite.png").read_bytes().startswith(b"\x89PNG")


def test_without_another_program_there_are_no_ratios(tmp_path: Path) -> None:
    clip = SuiteClip("calm", "", SAMPLE, 1)
    one = measure_suite([clip], lambda _: [program("vtrack", 1.0), program("decoder alone", 0.5)], rounds=1)
    suite = SuiteFigures(one, rounds=1, seconds=6.0)
    assert suite.as_json()["geometric_mean"] is None
    assert suite.worst is None
    assert "ratio" not in format_suite(suite)
    plot_suite(suite, tmp_path / "suite.svg")
    assert "<svg" in (tmp_path / "suite.svg").read_text()


def test_another_version_is_a_folder_with_vtrack(tmp_path: Path) -> None:
    root = SAMPLE.parents[1]
    command = vtrack_program("a.mp4", "eyes", "cpu", 1, "none", root=root)
    assert command.root == root
    assert command.name == f"vtrack in {root}"
    with pytest.raises(UsageError, match="neither mediapipe nor a folder with a checkout"):
        vtrack_program("a.mp4", "eyes", "cpu", 1, "none", root=tmp_path)


def test_modules_in_the_current_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 5)
    (tmp_path / "numpy.py").write_text("raise SystemExit('not the library')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    programs = [decoder_program(str(clip), "none"), encoder_program(str(clip))]
    assert [result.as_json()["frames"] for result in run_programs(programs, 1)] == [5, 5]


def test_shortening_keeps_codec_and_times(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "sample.mp4").symlink_to(SAMPLE)
    clip = next(iter(folder_clips(tmp_path / "in", tmp_path, 0.5, 1)))
    with av.open(str(clip.path)) as container, av.open(str(SAMPLE)) as source:
        assert container.streams.video[0].codec_context.name == source.streams.video[0].codec_context.name
        assert not container.streams.audio
