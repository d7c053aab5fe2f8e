"""A new kind of output is its own file and one entry of the registry: everything else follows from the entry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vtrack.cli.main import USAGE, main
from vtrack.pipelines.outputs.codecs import CONTAINERS
from vtrack.pipelines.registry import OUTPUTS

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "samples" / "sample.mp4"

FILE = '''
"""The wide table with tabs."""

import csv

import numpy as np

from vtrack.pipelines.outputs.tables.csv import WideTable


class TabTable(WideTable):
    def _header(self):
        return super()._header().replace(",", "\\t")

    def _rows(self, result):
        return super()._rows(result).replace(",", "\\t")


def read_blocks(path):
    with path.open(newline="") as file:
        header, *rows = csv.reader(file, delimiter="\\t")
    yield header, np.zeros((0, len(header)))
    yield header, np.array([[float(cell or "nan") for cell in row] for row in rows])


def stack_tables(path, column, tables):
    with path.open("w") as out:
        for i, (name, table) in enumerate(tables.items()):
            header, *rows = table.read_text().splitlines()
            out.writelines([f"{column}\\t{header}\\n"] * (i == 0) + [f"{name}\\t{row}\\n" for row in rows])
'''

ENTRY = """
import sys
from vtrack.pipelines.registry import OUTPUTS, OutputEntry

OUTPUTS["tabs"] = OutputEntry(
    "tabs:TabTable", "a table with tabs", ("columns",), suffixes=(".tsv",), reader="tabs:read_blocks",
    stacker="tabs:stack_tables", stdout=True,
)
"""

USE = """
import contextlib, io
import numpy as np
import vtrack
from vtrack.cli.main import main

sample, options = sys.argv[1], ["--parts", "eyes", "--stop", "0.1", "--quiet"]
assert main(["run", sample, "--tabs", "-o", "out", *options]) == 0
assert main(["run", sample, "--csv", "-o", "out", *options]) == 0
text = io.StringIO()
with contextlib.redirect_stdout(text):
    assert main(["run", sample, "--tabs", "-", "--measures", *options]) == 0
assert text.getvalue().startswith("frame\\ttime_s\\tface") and "\\tblink\\t" in text.getvalue()
assert main(["run", sample, "--csv", "a.tsv", *options]) == 2
summary = vtrack.run(sample, parts="eyes", stop=0.1, outputs={"tabs": "python.tsv"})
tables = [vtrack.read_table(path).to_numpy() for path in ("out/sample.vtrack.tsv", "out/sample.vtrack.csv", "python.tsv")]
for table in tables[1:]:
    np.testing.assert_array_equal(table, tables[0])
assert main(["batch", sample, "-o", "batch", "--merge", "all.tsv", *options]) == 0
"""


def test_a_new_kind_of_output_is_one_file_and_one_entry(tmp_path: Path) -> None:
    (tmp_path / "tabs.py").write_text(FILE)
    # Workers of the batch read the entry too: in the project it stands in the registry itself.
    (tmp_path / "sitecustomize.py").write_text(ENTRY)
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    run = subprocess.run(
        [sys.executable, "-c", "import sys\n" + USE, str(SAMPLE)],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    assert "--csv a.tsv: .tsv is not an ending of a CSV table; use --tabs a.tsv" in run.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if "meta" not in path.name) == [
        "sample.vtrack.csv",
        "sample.vtrack.tsv",
    ]
    merged = (tmp_path / "all.tsv").read_text().splitlines()
    assert merged[0].startswith("video\tframe\ttime_s") and merged[1].startswith("sample.mp4\t0\t") and len(merged) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--csv", "x.parquet"], "--csv x.parquet: .parquet is not an ending of a CSV table; use --parquet x.parquet"),
        (["--csv", "x.mp4"], "--csv x.mp4: .mp4 is not an ending of a CSV table; use --video x.mp4"),
        (["--jsonl", "x.json"], "--jsonl x.json: .json is not an ending of JSON lines"),
        (["--csv", "x.csv.gz"], "--csv x.csv.gz: .gz is not an ending of a CSV table; end its name in .csv or .txt"),
        (["--video", "x.csv"], "--video x.csv: .csv is not an ending of an annotated video; use --csv x.csv"),
        (["--parquet", "-"], "--parquet -: a Parquet table cannot be written to stdout; use --csv - or --jsonl -"),
        (["--csv", "-", "--jsonl", "-"], "two outputs would go to stdout"),
    ],
)
def test_the_ending_says_what_is_written(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(SAMPLE), *options]) == USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vtrack: {message}")
    assert list(tmp_path.iterdir()) == []


def test_no_ending_belongs_to_two_outputs() -> None:
    endings = [suffix for entry in OUTPUTS.values() for suffix in entry.suffixes]
    assert len(endings) == len(set(endings))
    assert OUTPUTS["video"].suffixes == tuple(CONTAINERS)
