"""Models of one layout say which of the parts that were asked for they do not know."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import onnxruntime
import pytest

from vtrack.cli.main import main
from vtrack.errors import UsageError
from vtrack.models import card_path, load_model
from vtrack.models.card import read_card
from vtrack.models.export.standalone import export
from vtrack.pipelines.batch.state import Recipe
from vtrack.pipelines.live.camera import NoCamera
from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.live.session import LiveSession
from vtrack.pipelines.outputs.tables.read import read_table
from vtrack.pipelines.pipeline import Pipeline, check_parts_known
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.track import track
from vtrack.query import parse_query

SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"


@pytest.mark.parametrize("model", ["gcn", "rht", "keyposs", "gv"])
def test_unknown_parts_are_those_without_a_point(model: str) -> None:
    card = read_card(card_path(model))
    assert card.unknown_parts(parse_query("jaw,irises,lips:50")) == ("left_iris", "right_iris")
    assert card.unknown_parts(parse_query("300w")) == ()


def test_a_model_of_any_points_knows_all_parts() -> None:
    assert read_card(card_path("fast")).unknown_parts(parse_query("irises,ears")) == ()


def test_a_warning_names_the_parts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        track(SAMPLE, "eyes,irises", model="gcn").close()
    assert [record.message for record in caplog.records] == [
        "the model gcn does not know left_iris, right_iris: their points are guessed from other parts; use --model fast"
    ]


def test_a_table_says_which_parts_are_guessed(tmp_path: Path) -> None:
    for name, parts, guessed in (("a", "left_pupil,left_eye", ["left_pupil"]), ("b", "left_eye", None)):
        path = tmp_path / f"{name}.csv"
        options = ["--model", "gcn", "--stop", "0.1", "--parts", parts, "--csv", str(path), "--quiet"]
        assert main(["run", str(SAMPLE), *options]) == 0
        assert read_table(path).meta["model"].get("guessed_parts") == guessed
    recipe = Recipe(Settings("left_pupil,left_eye", model="gcn"))
    assert recipe.model()["guessed_parts"] == ["left_pupil"]
    assert "guessed_parts" not in Recipe(Settings("left_eye", model="gcn")).model()


def test_a_file_for_other_programs_says_it_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "eye.onnx"
    with caplog.at_level(logging.WARNING):
        export("keyposs", parse_query("left_pupil,left_eye"), "onnx", path)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the model keyposs does not know left_pupil"
    ]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["vtrack"])
    assert facts["model"]["guessed_parts"] == ["left_pupil"]
    with pytest.raises(UsageError, match="keyposs knows none of left_pupil"):
        export("keyposs", parse_query("left_pupil"), "onnx", tmp_path / "pupil.onnx")


def test_a_model_that_knows_no_part_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gcn knows none of left_iris, right_iris, left_ear, right_ear"):
        track(SAMPLE, "irises,ears", model="gcn")
    options = ["--model", "rht", "--parts", "irises", "--csv", str(tmp_path / "t.csv")]
    assert main(["run", str(SAMPLE), *options]) == 2
    assert "the model rht knows none of left_iris, right_iris" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()
    loaded = load_model("gcn", engine="onnx", device="cpu")
    with pytest.raises(UsageError, match="knows none"):
        check_parts_known(Settings("ears", model=loaded))


def test_parts_that_are_shown_later_are_named_too(caplog: pytest.LogCaptureFixture) -> None:
    session = LiveSession(Pipeline(Settings("eyes", model="gcn", engine="onnx", smooth="kalman")), Capture(NoCamera))
    with caplog.at_level(logging.WARNING):
        for parts in ("eyes,irises", "eyes:40,irises:20"):  # named once, however densely
            session.show(parse_query(parts))
    warning = "the model gcn does not know left_iris, right_iris: their points are guessed from other parts"
    assert [record.message for record in caplog.records] == [f"{warning}; use --model fast"]
    assert session.notice.startswith(warning)
    with pytest.raises(UsageError, match="knows none of left_iris, right_iris"):
        session.show(parse_query("irises"))
    assert "left_iris" in session.shown_query.parts and "left_eye" in session.shown_query.parts
    session.show(parse_query("lips"))
    assert session.notice == ""
