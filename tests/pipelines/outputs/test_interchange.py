"""Files for other programs, each read back with the library of those who read it: the same points, ids and times."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.outputs.test_events import LIDS, RESULTS, SAMPLE, WINK
from tests.pipelines.outputs.test_read import EXTRAS, video, write
from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.cli.main import OK, USAGE, main
from vtrack.pipelines.outputs.base import write_sidecar
from vtrack.pipelines.outputs.interchange.captions import Captions
from vtrack.pipelines.outputs.tables.csv import WideTable
from vtrack.pipelines.outputs.tables.events import EventTable
from vtrack.pipelines.outputs.tables.read import read_table
from vtrack.query import parse_query, query_text

AGREE = 0.01
"""Largest distance in pixels between a point of a table and the same one in the file of another program."""


def make_table(folder: Path, name: str = "t.csv") -> Path:
    """A table of four frames, one without a face, one with two, and one with a face that is predicted; and its facts."""
    write(WideTable(folder / name, QUERY, EXTRAS), video())
    source = {"name": "talk.mp4", "width": 64, "height": 48}
    write_sidecar(folder / name, options={"parts": query_text(QUERY)}, model={}, source=source, counts={})
    return folder / name


def convert(table: Path, *options: str | Path) -> None:
    assert main(["convert", str(table), *map(str, options), "--quiet"]) == OK


def refused(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    """The one line of a conversion that is refused."""
    assert main(["convert", *map(str, args)]) == USAGE
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_coco_is_read_and_evaluated_by_pycocotools(tmp_path: Path) -> None:
    coco, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    table = make_table(tmp_path)
    convert(table, "--to", "coco")
    data, expected = coco.COCO(str(tmp_path / "t.json")), read_table(table)
    images = data.loadImgs(data.getImgIds())
    assert [image["id"] for image in images] == [0, 1, 2, 3] and [image["time_s"] for image in images] == [
        *expected.times
    ]
    assert {(image["width"], image["height"]) for image in images} == {(64, 48)}
    (category,) = data.loadCats(data.getCatIds())
    assert category["keypoints"] == [*QUERY.names] and category["name"] == "face"
    faces = [row for row in range(len(expected)) if expected.face[row] >= 0]
    for row, annotation in zip(faces, data.loadAnns(data.getAnnIds()), strict=True):
        points = np.array(annotation["keypoints"]).reshape(-1, 3)
        np.testing.assert_allclose(points[:, :2], expected.points[row], atol=AGREE)
        box = [expected.column(f"box_{side}")[row] for side in "xywh"]
        np.testing.assert_allclose(annotation["bbox"], box, atol=AGREE)
        assert (annotation["image_id"], annotation["track_id"]) == (expected.frame[row], expected.face[row])
        inside = (points[:, :2] >= -0.5).all(1) & (points[:, :2] < [63.5, 47.5]).all(1)
        seen = expected.column("measured")[row] == 1
        assert [*points[:, 2]] == [2 if each and seen else 1 for each in inside] and annotation["num_keypoints"] == 3
    assert 1 in points[:, 2] and 2 in np.array(data.loadAnns(1)[0]["keypoints"])[2::3]
    own = [
        {name: each[name] for name in ("image_id", "category_id", "keypoints", "score")}
        for each in data.loadAnns(data.getAnnIds())
    ]
    judged = evaluation.COCOeval(data, data.loadRes(own), "keypoints")
    judged.params.kpt_oks_sigmas = np.full(len(QUERY), 0.05)
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    assert judged.stats[0] == pytest.approx(1)


def test_cocos_category_is_the_layout_with_its_outlines(tmp_path: Path) -> None:
    query = parse_query("300w")
    results = [make_result(0, make_face(query), query=query)]
    results[0].faces[0].points[5] = np.nan
    write(WideTable(tmp_path / "t.csv", query), results)
    convert(tmp_path / "t.csv", "--to", "coco", "-o", tmp_path / "faces.json")
    data = json.loads((tmp_path / "faces.json").read_text())
    (category,), (annotation,) = data["categories"], data["annotations"]
    names = category["keypoints"]
    pairs = {(names[start - 1], names[end - 1]) for start, end in category["skeleton"]}
    assert category["name"] == "300w" and ("jaw_0", "jaw_1") in pairs and ("left_eye_5", "left_eye_0") in pairs
    assert all(start.rpartition("_")[0] == end.rpartition("_")[0] for start, end in pairs)
    assert annotation["keypoints"][15:18] == [0, 0, 0] and annotation["num_keypoints"] == 67
    assert "width" not in data["images"][0], "nothing tells the size of the frames"


def test_coco_names_the_files_of_photographs(tmp_path: Path) -> None:
    results = [
        replace(make_result(i, make_face()), frame=replace(make_result(i).frame, file=f"é{i}.jpg")) for i in (0, 1)
    ]
    write(WideTable(tmp_path / "t.csv", QUERY, files=True), results)
    source = {"width": 64, "height": 48, "photographs": True}
    write_sidecar(tmp_path / "t.csv", options={"parts": query_text(QUERY)}, model={}, source=source, counts={})
    convert(tmp_path / "t.csv", "--to", "coco")
    images = json.loads((tmp_path / "t.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["é0.jpg", "é1.jpg"]
    assert all("width" not in image for image in images), "those of the first photograph are not those of all"


def test_players_libraries_read_the_captions(tmp_path: Path) -> None:
    webvtt, srt = pytest.importorskip("webvtt"), pytest.importorskip("srt")
    blink = replace(WINK, face=1, kind="blink", eye="both", lids=replace(LIDS, start=3725.5004, end=3725.75))
    dim = replace(blink, face=2, lids=replace(LIDS, start=0.25, end=0.25, amplitude=0.4))
    for kind in ("vtt", "srt"):
        write(Captions(tmp_path / f"t.{kind}", QUERY, kind=kind), [replace(RESULTS[0], events=(blink, WINK, dim))])
    cues = [(cue.start, cue.end, cue.text) for cue in webvtt.read(str(tmp_path / "t.vtt"))]
    assert cues == [
        ("00:00:00.250", "00:00:00.251", "face 2: incomplete blink"),
        ("00:00:01.000", "00:00:01.250", "face 3: left wink"),
        ("01:02:05.500", "01:02:05.750", "face 1: blink"),
    ]
    titles = list(srt.parse((tmp_path / "t.srt").read_text()))
    assert [(title.start.total_seconds(), title.end.total_seconds(), title.content) for title in titles] == [
        (0.25, 0.251, cues[0][2]), (1.0, 1.25, cues[1][2]), (3725.5, 3725.75, cues[2][2])
    ]  # fmt: skip


def test_captions_are_made_of_tables_of_events_and_of_faces(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table, events, captions = tmp_path / "t.csv", tmp_path / "t.events.csv", tmp_path / "run.vtt"
    options = ["--parts", "pupils", "--stop", "3.5", "--quiet"]
    assert (
        main(["run", str(SAMPLE), "--csv", str(table), "--columns", "raw,measures", "--events", str(events), *options])
        == OK
    )
    convert(table, "-o", tmp_path / "of_faces.vtt")
    convert(events, "--to", "vtt")
    assert main(["refine", str(table), "--events", str(captions), "--quiet"]) == OK
    assert main(["refine", str(table), "--events", str(tmp_path / "t.events.jsonl"), "--quiet"]) == OK
    convert(tmp_path / "t.events.jsonl", "-o", tmp_path / "of_lines.vtt")
    text = captions.read_text()
    times = [(f"{float(row['start_s']):.3f}", f"{float(row['end_s']):.3f}") for row in csv.DictReader(events.open())]
    cues = [f"{i}\n00:00:0{start} --> 00:00:0{end}\nface 0: blink\n\n" for i, (start, end) in enumerate(times, 1)]
    assert text == "".join(["WEBVTT\n\n", *cues]) and len(times) == 2
    for name in ("t.events.vtt", "of_faces.vtt", "of_lines.vtt"):
        assert (tmp_path / name).read_text() == text
    capfd.readouterr()
    assert main(["convert", str(events), "--to", "srt", "-o", "-"]) == OK
    captured = capfd.readouterr()
    assert captured.out == re.sub(r"(:\d\d)\.", r"\1,", text.removeprefix("WEBVTT\n\n"))
    assert captured.err == "t.events.csv: 2 events, 1 track\nwrote stdout\n"


def test_what_cannot_be_converted_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, events = make_table(tmp_path), tmp_path / "e.csv"
    write(EventTable(events, QUERY), RESULTS)
    assert "is a table of events, which converts to vtt or srt only" in refused(capsys, events, "--to", "coco")
    write(WideTable(tmp_path / "plain.csv", QUERY), video())
    assert "add" not in (line := refused(capsys, tmp_path / "plain.csv", "--to", "vtt")) and "--columns raw" in line
    assert "has no room for extra columns" in refused(capsys, table, "--to", "coco", "--columns", "raw")
    assert "cannot be written to stdout" in refused(capsys, table, "--to", "coco", "-o", "-")
    (tmp_path / "t.json").write_text("precious")
    assert "t.json exists already; add --overwrite" in refused(capsys, table, "--to", "coco")
    events.write_text(events.read_text().replace("0.9000", "nan", 1))
    assert "damaged table of events after event 0" in refused(capsys, events, "--to", "srt")
    assert (tmp_path / "t.json").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "e.csv",
        "plain.csv",
        "t.csv",
        "t.csv.meta.json",
        "t.json",
    ]
