"""`vtrack run` for real: the shipped weights on the sample clip, its outputs, and how it ends early."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import vtrack
from tests.cli.imports import imported_modules
from tests.clips import damage, index_image, write_clip, write_joined
from vtrack.cli.main import FAILED, INTERRUPTED, OK, main
from vtrack.models import load_model
from vtrack.pipelines.outputs.paths import default_output
from vtrack.pipelines.sources.open import open_source

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "sample.mp4"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Path(shutil.copy(SAMPLE, tmp_path / "clip.mp4"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def vtrack_run(*args: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vtrack", "run", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def test_table_and_video_beside_the_input(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(clip), "--parts", "eyes,lips", "--stop", "3", "--video"]) == OK
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "90 frames, 90 with faces, 1 track" in captured.err

    with open_source(clip, stop=3) as source:
        times = [(frame.index, frame.time) for frame in source]
    rows = rows_of(clip.with_name("clip.vtrack.csv"))
    assert [int(row["frame"]) for row in rows] == [index for index, _ in times]
    np.testing.assert_allclose([float(row["time_s"]) for row in rows], [time for _, time in times], atol=1e-6)
    assert {row["face"] for row in rows} == {"0"}

    with av.open(str(clip.with_name("clip.vtrack.mp4"))) as video:
        shown = [float(frame.pts * frame.time_base) for frame in video.decode(video=0)]
        assert len(video.streams.audio) == 1
    np.testing.assert_allclose(shown, [time for _, time in times], atol=1e-6)

    facts = json.loads(clip.with_name("clip.vtrack.csv.meta.json").read_text())
    assert facts["model"]["name"] == "fast"
    assert facts["model"]["engine"] == load_model("fast").engine  # type: ignore[attr-defined]
    assert facts["options"]["parts"] == "eyes,lips"
    assert facts["source"]["width"] == 640
    assert facts["counts"]["frames"] == 90
    assert len(list(clip.parent.iterdir())) == 4


def test_python_and_the_table_say_the_same(clip: Path) -> None:
    assert main(["run", str(clip), "--parts", "lips:6", "--stop", "1", "--quiet"]) == OK
    rows = rows_of(clip.with_name("clip.vtrack.csv"))
    for row, result in zip(rows, vtrack.track(clip, "lips:6", stop=1.0), strict=True):
        (face,) = result.faces
        for name, (x, y) in zip(face.query.names, face.points, strict=True):
            assert float(row[f"{name}_x"]) == pytest.approx(x, abs=6e-4)
            assert float(row[f"{name}_y"]) == pytest.approx(y, abs=6e-4)


def test_points_are_where_they_are(clip: Path) -> None:
    """Against the sample's exact points: the mean error over the distance of the eyes' outer corners."""
    with SAMPLE.with_suffix(".csv").open(newline="") as file:
        truth = {
            int(row["frame"]): np.array([[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(1, 69)])
            for row in csv.DictReader(file)
        }
    errors = []
    for result in vtrack.track(clip, "300w"):
        (face,) = result.faces
        points = truth[result.index]
        size = np.linalg.norm(points[36] - points[45])
        errors.append(np.linalg.norm(face.points - points, axis=-1).mean() / size)
    assert np.mean(errors) < 0.05


def test_outputs_where_they_are_wanted(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "out"
    options = ["--stop", "0.2", "--parts", "pupils", "--quiet"]
    assert main(["run", str(clip), "-o", str(folder), "--jsonl", "--parquet", *options]) == OK
    assert sorted(path.name for path in folder.iterdir()) == [
        "clip.vtrack.jsonl",
        "clip.vtrack.jsonl.meta.json",
        "clip.vtrack.parquet",
    ]
    table, video = tmp_path / "a.csv", tmp_path / "b.mkv"
    assert main(["run", str(clip), "--csv", str(table), "--video", str(video), *options]) == OK
    assert table.exists()
    assert video.exists()
    assert main(["run", str(clip), "--csv", str(table), *options]) == FAILED
    assert main(["run", str(clip), "--csv", str(table), "--overwrite", *options]) == OK
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, "quiet, but for the error"


def test_default_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    for source, expected in {
        "talk.final.mp4": tmp_path / "talk.final.vtrack",
        "frames": tmp_path / "frames.vtrack",
        "frames/*.png": tmp_path / "frames.vtrack",
        "rtsp://user:secret@host/live/door?x=1": Path("door.vtrack"),
        "https://host/": Path("stream.vtrack"),
    }.items():
        assert default_output(source, None) == expected
    assert default_output("frames", Path("out")) == Path("out/frames.vtrack")


def test_no_face_is_a_table_of_empty_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "stripes.mp4", 30)
    assert main(["run", str(clip), "--parts", "eyes"]) == OK
    assert "30 frames, 0 with faces, 0 tracks" in capsys.readouterr().err
    rows = rows_of(tmp_path / "stripes.vtrack.csv")
    assert len(rows) == 30
    assert all(row["face"] == row["left_eye_0_x"] == "" for row in rows)
    assert all(row["frame"] and row["time_s"] for row in rows)


def test_a_damaged_video_gives_what_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = damage(write_clip(tmp_path / "hurt.mp4", 60), [15, 16])
    assert main(["run", str(clip), "--parts", "eyes"]) == OK
    assert "skipped" in capsys.readouterr().err
    assert 30 < len(rows_of(tmp_path / "hurt.vtrack.csv")) < 60


def test_a_broken_frame_among_the_files_of_a_film_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "film"
    folder.mkdir()
    for i in range(6):
        cv2.imwrite(str(folder / f"{i:03}.png"), index_image(i, 80, 48))
    options = ["run", str(folder), "--parts", "eyes", "-o", str(tmp_path)]
    assert main([*options, "--quiet"]) == OK
    (folder / "003.png").write_bytes((folder / "003.png").read_bytes()[:60])
    assert main([*options, "--overwrite"]) == FAILED
    assert "5 frames" in (said := capsys.readouterr().err) and "1 damaged part skipped" in said
    assert f"film: skipped damaged data in 1 place; the last: {folder / '003.png'}: " in caplog.text
    assert [row["frame"] for row in rows_of(tmp_path / "film.vtrack.csv")] == ["0", "1", "2", "4", "5"]


def test_a_picture_that_changes_its_size(tmp_path: Path) -> None:
    clip = write_joined(tmp_path / "sizes.ts", [(160, 96), (96, 160)])
    assert main(["run", str(clip), "--parts", "eyes", "--video", "--quiet"]) == OK
    with av.open(str(tmp_path / "sizes.vtrack.mp4")) as video:
        assert {(frame.width, frame.height) for frame in video.decode(video=0)} == {(160, 96)}


def limit_files() -> None:
    """A disk with room for 20 kB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk(clip: Path) -> None:
    before = sorted(clip.parent.iterdir())
    for options, lines in (
        (["--csv"], 1),
        (["--video"], 2),
    ):  # the table fails first, and the video goes on for a while
        done = vtrack_run(clip, "--parts", "face", "--quiet", *options, preexec_fn=limit_files)
        assert done.returncode == FAILED
        messages = done.stderr.splitlines()
        assert len(messages) == lines and all(line.startswith("vtrack: cannot write") for line in messages)
        assert sorted(clip.parent.iterdir()) == before


def long_clip(path: Path, frames: int) -> Path:
    """The sample's face, for as long as wanted."""
    with open_source(SAMPLE, every=3) as source:
        images = [frame.image[::2, ::2] for frame in source]
    return write_clip(path, frames, (320, 240), draw=lambda i, *_: images[i % len(images)])


# A run that gets a signal when the fiftieth row of its table has been written: the machine may be slow or quick.
INTERRUPTED_RUN = """
import os, sys
from vtrack.cli.main import main
from vtrack.pipelines.outputs.tables.csv import WideTable

def write(table, result, write=WideTable._write):
    write(table, result)
    if result.index == 50:
        os.kill(os.getpid(), int(sys.argv[1]))

WideTable._write = write
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_keeps_what_is_done(tmp_path: Path, number: signal.Signals) -> None:
    clip = long_clip(tmp_path / "long.mp4", 600)
    words = ["run", str(clip), "--parts", "eyes", "--video"]
    command = [sys.executable, "-c", INTERRUPTED_RUN, str(int(number)), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == INTERRUPTED
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("vtrack: interrupted\n")
    rows = rows_of(tmp_path / "long.vtrack.csv")
    assert 50 < len(rows) < 600
    assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
    assert all(None not in row.values() for row in rows)
    with av.open(str(tmp_path / "long.vtrack.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == len(rows)
    facts = json.loads((tmp_path / "long.vtrack.csv.meta.json").read_text())
    assert facts["counts"]["interrupted"]
    assert not list(tmp_path.glob(".*"))


def test_help_needs_nothing_heavy() -> None:
    code = """
import sys
from vtrack.cli.main import build_parser
build_parser().format_help()
assert not {"torch", "cv2", "av", "onnxruntime"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    done = vtrack_run("--help")
    assert done.returncode == OK
    assert "vtrack run input.mp4 --parts eyes,lips --video" in done.stdout


def test_a_run_imports_only_what_it_needs(clip: Path) -> None:
    """SciPy, filterpy, torch and tqdm take longer to import than the rest of a short run takes."""
    words = ["run", str(clip), "--stop", "0.2", "--device", "cpu", "--engine", "onnx", "--quiet"]
    modules = imported_modules(words, OK)
    assert {"av", "cv2", "onnxruntime"} <= modules
    assert not modules & {"scipy", "filterpy", "torch", "mediapipe", "openvino", "onnx", "tqdm", "pyarrow", "numpy.ma"}
    assert not modules & {"vtrack.cli.train", "vtrack.cli.webcam", "vtrack.training"}
    assert not modules & {"vtrack.pipelines.measures.eyes", "vtrack.pipelines.outputs.drawing"}
    assert len(rows_of(clip.with_name("clip.vtrack.csv"))) == 6
