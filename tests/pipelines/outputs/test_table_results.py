"""Tables read back frame by frame: the same results from every format, and what other programs write."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.outputs.test_read import EXTRAS, video, write
from tests.pipelines.results import QUERY, make_face, make_result
from tests.pipelines.tables_of_others import POINTS, write_dlc, write_dlc_of_several, write_openface
from vtrack.errors import TableError, UsageError
from vtrack.pipelines.outputs.base import write_sidecar
from vtrack.pipelines.outputs.tables import columns
from vtrack.pipelines.outputs.tables.csv import LongTable, WideTable, open_table
from vtrack.pipelines.outputs.tables.jsonl import JsonLines
from vtrack.pipelines.outputs.tables.parquet import ParquetTable
from vtrack.pipelines.outputs.tables.read import read_table
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.query import parse_query
from vtrack.types import FrameResult

KINDS = {"wide.csv": WideTable, "long.csv": LongTable, "lines.jsonl": JsonLines, "table.parquet": ParquetTable}


def same(read: Iterable[FrameResult], expected: list[FrameResult]) -> None:
    results = list(read)
    assert [result.index for result in results] == [result.index for result in expected]
    np.testing.assert_allclose([result.time for result in results], [result.time for result in expected], atol=5e-7)
    assert [result.frame.cut for result in results] == [result.frame.cut for result in expected]
    for result, other in zip(results, expected, strict=True):
        assert [face.id for face in result.faces] == [face.id for face in other.faces]
        for face, wanted in zip(result.faces, other.faces, strict=True):
            assert face.measured == wanted.measured and face.query.names == wanted.query.names
            for name in ("points", "sigma", "raw", "box", "presence"):
                np.testing.assert_allclose(getattr(face, name), getattr(wanted, name), atol=5e-4)
            if wanted.unsmoothed is None:
                assert face.unsmoothed is None
            else:
                np.testing.assert_allclose(face.unsmoothed, wanted.unsmoothed, atol=5e-4)
            np.testing.assert_allclose(face.measures.array, wanted.measures.array, atol=5e-5)
            assert face.pose is not None and wanted.pose is not None
            np.testing.assert_allclose(face.pose.array, wanted.pose.array, atol=5e-5)


@pytest.mark.parametrize("cells", [columns.BLOCK_CELLS, 50], ids=["one block", "a row a block"])
@pytest.mark.parametrize("name", KINDS)
def test_every_format_gives_the_results_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, cells: int
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(columns, "BLOCK_CELLS", cells)
    results = [make_result(0), *(make_result(result.index + 1, *result.faces) for result in video())]
    write(KINDS[name](tmp_path / name, QUERY, EXTRAS), results)
    same(TableResults(tmp_path / name), results)
    assert TableResults(tmp_path / name).table.groups == EXTRAS


def test_a_table_without_extra_columns_has_no_raw_points(tmp_path: Path) -> None:
    write(WideTable(tmp_path / "t.csv", QUERY), video())
    results = TableResults(tmp_path / "t.csv")
    assert results.table.groups == () and results.size is None
    face = next(results).faces[0]
    assert np.isnan(face.raw).all() and not face.measures
    np.testing.assert_allclose(face.points, make_face().points)


def test_times_are_those_of_the_table_to_the_last_bit(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    results = video()
    write(ParquetTable(tmp_path / "t.parquet", QUERY), results)
    assert [result.time for result in TableResults(tmp_path / "t.parquet")] == [result.time for result in results]


def test_the_facts_tell_points_and_size(tmp_path: Path) -> None:
    query = parse_query("left_eye@0.1,lips:4")
    write(WideTable(tmp_path / "t.csv", query), video(query))
    assert TableResults(tmp_path / "t.csv").table.query is None
    assert TableResults(tmp_path / "t.csv").query.parts == query.parts
    assert TableResults(tmp_path / "t.csv", parts="left_eye@0.1,lips:4").query == query
    with pytest.raises(UsageError, match=r"t\.csv has 5 other points than these 17: left_eye_0, outer_lip_0"):
        TableResults(tmp_path / "t.csv", parts="jaw")
    source = {"width": 64, "height": 48}
    write_sidecar(tmp_path / "t.csv", options={"parts": "left_eye@0.1,lips:4"}, model={}, source=source, counts={})
    results = TableResults(tmp_path / "t.csv")
    assert results.query == query and results.size == (64, 48) and next(results).frame.size == (64, 48)


def test_long_tables_and_layouts_tell_their_points_themselves(tmp_path: Path) -> None:
    query = parse_query("300w")
    write(LongTable(tmp_path / "t.csv", query), video(query))
    assert TableResults(tmp_path / "t.csv").table.query == query  # 1/3, not 0.3333
    write(WideTable(tmp_path / "w.csv", query), video(query))
    assert TableResults(tmp_path / "w.csv").table.query == query
    other = parse_query("left_eye@0.1234,0.4")
    write(LongTable(tmp_path / "o.csv", other), video(other))
    assert TableResults(tmp_path / "o.csv").table.query == other


def test_a_table_of_openface(tmp_path: Path) -> None:
    results = list(TableResults(write_openface(tmp_path / "openface.csv")))
    assert [(result.index, result.time, len(result.faces)) for result in results] == [
        (0, 0.0, 1),
        (1, 0.033, 0),
        (2, 0.067, 1),
    ]
    first, last = results[0].faces[0], results[2].faces[0]
    np.testing.assert_array_equal(first.points, POINTS)
    np.testing.assert_array_equal(last.points, POINTS + 0.5)
    assert first.query == parse_query("300w") and np.isnan(first.sigma).all()
    assert (first.id, first.presence, first.measured) == (0, 0.98, True)
    assert (last.presence, last.measured) == (0.275, False)
    low, high = POINTS.min(0), POINTS.max(0)
    np.testing.assert_array_equal(first.box, [*low, *(high - low)])
    assert repr(read_table(tmp_path / "openface.csv")) == "Table(3 rows, 3 frames, 1 face, 68 points)"


def test_a_table_of_our_openface_format(tmp_path: Path) -> None:
    query = parse_query("300w")
    results = [make_result(0, make_face(query)), make_result(1, query=query)]
    write(open_table(tmp_path / "t.csv", query, format="openface"), results)
    first, second = TableResults(tmp_path / "t.csv")
    np.testing.assert_allclose(first.faces[0].points, results[0].faces[0].points, atol=0.05)
    assert not second.faces and first.faces[0].id == 1


def test_a_table_of_deeplabcut(tmp_path: Path) -> None:
    path = write_dlc(tmp_path / "dlc.csv")
    with pytest.raises(TableError, match=r"dlc\.csv: a table without times; give its frames per second, fps=25"):
        list(TableResults(path))
    first, second, third = TableResults(path, fps=20)
    face = first.faces[0]
    np.testing.assert_array_equal(face.points, [[321.5, 240.25], [300.0, 200.125]])
    assert face.presence == pytest.approx((0.999 + 0.5) / 2) and first.time == 0 and second.time == 0.05
    np.testing.assert_array_equal(face.box, [300, 200.125, 21.5, 40.125])
    assert face.query.names == ("nosetip", "left_eye_0") and face.query.parts == ("nosetip", "left_eye")
    np.testing.assert_array_equal(second.faces[0].points, [[322.5, 241.25], [np.nan, np.nan]])
    assert second.faces[0].presence == 0.75 and not third.faces
    assert read_table(path, fps=20).to_numpy().shape == (3, 1, 2, 2)
    write(WideTable(tmp_path / "wide.csv", QUERY), video())
    with pytest.raises(UsageError, match=r"fps applies to tables without times, and .*wide\.csv has times"):
        list(TableResults(tmp_path / "wide.csv", fps=25))


def test_a_table_of_deeplabcut_with_several_animals(tmp_path: Path) -> None:
    first, second = TableResults(write_dlc_of_several(tmp_path / "dlc.csv"), fps=25)
    assert [face.id for face in first.faces] == [0, 2] and [face.id for face in second.faces] == [0, 1]
    assert first.query.names == ("nose", "corner")
    np.testing.assert_array_equal(first.faces[1].points, [[np.nan, np.nan], [1, 2]])
    np.testing.assert_array_equal(second.faces[1].points, [[50, 60], [np.nan, np.nan]])


def test_our_table_of_deeplabcut_format(tmp_path: Path) -> None:
    write(open_table(tmp_path / "t.csv", QUERY, format="dlc", max_faces=2), video())
    results = list(TableResults(tmp_path / "t.csv", fps=30))
    assert [len(result.faces) for result in results] == [1, 0, 2, 1]
    np.testing.assert_allclose(results[2].faces[0].points, make_face(QUERY, 1, 12.5).points)


@pytest.mark.parametrize("name", ["wide.csv", "long.csv", "lines.jsonl"])
def test_memory_does_not_grow_with_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(columns, "BLOCK_CELLS", 2**12)
    peaks = []
    for frames in (300, 3000):
        path = tmp_path / f"{frames}{name}"
        write(KINDS[name](path, QUERY), [make_result(i, make_face()) for i in range(frames)])
        tracemalloc.start()
        assert sum(1 for _ in TableResults(path)) == frames
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


def test_rows_that_do_not_belong_together(tmp_path: Path) -> None:
    write(WideTable(tmp_path / "good.csv", QUERY), video())
    header, *rows = (tmp_path / "good.csv").read_text().splitlines(keepends=True)

    def told(text: str, message: str) -> None:
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(TableError, match=rf"bad\.csv.*{message}"):
            list(TableResults(tmp_path / "bad.csv"))

    told(header + rows[2] + rows[0], r"frame 0 after frame 2; it reads tables of one video, in order")
    told(header + rows[0] + rows[0], "frame 0 has the same face twice")
    told(header.replace("left_eye_1_x", "left_eye_0_x") + rows[0], "'left_eye_0_x' stands twice in its header")
    told(header.replace("left_eye_1_x", "left_eye_1") + rows[0], r"not a table that vtrack knows \(left_eye_1,")
    told(header + rows[0].replace("0.9750", "1e999"), "damaged table: it holds a number that is not finite")
    told(header + rows[0].replace("0,0.0", "0.5,0.0", 1), "frame or time missing")
    told(header + "".join(rows)[:-30], "cells instead of 18; the file is cut off or damaged")


def test_damaged_tables_of_others(tmp_path: Path) -> None:
    def told(text: str, message: str) -> None:
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(TableError, match=rf"bad\.csv.*{message}"):
            list(TableResults(tmp_path / "bad.csv", fps=25 if text.startswith("scorer") else None))

    openface = write_openface(tmp_path / "openface.csv").read_text()
    told(openface.replace("x_67", "x_76", 1), "of OpenFace's form without its column x_67")
    told(openface.replace("x_66, x_67", "x_66, x_66"), "'x_66' stands twice in its header")
    told(openface.replace("\n1, ", "\n0, "), "frames of OpenFace's form are counted from 1, got 0")
    told(openface[:-40], "cells instead of 351; the file is cut off")
    dlc = write_dlc(tmp_path / "dlc.csv").read_text()
    told(dlc.replace("coords", "codors"), "without its lines bodyparts and coords")
    told(dlc.replace("bodyparts", "individuals"), "without its line bodyparts")
    told(dlc.replace("x,y,likelihood", "x,y,confidence"), "coords are x, y and likelihood, got 'confidence'")
    told(
        dlc.replace("nosetip,nosetip,nosetip,left_eye_0", "nosetip,nosetip,nosetip,nosetip"),
        "x of 'nosetip' stands twice",
    )
    told(dlc.replace("\n0,321", "\nlabeled-data/clip/img0001.png,321"), r"labels of images \(labeled-data/clip")
    told(dlc[:-3], "frame 2: 5 cells instead of 7")
