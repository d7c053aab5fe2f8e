"""Files for other programs, each read back with the library of those who read it: the same points, ids and times."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.outputs.test_events import LIDS, RESULTS, SAMPLE, WINK
from tests.pipelines.outputs.test_read import EXTRAS, video, write
from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.cli.main import FAILED, OK, USAGE, main
from vtrack.pipelines.outputs.base import write_sidecar
from vtrack.pipelines.outputs.interchange import deeplabcut
from vtrack.pipelines.outputs.interchange.captions import Captions
from vtrack.pipelines.outputs.interchange.hdf5 import BLOCK
from vtrack.pipelines.outputs.tables.csv import WideTable
from vtrack.pipelines.outputs.tables.dlc import DeepLabCutTable
from vtrack.pipelines.outputs.tables.events import EventTable
from vtrack.pipelines.outputs.tables.read import read_table
from vtrack.query import parse_query, query_text
from vtrack.types import Query

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


@pytest.mark.parametrize(("format", "suffix", "library"), [("coco", ".json", "json"), ("nwb", ".nwb", "pynwb")])
def test_facts_that_are_damaged_are_left_out(tmp_path: Path, format: str, suffix: str, library: str) -> None:
    pytest.importorskip(library)
    table = make_table(tmp_path)
    (tmp_path / "t.csv.meta.json").write_text('{"source": "talk.mp4", "counts": {"seconds": NaN}}')
    convert(table, "--to", format)
    text = (tmp_path / "t").with_suffix(suffix).read_bytes()
    assert b"NaN" not in text if format == "coco" else b'{"counts": {"seconds": null}}' in text


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


def make_long_table(folder: Path) -> Path:
    """A table of three blocks of frames: face 1 in all but the first, face 7 in the last alone."""
    results = [
        make_result(i, *[make_face(number=1, at=i / 8)] * (i > 0), *[make_face(number=7, at=i / 4)] * (i > 2 * BLOCK))
        for i in range(2 * BLOCK + 40)
    ]
    write(WideTable(folder / "long.csv", QUERY), results)
    return folder / "long.csv"


@pytest.mark.parametrize("make", [make_table, make_long_table])
def test_xarray_opens_netcdf_as_movement_has_it(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """Names and order of dimensions, variables and attributes are those of movement's documentation."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    table = make(tmp_path)
    convert(table, "--to", "netcdf")
    data, expected = xarray.load_dataset(table.with_suffix(".nc"), engine="h5netcdf"), read_table(table)
    assert data.position.dims == ("time", "space", "keypoints", "individuals")
    assert data.confidence.dims == ("time", "keypoints", "individuals")
    assert {*data.data_vars} == {"position", "confidence"}
    assert [*data.space.values] == ["x", "y"] and [*data.keypoints.values] == [*QUERY.names]
    assert [*data.individuals.values] == [f"face_{face}" for face in expected.faces]
    assert (data.attrs["source_software"], data.attrs["ds_type"]) == ("vtrack", "poses")
    assert (data.attrs["time_unit"], data.attrs["fps"]) == ("seconds", 29.97)
    np.testing.assert_array_equal(data.time, expected.times)
    np.testing.assert_array_equal(data.frame, expected.frames)
    points = data.position.transpose("time", "individuals", "keypoints", "space")
    np.testing.assert_allclose(points, expected.to_numpy(), atol=AGREE)
    there = np.isfinite(expected.to_numpy()).all(-1)
    confidence = data.confidence.transpose("time", "individuals", "keypoints").values
    assert (np.isfinite(confidence) == there).all() and ((confidence[there] > 0.6) & (confidence[there] < 1)).all()


@pytest.mark.parametrize("faces", [1, 2])
def test_pandas_reads_deeplabcuts_h5(tmp_path: Path, faces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    monkeypatch.setattr(deeplabcut, "block_rows", lambda columns: 3)  # two appends
    table = make_table(tmp_path)
    convert(table, "--to", "dlc-h5", "--max-faces", str(faces))
    convert(table, "--to", "dlc", "--max-faces", str(faces))
    data = pandas.read_hdf(tmp_path / "t.h5")
    levels = ["scorer", *["individuals"] * (faces > 1), "bodyparts", "coords"]
    expected = pandas.read_csv(tmp_path / "t.dlc.csv", header=[*range(len(levels))], index_col=0)
    assert [*data.columns.names] == levels and [*data.columns] == [*expected.columns] and [*data.index] == [0, 1, 2, 3]
    np.testing.assert_allclose(data, expected, atol=AGREE)
    known = read_table(table)
    place = [("face_0",)] * (faces > 1)
    left = data.sort_index(axis=1).loc[:, ("vtrack", *(name for each in place for name in each), "left_eye_0")]
    first = [row for row in range(len(known)) if known.face[row] == 1]
    np.testing.assert_array_equal(left.loc[known.frame[first], ["x", "y"]], known.points[first, 0])


def test_deeplabcuts_h5_has_room_for_so_many_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    query = parse_query("jaw:400")
    write(WideTable(tmp_path / "t.csv", query), [make_result(0, make_face(query), make_face(query, 2), query=query)])
    convert(tmp_path / "t.csv", "--to", "dlc-h5", "--max-faces", "1")
    assert pandas.read_hdf(tmp_path / "t.h5").shape == (1, 1200)
    line = refused(capsys, tmp_path / "t.csv", "--to", "dlc-h5", "--max-faces", "9", "-o", tmp_path / "more.h5")
    assert "10800 columns are too many for DeepLabCut's h5" in line
    write(WideTable(tmp_path / "none.csv", QUERY), [])
    convert(tmp_path / "none.csv", "--to", "dlc-h5")
    assert pandas.read_hdf(tmp_path / "none.h5").shape == (0, 9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none.csv", "none.h5", "t.csv", "t.h5"]


LIBRARIES = {"coco": None, "netcdf": "h5py", "dlc-h5": "tables", "nwb": "pynwb"}


@pytest.mark.parametrize("format", LIBRARIES)
def test_a_full_disk_leaves_nothing(tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]) -> None:
    resource = pytest.importorskip("resource")
    if library := LIBRARIES[format]:
        pytest.importorskip(library)
    table = make_long_table(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))
    try:
        assert main(["convert", str(table), "--to", format]) == FAILED
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vtrack: cannot write ")
    assert [path.name for path in tmp_path.iterdir()] == ["long.csv"]


@pytest.mark.parametrize("format", [format for format, library in LIBRARIES.items() if library])
def test_a_library_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, str(LIBRARIES[format]), None)
    pytest.importorskip("pandas")
    assert main(["convert", str(make_table(tmp_path)), "--to", format]) != OK
    (line,) = capsys.readouterr().err.splitlines()
    assert f'needs {LIBRARIES[format]}; pip install "vtrack[interchange]"' in line


@pytest.mark.parametrize("make", [make_table, make_long_table])
def test_pynwb_reads_nwb_with_ndx_pose(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    pynwb = pytest.importorskip("pynwb")
    pytest.importorskip("ndx_pose")
    table = make(tmp_path)
    convert(table, "--to", "nwb")
    expected = read_table(table)
    points = expected.to_numpy()
    with pynwb.NWBHDF5IO(str(table.with_suffix(".nwb")), "r") as io:
        module = io.read().processing["behavior"]
        for i, face in enumerate(expected.faces):
            poses = module[f"face_{face}"]
            assert [*poses.skeleton.nodes[:]] == [*QUERY.names] and poses.source_software == "vtrack"
            for point, name in enumerate(QUERY.names):
                series = poses[name]
                np.testing.assert_array_equal(series.timestamps[:], expected.times)
                np.testing.assert_allclose(series.data[:], points[:, i, point], atol=AGREE)
                assert (np.isfinite(series.confidence[:]) == np.isfinite(points[:, i, point, 0])).all()
        assert {*module.data_interfaces} == {"Skeletons", *(f"face_{face}" for face in expected.faces)}


def test_names_that_are_not_utf_8_are_escaped_in_nwb(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    pytest.importorskip("ndx_pose")
    table = make_table(tmp_path, "n\udcff.csv")
    facts = {"source": {"name": "n\udcff.mp4", "width": 64, "height": 48}}
    Path(f"{table}.meta.json").write_text(json.dumps(facts))
    convert(table, "--to", "nwb")
    (tmp_path / "n.nwb").write_bytes(table.with_suffix(".nwb").read_bytes())  # libraries open no such name
    with pynwb.NWBHDF5IO(str(tmp_path / "n.nwb"), "r") as io:
        file = io.read()
        assert file.identifier == "n\\xff" and file.session_description.startswith("face landmarks of n\\xff.mp4;")


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


def test_points_of_other_programs_have_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pynwb")
    query = Query(("nose", "eyes", "ear/tip"), (0.0, 0.0, 0.0), ("nose", "eyes", "ear/tip"))
    with DeepLabCutTable(tmp_path / "t.csv", query) as sink:
        sink.write(replace(make_result(0, make_face(query)), query=query))
    convert(tmp_path / "t.csv", "--to", "coco", "--fps", "25")
    [group] = json.loads((tmp_path / "t.json").read_text())["categories"]
    assert group["keypoints"] == ["nose", "eyes", "ear/tip"] and group["skeleton"] == []
    line = refused(capsys, tmp_path / "t.csv", "--to", "nwb", "--fps", "25")
    assert "points of an NWB file have no / or : in their names, as 'ear/tip' has" in line
    assert not (tmp_path / "t.nwb").exists()


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
    write(EventTable(tmp_path / "e.csv", QUERY), RESULTS)
    head, first, second = events.read_text().splitlines(keepends=True)
    events.write_text(head + first + second.replace("wink", '"wink\n\n9\n00:00:00,000"'))
    assert "damaged table of events after event 1: no event is of kind" in refused(capsys, events, "--to", "srt")
    (tmp_path / "raw.csv").write_text(table.read_text())
    assert "raw.csv: the .meta.json of the run must lie beside it" in refused(
        capsys, tmp_path / "raw.csv", "--to", "srt"
    )
    (tmp_path / "raw.csv").unlink()
    assert (tmp_path / "t.json").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "e.csv",
        "plain.csv",
        "t.csv",
        "t.csv.meta.json",
        "t.json",
    ]
