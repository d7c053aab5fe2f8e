"""`vtrack check`: wrong tables score worse than the true one, for the right reasons; what is written; memory."""

from __future__ import annotations

import csv
import json
import os
import shutil
import threading
import tracemalloc
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tests.cli.imports import imported_modules
from tests.pipelines.report_pages import SAMPLE, Page, face_of, truth, write
from tests.pipelines.tables_of_others import write_dlc, write_openface
from vtrack.cli.main import FAILED, OK, USAGE, main
from vtrack.errors import SinkError, UsageError
from vtrack.layouts import load_layout
from vtrack.pipelines.outputs.base import sidecar_path, write_sidecar
from vtrack.pipelines.outputs.quality import median_error
from vtrack.pipelines.outputs.tables import columns
from vtrack.pipelines.tables.quality.check import TableCheck, check_table
from vtrack.pipelines.tables.quality.error_model import error_model
from vtrack.pipelines.tables.quality.signals import SIGNALS, SignalMeter
from vtrack.pipelines.tables.report.report import report_table
from vtrack.types import FloatArray

FRAMES = 90
"""Three seconds of the sample, in which the face moves, talks and blinks."""


def spoiled(name: str) -> FloatArray:
    """(frames, 68, 2) the true points, or points that are wrong in a known way."""
    points = truth()[:FRAMES]
    unit = float(np.linalg.norm(points[0, 45] - points[0, 36]))
    noise = np.random.default_rng(0).normal(0, 0.02 * unit, points.shape)
    return {
        "true": points,
        "shifted": points + [0.15 * unit, 0],
        "frozen": np.repeat(points[:1], FRAMES, 0),
        "late": np.concatenate([np.repeat(points[:1], 12, 0), points[:-12]]),
        "swapped": points[:, np.array(load_layout("300w").mirror)],
        "jittered": points + noise,
    }[name]


def checked(folder: Path, name: str, video: str | None = str(SAMPLE)) -> TableCheck:
    return check_table(write(folder / f"{name}.csv", [[face_of(points)] for points in spoiled(name)]), video)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("check")


@pytest.fixture(scope="module")
def true(folder: Path) -> TableCheck:
    return checked(folder, "true")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("shifted", "the picture looks as if the face lay beside the points"),
        ("frozen", "points move otherwise than the picture"),
        ("late", None),
        ("swapped", "points probably off"),
        ("jittered", "points tremble"),
    ],
)
def test_a_wrong_table_scores_worse_than_the_true_one(
    folder: Path, true: TableCheck, name: str, reason: str | None
) -> None:
    wrong = checked(folder, name)
    assert wrong.errors["mean"] > 1.05 * true.errors["mean"]
    assert reason is None or any(reason in doubt.texts for doubt in wrong.doubts)
    assert not any(reason in doubt.texts for doubt in true.doubts)


def test_without_the_video_the_table_alone_is_judged(folder: Path) -> None:
    true, jittered, swapped = (checked(folder, name, None) for name in ("true", "jittered", "swapped"))
    assert jittered.errors["mean"] > true.errors["mean"] and swapped.errors["mean"] > true.errors["mean"]
    assert true.video is None and not {"flow", "lost", "place", "unlike"} & {*true.signals}


def test_figures_as_text_csv_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, seconds, figures = (folder / name for name in ("talk.csv", "talk.quality.csv", "talk.json"))
    write(table, [[face_of(points)] for points in spoiled("frozen")])
    words = ["check", str(table), str(SAMPLE), "--csv", str(seconds), "--json", str(figures)]
    assert main(words) == OK
    out, err = capsys.readouterr()
    assert "talk.csv with sample.mp4: 270 frames, 1 face\n" in out and "points move otherwise than the picture" in out
    assert err == f"wrote {seconds}\nwrote {figures}\n"
    with seconds.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["start_s"], row["face"], row["frames"]) for row in rows] == [(str(i), "0", "30") for i in range(3)]
    assert all(float(row["low"]) < float(row["error"]) < float(row["high"]) for row in rows)
    # The table has no raw columns and no irises.
    assert {name for name in SIGNALS if rows[0][name]} == {*SIGNALS} - {"smoothing", "iris"}
    read = json.loads(figures.read_text())
    assert read["faces"][0]["frames"] == 90 and read["doubtful"][0]["reasons"] and read["stretches"] == 1
    assert read["error"]["max"] == pytest.approx(max(float(row["error"]) for row in rows), rel=1e-3)
    assert main(words) == USAGE
    assert "exist already; add --overwrite" in capsys.readouterr().err
    assert main(["check", str(table), "--json", "-"]) == OK
    assert json.loads(capsys.readouterr().out)["video"] is None


def test_a_page_shows_what_a_check_found(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, seconds = tmp_path / "talk.csv", tmp_path / "talk.quality.csv"
    write(table, [[face_of(points)] for points in spoiled("frozen")])
    check = check_table(table, str(SAMPLE), csv=seconds)
    report = report_table(table, check=seconds)
    assert [doubt.texts for doubt in report.survey.doubts] == [doubt.texts for doubt in check.doubts]
    assert report.survey.error == pytest.approx(check.faces[0].error, rel=1e-3)
    page = Page(report.path.read_text(encoding="utf-8"))
    assert f"Estimated error {check.faces[0].error:.1f} %" in page.text and "points move otherwise" in page.text
    assert "error" in {each.get("data-plot") for each in page.all("figure")}
    # A page that is older than a check is made anew.
    assert main(["report", str(tmp_path), "--quiet", "--overwrite"]) == OK
    index = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert f"{check.faces[0].error:.1f} %" in index
    other = write(tmp_path / "other.csv", [[face_of(truth()[0], 7)]])
    damaged = tmp_path / "damaged.csv"
    damaged.write_text(seconds.read_text() + "nonsense\n")
    for words, message in (
        ([table, "--check", table], "talk.csv is not what vtrack check --csv FILE writes"),
        ([other, "--check", seconds], "talk.quality.csv is not of"),
        ([table, "--check", damaged], "damaged.csv: damaged table"),
        ([write_dlc(tmp_path / "dlc.csv"), "--check", seconds], "--check needs a table with times"),
        ([tmp_path, "--check", seconds], "--check is of one table"),
    ):
        assert main(["report", *map(str, words), "-o", str(tmp_path / "page.html")]) != OK
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1, err
    assert not (tmp_path / "page.html").exists()


def test_a_batch_with_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    shutil.copy(SAMPLE, videos / "talk.mp4")
    words = ["batch", str(videos), "-o", str(out), "--parts", "300w", "--stop", "0.5", "--workers", "1", "--check"]
    assert main([*words, "--report"]) == OK
    with (out / "summary.csv").open() as file:
        (row,) = csv.DictReader(file)
    check = out / "talk.vtrack.quality.csv"
    assert float(row["estimated_error"]) == pytest.approx(median_error(check), abs=0.01)
    assert "Estimated error" in (out / "talk.vtrack.report.html").read_text(encoding="utf-8")
    index = Page((out / "report.html").read_text(encoding="utf-8"))
    assert [each["href"] for each in index.all("a")] == ["talk.vtrack.report.html"]
    # The same command again checks nothing; a file that is no check is not replaced.
    written = check.stat().st_mtime_ns
    assert main([*words, "--quiet"]) == OK and check.stat().st_mtime_ns == written
    check.write_text("mine")
    os.utime(check, (0, 0))
    capsys.readouterr()
    assert main([*words, "--quiet"]) == FAILED
    assert "talk.vtrack.quality.csv exists already" in capsys.readouterr().err and check.read_text() == "mine"
    assert main(["batch", str(videos), "-o", "memory://out", "--check"]) == USAGE
    assert "--check needs a folder" in capsys.readouterr().err


def test_no_file_replaces_what_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write(tmp_path / "talk.csv", [[face_of(points)] for points in truth()[:3]])
    video = Path(shutil.copy(SAMPLE, tmp_path / "talk.mp4"))
    facts = sidecar_path(table)
    contents = table.read_bytes(), video.read_bytes(), facts.read_bytes()
    for option, path in product(("--csv", "--json"), (table, video)):
        assert main(["check", str(table), str(video), option, str(path), "--overwrite"]) == USAGE
        assert f"output {path} is the input itself" in capsys.readouterr().err
    for path in (table, video):
        with pytest.raises(UsageError, match="is the input itself"):
            check_table(table, str(video), csv=path, overwrite=True)
    assert main(["check", str(table), "--csv", str(facts), "--overwrite"]) == USAGE
    assert f"output {facts} holds the facts about the input" in capsys.readouterr().err
    assert (table.read_bytes(), video.read_bytes(), facts.read_bytes()) == contents


def test_stretches_that_are_not_listed_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write(tmp_path / "talk.csv", [[face_of(points)] for points in spoiled("swapped")])
    assert main(["check", str(table), "--worst", "0"]) == OK
    assert capsys.readouterr().out.endswith("\n1 doubtful stretch\n")


def test_tables_of_other_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "sigma" not in check_table(write_openface(tmp_path / "openface.csv")).signals
    dlc = write_dlc(tmp_path / "clipDLC_resnet50.csv")
    assert main(["check", str(dlc)]) != OK
    assert "give its frames per second, --fps 25" in capsys.readouterr().err
    assert main(["check", str(dlc), "--fps", "25"]) == OK
    assert "3 frames" in capsys.readouterr().out


def test_what_cannot_be_checked_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write(tmp_path / "talk.csv", [[face_of(points)] for points in truth()[5:8]])
    for words, message in (
        ([str(SAMPLE.parents[1] / "tests" / "data" / "london" / "images")], "photographs"),
        (["--worst", "100"], "--worst must lie in 0..99, got 100"),
        (["--csv", "-"], "--csv writes a file; give its path"),
    ):
        assert main(["check", str(table), *words]) == USAGE
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1
    write_sidecar(table, options={}, model={}, source={"photographs": True, "width": 640, "height": 480}, counts={})
    assert main(["check", str(table)]) == USAGE
    assert "is of photographs, and check judges motion" in capsys.readouterr().err


@pytest.mark.filterwarnings("error")
def test_points_that_coincide_hide_no_others(tmp_path: Path) -> None:
    points = spoiled("jittered")[:30]
    points[10:13] = 0.0
    check = check_table(write(tmp_path / "talk.csv", [[face_of(each)] for each in points]))
    assert {"tremble", "half_rate"} <= {*check.signals}
    nowhere = [[face_of(each)] for each in np.zeros_like(points)]
    assert "tremble" not in check_table(write(tmp_path / "zeros.csv", nowhere)).signals


def test_decoding_ends_when_a_check_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise SinkError("no space left on device")

    table = write(tmp_path / "talk.csv", [[face_of(points)] for points in spoiled("true")])
    monkeypatch.setattr(SignalMeter, "__call__", fail)
    with pytest.raises(SinkError) as failure:
        check_table(table, str(SAMPLE))
    # The traceback keeps what yields the results from being collected, and so from ending by itself.
    assert failure.tb is not None and "vtrack-ahead" not in {thread.name for thread in threading.enumerate()}


def test_frames_without_faces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write(tmp_path / "nobody.csv", [[], [], []])
    assert main(["check", str(table)]) == OK
    assert capsys.readouterr().out == "nobody.csv without its video: 3 frames, 0 faces\n"
    assert "NaN" not in check_table(table).to_json()


def test_a_face_of_which_nothing_is_known_has_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = replace(face_of(truth()[0]), points=np.full((68, 2), np.nan), sigma=np.full(68, np.nan))
    table = write(tmp_path / "talk.csv", [[unknown]] * 3)
    assert main(["check", str(table)]) == OK
    assert [line.split() for line in capsys.readouterr().out.splitlines()][-3][4:] == ["-", "-", "-"]
    check = check_table(table)
    assert np.isnan([*check.errors.values(), check.faces[0].error]).all() and not check.signals
    assert "NaN" not in check.to_json()


def test_it_loads_no_model(tmp_path: Path) -> None:
    table = write(tmp_path / "talk.csv", [[face_of(points)] for points in truth()[:5]])
    modules = imported_modules(["check", str(table), str(SAMPLE)], OK)
    assert not {"torch", "onnxruntime", "vtrack.models.engines.onnx"} & modules


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BLOCK_CELLS", 2**13)
    one = write(tmp_path / "one.csv", [[face_of(truth()[0])]])
    line, facts = one.read_text().splitlines(), sidecar_path(one).read_text()
    peaks = []
    for rows in (300, 900):
        path, cells = tmp_path / f"{rows}.csv", line[1].split(",", 2)[2]
        path.write_text("\n".join([line[0], *(f"{i},{i / 30:.6f},{cells}" for i in range(rows))]) + "\n")
        sidecar_path(path).write_text(facts)
        tracemalloc.start()
        assert check_table(path).frames == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.1


def test_no_signal_makes_an_error_smaller() -> None:
    model, names = error_model(), list(SIGNALS)
    usual = np.exp(model.mean[1:])
    error, low, high = model.estimate(usual)
    for i in range(len(names)):
        larger = np.where(np.arange(len(names)) == i, 3 * usual, usual)
        assert model.estimate(larger).error >= error
        assert model.estimate(np.where(np.arange(len(names)) == i, 0.0, usual)).error <= error
    few = model.estimate(np.where(np.array(names) == "tremble", usual, np.nan))
    assert few.high / few.low > high / low > 1
    assert np.isnan(model.estimate(np.full(len(names), np.nan))).all()
    beside = np.where(np.array(names) == "place", 30.0, usual)
    assert model.estimate(beside).error > 20
