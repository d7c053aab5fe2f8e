"""`vtrack refine`: from the table of one run what a run with other settings gives, and one line for what cannot be done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.clips import write_clip
from vtrack.anchors import ANCHORS
from vtrack.cli.main import OK, USAGE, main
from vtrack.pipelines.outputs.base import sidecar_path
from vtrack.pipelines.outputs.tables.read import read_table
from vtrack.pipelines.tables.curves import MissingPointsError, PointWeights
from vtrack.query import parse_query

SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"
# Seconds 3 to 4 hold a blink.
CLIP = [str(SAMPLE), "--start", "2.5", "--stop", "4.5", "--parts", "eyes,lips:8", "--quiet", "--overwrite"]
OTHER = ["--smooth", "kalman", "--smooth.strength", "0.3", "--smooth.lips", "0.1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs over a part of the sample with default settings, and with others."""
    folder = tmp_path_factory.mktemp("runs")
    columns = ["--columns", "raw,measures"]
    outputs = ["--csv", str(folder / "t.csv"), "--events", str(folder / "e.csv")]
    assert main(["run", *CLIP, *columns, *outputs]) == OK
    assert main(["run", *CLIP, *columns, *OTHER, "--csv", str(folder / "other.csv")]) == OK
    return folder


@pytest.fixture
def table(runs: Path, tmp_path: Path) -> Path:
    for name in ("t.csv", "t.csv.meta.json"):
        shutil.copy(runs / name, tmp_path)
    return tmp_path / "t.csv"


def fails(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    """The one line of a refinement that is wrong usage."""
    assert main(["refine", *map(str, args)]) == USAGE
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.startswith("vtrack: ")
    return captured.err.removeprefix("vtrack: ").rstrip("\n")


def test_a_table_is_that_of_a_fresh_run(runs: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["refine", str(table)]) == OK
    new = table.with_name("t.refined.csv")
    assert capsys.readouterr().err == f"t.csv: 60 frames, 60 with faces, 1 track\nwrote {new}\n"
    assert new.read_bytes() == table.read_bytes()
    assert main(["refine", str(table), *OTHER, "--overwrite", "--quiet"]) == OK
    assert new.read_bytes() == (runs / "other.csv").read_bytes() != table.read_bytes()
    # And back again from the new table: its facts and raw columns are those of a run, too.
    facts = json.loads(sidecar_path(new).read_text())
    assert facts["options"]["smooth"] == "kalman" and facts["options"]["strengths"] == {"lips": 0.1}
    assert facts["model"] and facts["source"]["width"] == 640 and facts["counts"]["frames_with_faces"] == 60
    assert main(["refine", str(new), "--smooth", "rts", "--smooth.strength", "0.5", "--smooth.lips", "0.5",
                 "-o", str(table.with_name("back.csv"))]) == OK  # fmt: skip
    assert table.with_name("back.csv").read_bytes() == table.read_bytes()


@pytest.mark.parametrize("name", ["t.long.csv", "t.jsonl", "t.parquet"])
def test_every_format_gives_the_same(runs: Path, table: Path, tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    to = "long" if "long" in name else name.removeprefix("t.")
    assert main(["convert", str(table), "--to", to, "--quiet"]) == OK
    assert main(["refine", str(tmp_path / name), *OTHER, "--quiet", "-o", str(tmp_path / "new.csv")]) == OK
    assert (tmp_path / "new.csv").read_bytes() == (runs / "other.csv").read_bytes()
    assert main(["refine", str(tmp_path / name), "--quiet"]) == OK
    refined = (tmp_path / name).with_stem(f"{Path(name).stem}.refined")
    assert main(["convert", str(refined), "-o", str(tmp_path / "wide.csv"), "--to", "wide", "--quiet"]) == OK
    # Parquet's single precision may round the last digit of smooth points.
    np.testing.assert_allclose(read_table(tmp_path / "wide.csv").cells, read_table(table).cells, atol=1.5e-3)
    assert name.endswith("parquet") or (tmp_path / "wide.csv").read_bytes() == table.read_bytes()


def test_events_are_those_of_a_run(runs: Path, table: Path, tmp_path: Path) -> None:
    assert main(["refine", str(table), "--events", "--quiet"]) == OK
    events = tmp_path / "t.refined.events.csv"
    assert events.read_bytes() == (runs / "e.csv").read_bytes() and events.read_text().count("\n") > 1
    assert not (tmp_path / "t.refined.csv").exists()
    assert main(["refine", str(table), "--events", str(tmp_path / "e.jsonl"), "-o", str(tmp_path / "n.csv")]) == OK
    assert (tmp_path / "n.csv").exists() and json.loads((tmp_path / "e.jsonl").read_text().splitlines()[0])


def test_no_model_is_loaded(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*args: object, **options: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr("vtrack.pipelines.pipeline.load_model", loaded)
    monkeypatch.setattr("vtrack.pipelines.pipeline.load_detector", loaded)
    assert main(["refine", str(table), "--quiet"]) == OK


def test_other_points_of_the_same_parts(table: Path, tmp_path: Path) -> None:
    options = ["--smooth", "none", "--columns", "none", "--quiet", "--overwrite", "-o", str(tmp_path / "n.csv")]
    assert main(["refine", str(table), "--parts", "left_eye", *options]) == OK
    some, whole = read_table(tmp_path / "n.csv"), read_table(table)
    assert some.names == tuple(f"left_eye_{i}" for i in range(8))
    raw = whole.to_numpy("raw")[:, :, :8]
    np.testing.assert_array_equal(some.to_numpy(), raw)
    assert main(["refine", str(table), "--parts", "left_eye:16", *options]) == OK
    more = read_table(tmp_path / "n.csv").to_numpy()
    np.testing.assert_allclose(more[:, :, ::2], raw, atol=6e-4)
    # The points between lie near the middle of their neighbours, a little outside of the chord.
    between = more[:, :, 1::2] - (raw + np.roll(raw, -1, 2)) / 2
    side = np.abs(np.roll(raw, -1, 2) - raw).max()
    assert np.abs(between).max() < 0.3 * side


def test_what_it_cannot_do_is_one_line(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = table.read_bytes()
    (tmp_path / "t.refined.csv").write_text("precious")
    for options, message in [
        ([], "t.refined.csv exists already; add --overwrite"),
        (["-o", table, "--overwrite"], "is the input itself"),
        (["-o", "x.mp4"], "x.mp4: .mp4 is not an ending of a table"),
        (["--to", "dlc"], "there is no table format 'dlc'; choose from wide, long, jsonl, parquet"),
        (["--parts", "jaw"], "--parts needs more points of jaw than"),
        (["--parts", "jaaw"], "did you mean jaw"),
        (["--smooth", "more"], "there is no smoothing 'more'"),
        (["--smooth", "none", "--smooth.lips", "0.2"], "--smooth.lips has no effect with --smooth none"),
        (["--smooth.jaw", "0.2", "-o", "x.csv"], "--smooth.jaw has no effect"),
        (["--events", tmp_path / "e.csv", "--columns", "raw"], "--columns raw applies to tables of faces"),
        (["--events", tmp_path / "e.mp4"], ".mp4 is not an ending of a table of blinks"),
    ]:
        assert message in fails(capsys, table, *options)
    assert (tmp_path / "t.refined.csv").read_text() == "precious" and table.read_bytes() == before
    assert main(["convert", str(table), "--columns", "none", "-o", str(tmp_path / "plain.csv"), "--quiet"]) == OK
    assert "has no raw columns, from which refine starts; run again with --columns raw" in fails(
        capsys, tmp_path / "plain.csv"
    )
    facts = json.loads(sidecar_path(table).read_text())
    sidecar_path(table).write_text(
        json.dumps({**facts, "options": {**facts["options"], "strengths": [1], "strength": 7}})
    )
    assert (
        "--smooth.strength must be 0 to 1, got 7" in fails(capsys, table, "-o", tmp_path / "n.csv")
        and not (tmp_path / "n.csv").exists()
    )
    assert main(["refine", str(table), "--smooth.strength", "0.5", "-o", str(tmp_path / "n.csv"), "--quiet"]) == OK
    sidecar_path(table).unlink()
    assert "the .meta.json of the run must lie beside it" in fails(capsys, table)


def test_measures_from_a_table_without_their_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = [str(SAMPLE), "--stop", "0.3", "--columns", "raw", "--quiet"]
    assert main(["run", *clip, "--csv", str(tmp_path / "face.csv")]) == OK
    assert main(["refine", str(tmp_path / "face.csv"), "--measures", "--quiet"]) == OK
    assert np.isfinite(read_table(tmp_path / "face.refined.csv").column("yaw")).all()
    assert main(["run", *clip, "--parts", "eyes", "--csv", str(tmp_path / "eyes.csv")]) == OK
    assert "measures, pose, expressions and events need more points of" in fails(
        capsys, tmp_path / "eyes.csv", "--events"
    )


def test_poses_are_those_of_a_fresh_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = [*CLIP[:1], "--stop", "0.5", "--parts", "300w", "--quiet", "--columns", "raw"]
    camera = ["--fov", "60", "--pose-unit", "mm", "--eye-distance", "88"]
    assert main(["run", *clip, "--pose", "--csv", str(tmp_path / "a.csv")]) == OK
    assert main(["run", *clip, "--pose", *camera, "--csv", str(tmp_path / "b.csv")]) == OK
    # Without measures or pose nothing is measured, and no points are tracked for it.
    plain = (tmp_path / "a.csv").read_text().partition("\n")[0]
    assert "pose_Tz" in plain and "measure_0_raw_x" in plain and "yaw" not in plain
    assert main(["refine", str(tmp_path / "a.csv"), "--quiet"]) == OK
    assert (tmp_path / "a.refined.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    assert main(["refine", str(tmp_path / "a.csv"), *camera, "-o", str(tmp_path / "c.csv"), "--quiet"]) == OK
    assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "b.csv").read_bytes() != (tmp_path / "a.csv").read_bytes()
    # The camera of the run is that of the table, until another is chosen.
    assert main(["refine", str(tmp_path / "b.csv"), "-o", str(tmp_path / "d.csv"), "--quiet"]) == OK
    assert (tmp_path / "d.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    unit = ["--pose-unit", "eyes", "-o", str(tmp_path / "e.csv"), "--quiet"]
    assert main(["refine", str(tmp_path / "b.csv"), *unit]) == OK
    near, far = (read_table(tmp_path / name).column("pose_Tz") for name in ("e.csv", "d.csv"))
    np.testing.assert_allclose(88 * near, far, atol=0.005)
    facts = json.loads(sidecar_path(tmp_path / "d.csv").read_text())["options"]
    assert facts["pose"] is True and facts["fov"] == 60 and facts["eye_distance"] == 88
    assert "--fov has no effect" in fails(capsys, tmp_path / "a.csv", "--columns", "raw", "--fov", "60", "-o", "x.csv")


def test_the_facts_of_a_new_table_repeat_it(tmp_path: Path) -> None:
    clip = [str(SAMPLE), "--stop", "0.2", "--parts", "nose", "--columns", "raw,pose,expressions", "--quiet"]
    chosen = ["--neutral", "0.1", "--fov", "60", "--pose-unit", "mm", "--eye-distance", "88"]
    old, new, again = tmp_path / "old.csv", tmp_path / "new.csv", tmp_path / "again.csv"
    assert main(["run", *clip, *chosen, "--csv", str(old)]) == OK
    for columns in ("raw", "raw,expressions", "raw,points3d"):
        assert main(["refine", str(old), "--columns", columns, "-o", str(new), "--overwrite", "--quiet"]) == OK
        repeat = ["--config", str(sidecar_path(new)), "--csv", str(again), "--overwrite", "--quiet"]
        assert main(["run", str(SAMPLE), *repeat]) == OK
        # Points that are located change a little with the others that are located along with them.
        assert read_table(again).fields == read_table(new).fields


def test_a_pose_from_a_table_without_its_points(tmp_path: Path) -> None:
    clip = [str(SAMPLE), "--stop", "0.3", "--columns", "raw", "--quiet"]
    assert main(["run", *clip, "--csv", str(tmp_path / "face.csv")]) == OK
    assert main(["refine", str(tmp_path / "face.csv"), "--pose", "--quiet"]) == OK
    assert np.isfinite(read_table(tmp_path / "face.refined.csv").column("pose_Tz_sd")).all()


def test_a_film_without_faces(tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("frame,x,y,w,h\n")
    clip = write_clip(tmp_path / "none.mp4", 3)
    options = ["--detector", "boxes", "--detector-model", str(boxes), "--columns", "raw", "--quiet"]
    assert main(["run", str(clip), *options, "--csv", "--jsonl"]) == OK
    for name in ("none.vtrack.csv", "none.vtrack.jsonl"):
        table = tmp_path / name
        assert main(["refine", str(table), "--quiet"]) == OK
        assert table.with_stem(f"{table.stem}.refined").read_bytes() == table.read_bytes()


def test_weights_of_points() -> None:
    known = parse_query("left_eye:8,jaw:17") + ANCHORS
    knots = parse_query("left_eye:8,jaw:17")
    same = PointWeights.of(known, known, knots)
    places = same.points.argmax(1)
    np.testing.assert_array_equal(same.points.sum(1), 1)
    assert [known.parts[i] for i in places] == list(known.parts)
    more = PointWeights.of(parse_query("left_eye:16,jaw:33"), known, knots)
    np.testing.assert_allclose(more.points.sum(1), 1, atol=1e-6)
    assert (more.sigma >= 0).all()
    np.testing.assert_allclose(more.points[0::2][:8], same.points[:8], atol=1e-6)
    with pytest.raises(MissingPointsError) as raised:
        PointWeights.of(parse_query("nose_bridge"), known, knots)
    assert raised.value.parts == ("nose_bridge",)
