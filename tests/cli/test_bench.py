"""`vtrack bench VIDEO` and `--model`: real runs of short clips, and what is said when something is missing."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from vtrack.cli.bench import model_table
from vtrack.cli.main import main
from vtrack.errors import VTrackError
from vtrack.pipelines.bench.measurement import peak_mb
from vtrack.pipelines.bench.models import SEGMENT_BATCH, ModelTime, measure, spread_query
from vtrack.pipelines.bench.report import format_report, plot_report
from vtrack.pipelines.bench.runner import Program, ProgramRun, run_programs
from vtrack.pipelines.sources.open import open_source

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first second of the sample."""
    import av

    path = tmp_path_factory.mktemp("bench") / "second.mp4"
    with av.open(str(ROOT / "samples" / "sample.mp4")) as source, av.open(str(path), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size and packet.pts is not None and packet.pts * packet.time_base < 1:
                packet.stream = copy
                out.mux(packet)
    return path


def test_a_video_with_and_without_film(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "bars.png"
    command = ["bench", str(clip), "--rounds", "1", "--video", "--device", "cpu", "--parts", "eyes"]
    assert main([*command, "--json", "--plot", str(picture)]) == 0
    output = json.loads(capsys.readouterr().out)
    plain, film, encoder = output["programs"]
    assert [one["name"] for one in output["programs"]] == ["vtrack", "vtrack --video", "encoder alone"]
    with open_source(clip) as source:
        frames = len(list(source))
    assert plain["frames"] == film["frames"] == encoder["frames"] == frames
    assert plain["faces_per_frame"] == film["faces_per_frame"] == 1.0
    assert set(plain["stages_ms"]) == {"decode", "detect", "crop", "landmarks", "smooth", "write"}
    assert all(0 < ms < 1e4 for ms in plain["stages_ms"].values())
    assert set(plain["waits_ms"]) == {"decoded", "finished"}
    assert 0 < plain["cpu_ms"] < film["cpu_ms"]
    assert film["stages_ms"]["write"] > plain["stages_ms"]["write"]
    assert plain["fps"] == pytest.approx(plain["fps_of_rounds"][0])
    if peak_mb() is not None:
        assert 100 < plain["peak_mb"] < 1500
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = format_report(output["programs"])
    assert text.splitlines()[0].startswith("vtrack ")
    assert "landmarks" in text
    assert "queue of decoded frames" in text


def test_a_suite_over_a_folder(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "--suite", "--clips", str(clip.parent), "--rounds", "1", "--parts", "eyes", "--device", "cpu"]
    assert main([*command, "--seconds", "0.5", "--against", str(ROOT), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["rounds"] == 1
    (figures,) = output["clips"]
    ours, theirs, decoder = figures["programs"]
    assert [ours["name"], theirs["name"], decoder["name"]] == ["vtrack", f"vtrack in {ROOT}", "decoder alone"]
    assert ours["frames"] == theirs["frames"] == decoder["frames"] < 30
    assert ours["faces_per_frame"] == theirs["faces_per_frame"] == 1.0
    assert figures["ratio"] == pytest.approx(ours["fps"] / theirs["fps"], abs=2e-3)
    assert output["worst"] == {"clip": "second", "ratio": figures["ratio"]}


def test_a_suite_in_which_a_clip_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.mp4").touch()
    command = ["bench", "--suite", "--clips", str(tmp_path), "--against", str(ROOT), "--plot", str(tmp_path / "x.png")]
    assert main(command) == 1
    assert capsys.readouterr().out == f"left out: empty ({tmp_path / 'empty.mp4'}: the file is empty (0 bytes))\n"
    assert not (tmp_path / "x.png").exists()


@pytest.mark.skipif(importlib.util.find_spec("mediapipe") is not None, reason="mediapipe is here")
def test_mediapipe_that_is_not_here(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(clip), "--against", "mediapipe"]) == 1
    assert "cannot import mediapipe and OpenCV; name a Python that can: --against-python" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "one thing at a time"),
        (["clip.mp4", "--smooth"], 2, "one thing at a time"),
        (["clip.mp4"], 1, "no such file"),
        (["--model", "--plot", "x.png"], 2, "not those of --model"),
        (["--model", "fats"], 2, "no model 'fats'"),
        (["CLIP", "--suite"], 2, "one thing at a time"),
        (["--suite", "--video"], 2, "--video applies to a VIDEO only"),
        (["--suite", "--faces", "2"], 2, "--faces applies to --clips only"),
        (["--suite", "--clips", "no", "--keep", "x"], 2, "--keep applies to made clips only"),
        (["--suite", "--clips", "no/such"], 1, "there is no folder no/such"),
        (["--suite", "--clips", "docs"], 1, "docs holds no videos"),
        (["--suite", "--plot", "no/such.png"], 2, "--plot: there is no folder no;"),
        (["--suite", "--seconds", "0.1"], 2, "at least 0.5"),
        (["--suite", "--only", "crowds"], 2, "no clip 'crowds'"),
        (["CLIP", "--clips", "no"], 2, "--clips applies to --suite only"),
        (["--smooth", "--rounds", "2"], 2, "--rounds applies to a VIDEO or --suite only"),
        (["CLIP", "--against", "no/such"], 2, "neither mediapipe nor a folder"),
        (["CLIP", "--rounds", "0"], 2, "must be at least 1"),
        (["CLIP", "--against-python", "python3"], 2, "--against mediapipe only"),
        (["CLIP", "--against", "mediapipe", "--against-python", "no/python"], 1, "no/python cannot be run"),
        (["CLIP", "--parts", "nostrils"], 2, "no part"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: list[str], code: int, message: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *(str(clip) if word == "CLIP" else word for word in arguments)]) == code
    assert message in capsys.readouterr().err


def program(name: str, frames: int, seconds: float, fails: str = "") -> Program:
    """A program that says what it took, or fails."""
    measurement = {"frames": frames, "faces": frames, "seconds": seconds, "cpu": 3.0, "peak_mb": None, "versions": "1"}
    code = (
        f"import sys; sys.exit({fails!r})" if fails else f"print('hello'); print({json.dumps(json.dumps(measurement))})"
    )
    return Program(name, [sys.executable, "-c", code], "nothing")


def test_programs_alternate_and_the_median_counts() -> None:
    order: list[str] = []
    results = run_programs([program("one", 100, 2.0), program("two", 100, 4.0)], 2, order.append)
    assert order == ["one", "two"] * 2
    assert [result.fps for result in results] == [50.0, 25.0]
    figures = results[0].as_json()
    assert figures["peak_mb"] is None
    assert figures["cpu_ms"] == 30.0
    assert figures["start_s"] < 0  # this program lies about its time, and the process's own tells
    assert "memory unknown" in format_report([figures])
    runs = [ProgramRun(100, 100, seconds, 1.0, None, "1", 9.0) for seconds in (1.0, 4.0, 2.0)]
    assert type(results[0])(results[0].program, runs).fps == 50.0
    assert type(results[0])(results[0].program, runs).typical.seconds == 2.0


def test_a_program_that_fails_is_named() -> None:
    with pytest.raises(VTrackError, match="two failed: out of luck"):
        run_programs([program("two", 1, 1.0, fails="out of luck")], 1)


def test_a_model_by_batch_and_points() -> None:
    rows = list(measure("fast", "cpu", batches=(1, 2), points=(1, 8)))
    engines = dict.fromkeys(row.engine for row in rows)
    assert {"torch", "onnx"} <= set(engines)
    cells = [(1, 68), (2, 68), (1, 1), (1, 8)]
    assert [(row.batch, row.points) for row in rows if row.engine == "onnx"] == cells
    assert all(row.ms > 0 for row in rows)
    assert len(model_table("fast", rows).splitlines()) == 6 + 2 * len(engines)


def test_points_are_counted_for_one_face_and_for_some_at_once() -> None:
    rows = [row for row in measure("fast", "cpu", batches=(1, SEGMENT_BATCH), points=(8, 68)) if row.engine == "onnx"]
    assert [(row.batch, row.points) for row in rows] == [(1, 68), (SEGMENT_BATCH, 68), (1, 8), (SEGMENT_BATCH, 8)]


def test_the_table_of_a_model_has_each_figure_in_its_place() -> None:
    rows = [ModelTime("onnx", batch, 68, 1.5 * batch) for batch in (1, 8)] + [ModelTime("onnx", 1, 1000, 9.0)]
    lines = model_table("fast", rows).splitlines()
    assert lines[3].split() == ["onnx", "1.50", "12.00"]
    assert lines[6].split() == ["engine", "68", "1000"]
    assert lines[7].split() == ["onnx", "1.50", "9.00"]
    lines = model_table("fast", [*rows, ModelTime("onnx", 8, 1000, 7.0)]).splitlines()
    assert [line.split() for line in lines[9:]] == [
        ["8", "faces", "at", "once,", "points"],
        ["engine", "68", "1000"],
        ["onnx", "12.00", "7.00"],
    ]


def test_queries_of_any_length() -> None:
    for count in (1, 98, 1000):
        assert len(spread_query(count)) == count


def test_a_plot_without_stages_of_ours_is_not_asked_for(tmp_path: Path) -> None:
    figures = run_programs([program("one", 100, 2.0)], 1)[0].as_json() | {"stages_ms": {"decode": 1.0}}
    plot_report([figures], "a clip", tmp_path / "bars.svg")
    assert "<svg" in (tmp_path / "bars.svg").read_text()


def test_a_batch_that_one_engine_alone_has_memory_for() -> None:
    rows = [ModelTime("torch", 1, 68, 5.0), ModelTime("onnx", 1, 68, 2.0), ModelTime("onnx", 512, 68, 0.0312)]
    torch, onnx = model_table("fast", rows).splitlines()[3:5]
    assert torch.split() == ["torch", "5.00", "–"]
    assert onnx.split() == ["onnx", "2.00", "0.0312"]
