"""Poses of heads in what runs write and send: asked for by themselves, in films, live pictures and photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import vtrack
from vtrack.cli.main import OK, USAGE, main
from vtrack.measures import POSE_NAMES
from vtrack.pipelines.measures import head_pose

ROOT = Path(__file__).parents[3]
SAMPLE = str(ROOT / "samples" / "sample.mp4")


def test_a_pose_is_there_when_it_is_asked_for_and_else_nothing_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    (result,) = vtrack.track(SAMPLE, "pupils", stop=0.03, pose=True)
    pose = result.faces[0].pose
    assert pose is not None and not result.faces[0].measures and len(result.query) == 2
    # It is where the face is: the pupils lie between the outer corners of the eyes.
    left, right = pose.project(np.array([[-0.5, 0, 0], [0.5, 0, 0]]), result.frame.size)
    pupils = result.faces[0].points
    assert left[0] < pupils[0, 0] < pupils[1, 0] < right[0]
    assert np.abs((left + right - pupils[0] - pupils[1]) / 2).max() < 0.15 * (right[0] - left[0])
    monkeypatch.setattr(head_pose, "fit_face", None)
    (result,) = vtrack.track(SAMPLE, "pupils", stop=0.03)
    assert result.faces[0].pose is None


def test_the_table_of_a_run_has_it_beside_measures_or_alone(tmp_path: Path) -> None:
    options = ["--parts", "pupils", "--stop", "0.1", "--quiet", "--jsonl", str(tmp_path / "a.jsonl")]
    assert main(["run", SAMPLE, *options, "--pose", "--measures", "--csv", str(tmp_path / "a.csv")]) == OK
    alone = vtrack.run(SAMPLE, "pupils", stop=0.1, columns="pose", csv=tmp_path / "b.csv")
    assert alone.frames == 3
    both, one = vtrack.read_table(tmp_path / "a.csv"), vtrack.read_table(tmp_path / "b.csv")
    assert [field.name for field in one.fields][-len(POSE_NAMES) :] == [*POSE_NAMES]
    for name in POSE_NAMES:
        np.testing.assert_array_equal(both.column(name), one.column(name))
    # Pitch, and yaw with the other sign, of a head that is hardly turned otherwise.
    np.testing.assert_allclose(np.degrees(both.column("pose_Rx")), both.column("pitch"), atol=1)
    np.testing.assert_allclose(np.degrees(both.column("pose_Ry")), -both.column("yaw"), atol=1)
    line = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    assert line["faces"][0]["pose_Tz"] == both.column("pose_Tz")[0]


def test_axes_are_drawn_without_columns_of_the_pose_and_from_a_table_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--parts", "pupils", "--stop", "0.1", "--quiet"]
    table, video = tmp_path / "a.csv", tmp_path / "a.mp4"
    assert main(["run", SAMPLE, *options, "--draw", "axes", "--csv", str(table), "--video", str(video)]) == OK
    assert "pose" not in table.read_text()
    assert main(["draw", str(table), SAMPLE, "--draw", "axes", "-o", str(tmp_path / "b.mp4")]) == USAGE
    assert "needs the columns pose" in capsys.readouterr().err
    assert main(["run", SAMPLE, *options, "--pose", "--csv", str(tmp_path / "c.csv")]) == OK
    other = tmp_path / "c.mp4"
    assert main(["draw", str(tmp_path / "c.csv"), SAMPLE, "--draw", "axes", "-o", str(other), "--quiet"]) == OK
    plain, drawn, again = (next(iter(vtrack.open_source(path))).image.astype(int) for path in (SAMPLE, video, other))
    green = [int(((image[..., 1] > 150) & (image[..., ::2].max(-1) < 120)).sum()) for image in (plain, drawn)]
    assert green[0] < 20 and green[1] > 100
    assert np.abs(drawn - again).mean() < 0.5
    result = next(vtrack.track(SAMPLE, "pupils"))
    with pytest.raises(vtrack.UsageError, match="axes are drawn of faces that have them; track with pose=True"):
        vtrack.draw(result.frame.image, result.faces, kinds="axes")


def test_a_live_picture_has_it_in_its_table_and_its_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--camera", SAMPLE, "--parts", "pupils", "--seconds", "0.5", "--view", "none", "--fov", "70"]
    assert main(["webcam", *options, "--pose", "--csv", str(tmp_path / "live.csv"), "--emit", "ndjson"]) == OK
    table = vtrack.read_table(tmp_path / "live.csv")
    np.testing.assert_allclose(table.column("pose_focal"), 320 / np.tan(np.radians(35)), atol=1e-3)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["faces"][0]["pose_Tz"] for line in lines] == table.column("pose_Tz").tolist()


def test_photographs_have_it(tmp_path: Path) -> None:
    photographs = str(ROOT / "tests" / "data" / "london" / "images")
    vtrack.run(photographs, "pupils", pose=True, pose_unit="mm", csv=tmp_path / "a.csv")
    table = vtrack.read_table(tmp_path / "a.csv")
    assert np.isfinite(table.column("pose_Rx")).all() and (table.column("pose_Tz") > 500).all()
