"""Points in space in what runs write and read: with the pose, or alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import vtrack
from tests.pipelines.results import QUERY
from tests.pipelines.toys import ToyDetector, ToyModel
from vtrack.cli.main import OK, USAGE, main
from vtrack.pipelines.measures import points3d
from vtrack.pipelines.measures.measurer import Measurer
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.settings import Settings
from vtrack.types import FrameResult, Query

ROOT = Path(__file__).parents[3]
SAMPLE = str(ROOT / "samples" / "sample.mp4")


def test_every_table_has_them_and_reads_them_back(tmp_path: Path) -> None:
    paths = {kind: str(tmp_path / f"a.{kind}") for kind in ("csv", "jsonl", "parquet")}
    files = [word for kind, path in paths.items() for word in (f"--{kind}", path)]
    options = ["--parts", "eyes:2,chin:2", "--stop", "0.1", "--quiet", "--columns", "pose,points3d"]
    assert main(["run", SAMPLE, *options, *files]) == OK
    tables = {kind: vtrack.read_table(path) for kind, path in paths.items()}
    places, deviations = (tables["csv"].to_numpy(what) for what in ("points3d", "points3d_sd"))
    assert places.shape == deviations.shape == (3, 1, 4, 3) and (deviations > 0).all()
    for table in tables.values():
        np.testing.assert_allclose(table.to_numpy("points3d"), places, atol=1e-4)
    focal = tables["csv"].to_numpy("pose_focal")[..., None, None]
    seen = places[..., :2] / places[..., 2:] * focal + (np.array([640, 480]) - 1) / 2
    np.testing.assert_allclose(seen, tables["csv"].to_numpy(), atol=0.01)
    face = json.loads(Path(paths["jsonl"]).read_text().splitlines()[0])["faces"][0]
    assert face["left_eye_0_x3d"] == places[0, 0, 0, 0] and face["left_eye_0_z3d_sd"] == deviations[0, 0, 0, 2]


def test_they_come_from_raw_columns_as_from_the_run(tmp_path: Path) -> None:
    options = {"parts": "eyes:4", "stop": 0.2, "fov": 65, "pose_unit": "mm"}
    columns = ["raw", "points3d"]
    vtrack.run(SAMPLE, csv=tmp_path / "a.csv", columns=columns, **options)
    assert main(["refine", str(tmp_path / "a.csv"), "-o", str(tmp_path / "b.csv")]) == OK
    first, second = (vtrack.read_table(tmp_path / name) for name in ("a.csv", "b.csv"))
    np.testing.assert_array_equal(first.to_numpy("points3d"), second.to_numpy("points3d"))
    assert first.to_numpy("points3d")[..., 2].min() > 300
    data = first.to_xarray()
    assert dict(data.points3d.sizes) == {"time": 6, "face": 1, "point": 4, "axis": 3}


def test_python_has_them_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    (result,) = vtrack.track(SAMPLE, "left_eye:2", stop=0.03, points3d=True)
    face = result.faces[0]
    assert face.points3d is not None and face.points3d.places.shape == (2, 3) and face.pose is None
    measured: list[FrameResult] = []
    monkeypatch.setattr(Measurer, "__call__", lambda self, result: measured.append(result))
    (result,) = vtrack.track(SAMPLE, "left_eye:2", stop=0.03)
    assert result.faces[0].points3d is None and not measured


def test_the_face_in_space_is_ready_before_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Query] = []
    monkeypatch.setattr(points3d, "surface_points", asked.append)
    for wanted in (False, True):
        Pipeline(Settings(QUERY, model=ToyModel(), detector=ToyDetector(), points3d=wanted))
    assert asked == [QUERY]


def test_a_live_table_has_those_of_its_own_points(tmp_path: Path) -> None:
    path = tmp_path / "live.csv"
    options = ["--camera", SAMPLE, "--seconds", "0.5", "--view", "none", "--parts", "pupils"]
    assert main(["webcam", *options, "--points3d", "--csv", str(path)]) == OK
    assert np.isfinite(vtrack.read_table(path).to_numpy("points3d")).all()


def test_a_unit_alone_changes_nothing_and_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", SAMPLE, "--pose-unit", "mm"]) == USAGE
    assert "--pose-unit has no effect; add --pose or --points3d" in capsys.readouterr().err
