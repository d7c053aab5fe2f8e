"""`vtrack convert`: every format from every other, and one line for what cannot be converted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.outputs.test_read import EXTRAS, video, write
from tests.pipelines.results import QUERY, make_face, make_result
from tests.pipelines.tables_of_others import POINTS, write_dlc, write_openface
from vtrack.cli.main import OK, USAGE, main
from vtrack.pipelines.outputs.base import sidecar_path, write_sidecar
from vtrack.pipelines.outputs.tables.csv import LongTable, WideTable
from vtrack.pipelines.outputs.tables.jsonl import JsonLines
from vtrack.pipelines.outputs.tables.parquet import ParquetTable
from vtrack.pipelines.outputs.tables.read import read_table
from vtrack.query import parse_query

PARTS = "left_eye@0,0.5,jaw@0.25"
FORMATS = {"wide": "wide.csv", "long": "long.csv", "jsonl": "lines.jsonl"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A wide table with all columns, and its facts."""
    write(WideTable(tmp_path / "t.csv", QUERY, EXTRAS), video())
    source = {"width": 64, "height": 48}
    write_sidecar(tmp_path / "t.csv", options={"parts": PARTS}, model={"name": "fast"}, source=source, counts={})
    return tmp_path / "t.csv"


def fails(capsys: pytest.CaptureFixture[str], *args: str | Path, code: int = USAGE) -> str:
    """The one line of a conversion that fails, without the name of the program."""
    assert main(["convert", *map(str, args)]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.startswith("vtrack: ")
    return captured.err.removeprefix("vtrack: ").rstrip("\n")


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_text_tables_are_converted_to_the_last_byte(table: Path, tmp_path: Path, source: str, target: str) -> None:
    sinks = {"wide": WideTable, "long": LongTable, "jsonl": JsonLines}
    write(sinks[target](tmp_path / "expected", QUERY, EXTRAS), video())
    path = tmp_path / "in" / FORMATS[source]
    path.parent.mkdir()
    write(sinks[source](path, QUERY, EXTRAS), video())
    shutil.copy(sidecar_path(table), sidecar_path(path))
    assert main(["convert", str(path), "--to", target, "-o", str(tmp_path / FORMATS[target]), "--quiet"]) == OK
    assert (tmp_path / FORMATS[target]).read_bytes() == (tmp_path / "expected").read_bytes()


def test_parquet_and_back(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write(ParquetTable(tmp_path / "expected.parquet", QUERY, EXTRAS), video())
    assert main(["convert", str(table), "--to", "parquet"]) == OK
    assert main(["convert", str(tmp_path / "t.parquet"), "-o", str(tmp_path / "back.csv")]) == OK
    assert (tmp_path / "back.csv").read_bytes() == table.read_bytes()
    again = tmp_path / "again.parquet"
    assert (
        main(["convert", str(tmp_path / "expected.parquet"), "-o", str(again), "--parts", PARTS, "--columns", "raw"])
        == OK
    )
    left, right = read_table(again), read_table(tmp_path / "expected.parquet")
    np.testing.assert_array_equal(left.time, right.time)
    np.testing.assert_array_equal(left.to_numpy("raw"), right.to_numpy("raw"))


def test_the_new_table_stands_beside_the_old_one(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(table), "--to", "long"]) == OK
    new = table.with_name("t.long.csv")
    assert capsys.readouterr().err == f"t.csv: 4 frames, 2 tracks\nwrote {new}\n"
    facts = json.loads(sidecar_path(new).read_text())
    assert facts["options"] == {
        "parts": "left_eye@0,0.5,jaw@0.25", "outputs": ["csv"], "format": "long", "columns": list(EXTRAS)
    }  # fmt: skip
    assert facts["model"] == {"name": "fast"} and facts["source"]["width"] == 64
    assert facts["counts"] == {"frames": 4, "tracks": 2}
    assert sorted(path.name for path in table.parent.iterdir()) == [
        "t.csv", "t.csv.meta.json", "t.long.csv", "t.long.csv.meta.json"
    ]  # fmt: skip


def test_to_stdout_with_some_columns(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(table), "-o", "-", "--columns", "raw", "--quiet"]) == OK
    header, *rows = capfd.readouterr().out.splitlines()
    assert "left_eye_0_raw_x" in header and "inside" not in header and "blink" not in header and len(rows) == 5
    assert main(["convert", str(table), "--to", "jsonl", "-o", "-", "--columns", "none"]) == OK
    assert json.loads(capfd.readouterr().out.splitlines()[1]) == {"frame": 1, "time_s": 0.033367, "faces": []}
    assert sorted(path.name for path in table.parent.iterdir()) == ["t.csv", "t.csv.meta.json"]


def test_deeplabcuts_format_has_room_for_all_faces(table: Path) -> None:
    assert main(["convert", str(table), "--to", "dlc"]) == OK
    header = table.with_name("t.dlc.csv").read_text().splitlines()[1].split(",")
    assert header == ["individuals", *["face_0"] * 9, *["face_1"] * 9]


def test_tables_of_openface_and_deeplabcut(tmp_path: Path) -> None:
    openface, dlc = write_openface(tmp_path / "of.csv"), write_dlc(tmp_path / "dlc.csv")
    assert main(["convert", str(openface), "--to", "long"]) == OK
    assert main(["convert", str(openface), "-o", str(tmp_path / "wide.csv")]) == OK
    assert main(["convert", str(tmp_path / "wide.csv"), "--to", "openface"]) == OK
    table, again = read_table(tmp_path / "of.long.csv"), read_table(tmp_path / "wide.openface.csv")
    np.testing.assert_array_equal(table.points[0], POINTS)
    np.testing.assert_array_equal(table.to_numpy(), again.to_numpy())
    np.testing.assert_array_equal(table.times, again.times)
    assert table.query == parse_query("300w") and list(table.column("measured"))[::2] == [1, 0]
    assert main(["convert", str(dlc), "-o", str(tmp_path / "dlc.jsonl"), "--fps", "20"]) == OK
    table = read_table(tmp_path / "dlc.jsonl")
    assert list(table.times) == [0, 0.05, 0.1] and table.names == ("nosetip", "left_eye_0")
    assert main(["convert", str(tmp_path / "dlc.jsonl"), "--to", "dlc"]) == OK
    np.testing.assert_array_equal(read_table(tmp_path / "dlc.dlc.csv", fps=20).to_numpy(), table.to_numpy())
    # Where no point has a sigma, what is known of the face stands for the likelihood of each point.
    assert (tmp_path / "dlc.dlc.csv").read_text().splitlines()[3] == "0,321.500,240.250,0.7495,300.000,200.125,0.7495"


def test_photographs_keep_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = [make_result(0, make_face()), make_result(1)]
    results = [
        replace(result, frame=replace(result.frame, file=name))
        for result, name in zip(results, ("a,b.jpg", 'c"d.jpg'), strict=True)
    ]
    for name, sink in (("w.csv", WideTable), ("l.csv", LongTable), ("j.jsonl", JsonLines)):
        write(sink(tmp_path / name, QUERY, files=True), results)
        assert (
            main(["convert", str(tmp_path / name), "--to", "wide", "-o", str(tmp_path / "new.csv"), "--overwrite"])
            == OK
        )
        assert (tmp_path / "new.csv").read_bytes() == (tmp_path / "w.csv").read_bytes()
    capsys.readouterr()
    assert "--to dlc applies to films only" in fails(capsys, tmp_path / "w.csv", "--to", "dlc")


def test_wrong_inputs_are_one_line(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, before = table.read_text(), table.read_bytes()
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\xff")
    (tmp_path / "cut.csv").write_text(text[:-30])
    (tmp_path / "few.csv").write_text(text.replace("left_eye_1_y", "left_eye_1_z"))
    (tmp_path / "twice.csv").write_text(text.replace("left_eye_1_x", "left_eye_0_x"))
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "deep.jsonl").write_text("[" * 5000)
    (tmp_path / "folder.csv").mkdir()
    for name, message in [
        ("image.csv", "damaged table"),
        ("cut.csv", "cells instead of"),
        ("few.csv", "not a table that vtrack knows (left_eye_1_y, left_eye_1_z)"),
        ("twice.csv", "'left_eye_0_x' stands twice in its header"),
        ("empty.csv", "not a table"),
        ("folder.csv", "cannot read this table: Is a directory"),
        ("absent.csv", "cannot read this table: No such file"),
        ("t.mp4", "not a table; vtrack reads .csv"),
    ]:
        assert message in fails(capsys, tmp_path / name, "--to", "jsonl", "--columns", "raw")
    assert "damaged table" in fails(capsys, tmp_path / "deep.jsonl", "--to", "wide")
    assert "is the input itself" in fails(capsys, table, "-o", table, "--overwrite")
    (tmp_path / "t.jsonl").write_text("precious")
    assert "t.jsonl exists already; add --overwrite" in fails(capsys, table, "--to", "jsonl")
    assert (tmp_path / "t.jsonl").read_text() == "precious" and table.read_bytes() == before
    (tmp_path / "link.csv").symlink_to(table)
    assert "is the input itself" in fails(capsys, table, "-o", tmp_path / "link.csv", "--overwrite")
    assert main(["convert", str(table), "--to", "jsonl", "--overwrite"]) == OK
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("command", ["convert --to coco", "draw talk.mp4", "crops talk.mp4", "report"])
def test_no_name_is_no_table(
    command: str, table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty name, as that of a variable of a shell that is not set, is not the folder that the shell is in."""
    monkeypatch.chdir(table.parent)
    before = sorted(table.parent.iterdir())
    name, *options = command.split()
    assert main([name, "", *options]) == USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "vtrack: .: a folder, not a table; give the path of a table"
    assert sorted(table.parent.iterdir()) == before


def test_wrong_options_are_one_line(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in [
        ([], "--to FORMAT or -o FILE is missing; formats are wide, long, openface, dlc, jsonl, parquet, coco"),
        (["--to", "excel"], "there is no table format 'excel'"),
        (["--to", "parqet"], "did you mean parquet"),
        (
            ["-o", "x.mp4"],
            "x.mp4: .mp4 is not an ending of a table; end its name in .csv, .txt, .jsonl, .ndjson, .parquet, .json",
        ),
        (
            ["-o", "x.csv", "--to", "jsonl"],
            "x.csv: .csv is not an ending of JSON lines, one frame a line; end its name in .jsonl or .ndjson",
        ),
        (["-o", "-", "--to", "parquet"], "a Parquet table cannot be written to stdout"),
        (["-o", tmp_path / "nowhere" / "x.csv"], "there is no folder"),
        (["--to", "dlc", "--columns", "raw"], "a table of format dlc has no room for extra columns"),
        (["--to", "wide", "--columns", "colour"], "there is no column group 'colour'"),
        (["--to", "wide", "--max-faces", "2"], "--max-faces applies to dlc or dlc-h5 only"),
        (["--to", "dlc", "--max-faces", "0"], "--max-faces must be at least 1"),
        (["--to", "wide", "--fps", "25"], "--fps applies to tables without times"),
        (["--to", "wide", "--fps", "0"], "--fps must be"),
        (["--to", "wide", "--parts", "jaw"], "has 3 other points than these 17"),
        (["--to", "wide", "--parts", "jaaw"], "did you mean jaw"),
        (["--to", "openface"], "--to openface needs the points of 300w"),
    ]:
        assert message in fails(capsys, table, *options)
    sidecar_path(table).unlink()
    assert "does not tell where on their parts its points lie" in fails(
        capsys, table, "--to", "long", "--columns", "raw"
    )
    assert "--columns raw,measures" in fails(capsys, table, "--to", "jsonl")
    assert "has no columns measures; choose from none" in fails(
        capsys, write_openface(tmp_path / "of.csv"), "--to", "wide", "--columns", "measures"
    )
    assert "give its frames per second, --fps 25" in fails(capsys, write_dlc(tmp_path / "d.csv"), "--to", "wide")
    assert main(["convert", str(table), "--to", "long", "--columns", "raw", "--parts", PARTS]) == OK


def test_a_table_that_breaks_off_leaves_nothing(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = table.read_text().splitlines(keepends=True)
    empty = "," * header.count(",")
    rows += [f"{i},{i / 30:.6f}{empty[1:]}\n" for i in range(4, 40_000)]
    table.write_text("".join([header, *rows, "40000,1333.3"]))
    assert f"row {len(rows) + 1}: 2 cells instead of" in fails(capsys, table, "--to", "jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.csv.meta.json"]
