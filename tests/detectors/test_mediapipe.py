"""mediapipe's BlazeFace. It needs packages of its own age, so most of this runs only in an environment made for it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.detectors.pictures import astronaut, frame, overlap, photographs
from vtrack.data.scenes.labels import box_of
from vtrack.detectors import load_detector
from vtrack.errors import MissingExtraError, ModelError, UsageError

INSTALLED = importlib.util.find_spec("mediapipe") is not None
needed = pytest.mark.skipif(not INSTALLED, reason="mediapipe is not installed")


def bundled(name: str) -> Path:
    """A model file that mediapipe 0.10 carries."""
    import mediapipe

    path = Path(mediapipe.__file__).parent / "modules" / "face_detection" / name
    if not path.is_file():
        pytest.skip(f"mediapipe {mediapipe.__version__} contains no {name}")
    return path


def carries_models() -> bool:
    import mediapipe

    return hasattr(mediapipe, "solutions")


@pytest.mark.skipif(INSTALLED, reason="mediapipe is installed")
def test_says_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'vtrack\[mediapipe\]'"):
        load_detector("mediapipe")


@needed
def test_full_range_finds_the_landmark_box() -> None:
    if not carries_models():
        with pytest.raises(UsageError, match="contains no face model"):
            load_detector("mediapipe")
        return
    picture, box = astronaut()
    [found, nothing] = load_detector("mediapipe").detect([frame(picture), frame(np.zeros((90, 90, 3), np.uint8))])
    assert len(found) == 1
    assert overlap(found, box) > 0.7
    assert abs(found.angles[0]) < 0.2
    assert len(nothing) == 0


@needed
def test_tiles_find_small_faces() -> None:
    if not carries_models():
        pytest.skip("this mediapipe contains no full-range model")
    picture, box = astronaut(scale=40 / 91, size=(1280, 720))
    [shrunken] = load_detector("mediapipe").detect([frame(picture)])
    [tiled] = load_detector("mediapipe", small_faces=True).detect([frame(picture)])
    assert overlap(shrunken, box) < 0.5 < overlap(tiled, box)
    assert len(tiled) == 1


@needed
@pytest.mark.parametrize("name", ["frl189", pytest.param("w68", marks=pytest.mark.data)])
def test_converted_boxes_fit_annotated_faces(name: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue("data_dir" if name == "w68" else "faces_dir")
    known = photographs(folder, name, "val")[:40]
    detector = load_detector("mediapipe") if carries_models() else None
    if detector is None:
        pytest.skip("this mediapipe contains no full-range model")
    found = detector.detect([frame(photograph.image) for photograph in known])
    shared = [overlap(faces, box_of(photograph.points)) for faces, photograph in zip(found, known, strict=True)]
    assert np.median(shared) > 0.8


@needed
def test_a_model_file_through_tasks() -> None:
    picture, box = astronaut()
    detector = load_detector("mediapipe", model_path=bundled("face_detection_short_range.tflite"))
    [found] = detector.detect([frame(picture)])
    assert len(found) == 1
    assert overlap(found, box) > 0.7


@needed
def test_wrong_model_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        load_detector("mediapipe", model_path=tmp_path / "absent.tflite")
    (tmp_path / "text.tflite").write_text("this is not a network")
    with pytest.raises(ModelError, match="not a face detection model"):
        load_detector("mediapipe", model_path=tmp_path / "text.tflite")


@needed
def test_a_model_of_another_shape() -> None:
    detector = load_detector("mediapipe", model_path=bundled("face_detection_full_range_sparse.tflite"))
    with pytest.raises(ModelError, match="does not fit"):
        detector.detect([frame(astronaut()[0])])
