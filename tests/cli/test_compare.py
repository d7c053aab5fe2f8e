"""`vtrack compare`: known differences between tables come out as figures; real runs, other programs' tables, pictures."""

from __future__ import annotations

import csv
import json
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.pipelines.results import make_result
from tests.pipelines.tables_of_others import write_dlc
from vtrack.cli.main import OK, USAGE, main
from vtrack.pipelines.outputs.base import sidecar_path, write_sidecar
from vtrack.pipelines.outputs.tables import columns
from vtrack.pipelines.outputs.tables.csv import WideTable
from vtrack.pipelines.outputs.tables.jsonl import JsonLines
from vtrack.pipelines.outputs.tables.openface import OpenFaceTable
from vtrack.pipelines.tables.comparison.agreement import AgreementSums
from vtrack.pipelines.tables.comparison.compare import TableComparison, compare_tables
from vtrack.pipelines.tables.comparison.report import comparison_text
from vtrack.query import parse_query
from vtrack.types import Face, FloatArray, Query

SAMPLES = Path(__file__).parents[2] / "samples"
SAMPLE = SAMPLES / "sample.mp4"
LAYOUT = parse_query("300w")


def truth() -> FloatArray:
    """(270, 68, 2) the true points of the sample."""
    with (SAMPLES / "sample.csv").open() as file:
        rows = [[[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(1, 69)] for row in csv.DictReader(file)]
    return np.array(rows)


def face_of(points: FloatArray, number: int = 0, query: Query = LAYOUT) -> Face:
    low, high = points.min(0), points.max(0)
    return Face(number, np.concatenate([low, high - low]), 1.0, points, np.ones(len(points)), points, query)


def write(path: Path, frames: dict[int, list[Face]], kind: Any = WideTable, query: Query = LAYOUT) -> Path:
    with kind(path, query) as sink:
        for index, faces in frames.items():
            sink.write(replace(make_result(index, *faces, query=query, step=1000), query=query))
    return path


def eye_distance(points: FloatArray) -> FloatArray:
    return np.linalg.norm(points[..., 45, :] - points[..., 36, :], axis=-1)


def test_a_known_offset_comes_out_in_pixels_and_percent(tmp_path: Path) -> None:
    points = truth()[:60]
    moved = points.copy()
    moved[:, :17] += (3.0, -4.0)  # the jaw
    a = write(tmp_path / "a.jsonl", {i: [face_of(each, 7)] for i, each in enumerate(moved)}, JsonLines)
    b = write(tmp_path / "b.csv", {i: [face_of(each)] for i, each in enumerate(points)}, OpenFaceTable)
    figures = compare_tables(a, b).figures
    jaw, eye = (figures["distances"][part] for part in ("jaw", "left_eye"))
    # OpenFace's coordinates have one decimal.
    assert jaw["pixels"]["mean"] == pytest.approx(5, abs=0.02) and jaw["count"] == 60 * 17
    assert jaw["pixels"]["median"] == pytest.approx(5, abs=0.08) and jaw["pixels"]["max"] < 5.1
    assert jaw["pixels"]["bias"] == pytest.approx([3, -4], abs=0.01)
    for bias, (low, high) in zip((3, -4), jaw["pixels"]["limits"], strict=True):
        assert bias - 0.07 < low < bias < high < bias + 0.07
    assert jaw["percent"]["mean"] == pytest.approx((500 / eye_distance(points)).mean(), rel=5e-3)
    assert eye["pixels"]["max"] < 0.08 and figures["unit"]["of"] == "second"
    assert figures["ids"]["pairs"] == [{"first": 7, "second": 0, "frames": 60}]
    assert figures["points"]["compared"] == 68 and figures["points"]["by_curve"] == 0
    assert [each["part"] for each in figures["worst"]] == ["jaw"] * 2  # one of each second


def test_quantiles_and_jitter_are_those_of_numpy(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    still = np.repeat(truth()[:1], 400, 0)
    noise = rng.normal(0, 2, still.shape)
    a = write(tmp_path / "a.csv", {i: [face_of(each)] for i, each in enumerate(still + noise)})
    b = write(tmp_path / "b.csv", {i: [face_of(each)] for i, each in enumerate(still)})
    figures = compare_tables(a, b).figures["distances"]
    far = np.linalg.norm(noise, axis=-1)
    for name, value in (
        ("mean", far.mean()),
        ("median", np.median(far)),
        ("p95", np.quantile(far, 0.95)),
        ("max", far.max()),
    ):
        assert figures["all"]["pixels"][name] == pytest.approx(value, rel=2e-3), name
    assert figures["all"]["jitter"]["pixels"] == pytest.approx([2, 0], abs=0.02)
    low, high = figures["all"]["pixels"]["limits"][0]
    assert (low, high) == pytest.approx((-1.96 * 2, 1.96 * 2), abs=0.05)


def test_faces_are_paired_by_position_and_switches_counted(tmp_path: Path) -> None:
    left, right = truth()[0] * 0.4, truth()[0] * 0.4 + (300, 0)
    a = {i: [face_of(left, 1), face_of(right, 2)] for i in range(30)}
    b = {i: [face_of(left + 1, 5 if i < 20 else 6), face_of(right + 1, 6 if i < 20 else 5)] for i in range(30)}
    b[3] = b[3][:1]  # one of the faces is missed
    b[4] = [*b[4], face_of(left + 150, 9)]  # and one is nobody's
    del b[10]
    b[31] = []
    for faces in b.values():
        faces.sort(key=lambda face: face.id)
    figures = compare_tables(write(tmp_path / "a.csv", a), write(tmp_path / "b.csv", b)).figures
    assert figures["frames"] == {"both": 29, "only_first": 1, "only_second": 1}
    assert figures["faces"] == {"matched": 57, "only_first": 1, "only_second": 1}
    assert figures["ids"]["switches_first"] == 2 and figures["ids"]["switches_second"] == 2
    shared = {(pair["first"], pair["second"]): pair["frames"] for pair in figures["ids"]["pairs"]}
    assert shared == {(1, 5): 19, (2, 6): 18, (1, 6): 10, (2, 5): 10}
    assert figures["distances"]["all"]["pixels"]["mean"] == pytest.approx(2**0.5, rel=1e-3)


def test_other_places_of_a_part_are_looked_up_on_its_curve(tmp_path: Path) -> None:
    turns = 2 * np.pi * np.arange(16) / 16
    circle = 100 + 40 * np.stack([-np.cos(turns), -np.sin(turns)], -1)  # clockwise from its leftmost point
    fine, coarse = parse_query("left_eye:16,jaw"), parse_query("left_eye:6,right_brow")
    third = 2 * np.pi * np.arange(6) / 6
    six = 100 + 40 * np.stack([-np.cos(third), -np.sin(third)], -1)
    rest = np.zeros((17, 2)) + 120, np.zeros((9, 2)) + 80
    a = write(tmp_path / "a.csv", {0: [face_of(np.concatenate([circle, rest[0]]), 0, fine)]}, query=fine)
    b = write(tmp_path / "b.csv", {0: [face_of(np.concatenate([six, rest[1]]), 0, coarse)]}, query=coarse)
    with pytest.raises(Exception, match="have no points in common"):
        compare_tables(a, b)  # nothing tells where the points lie
    for path, query in ((a, "left_eye:16,jaw"), (b, "left_eye:6,right_brow")):
        write_sidecar(path, options={"parts": query}, model={}, source={}, counts={})
    for pair in ((a, b), (b, a)):
        figures = compare_tables(*pair).figures
        assert figures["points"]["compared"] == 6 and figures["points"]["by_curve"] == 4
        assert figures["distances"]["left_eye"]["pixels"]["max"] < 0.3  # the curve's own error; chords are 2.7 px off
        assert figures["unit"]["name"] == "box"
        only = figures["points"]["only_first"], figures["points"]["only_second"]
        assert only == (({"jaw": 17}, {"right_brow": 9}) if pair == (a, b) else ({"right_brow": 9}, {"jaw": 17}))


def test_points_with_names_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dlc = write_dlc(tmp_path / "dlc.csv")
    points = np.repeat(truth()[:1], 3, 0)
    points[:, 30] = (321.5, 240.25)
    a = write(tmp_path / "a.csv", {i: [face_of(each)] for i, each in enumerate(points)})
    assert main(["compare", str(a), str(dlc)]) == USAGE
    assert "have no points in common; say which are the same: --same NAME=NAME" in capsys.readouterr().err
    assert main(["compare", str(a), str(dlc), "--same", "nose_bridge_3=nosetip", "--json", "-"]) == OK
    figures = json.loads(capsys.readouterr().out)
    assert figures["distances"]["nose_bridge"]["count"] == 2 and figures["unit"]["of"] == "first"
    assert figures["distances"]["nose_bridge"]["pixels"]["max"] == pytest.approx(2**0.5, rel=1e-3)
    assert figures["points"]["only_second"] == {"left_eye": 1} and figures["faces"]["only_first"] == 1
    for words, message in [
        (["--same", "nose_bridge_3=tail"], "dlc.csv has no point 'tail'"),
        (["--same", "nose"], "--same takes pairs of names"),
        (["--fps", "25"], "--fps applies where neither table has times"),
        (["--pictures", tmp_path / "p"], "--pictures needs the video"),
        (["--worst", "100"], "--worst must lie in 0..99"),
        (["--json", a], "is the input itself"),
        ([SAMPLE], "a video is needed for --pictures DIR alone"),
    ]:
        assert main(["compare", str(a), str(dlc), *map(str, words)]) == USAGE
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert main(["compare", str(dlc), str(dlc)]) == USAGE
    assert "give their frames per second, --fps 25" in capsys.readouterr().err
    assert main(["compare", str(dlc), str(dlc), "--fps", "25", "--quiet"]) == OK
    late = write(tmp_path / "late.csv", {i * 2: [face_of(each)] for i, each in enumerate(points)})
    late.write_text(late.read_text().replace("\n2,0.0", "\n1,0.0"))
    assert main(["compare", str(a), str(late)]) == USAGE
    assert "frame 1 is at 0.033 s in" in capsys.readouterr().err
    assert main(["compare", str(a), str(late), "--ignore-times", "--quiet"]) == OK


def test_a_run_and_the_truth_with_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, pictures = tmp_path / "run.csv", tmp_path / "worst"
    assert main(["run", str(SAMPLE), "--parts", "300w", "--stop", "1.5", "--csv", str(table), "--quiet"]) == OK
    labels = write(
        tmp_path / "hand.csv", {i: [face_of(each)] for i, each in enumerate(truth()[:45:5]) for i in [i * 5]}
    )
    video = shutil.copy(SAMPLE, tmp_path / "video.mp4")
    words = ["compare", str(table), str(labels), str(video), "--pictures", str(pictures), "--worst", "2"]
    assert main(words) == OK
    text = capsys.readouterr().out
    assert "frames: 9 in both, 36 only in A, 0 only in B" in text and "id switches: 0 in A, 0 in B" in text
    names = sorted(path.name for path in pictures.iterdir())
    assert [name[:9] for name in names] == ["01-frame-", "02-frame-"]
    image = cv2.imread(str(pictures / names[0]))[40:, :, ::-1].astype(int)  # below the title
    for colour in ((255, 140, 0), (0, 200, 255)):
        assert (np.abs(image - colour).sum(-1) < 30).sum() > 1000
    before = (pictures / names[0]).stat().st_mtime_ns
    assert main(words) == USAGE
    assert "exists already; add --overwrite" in capsys.readouterr().err
    assert (pictures / names[0]).stat().st_mtime_ns == before
    assert main([*words, "--overwrite", "--quiet"]) == OK
    assert main([*words, "--overwrite", "--json", str(video)]) == USAGE
    assert "is the input itself" in capsys.readouterr().err
    figures = compare_tables(table, labels).figures
    assert 1 < figures["distances"]["all"]["percent"]["mean"] < 6


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BLOCK_CELLS", 2**13)
    line = write(tmp_path / "one.csv", {0: [face_of(truth()[0])]}).read_text().splitlines()
    peaks = []
    for rows in (640, 1920):
        path = tmp_path / f"{rows}.csv"
        cells = line[1].split(",", 2)[2]
        path.write_text("\n".join([line[0], *(f"{i},{i * 2:.6f},{cells}" for i in range(rows))]) + "\n")
        tracemalloc.start()
        comparison = compare_tables(path, path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert comparison.figures["faces"]["matched"] == rows
        stretches = comparison.figures["over_time"]
        assert len(stretches) <= 600 and sum(each["matched"] for each in stretches) == rows
        assert stretches[0]["end_s"] - stretches[0]["start_s"] == (4 if rows == 640 else 8)
    assert peaks[1] < peaks[0] * 1.1


def test_tables_without_faces(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", {i: [] for i in range(3)})
    comparison: TableComparison = compare_tables(a, a)
    assert comparison.figures["faces"] == {"matched": 0, "only_first": 0, "only_second": 0}
    assert "NaN" not in comparison.to_json() and "ids of A = ids of B: none" in comparison_text(comparison)
    other = write(tmp_path / "b.csv", {7: [face_of(truth()[0])]})
    with pytest.raises(Exception, match="have no frame in common"):
        compare_tables(a, other)


def test_photographs_have_no_jitter_and_no_switches(tmp_path: Path) -> None:
    """Ids in photographs are ranks by size: another order in the next photograph is no switch."""
    points, path = truth()[0] * 0.4, tmp_path / "a.csv"
    for name, order in (("a.csv", (0, 1)), ("b.csv", (1, 0))):
        with WideTable(tmp_path / name, LAYOUT, files=True) as sink:
            for i in range(4):
                places = [points + (20 * i, 0), points + (300, 20 * i)]
                ids = (0, 1) if i < 2 else order
                faces = [face_of(place, number) for place, number in zip(places, ids, strict=True)]
                result = make_result(i, *sorted(faces, key=lambda face: face.id), query=LAYOUT, step=0)
                sink.write(replace(result, frame=replace(result.frame, file=f"{i}.jpg")))
    figures = compare_tables(path, tmp_path / "b.csv").figures
    assert figures["faces"]["matched"] == 8 and figures["distances"]["all"]["pixels"]["max"] == 0
    assert figures["ids"]["switches_first"] == figures["ids"]["switches_second"] == 0
    assert np.isnan(figures["distances"]["all"]["jitter"]["pixels"]).all()
    assert [each["file"] for each in figures["worst"]] == [f"{i // 2}.jpg" for i in range(8)]


def test_agreement_is_that_of_the_definitions() -> None:
    rng = np.random.default_rng(3)
    one = rng.normal(50, 2, 200)
    other = one + rng.normal(0.5, 0.4, 200)
    one[5] = np.nan
    sums = AgreementSums(2)
    for start in range(0, 200, 64):
        block = slice(start, start + 64)
        sums.add(
            np.column_stack([one[block], one[block]]), np.column_stack([other[block], np.full_like(one[block], np.nan)])
        )
    figures, empty = sums.figures()
    a, b = np.delete(one, 5), np.delete(other, 5)
    assert (
        figures["count"] == 199
        and figures["first"] == pytest.approx(a.mean())
        and figures["second"] == pytest.approx(b.mean())
    )
    reach = 1.96 * np.std(a - b, ddof=1)
    assert figures["bias"] == pytest.approx((a - b).mean())
    assert figures["limits"] == pytest.approx([(a - b).mean() - reach, (a - b).mean() + reach])
    assert figures["distance"] == pytest.approx(np.abs(a - b).mean())
    assert figures["r"] == pytest.approx(np.corrcoef(a, b)[0, 1])
    # Shrout and Fleiss, by the mean squares of a two-way analysis of variance.
    both = np.column_stack([a, b])
    rows, raters = both.mean(1, keepdims=True), both.mean(0, keepdims=True)
    n, k = both.shape
    between = k * np.square(rows - both.mean()).sum() / (n - 1)
    of_raters = n * np.square(raters - both.mean()).sum() / (k - 1)
    rest = np.square(both - rows - raters + both.mean()).sum() / ((n - 1) * (k - 1))
    expected = (between - rest) / (between + (k - 1) * rest + k * (of_raters - rest) / n)
    assert figures["icc"] == pytest.approx(expected)
    assert empty["count"] == 0 and np.isnan(empty["icc"])


def test_measures_and_blinks_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table agrees with itself, and nearly with the measures of its points alone."""
    table = tmp_path / "talk.csv"
    words = ["--parts", "300w", "--stop", "2", "--measures", "--csv", str(table), "--quiet"]
    assert main(["run", str(SAMPLE), *words]) == OK
    values = compare_tables(table, table).figures["values"]
    assert values["measures"]["yaw"]["icc"] == pytest.approx(1) and values["measures"]["yaw"]["distance"] == 0
    blinks = values["blinks"]
    assert (blinks["first"], blinks["second"], blinks["kappa"]) == (1, 1, 1.0)
    assert blinks["frames_of_both"] > 2 and blinks["frames_of_first"] == blinks["frames_of_second"] == 0
    assert "pose" not in values
    # OpenFace's table has neither measures nor the size of the frames, which the other tells.
    bare = tmp_path / "bare.csv"
    assert main(["convert", str(table), "--to", "openface", "-o", str(bare), "--quiet"]) == OK
    sidecar_path(bare).unlink()
    assert compare_tables(table, bare).figures["values"] == {}
    measured = compare_tables(table, bare, measure=True).figures["values"]
    assert measured["measures"]["mouth_open"]["icc"] > 0.9 and measured["blinks"]["kappa"] > 0.5
    assert main(["compare", str(table), str(bare), "--measures"]) == OK
    out = capsys.readouterr().out
    assert "mouth_open" in out and "ICC" in out and "blinks: 1 in A, 1 in B; frames in a blink: " in out


def test_a_shift_in_time_is_found_and_applied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = truth()[:120]
    a = write(tmp_path / "a.csv", {i: [face_of(each)] for i, each in enumerate(points)})
    late = write(tmp_path / "late.csv", {i + 4: [face_of(each + 2.0)] for i, each in enumerate(points[:-4])})
    figures = compare_tables(a, late, shift="auto").figures
    assert figures["shift"]["frames"] == 4 and figures["shift"]["estimate"] == pytest.approx(4, abs=0.1)
    assert figures["shift"]["correlation"] > 0.999 > figures["shift"]["unshifted"]
    assert figures["frames"]["both"] == 116
    assert figures["distances"]["all"]["pixels"]["max"] == pytest.approx(np.hypot(2, 2), abs=2e-3)
    assert compare_tables(late, a, shift="auto").figures["shift"]["frames"] == -4
    assert compare_tables(a, late, shift=4).figures["distances"] == figures["distances"]
    assert compare_tables(a, late).figures["distances"]["all"]["pixels"]["max"] > 3
    assert main(["compare", str(a), str(late), "--shift", "auto"]) == OK
    assert "B lags by 4 frames, as estimated (" in capsys.readouterr().out
    still = write(tmp_path / "still.csv", {i: [face_of(points[0])] for i in range(60)})
    for words, message in (
        (["--shift", "auto"], "too little motion in common"),
        (["--shift", "x"], "whole number of frames"),
    ):
        assert main(["compare", str(still), str(still), *words]) == USAGE
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1
