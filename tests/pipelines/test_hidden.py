"""Which points are hidden, from the model's prediction to tables, drawings and files for other programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vtrack
from tests.clips import write_clip
from tests.pipelines.results import QUERY, make_face, make_result
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter
from vtrack.anchors import ANCHORS
from vtrack.cli.main import OK, USAGE, main
from vtrack.models.decoding.interpolation import plan_query
from vtrack.pipelines.batch.parallel import ParallelPipeline
from vtrack.pipelines.batch.workers.model_server import Request, predict_batch
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.outputs.interchange.coco import CocoKeypoints
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.settings import InputSettings, Settings
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.tables.measured import MeasuredResults
from vtrack.types import ImageArray, Prediction, Query

PARTS = Query(("chin", "chin", "left_eye"), (0.0, 0.5, 0.0))
SAMPLE = str(Path(__file__).parents[2] / "samples" / "sample.mp4")


class Telling(ToyModel):
    """Says that a point is the more hidden, the farther along its part it lies."""

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        told = super().predict(crops, query)
        return replace(told, hidden=np.broadcast_to(0.2 + 0.6 * np.array(query.positions), told.sigma.shape))


EXPECTED = (0.2, 0.5, 0.2)
TELLING = Settings(PARTS, model=Telling(), detector=ToyDetector())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds with a face, of which a quarter of a second is empty."""

    def scene(i: int) -> list[ToyFace]:
        return [] if 20 <= i < 22 else [ToyFace((80 + 0.2 * i, 60), 44)]

    return write_clip(tmp_path_factory.mktemp("hidden") / "a.mp4", 60, (160, 120), rate=10, draw=painter(scene))


def tracked(path: Path, **options: object) -> vtrack.Results:
    return vtrack.track(path, PARTS, model=Telling(), detector=ToyDetector(), detect_every=0.1, **options)


def test_faces_carry_it_and_those_that_were_not_seen_do_not(clip: Path) -> None:
    faces = [face for result in tracked(clip) for face in result.faces]
    seen = [face.hidden for face in faces if face.measured]
    assert len(seen) > 50 and all(np.allclose(hidden, EXPECTED) for hidden in seen)
    assert all(face.hidden is None for face in faces if not face.measured)
    assert not all(face.measured for face in faces)


def test_every_table_has_it_and_reads_it_back(clip: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"a.{name}" for name in ("csv", "jsonl", "parquet")}
    facts = {"model": Telling(), "detector": ToyDetector(), "columns": ["hidden"], "stop": 0.5}
    vtrack.run(clip, PARTS, **paths, **facts)
    vtrack.run(clip, PARTS, csv=tmp_path / "long.csv", format="long", **facts)
    for path in (*paths.values(), tmp_path / "long.csv"):
        table = vtrack.read_table(path)
        np.testing.assert_allclose(table.to_numpy("hidden"), np.broadcast_to(EXPECTED, (5, 1, 3)), atol=1e-6)
        np.testing.assert_allclose(table.to_pandas(long=True)["hidden"], [*EXPECTED] * 5, atol=1e-6)
        assert table.to_xarray().hidden.dims == ("time", "face", "point")
    header = paths["csv"].read_text().splitlines()[0]
    assert "chin_0_hidden" in header and "anchor" not in header


def test_a_refined_or_converted_table_keeps_it(clip: Path, tmp_path: Path) -> None:
    columns = ["raw", "hidden", "measures"]
    vtrack.run(clip, PARTS, model=Telling(), detector=ToyDetector(), columns=columns, csv=tmp_path / "a.csv")
    assert main(["refine", str(tmp_path / "a.csv"), "-o", str(tmp_path / "b.csv")]) == OK
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    assert main(["convert", str(tmp_path / "a.csv"), "--to", "jsonl", "-o", str(tmp_path / "c.jsonl")]) == OK
    first, second = (vtrack.read_table(tmp_path / name).to_numpy("hidden") for name in ("a.csv", "c.jsonl"))
    np.testing.assert_array_equal(first, second)


def test_measures_computed_from_a_table_leave_it(tmp_path: Path) -> None:
    vtrack.run(SAMPLE, "300w", columns=["hidden"], csv=tmp_path / "a.csv", stop=0.2)
    results = MeasuredResults(TableResults(tmp_path / "a.csv"))
    told = [result.faces[0].hidden for result in results]
    assert results.computed
    np.testing.assert_array_equal(told, vtrack.read_table(tmp_path / "a.csv").to_numpy("hidden")[:, 0])


def test_refine_cannot_tell_what_the_run_did_not(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vtrack.run(clip, PARTS, model=ToyModel(), detector=ToyDetector(), columns=["raw"], csv=tmp_path / "a.csv")
    assert main(["refine", str(tmp_path / "a.csv"), "--columns", "hidden", "-o", str(tmp_path / "b.csv")]) == USAGE
    assert "does not tell which points are hidden; run again with --columns raw,hidden" in capsys.readouterr().err


def test_cells_are_empty_where_a_model_does_not_tell(clip: Path) -> None:
    results = vtrack.track(clip, PARTS, model=ToyModel(), detector=ToyDetector(), stop=0.3)
    assert np.isnan(results.table(["hidden"]).to_numpy("hidden")).all()


def test_a_shipped_model_that_does_not_tell_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "gcn", "--columns", "hidden", "--csv", str(tmp_path / "a.csv"), "--parts", "300w"]
    assert main(["run", SAMPLE, *options]) == USAGE
    assert "the model gcn does not tell which points are hidden; use another model" in capsys.readouterr().err


def test_several_processes_tell_what_one_does(clip: Path) -> None:
    tables = []
    for pipeline in (Pipeline(TELLING), ParallelPipeline(TELLING, InputSettings(), 2, min_length=2.0)):
        with open_source(clip) as source:
            tables.append(
                [[face.hidden for face in result.faces if face.measured] for result in pipeline.results(source)]
            )
    assert len(tables[0]) == 60
    for one, other in zip(*tables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_shared_model_tells_each_client_its_own() -> None:
    crops = np.zeros((2, 3, 64, 64), np.uint8)
    requests = [Request(None, crops[:count], ANCHORS) for count in (1, 2)]  # type: ignore[arg-type]
    answers = predict_batch(Telling(), requests)
    assert [answer.hidden.shape for answer in answers] == [(1, len(ANCHORS)), (2, len(ANCHORS))]  # type: ignore[union-attr]


def test_points_between_taught_ones_are_as_hidden_as_their_neighbours() -> None:
    prediction = Prediction(np.zeros((1, 4, 2)), np.ones((1, 4)), np.ones(1), np.array([[0.0, 1.0, 1.0, 0.0]]))
    taught = vtrack.load_model("fast")._taught  # type: ignore[attr-defined]
    plan = plan_query(vtrack.parse_query("jaw:40"), taught)
    count = len(plan.network_query)
    known = np.linspace(0, 1, count)[None]
    told = plan.interpolate(replace(prediction, points=np.zeros((1, count, 2)), sigma=known, hidden=known)).hidden
    assert told is not None and told.shape == (1, 40) and told.min() >= 0 and told.max() <= 1


def test_hidden_points_are_drawn_faintly() -> None:
    def ink(**facts: object) -> int:
        image = np.full((48, 64, 3), 90, np.uint8)
        result = make_result(0, make_face(sigma=np.full(3, 0.1), **facts), image=image)
        return int(np.abs(Drawing(QUERY, ["points"])(result).astype(int) - 90).sum())

    bright = ink()
    assert ink(hidden=np.zeros(3)) == ink(hidden=np.full(3, np.nan)) == bright
    assert ink(hidden=np.ones(3)) < 0.5 * bright < ink(hidden=np.array([1.0, 0.0, 0.0])) < bright


def test_coco_marks_hidden_points(tmp_path: Path) -> None:
    with CocoKeypoints(tmp_path / "a.json", QUERY, size=(64, 48)) as sink:
        sink.write(make_result(0, make_face(hidden=np.array([0.9, 0.2, np.nan]))))
    keypoints = json.loads((tmp_path / "a.json").read_text())["annotations"][0]["keypoints"]
    assert keypoints[2::3] == [1, 2, 2]
