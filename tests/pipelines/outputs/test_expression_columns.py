"""Expressions in what runs write and send, and what is made of tables with their points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import vtrack
from tests.pipelines.results import QUERY, make_face, make_result
from vtrack.cli.main import OK, USAGE, main
from vtrack.measures import EXPRESSION_NAMES, EXPRESSIONS, SHAPES, Expressions
from vtrack.pipelines.measures.expressions import finder
from vtrack.pipelines.outputs.streams.osc import osc_encoder, osc_message
from vtrack.pipelines.outputs.streams.vmc import blend_shapes

ROOT = Path(__file__).parents[3]
SAMPLE = str(ROOT / "samples" / "sample.mp4")


def test_expressions_are_there_when_they_are_asked_for_and_else_nothing_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (result,) = vtrack.track(SAMPLE, "pupils", stop=0.03, expressions=True)
    face = result.faces[0]
    assert face.expressions is not None and face.pose is None and not face.measures and len(result.query) == 2
    assert set(face.expressions.shapes) == {*SHAPES} and len(face.expressions) == len(EXPRESSION_NAMES)
    with pytest.raises(vtrack.NameNotAskedError, match="there is no expression 'jawopen'; did you mean jawOpen"):
        face.expressions["jawopen"]
    monkeypatch.setattr(finder, "frontal", None)
    (result,) = vtrack.track(SAMPLE, "pupils", stop=0.03, pose=True)
    assert result.faces[0].expressions is None


def test_the_tables_of_a_run_are_read_back_and_made_anew(tmp_path: Path) -> None:
    options = ["--parts", "eyes", "--stop", "1", "--quiet", "--columns", "raw"]
    paths = [tmp_path / f"a.{ending}" for ending in ("csv", "jsonl", "parquet")]
    tables = [text for path in paths for text in (f"--{path.suffix[1:]}", str(path))]
    assert main(["run", SAMPLE, *options, "--expressions", "--neutral", "0:00.5", *tables]) == OK
    first, *others = map(vtrack.read_table, paths)
    assert [field.name for field in first.fields][-len(EXPRESSION_NAMES) :] == [*EXPRESSION_NAMES]
    for other in others:
        for name in ("jawOpen", "eyeBlinkLeft_sd", "AU12_proxy", "asymmetry_mouth"):
            np.testing.assert_allclose(other.column(name), first.column(name), atol=1e-4)
    assert np.isnan(first.column("speed_jaw")[0]) and np.isfinite(first.column("speed_jaw")[1:]).all()
    line = json.loads(paths[1].read_text().splitlines()[0])
    assert line["faces"][0]["jawOpen"] == first.column("jawOpen")[0] and line["faces"][0]["speed_jaw"] is None
    # The blink at 0.9 s, of both eyes.
    assert first.column("AU43_proxy")[26:28].max() > 0.8 and first.column("AU43_proxy")[16:18].max() < 0.2
    again = tmp_path / "b.csv"
    assert main(["refine", str(paths[0]), "-o", str(again), "--quiet"]) == OK
    assert again.read_text() == paths[0].read_text()
    assert main(["refine", str(paths[0]), "--neutral", "0", "-o", str(again), "--overwrite", "--quiet"]) == OK
    assert again.read_text() != paths[0].read_text()
    assert json.loads(Path(f"{again}.meta.json").read_text())["options"]["neutral"] == 0


def test_a_long_table_and_a_table_with_all_curves_have_them_too(tmp_path: Path) -> None:
    whole = ["--parts", "face", "--stop", "0.2", "--columns", "raw", "--quiet", "--csv", str(tmp_path / "face.csv")]
    assert main(["run", SAMPLE, *whole]) == OK
    assert main(["refine", str(tmp_path / "face.csv"), "--expressions", "--quiet"]) == OK
    table = vtrack.read_table(tmp_path / "face.refined.csv")
    assert np.isfinite(table.column("mouthRollLower_sd")).all()
    long = ["--to", "long", "-o", str(tmp_path / "long.csv"), "--quiet"]
    assert main(["convert", str(tmp_path / "face.refined.csv"), *long]) == OK
    np.testing.assert_array_equal(
        vtrack.read_table(tmp_path / "long.csv").column("browInnerUp"), table.column("browInnerUp")
    )
    with pytest.raises(vtrack.NameNotAskedError, match="track with expressions=True"):
        vtrack.read_table(tmp_path / "face.csv").column("jawOpen")


def test_a_neutral_moment_after_the_end_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert list(vtrack.track(SAMPLE, "pupils", stop=0.03, expressions=True, neutral=5))
    assert "neutral=5.0 has no effect: no face was seen" in caplog.text


def test_a_neutral_moment_without_expressions_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", SAMPLE, "--neutral", "0:05", "--csv", "-"]) == USAGE
    assert "--neutral has no effect; add --expressions" in capsys.readouterr().err


def test_they_are_sent_by_name_to_instruments_and_avatars() -> None:
    values = np.arange(len(EXPRESSION_NAMES)) / len(EXPRESSION_NAMES)
    values[EXPRESSIONS.index("speed_eyes")] = np.nan
    bundle = b"".join(osc_encoder(QUERY)(make_result(3, make_face(expressions=Expressions(values)))))
    jaw = float(values[EXPRESSIONS.index("jawOpen")])
    assert osc_message("/vtrack/face/1/jawOpen", jaw) in bundle
    assert b"AU12_proxy" in bundle and b"speed_eyes" not in bundle and b"_sd" not in bundle
    with vtrack.Tracker("eyes", measures=True, expressions=True) as tracker:
        (result,) = tracker.track(SAMPLE, stop=0.03)
    shapes = blend_shapes(result.faces[0])
    assert shapes["JawOpen"] == result.faces[0].expressions["jawOpen"]
    assert {name[0].upper() + name[1:] for name in SHAPES} <= set(shapes) and "A" in shapes
