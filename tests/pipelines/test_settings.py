"""Settings: each default once, what cannot be refused in one line, and light to import."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.pipelines.toys import ToyDetector, ToyModel
from vtrack.detectors import DETECTORS, load_detector
from vtrack.errors import UsageError, settings_as_flags, spelled
from vtrack.options import option_of
from vtrack.pipelines.outputs.codecs import CODECS as CODEC_DETAILS
from vtrack.pipelines.outputs.tables.columns import EXTRAS
from vtrack.pipelines.registry import CODECS, COLUMN_GROUPS, CSV_FORMATS, OUTPUTS
from vtrack.pipelines.settings import InputSettings, LiveSettings, OutputSettings, Settings, plain
from vtrack.query import parse_query
from vtrack.types import Query

ROOT = Path(__file__).parents[2]


def test_nothing_heavy_is_imported() -> None:
    code = """
import sys
import vtrack.pipelines.settings
heavy = {"torch", "cv2", "scipy", "av", "onnxruntime"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_setting_says_what_it_is_for() -> None:
    for kind in (Settings, LiveSettings, InputSettings, OutputSettings):
        for field in fields(kind):
            assert len(option_of(field).help) > 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"smooth": "median"}, "there is no smoothing 'median'; choose from rts, kalman"),
        ({"smooth": "kalmann"}, "did you mean kalman"),
        ({"engine": "steam"}, "there is no engine 'steam'; choose from auto, torch"),
        ({"detector": "yunett"}, "there is no detector 'yunett'; did you mean yunet"),
        ({"detector": "yunet"}, "needs its model file"),
        ({"detector": "boxes", "detector_model": "t.csv", "detect_size": 320}, "boxes' does not take a size"),
        ({"detect_size": 8}, "64 to 8192 pixels"),
        ({"max_faces": 0}, "max_faces must be at least 1, got 0"),
        ({"max_faces": 1.5}, "max_faces must be a whole number, got 1.5"),
        ({"max_faces": True}, "max_faces must be a whole number, got True"),
        ({"detect_every": 1.1}, "detect_every must be 0 to 1 seconds, got 1.1"),
        ({"detect_every": float("nan")}, "detect_every must be 0 to 1 seconds"),
        ({"strength": 2}, "strength must be 0 to 1, got 2"),
        ({"strengths": {"eys": 0.2}}, "no part is called 'eys'; did you mean eyes"),
        ({"strengths": {"eyes": 2}}, "strengths.eyes must be 0 to 1, got 2"),
        ({"strengths": 0.5}, "strengths must be numbers by name"),
        ({"small_faces": "yes"}, "small_faces must be true or false"),
        ({"parts": "eyez"}, "did you mean eyes"),
        ({"fov": 180}, "fov must be 5 to 150 degrees, got 180"),
        ({"eye_distance": 9}, "eye_distance must be 50 to 130 mm, got 9"),
        ({"pose_unit": "cm"}, "there is no unit of the pose 'cm'; choose from eyes, mm"),
        ({"parts": 5}, "parts must be text"),
        ({"model": 5}, "model must be text"),
    ],
)
def test_invalid_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Settings(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "excel"}, "there is no table format 'excel'; choose from wide"),
        ({"columns": ["measure"]}, "there is no column group 'measure'; did you mean measures"),
        ({"columns": "raw", "format": "dlc"}, "no room for extra columns; use wide or long"),
        ({"outputs": ("xml",)}, "there is no output 'xml'"),
        (
            {"draw": "hats"},
            "there is no kind of drawing 'hats'; choose from points, curves, wireframe, boxes, ids, axes",
        ),
        ({"draw": "none,points"}, "there is no kind of drawing 'none'"),
        ({"draw": ""}, "there is no kind of drawing ''"),
        ({"codec": "theora"}, "there is no codec 'theora'; choose from h264, hevc"),
        ({"preset": "warp"}, "there is no preset 'warp'"),
        ({"crf": 52}, "crf must be 0 to 51, got 52"),
    ],
)
def test_outputs_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OutputSettings(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"start": 5, "stop": 2}, r"stop \(2 s\) must come after start \(5 s\)"),
        ({"start": "1:75"}, "'1:75' is not a time"),
        ({"fps": 0}, "fps must be at least 0.001 Hz, got 0"),
    ],
)
def test_inputs_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        InputSettings(**changes)


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        (OutputSettings(crf=20), (), "crf applies to the annotated video only; add video=True"),
        (OutputSettings(), ("preset",), "preset applies to the annotated video only; add video=True"),
        (OutputSettings(draw="boxes"), (), "draw applies to the annotated video only; add video=True"),
        (OutputSettings(outputs="parquet", format="long"), (), "format applies to the CSV table only; add csv=True"),
        (OutputSettings(outputs="video", columns="raw"), (), "columns applies to the CSV table only; add csv=True or"),
        (Settings(smooth="none", strength=0.7), (), 'strength has no effect with smooth="none"'),
        (Settings(smooth="none"), ("strength",), 'strength has no effect with smooth="none"'),
        (
            Settings("eyes", strengths={"lips": 0.2}),
            (),
            "strengths.lips has no effect: no lips are tracked; add them to parts",
        ),
        (
            Settings("eyes", fov=60),
            (),
            "fov has no effect; add measures=True, pose=True, points3d=True or expressions=True",
        ),
        (Settings("eyes", measures=True, pose_unit="mm"), (), "pose_unit has no effect; add pose=True"),
        (Settings("eyes", pose=True, eye_distance=90), (), 'eye_distance has no effect; add pose_unit="mm"'),
    ],
)
def test_what_changes_nothing_is_refused(settings: Any, given: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings.check_used(given)


def test_messages_name_settings_as_their_reader_writes_them() -> None:
    assert spelled("max_faces") == "max_faces"
    assert (spelled("smooth", "none"), spelled("video", True)) == ('smooth="none"', "video=True")
    with settings_as_flags():
        assert spelled("strength", flag="--smooth.strength") == "--smooth.strength"
        assert (spelled("smooth", "none"), spelled("video", True)) == ("--smooth none", "--video")
        with pytest.raises(UsageError, match=r"^--smooth\.lips must be 0 to 1, got 2$"):
            Settings(strengths={"lips": 2})
        with settings_as_flags(False), pytest.raises(UsageError, match=r"^max_faces must"):
            Settings(max_faces=0)
    with pytest.raises(UsageError, match=r"give its path as detector_model$"):
        Settings(detector="yunet")
    with pytest.raises(UsageError, match=r"give its path as model_path$"):
        load_detector("yunet")


def test_what_changes_something_is_not() -> None:
    OutputSettings(outputs=("csv", "video"), crf=20, draw="none", format="long", columns="raw").check_used()
    Settings("eyes", strengths={"head": 0.2, "left_eye": 0.3}, strength=0.1).check_used()
    Settings("eyes", strengths={"lips": 0.2}, measures=True).check_used()
    for name in ("measures", "points3d", "expressions"):
        Settings("eyes", fov=60, **{name: True}).check_used()
    Settings("eyes", fov=60, pose=True, pose_unit="mm", eye_distance=90).check_used()


def test_one_form_whatever_was_given() -> None:
    assert Settings(["eyes", "lips:40"]).query == Settings("eyes,lips:40").query == parse_query("eyes,lips:40")
    assert OutputSettings(columns="measures, raw") == OutputSettings(columns=["raw", "measures"])
    assert OutputSettings(draw="curves,points") == OutputSettings()
    assert OutputSettings(draw="none").draw == ()
    assert InputSettings(start="1:30") == InputSettings(start=np.float32(90))
    assert Settings(max_faces=np.int64(2)).max_faces == 2


def test_live_pictures_have_no_future() -> None:
    assert (LiveSettings().smooth, LiveSettings().measures) == ("kalman", True)
    with pytest.raises(UsageError, match="there is no live smoothing 'rts'; choose from kalman"):
        LiveSettings(smooth="rts")


def test_objects_of_ones_own() -> None:
    model, detector = ToyModel(), ToyDetector()
    settings = Settings("eyes", model=model, detector=detector)
    assert (settings.model, settings.detector) == (model, detector)
    assert replace(settings, max_faces=1).model is model


def test_settings_come_back_from_json() -> None:
    query = Query(("left_eye", "left_eye", "jaw"), (0.0, 1e-9, 1 / 3))
    for settings in (Settings("eyes", strengths={"head": 0.1}, detector_model=Path("card.json")), Settings(query)):
        inputs, outputs = InputSettings(start=2.5, every=2), OutputSettings(outputs=("csv", "video"), draw="none")
        content = json.loads(json.dumps(plain(settings, inputs, outputs)))
        again = [
            kind(**{field.name: content[field.name] for field in fields(kind)})
            for kind in (Settings, InputSettings, OutputSettings)
        ]
        assert plain(*again) == plain(settings, inputs, outputs)
        assert again[0].query == settings.query


def test_registries_and_what_they_name_agree() -> None:
    assert tuple(EXTRAS) == tuple(COLUMN_GROUPS)
    assert tuple(CODEC_DETAILS) == CODECS
    for entry in (*OUTPUTS.values(), *CSV_FORMATS.values()):
        assert callable(entry.load())
    for detector in DETECTORS.values():
        module, _, name = detector.import_path.partition(":")
        parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        assert set(detector.takes) == set(parameters)
