"""Tables: every value in its column, every frame with its row, exact formats of other programs."""

from __future__ import annotations

import csv
import json
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.anchors import ANCHORS
from vtrack.errors import MissingExtraError, UsageError
from vtrack.layouts import load_layout
from vtrack.measures import Measures
from vtrack.pipelines.measures.points import MEASURE_QUERY, MEASURES
from vtrack.pipelines.outputs.base import Sink
from vtrack.pipelines.outputs.tables.csv import LongTable, WideTable, open_table
from vtrack.pipelines.outputs.tables.dlc import DeepLabCutTable, Individuals, likelihood
from vtrack.pipelines.outputs.tables.jsonl import JsonLines
from vtrack.pipelines.outputs.tables.openface import OpenFaceTable
from vtrack.pipelines.outputs.tables.parquet import ParquetTable
from vtrack.types import FrameResult, Query

TWO_FRAMES = [make_result(0, make_face()), make_result(1)]


def written(sink: Sink, path: Path, results: list[FrameResult]) -> str:
    with sink:
        for result in results:
            sink.write(result)
    return path.read_text(encoding="utf-8")


def test_wide_golden(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert written(WideTable(path, QUERY), path, TWO_FRAMES) == (
        "frame,time_s,face,presence,measured,box_x,box_y,box_w,box_h,"
        "left_eye_0_x,left_eye_0_y,left_eye_0_sigma,left_eye_1_x,left_eye_1_y,left_eye_1_sigma,"
        "jaw_0_x,jaw_0_y,jaw_0_sigma\n"
        "0,0.000000,1,0.9750,1,10.000,10.000,40.000,50.000,"
        "10.000,10.000,0.500,11.000,12.000,1.000,12.000,14.000,1.500\n"
        "1,0.033367,,,,,,,,,,,,,,,,\n"
    )


def test_extra_columns_come_last_in_one_order(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    edge = make_face(points=np.array([[-0.5, 0.0], [63.4, 47.4], [63.5, 10.0]]))
    text = written(WideTable(path, QUERY, ["inside", "raw"]), path, [make_result(0, edge)])
    header, row = csv.reader(text.splitlines())
    names = (*QUERY.names, *(f"anchor_{i}" for i in range(14)))
    assert header[2] == "cut" and header[19:] == [
        *(f"{name}_raw_{what}" for name in names for what in ("x", "y", "sigma")),
        *("left_eye_0_inside", "left_eye_1_inside", "jaw_0_inside"),
    ]
    assert row[19:28] == ["10.250", "10.250", "", "11.250", "12.250", "", "12.250", "14.250", ""]
    # The frame is 64 wide; its area reaches from -0.5 to 63.5.
    assert row[-3:] == ["1", "1", "0"]


def test_raw_columns_hold_what_smoothing_starts_from(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    whole = np.arange((len(QUERY) + len(MEASURE_QUERY) + len(ANCHORS)) * 3).reshape(-1, 3)
    measured = Measures(MEASURES, np.ones(len(MEASURES)))
    result = make_result(0, make_face(raw=whole[: len(QUERY), :2], measures=measured, unsmoothed=whole))
    cut = replace(result, frame=replace(result.frame, cut=True))
    text = written(WideTable(path, QUERY, ["raw", "measures"]), path, [cut, make_result(1)])
    row, empty = csv.DictReader(text.splitlines())
    assert (row["cut"], empty["cut"], empty["anchor_0_raw_x"]) == ("1", "0", "")
    names = (*QUERY.names, *MEASURE_QUERY.names, *ANCHORS.names)
    assert [float(row[f"{name}_raw_{what}"]) for name in names for what in ("x", "y", "sigma")] == [*range(whole.size)]


def test_columns_depend_on_the_query_alone(tmp_path: Path) -> None:
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    full = written(WideTable(path, QUERY), path, [make_result(3, make_face(), make_face(number=2))])
    empty = written(WideTable(other, QUERY), other, [])
    assert full.splitlines()[0] == empty.splitlines()[0] == empty.strip()


def test_several_faces_have_a_row_each(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = written(WideTable(path, QUERY), path, [make_result(3, make_face(), make_face(number=7, at=30))])
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["frame"], row["face"], row["jaw_0_x"]) for row in rows] == [("3", "1", "12.000"), ("3", "7", "32.000")]


@pytest.mark.parametrize("format", ["wide", "long"])
def test_nan_is_an_empty_cell(tmp_path: Path, format: str) -> None:
    path, query = tmp_path / "a.csv", Query(("banana", "b,c"), (0.0, 0.5))
    points = np.array([[np.nan, 2.0], [3.0, np.nan]])
    text = written(open_table(path, query, format=format), path, [make_result(0, make_face(query, points=points))])
    rows = list(csv.DictReader(text.splitlines()))
    if format == "wide":
        row = rows[0]
        assert [row[f"{point}_{axis}"] for point in query.names for axis in "xy"] == ["", "2.000", "3.000", ""]
    else:
        cells = [[row[name] for name in ("part", "point", "x", "y")] for row in rows]
        assert cells == [["banana", "banana_0", "", "2.000"], ["b,c", "b,c_0", "3.000", ""]]


def test_long_golden(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = written(LongTable(path, QUERY, ["raw", "inside"]), path, TWO_FRAMES)
    face = "0,0.000000,0,1,0.9750,1,10.000,10.000,40.000,50.000"
    header, *rows = text.splitlines()
    assert header == (
        "frame,time_s,cut,face,presence,measured,box_x,box_y,box_w,box_h,part,position,point,x,y,sigma,raw_x,raw_y,raw_sigma,"
        "inside"
    )
    assert [*rows[:4], *rows[-2:]] == [
        f"{face},left_eye,0.0000,left_eye_0,10.000,10.000,0.500,10.250,10.250,,1",
        f"{face},left_eye,0.5000,left_eye_1,11.000,12.000,1.000,11.250,12.250,,1",
        f"{face},jaw,0.2500,jaw_0,12.000,14.000,1.500,12.250,14.250,,1",
        f"{face},jaw,0.0000,anchor_0,,,,,,,",
        f"{face},outer_lip,0.5000,anchor_13,,,,,,,",
        "1,0.033367,0,,,,,,,,,,,,,,,,,",
    ]


@pytest.mark.parametrize("format", ["wide", "long"])
def test_a_predicted_face_is_not_measured(tmp_path: Path, format: str) -> None:
    path, results = (
        tmp_path / "a.csv",
        [make_result(0, make_face(), make_face(number=2, measured=False)), make_result(1)],
    )
    rows = list(csv.DictReader(written(open_table(path, QUERY, format=format), path, results).splitlines()))
    assert {(row["face"], row["measured"]) for row in rows} == {("1", "1"), ("2", "0"), ("", "")}


def test_openface_table_equals_that_of_openface(tmp_path: Path) -> None:
    path, query = tmp_path / "a.csv", load_layout("300w").query
    results = [make_result(0, make_face(query)), make_result(1), make_result(2, make_face(query, measured=False))]
    header, first, second, third = written(OpenFaceTable(path, query), path, results).splitlines()
    names = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
    assert header == ", ".join(["frame", "face_id", "timestamp", "confidence", "success", *names])
    x = [f"{10 + i:.1f}" for i in range(68)]
    y = [f"{10 + 2 * i:.1f}" for i in range(68)]
    assert first == ", ".join(["1", "1", "0.000", "0.97", "1", *x, *y])
    assert second == ", ".join(["2", "0", "0.033", "0.00", "0", *["0.0"] * 136])
    assert third.startswith("3, 1, 0.067, 0.97, 0, 10.0, ")


def test_openface_finds_its_points_in_any_query(tmp_path: Path) -> None:
    path, layout = tmp_path / "a.csv", load_layout("300w").query
    query = Query(("left_pupil", *reversed(layout.parts)), (0.0, *reversed(layout.positions)))
    text = written(OpenFaceTable(path, query), path, [make_result(0, make_face(query))])
    row = text.splitlines()[1].split(", ")
    assert row[5] == "78.0"  # the jaw's first point is the query's last, number 68
    with pytest.raises(UsageError, match=r'its 68 points; track parts="300w", or leave out parts'):
        OpenFaceTable(path, QUERY)


def test_deeplabcut_one_animal(tmp_path: Path) -> None:
    path, query = tmp_path / "a.csv", Query(("jaw", "jaw"), (0.0, 1.0))
    face = make_face(query, box=np.array([0, 0, 40.0, 40.0]), sigma=np.array([2.0, 1.0]), presence=0.5)
    assert written(DeepLabCutTable(path, query), path, [make_result(0), make_result(1, face)]) == (
        "scorer,vtrack,vtrack,vtrack,vtrack,vtrack,vtrack\n"
        "bodyparts,jaw_0,jaw_0,jaw_0,jaw_1,jaw_1,jaw_1\n"
        "coords,x,y,likelihood,x,y,likelihood\n"
        "0,,,0.0000,,,0.0000\n"
        f"1,10.000,10.000,{0.5 * (1 - np.exp(-0.5)):.4f},11.000,12.000,{0.5 * (1 - np.exp(-2)):.4f}\n"
    )


def test_deeplabcut_likelihood_is_a_probability() -> None:
    face = make_face(box=np.array([0, 0, 40.0, 90.0]), sigma=np.array([0.0, 3.0, 1e9]), presence=0.9)
    draws = np.random.default_rng(0).normal(0, 3.0, (100_000, 2))
    near = (np.hypot(*draws.T) < 0.05 * 60).mean()
    assert likelihood(face) == pytest.approx([0.9, 0.9 * near, 0.0], abs=5e-3)
    assert likelihood(replace(face, sigma=np.array([0.0, np.nan, np.nan]))).tolist() == [0.9, 0, 0]
    # Tables of other programs have no sigma at all.
    assert likelihood(replace(face, sigma=np.full(3, np.nan))).tolist() == [0.9, 0.9, 0.9]


def test_deeplabcut_several_animals(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, query = tmp_path / "a.csv", Query(("jaw",), (0.0,))
    ids = [[5], [5, 8], [8], [8, 9, 10], [5, 8]]
    results = [
        make_result(i, *(make_face(query, number=number, at=number) for number in numbers))
        for i, numbers in enumerate(ids)
    ]
    with caplog.at_level(logging.WARNING):
        lines = written(DeepLabCutTable(path, query, max_faces=2), path, results).splitlines()
    assert lines[:4] == [
        "scorer" + ",vtrack" * 6,
        "individuals" + ",face_0" * 3 + ",face_1" * 3,
        "bodyparts" + ",jaw_0" * 6,
        "coords" + ",x,y,likelihood" * 2,
    ]
    columns = [line.split(",") for line in lines[4:]]
    # 9 takes the place of 5, which is gone; there is none for 10; 5 comes back for 9's.
    assert [row[1] for row in columns] == ["5.000", "5.000", "", "9.000", "5.000"]
    assert [row[4] for row in columns] == ["", "8.000", "8.000", "8.000", "8.000"]
    assert [record.message for record in caplog.records] == [
        f"frame 3 has 3 faces but {path} has columns for 2; other faces are left out, raise max_faces"
    ]


def test_new_tracks_get_the_individual_that_was_unused_longest() -> None:
    individuals = Individuals(3)
    assert individuals.assign([1, 2, 3]) == [0, 1, 2]
    assert individuals.assign([2]) == [1]
    assert individuals.assign([2, 3]) == [1, 2]
    assert individuals.assign([4, 2]) == [0, 1]
    with pytest.raises(UsageError, match="at least one face"):
        DeepLabCutTable("a.csv", QUERY, max_faces=0)


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    query = Query(('50% "of" it', "jaw"), (0.0, 0.5))
    face = make_face(query, points=np.array([[np.nan, 1.0], [2.0, 3.0]]))
    text = written(JsonLines(path, query, ["inside"]), path, [make_result(0, face, face), make_result(1)])
    first, second = (json.loads(line) for line in text.splitlines())
    assert second == {"frame": 1, "time_s": 0.033367, "faces": []}
    assert first["faces"][0] == first["faces"][1] == {
        **{"face": 1, "presence": 0.975, "measured": 1, "box_x": 10.0, "box_y": 10.0, "box_w": 40.0, "box_h": 50.0},
        **{'50% "of" it_0_x': None, '50% "of" it_0_y': 1.0, '50% "of" it_0_sigma': 0.5},
        **{"jaw_0_x": 2.0, "jaw_0_y": 3.0, "jaw_0_sigma": 1.0},
        **{'50% "of" it_0_inside': 0, "jaw_0_inside": 1},
    }  # fmt: skip


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path, wide = tmp_path / "a.parquet", tmp_path / "a.csv"
    monkeypatch.setattr("vtrack.pipelines.outputs.tables.parquet.BLOCK_CELLS", 42)
    results = [make_result(i, *([make_face(at=20 + i, measured=i != 3)] if i % 2 else [])) for i in range(7)]
    with ParquetTable(path, QUERY, ["inside"]) as sink:
        for result in results:
            sink.write(result)
    table = parquet.read_table(path)
    text = written(WideTable(wide, QUERY, ["inside"]), wide, results)
    assert table.column_names == text.splitlines()[0].split(",")
    types = {str(field.type) for field in table.schema if field.name.endswith(("_x", "_y", "sigma"))}
    assert types == {"float"}
    kinds = {name: str(table.schema.field(name).type) for name in ("frame", "time_s", "face", "jaw_0_inside")}
    assert kinds == {"frame": "int64", "time_s": "double", "face": "int64", "jaw_0_inside": "bool"}
    assert table["face"].to_pylist() == [None, 1, None, 1, None, 1, None]
    assert table["jaw_0_x"].to_pylist()[:2] == [None, 23.0]
    assert table["jaw_0_inside"].to_pylist()[:2] == [None, True]
    assert table["measured"].to_pylist()[:4] == [None, True, None, False]
    assert table["time_s"].to_pylist() == [result.time for result in results]
    assert parquet.ParquetFile(path).num_row_groups == 4  # two rows of 21 cells at a time, not all at the end


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtrack\[parquet\]"'):
        ParquetTable(tmp_path / "a.parquet", QUERY)


def test_unknown_formats_and_columns(tmp_path: Path) -> None:
    for format, kind in [("wide", WideTable), ("long", LongTable), ("dlc", DeepLabCutTable)]:
        assert isinstance(open_table(tmp_path / "a.csv", QUERY, format=format), kind)
    assert isinstance(open_table(tmp_path / "a.csv", load_layout("300w").query, format="openface"), OpenFaceTable)
    with pytest.raises(UsageError, match=r"no table format 'tall'; .*choose from wide, long, openface, dlc"):
        open_table(tmp_path / "a.csv", QUERY, format="tall")
    with pytest.raises(UsageError, match=r"no column group 'speed'; .*choose from raw, inside"):
        open_table(tmp_path / "a.csv", QUERY, columns=["raw", "speed"])
    with pytest.raises(UsageError, match="format dlc has no room for extra columns"):
        open_table(tmp_path / "a.csv", QUERY, format="dlc", columns=["raw"])


def test_rows_are_fast(tmp_path: Path) -> None:
    # 98 points are 300 cells; a wide row takes 45 microseconds on one 2020s core, so 2 ms is a loop gone wrong.
    query = load_layout("wflw").query
    result = make_result(0, make_face(query))
    with WideTable(tmp_path / "a.csv", query) as sink:
        sink.write(result)
        began = time.thread_time()
        for _ in range(100):
            sink.write(result)
        assert (time.thread_time() - began) / 100 < 2e-3
