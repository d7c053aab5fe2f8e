"""Tables in memory: the same from results and from every file of them, and what pandas, xarray and NumPy make of them."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.anchors import ANCHORS
from vtrack.errors import DataError, MissingExtraError, NameNotAskedError
from vtrack.measures import POSE_NAMES, HeadPose, Measures
from vtrack.pipelines.measures.points import MEASURE_QUERY, MEASURES
from vtrack.pipelines.outputs.base import Sink, write_sidecar
from vtrack.pipelines.outputs.tables import columns, csv_reader
from vtrack.pipelines.outputs.tables.csv import LongTable, WideTable, open_table
from vtrack.pipelines.outputs.tables.jsonl import JsonLines
from vtrack.pipelines.outputs.tables.parquet import ParquetTable
from vtrack.pipelines.outputs.tables.read import read_table
from vtrack.pipelines.outputs.tables.table import Table
from vtrack.pipelines.outputs.tables.text import plain_numbers
from vtrack.query import parse_query
from vtrack.types import Face, FrameResult, Query

EXTRAS = ("raw", "inside", "measures", "pose")


def measured(scale: float) -> Measures:
    values = np.arange(len(MEASURES)) * scale
    values[MEASURES.index("blink")] = 1
    return Measures(MEASURES, np.where(np.isin(MEASURES, ["blinks"]), 3, values))


def posed(scale: float) -> HeadPose:
    return HeadPose(np.arange(len(POSE_NAMES)) * scale)


def video(query: Query = QUERY) -> list[FrameResult]:
    """Four frames: one face, none but a new scene, two, and one that is predicted and so has no raw points."""
    unseen, whole = np.full((len(query), 2), np.nan), query + MEASURE_QUERY + ANCHORS

    def seen(number: int, at: float, scale: float) -> Face:
        unsmoothed = at + 0.25 + np.arange(len(whole))[:, None] * np.array([1.0, 2.0, 0.125])
        return make_face(query, number, at, measures=measured(scale), pose=posed(scale), unsmoothed=unsmoothed)

    faces = [
        [seen(1, 10.0, 0.25)],
        [],
        [seen(1, 12.5, 0.5), seen(4, -1.0, 0.75)],
        [make_face(query, 4, 0.25, raw=unseen, measured=False, measures=measured(1.0), pose=posed(np.nan))],
    ]
    results = [make_result(index, *shown, query=query) for index, shown in enumerate(faces)]
    return [replace(result, frame=replace(result.frame, cut=result.index == 1)) for result in results]


def write(sink: Sink, results: Sequence[FrameResult]) -> None:
    with sink:
        for result in results:
            sink.write(result)


def same(table: Table, expected: Table) -> None:
    assert table.names == expected.names and table.fields == expected.fields
    np.testing.assert_array_equal(table.frame, expected.frame)
    np.testing.assert_allclose(table.time, expected.time, atol=1e-6)
    np.testing.assert_allclose(table.cells, expected.cells, atol=6e-4)


@pytest.mark.parametrize("columns", [(), ("raw", "measures"), ("raw", "pose"), ("pose",), EXTRAS])
@pytest.mark.parametrize("query", [QUERY, parse_query("left_eye@0.1,lips:4")], ids=["three", "lips"])
def test_every_file_gives_the_results_back(tmp_path: Path, columns: tuple[str, ...], query: Query) -> None:
    results = video(query)
    expected = Table.of(results, query, columns)
    assert len(expected) == 5 and list(expected.face) == [1, -1, 1, 4, 4]
    write(WideTable(tmp_path / "wide.csv", query, columns), results)
    write(LongTable(tmp_path / "long.csv", query, columns), results)
    write(JsonLines(tmp_path / "lines.jsonl", query, columns), results)
    for name in ("wide.csv", "long.csv", "lines.jsonl"):
        same(read_table(tmp_path / name), expected)
    pytest.importorskip("pyarrow")
    write(ParquetTable(tmp_path / "table.parquet", query, columns), results)
    same(read_table(str(tmp_path / "table.parquet")), expected)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("sink", [WideTable, LongTable])
def test_lines_of_numbers_are_not_split_into_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sink: type[Sink], ending: str
) -> None:
    write(sink(tmp_path / "t.csv", QUERY, EXTRAS), video())
    text = (tmp_path / "t.csv").read_text()
    monkeypatch.setattr(columns, "BLOCK_CELLS", 50)  # a face a block
    halfway = text.index("\n2,") + 1
    cells = []
    # Quotes, in the first row or from the third frame on, which only the csv module reads.
    for name, start in (("first.csv", text.index("\n") + 1), ("later.csv", halfway)):
        number, rest = text[start:].split(",", 1)
        (tmp_path / name).write_text(f'{text[:start]}"{number}",{rest}'.replace("\n", ending), newline="")
        cells.append(read_table(tmp_path / name).cells)
    monkeypatch.delattr(csv_reader, "_rows")
    cells.append(read_table(tmp_path / "t.csv").cells)
    assert len(cells[0]) == 5
    for read in cells[1:]:
        np.testing.assert_array_equal(read, cells[0])


@pytest.mark.parametrize("lines", [["1,2"], ["1,2,3", "4,5,6,7"], ['1,2,"3"'], ["1,2,x"], [""]])
def test_what_is_no_line_of_numbers(lines: list[str]) -> None:
    assert plain_numbers(lines, 3) is None


def test_raw_columns_of_earlier_versions_are_read(tmp_path: Path) -> None:
    write(WideTable(tmp_path / "new.csv", QUERY, ["raw"]), video())
    header, *rows = csv.reader((tmp_path / "new.csv").read_text().splitlines())
    kept = [name != "cut" and not name.endswith("_raw_sigma") and "anchor" not in name for name in header]
    lines = [",".join(compress(row, kept)) for row in [header, *rows]]
    (tmp_path / "old.csv").write_text("\n".join(lines))
    old, new = read_table(tmp_path / "old.csv"), read_table(tmp_path / "new.csv")
    assert old.fields == new.fields
    np.testing.assert_array_equal(old.to_numpy("raw"), new.to_numpy("raw"))
    assert np.isnan(old.to_numpy("raw_sigma")).all() and np.isnan(old.column("cut")).all()
    # A table that has some of them has lost the others.
    (tmp_path / "old.csv").write_text((tmp_path / "new.csv").read_text().replace("anchor_3_raw_x", "anchor_3_raw_z"))
    with pytest.raises(DataError, match=r"not a table that vtrack knows \(anchor_3_raw_x, anchor_3_raw_z\)"):
        read_table(tmp_path / "old.csv")


def test_what_a_table_lacks_is_said_with_how_to_get_it() -> None:
    table = Table.of(video(), QUERY)
    for name, group in (("blink", "measures"), ("yaw", "measures"), ("pose_Rx", "pose")):
        with pytest.raises(NameNotAskedError, match=f"this table has no '{name}'; track with {group}=True"):
            table.to_numpy(name)
    with pytest.raises(NameNotAskedError, match="""this table has no 'raw'; ask for it by columns="raw\""""):
        table.to_numpy("raw")
    with pytest.raises(NameNotAskedError, match="this table has no 'pionts'; did you mean points"):
        table.to_numpy("pionts")
    with pytest.raises(NameNotAskedError, match=r"'lips' was not asked for; add it to parts \(here left_eye, jaw\)"):
        table["lips"]
    assert "eyes" in table and "jaw" in table and "lips" not in table


def test_a_table_is_no_sequence() -> None:
    table = Table.of(video(), QUERY)
    with pytest.raises(TypeError, match=r'table\[...\] takes the name of a part or group, table\["left_eye"\]; got 0'):
        table[0]  # type: ignore[index]
    with pytest.raises(TypeError, match=r"neither a list of frames nor of rows; see Table.to_pandas"):
        list(table)


def test_a_table_tells_what_was_measured() -> None:
    table = Table.of(video(), QUERY)
    np.testing.assert_array_equal(table.column("measured"), [1, np.nan, 1, 1, 0])
    np.testing.assert_array_equal(table.to_numpy("measured")[:, 1], [np.nan, np.nan, 1, 0])
    pytest.importorskip("xarray")
    np.testing.assert_array_equal(table.to_xarray().measured, table.to_numpy("measured"))


@pytest.mark.parametrize("sink", [WideTable, LongTable, JsonLines])
def test_tables_without_the_column_measured_are_read(tmp_path: Path, sink: type[Sink]) -> None:
    path = tmp_path / ("t.jsonl" if sink is JsonLines else "t.csv")
    write(sink(path, QUERY, ["raw"]), video())  # type: ignore[call-arg]
    if sink is JsonLines:
        path.write_text(re.sub(r'"measured": \d, ', "", path.read_text()))
    else:
        rows = [line.split(",") for line in path.read_text().splitlines()]
        place = rows[0].index("measured")
        path.write_text("".join(",".join(row[:place] + row[place + 1 :]) + "\n" for row in rows))
    table, expected = read_table(path), Table.of(video(), QUERY, ["raw"])
    assert [field.name for field in table.fields] == [each.name for each in expected.fields if each.name != "measured"]
    np.testing.assert_allclose(table.points, expected.points, atol=6e-4)
    if sink is not JsonLines:
        pytest.importorskip("xarray")
        assert "measured" not in table.to_xarray()


def test_the_facts_beside_a_table_tell_its_query(tmp_path: Path) -> None:
    query = parse_query("left_eye@0.1,lips:4")
    write(WideTable(tmp_path / "t.csv", query), video(query))
    assert read_table(tmp_path / "t.csv").query is None and read_table(tmp_path / "t.csv").meta == {}
    assert read_table(tmp_path / "t.csv").parts == query.parts
    facts = {"model": {}, "source": {}, "counts": {"frames": 4}}
    write_sidecar(tmp_path / "t.csv", options={"parts": "left_eye@0.1,lips:4"}, **facts)
    write(JsonLines(tmp_path / "t.jsonl", query), video(query))
    for name in ("t.csv", "t.jsonl"):  # the facts stand beside the first output of a run
        table = read_table(tmp_path / name)
        assert table.query == query and table.meta["counts"] == {"frames": 4}
    write_sidecar(tmp_path / "t.csv", options={"parts": "jaw"}, **facts)
    assert read_table(tmp_path / "t.csv").query is None


def test_json_lines_without_a_face(tmp_path: Path) -> None:
    write(JsonLines(tmp_path / "t.jsonl", QUERY), [make_result(0), make_result(1)])
    table = read_table(tmp_path / "t.jsonl")
    assert len(table) == 2 and table.names == () and table.to_numpy().shape == (2, 0, 0, 2)


def test_arrays_have_a_place_for_every_face_in_every_frame() -> None:
    table = Table.of(video(), QUERY, EXTRAS)
    points = table.to_numpy()
    assert points.shape == (4, 2, 3, 2) and list(table.frames) == [0, 1, 2, 3] and list(table.faces) == [1, 4]
    np.testing.assert_array_equal(points[2, 1], make_face(QUERY, 4, -1.0).points)
    assert np.isnan(points[1]).all() and np.isnan(points[0, 1]).all()
    assert table.to_numpy("sigma").shape == table.to_numpy("inside").shape == (4, 2, 3)
    assert table.to_numpy("box").shape == (4, 2, 4) and table.to_numpy("raw").shape == (4, 2, 3, 2)
    np.testing.assert_array_equal(table.to_numpy("yaw")[:, 0], [2, np.nan, 4, np.nan])
    np.testing.assert_allclose(table.times, [0, 1001 / 30000, 2002 / 30000, 3003 / 30000])
    with pytest.raises(NameNotAskedError, match="no 'pressence'; did you mean presence"):
        table.to_numpy("pressence")
    with pytest.raises(KeyError, match="this table has no 'raw'"):
        Table.of(video(), QUERY).to_numpy("raw")


def test_points_by_part_and_group() -> None:
    table = Table.of(video(), QUERY)
    np.testing.assert_array_equal(table["eyes"], table.points[:, :2])
    assert table["jaw"].shape == (5, 1, 2) and table.sigma.shape == (5, 3)
    with pytest.raises(NameNotAskedError, match="there is no part 'jaws'; did you mean jaw"):
        table["jaws"]
    assert repr(table) == "Table(5 rows, 4 frames, 2 faces, 3 points)"


def test_pandas_reads_the_same_from_the_file(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    results, table = video(), Table.of(video(), QUERY, EXTRAS)
    for format, long in (("wide", False), ("long", True)):
        write(open_table(tmp_path / "t.csv", QUERY, format=format, columns=EXTRAS), results)
        file, frame = pandas.read_csv(tmp_path / "t.csv"), table.to_pandas(long=long)
        assert list(frame.columns) == list(file.columns) and len(frame) == len(file)
        for name in file.columns:
            if name in ("part", "point"):
                assert frame[name].fillna("").tolist() == file[name].fillna("").tolist()
            else:
                left, right = (each[name].to_numpy(float, na_value=np.nan) for each in (frame, file))
                np.testing.assert_allclose(left, right, atol=6e-4, err_msg=name)
    assert str(frame["face"].dtype) == "Int64" and str(frame["blink"].dtype) == "boolean"
    assert frame["face"].isna().sum() == 1


def test_xarray_has_names_for_everything() -> None:
    pytest.importorskip("xarray")
    table = Table.of(video(), QUERY, EXTRAS)
    data = table.to_xarray()
    assert dict(data.sizes) == {"time": 4, "face": 2, "point": 3, "space": 2, "side": 4}
    point = data.points.sel(face=4, point="jaw_0", space="y").isel(time=2)
    assert float(point) == make_face(QUERY, 4, -1.0).points[2, 1]
    np.testing.assert_array_equal(data.sigma.where(data.part == "jaw", drop=True).shape, (4, 2, 1))
    np.testing.assert_array_equal(data.blink, table.to_numpy("blink"))
    assert list(data.position.values) == [0.0, 0.5, 0.25] and list(data.frame.values) == [0, 1, 2, 3]
    assert "raw" not in Table.of(video(), QUERY).to_xarray() and data.points.units == "pixels"


@pytest.mark.parametrize("package", ["pandas", "xarray"])
def test_an_extra_that_is_missing_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'needs {package}; pip install "vtrack\[{package}\]"'):
        getattr(Table.of(video(), QUERY), f"to_{package}")()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    def told(name: str, text: str, message: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=message):
            read_table(tmp_path / name)

    with pytest.raises(DataError, match="cannot read this table: No such file"):
        read_table(tmp_path / "absent.csv")
    told("t.xlsx", "", r"not a table; vtrack reads \.csv, \.txt, \.jsonl")
    told("t.csv", "", "not a table that vtrack knows")
    told("t.csv", "a,b\n1,2\n", "not a table that vtrack knows")
    write(WideTable(tmp_path / "good.csv", QUERY), video())
    good = (tmp_path / "good.csv").read_text()
    told("t.csv", good[:-30], "cells instead of 18; the file is cut off or damaged")
    told("t.csv", good.replace("0.9750", "much"), "damaged table: could not convert string to float: 'much'")
    write(LongTable(tmp_path / "good.csv", QUERY), video())
    lines = (tmp_path / "good.csv").read_text().splitlines(keepends=True)
    told("t.csv", "".join(lines[:-1]), "has other points than the first")
    told("t.jsonl", '{"frame": 0}\n', "not vtrack's JSON lines")
    told("t.jsonl", '{"frame": 0', "damaged table")
    told("t.jsonl", "[" * 100_000, "damaged table")
    told("t.jsonl", f'{{"frame": 0, "time_s": {10**400}, "faces": []}}', "damaged table: int too large")
    told("t.jsonl", '{"frame": 1e300, "time_s": 0, "faces": []}', "not a table that vtrack knows")
    told("t.csv", f"{'x' * 100_000}\n1\n", "not a table that vtrack knows .{,400}$")
    dlc = open_table(tmp_path / "dlc.csv", QUERY, format="dlc")
    write(dlc, video())
    told("t.csv", (tmp_path / "dlc.csv").read_text(), "a table without times; give its frames per second, fps=25")
    (tmp_path / "good.csv.meta.json").write_text(json.dumps({})[:-1])
    with pytest.raises(DataError, match=r"good\.csv\.meta\.json: cannot be read"):
        read_table(tmp_path / "good.csv")
    for text in ("[]", "[" * 100_000):
        (tmp_path / "good.csv.meta.json").write_text(text)
        with pytest.raises(DataError, match=r"good\.csv\.meta\.json: cannot be read"):
            read_table(tmp_path / "good.csv")
    (tmp_path / "good.csv.meta.json").write_text(
        '{"source": "talk", "counts": {"seconds": 1e999, "frames": NaN, "a": 0.5}}'
    )
    assert read_table(tmp_path / "good.csv").meta == {"counts": {"seconds": None, "frames": None, "a": 0.5}}
    pytest.importorskip("pyarrow")
    told("t.parquet", "no parquet", "damaged table")
    write(ParquetTable(tmp_path / "good.parquet", QUERY), video())
    content = bytearray((tmp_path / "good.parquet").read_bytes())
    content[-40:-12] = b"\xff" * 28
    (tmp_path / "bad.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.parquet: (cannot read this|damaged) table: .+") as raised:
        read_table(tmp_path / "bad.parquet")
    assert "\n" not in str(raised.value)
