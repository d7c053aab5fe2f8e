"""What users get to hold: parts and measures by name, read-only and picklable, with reprs of one line."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tests.pipelines.results import make_face, make_result
from vtrack.detectors import load_detector
from vtrack.errors import NameNotAskedError, QueryError, VTrackError
from vtrack.measures import Measures
from vtrack.models import load_model
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.settings import OutputSettings, Settings
from vtrack.pipelines.sources.open import open_source
from vtrack.query import parse_query
from vtrack.types import Detections, Prediction


def test_points_by_part_and_by_group() -> None:
    query = parse_query("left_eye:3,outer_lip:2,right_eye:4")
    face = make_face(query)
    np.testing.assert_array_equal(face["left_eye"], face.points[:3])
    np.testing.assert_array_equal(face["outer_lip"], face.points[3:5])
    np.testing.assert_array_equal(face["eyes"], face.points[[0, 1, 2, 5, 6, 7, 8]])
    np.testing.assert_array_equal(face["lips"], face["outer_lip"])
    np.testing.assert_array_equal(face["face"], face.points)


def test_a_part_that_was_not_asked_for_is_named_with_its_neighbours() -> None:
    face = make_face(parse_query("left_eye,jaw"))
    with pytest.raises(NameNotAskedError, match="there is no part 'left_eyes'; did you mean left_eye") as error:
        face["left_eyes"]
    assert isinstance(error.value, (KeyError, VTrackError)) and isinstance(error.value, QueryError)
    assert not str(error.value).startswith('"')
    with pytest.raises(KeyError, match=r"'lips' was not asked for; add it to parts \(here left_eye, jaw\)"):
        face["lips"]
    assert "eyes" in face and "jaw" in face and "lips" not in face and 0 not in face


def test_a_face_is_no_sequence() -> None:
    face = make_face()
    with pytest.raises(TypeError, match=r'face\[...\] takes the name of a part or group, face\["left_eye"\]; got 0'):
        face[0]  # type: ignore[index]
    with pytest.raises(TypeError, match="not iterable"):
        list(face)  # type: ignore[call-overload]


def test_measures_that_were_not_asked_for() -> None:
    face = make_face()
    assert not face.measures and len(face.measures) == 0 and face.measures.get("blink") is None
    with pytest.raises(NameNotAskedError, match="measures were not asked for; track with measures=True"):
        face.measures["blink"]
    measured = make_face(measures=Measures(MEASURES, np.zeros(len(MEASURES))))
    with pytest.raises(NameNotAskedError, match=r"""'blink' is a measure; read it as face.measures\["blink"\]"""):
        measured["blink"]


def test_measures_are_a_read_only_mapping() -> None:
    measures = Measures(MEASURES, np.arange(len(MEASURES)) / 4)
    assert list(measures) == list(MEASURES) and len(measures) == len(MEASURES)
    assert measures["blink"] == 0.5 and dict(measures)["roll"] == MEASURES.index("roll") / 4
    assert "blink" in measures and "wink" not in measures and measures.get("wink") is None
    with pytest.raises(NameNotAskedError, match="no measure 'left_eye'; did you mean left_eye_open"):
        measures["left_eye"]
    with pytest.raises(TypeError):
        measures["blink"] = 1.0  # type: ignore[index]
    with pytest.raises(ValueError, match="measures must have shape"):
        Measures(MEASURES, np.zeros(3))


def test_results_are_pickled_whole() -> None:
    face = make_face(measures=Measures(MEASURES, np.arange(len(MEASURES)) / 4))
    copy = pickle.loads(pickle.dumps(make_result(2, face)))
    assert dict(copy.faces[0].measures) == dict(face.measures)
    np.testing.assert_array_equal(copy.faces[0]["left_eye"], face["left_eye"])


def test_reprs_are_one_short_line() -> None:
    face = make_face()
    assert repr(face) == "Face(id=1, presence=0.975, box=(10.0, 10.0, 40.0, 50.0), points=3)"
    assert repr(make_result(3, face)) == "FrameResult(index=3, time=0.100100, faces=1)"
    assert repr(face.query) == "Query(3 points: left_eye:2, jaw:1)"
    assert repr(parse_query("all")).endswith("and 27 more parts)") and len(repr(parse_query("all"))) < 150
    assert repr(Measures(("blink", "yaw"), np.array([1.0, -12.34567]))) == "Measures(blink=1, yaw=-12.35)"
    detections = Detections(np.zeros((2, 4)), np.array([0.98765, 0.5]), np.zeros(2))
    assert repr(detections) == "Detections(2 faces, scores=[0.988, 0.5])"
    assert repr(Settings("eyes", smooth="kalman")) == "Settings(parts='eyes', smooth='kalman')"
    assert repr(OutputSettings(crf=20)) == "OutputSettings(crf=20)"
    prediction = Prediction(np.zeros((2, 5, 2)), np.zeros((2, 5)), np.zeros(2))
    assert repr(prediction) == "Prediction(2 crops, 5 points)"


def test_what_is_loaded_by_name_has_a_short_repr() -> None:
    assert repr(load_model(device="cpu", engine="onnx")) == "OnnxEngine(fast, 128 px, on cpu)"
    assert repr(load_detector()) == "NativeDetector(native)"
    with open_source(np.zeros((2, 30, 40, 3), np.uint8)) as source:
        assert repr(source) == "ImageSequence(images, 40x30)"
