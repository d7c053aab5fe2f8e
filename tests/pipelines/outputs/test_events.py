"""The table of events: what it holds, and the ways to ask for it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vtrack
from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.cli.main import OK, USAGE, main
from vtrack.measures import EyeEvent, LidMotion
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.streams.ndjson import NdjsonStream
from vtrack.pipelines.outputs.tables.csv import WideTable
from vtrack.pipelines.outputs.tables.events import EventTable

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "samples" / "sample.mp4"
LIDS = LidMotion(1.0, 1.1, 1.25, 0.9, 0.125)
WINK = EyeEvent(3, "wink", "left", whole=True, lids=LIDS, left=LIDS, right=replace(LIDS, amplitude=0.1))
RESULTS = [make_result(0), replace(make_result(1), events=(WINK, replace(WINK, whole=False)))]


def test_a_row_for_each_event_and_none_for_frames_without(tmp_path: Path) -> None:
    with EventTable(tmp_path / "a.csv", QUERY) as table:
        for result in RESULTS:
            table.write(result)
    first, second = csv.DictReader((tmp_path / "a.csv").open(encoding="utf-8"))
    assert (first["face"], first["kind"], first["eye"], first["whole"]) == ("3", "wink", "left", "1")
    assert [first[f"{name}_s"] for name in ("start", "peak", "end")] == ["1.000000", "1.100000", "1.250000"]
    assert (first["amplitude"], first["sigma"], first["complete"]) == ("0.9000", "0.1250", "1")
    assert (first["right_amplitude"], first["right_complete"], second["whole"]) == ("0.1000", "0", "0")


def test_the_same_as_json_for_itself_and_in_streams(tmp_path: Path) -> None:
    with EventTable(tmp_path / "a.jsonl", QUERY) as table:
        for result in RESULTS:
            table.write(result)
    events = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [event["whole"] for event in events] == [True, False]
    assert events[0]["kind"] == "wink" and events[0]["right_amplitude"] == 0.1
    stream = io.StringIO()
    with NdjsonStream(stream, QUERY) as lines:
        for result in RESULTS:
            lines.write(result)
    assert [json.loads(line)["events"] for line in stream.getvalue().splitlines()] == [[], events]


def test_a_run_writes_the_blinks_of_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "blinks.csv"
    assert main(["run", str(SAMPLE), "--parts", "pupils", "--stop", "3.5", "--events", str(path), "--quiet"]) == OK
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["blinks.csv", "blinks.csv.meta.json"]
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert [row["kind"] for row in rows] == ["blink", "blink"] and all(row["complete"] == "1" for row in rows)
    assert [float(row["start_s"]) for row in rows] == pytest.approx([0.78, 2.97], abs=0.05)
    results = vtrack.track(str(SAMPLE), "pupils", stop=1.5, measures=True)
    (event,) = (event for result in results for event in result.events)
    assert float(rows[0]["peak_s"]) == pytest.approx(event.lids.peak, abs=0.04)
    vtrack.run(str(SAMPLE), "pupils", stop=1.5, events=tmp_path / "python.jsonl", csv=tmp_path / "python.csv")
    (line,) = (tmp_path / "python.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == "blink"
    assert "left_openness" not in (tmp_path / "python.csv").read_text()


def test_a_live_picture_writes_events(tmp_path: Path) -> None:
    options = ["--camera", str(SAMPLE), "--seconds", "0.5", "--view", "none", "--events", str(tmp_path / "live.csv")]
    assert main(["webcam", *options]) == OK
    assert (tmp_path / "live.csv").read_text().startswith("face,kind,eye,whole,start_s,peak_s,end_s,amplitude,sigma")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--events", "a.mp4"], "use --video a.mp4"),
        (["--events", "-", "--csv", "-"], "two outputs would go to stdout"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    more: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(SAMPLE), "--parts", "pupils", *more]) == USAGE
    assert message in capsys.readouterr().err


def test_photographs_have_no_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs = str(ROOT / "tests" / "data" / "london" / "images")
    assert main(["run", photographs, "--events", str(tmp_path / "a.csv"), "--parts", "eyes"]) == USAGE
    assert "--events applies to videos" in capsys.readouterr().err


def test_tables_with_fewer_measures_are_read(tmp_path: Path) -> None:
    """As they were before openness and PERCLOS were measured."""
    face = make_face(measures=vtrack.Measures(MEASURES, np.arange(len(MEASURES)) / 4))
    with WideTable(tmp_path / "new.csv", QUERY, ["measures"]) as table:
        table.write(make_result(0, face))
    rows = [line.split(",") for line in (tmp_path / "new.csv").read_text().splitlines()]
    old = rows[0].index("roll") + 1
    (tmp_path / "old.csv").write_text("".join(",".join(row[:old]) + "\n" for row in rows))
    table = vtrack.read_table(tmp_path / "old.csv")
    assert table.column("roll")[0] == vtrack.read_table(tmp_path / "new.csv").column("roll")[0]
    assert np.isnan(table.column("perclos")).all()
    assert main(["convert", str(tmp_path / "old.csv"), "--to", "jsonl"]) == OK
    (line,) = (tmp_path / "old.jsonl").read_text().splitlines()
    assert json.loads(line)["faces"][0]["perclos"] is None and json.loads(line)["faces"][0]["roll"] == 2.5
    assert main(["convert", str(tmp_path / "old.csv"), "--to", "events"]) == USAGE
