"""Models for other programs: one file, one query, everything inside."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from vtrack import track
from vtrack.cli.main import main
from vtrack.models import load_model
from vtrack.models.card import WEIGHTS, read_card
from vtrack.models.export.standalone import export
from vtrack.pipelines.sources.open import open_source
from vtrack.query import parse_query

SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"


@pytest.fixture(scope="module")
def cut() -> np.ndarray:
    """(S, S, 3) the middle of the sample's first frame, which shows its face."""
    with open_source(SAMPLE, stop=0.1) as source:
        image = next(iter(source)).image
    height, width = image.shape[:2]
    left = (width - height) // 2
    return np.ascontiguousarray(image[:, left : left + height])


@pytest.mark.parametrize(("format", "suffix"), [("onnx", ".onnx"), ("torchscript", ".pt"), ("openvino", ".xml")])
def test_a_file_answers_what_the_model_answers(
    tmp_path: Path, cut: np.ndarray, format: str, suffix: str, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(logging.getLogger("torch"), "propagate", True)
    path = tmp_path / f"eyes{suffix}"
    arguments = ["export", "--model", "fast", "--parts", "eyes,lips", "--format", format, "-o", str(path)]
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.WARNING):
        assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "36 points" in captured.out
    assert (captured.err, warned, caplog.records) == ("", [], [])
    if format == "onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        facts = session.get_modelmeta().custom_metadata_map["vtrack"]
        points, sigma, presence, hidden = session.run(None, {"image": cut})
    elif format == "openvino":
        openvino = pytest.importorskip("openvino")
        model = openvino.Core().read_model(path)
        facts = model.get_rt_info(["vtrack"]).astype(str)
        compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        points, sigma, presence, hidden = compiled(cut).to_tuple()
    else:
        files = {"vtrack.json": ""}
        module = torch.jit.load(str(path), _extra_files=files)
        facts = files["vtrack.json"]
        points, sigma, presence, hidden = (answer.numpy() for answer in module(torch.from_numpy(cut)))
    query, model = parse_query("eyes,lips"), load_model("fast", device="cpu", engine="torch")
    assert json.loads(facts)["points"] == list(query.names)
    small = cv2.resize(cut, (model.input_size, model.input_size), interpolation=cv2.INTER_AREA)
    told = model.predict(small.transpose(2, 0, 1)[None], query)
    # The ways to make the cut smaller differ; the answers hardly do.
    assert np.linalg.norm(points - told.points[0], axis=-1).mean() < 0.01
    np.testing.assert_allclose(sigma, told.sigma[0], rtol=0.3)
    assert told.hidden is not None
    np.testing.assert_allclose(hidden, told.hidden[0], atol=0.1)
    assert presence.shape == (1,)
    assert presence[0] == pytest.approx(told.presence[0], abs=0.02)
    made = {path.name, *{"onnx": ["eyes_example.py"], "openvino": ["eyes.bin"]}.get(format, [])}
    assert {file.name for file in tmp_path.iterdir()} == made
    assert main(arguments) == 1
    assert "exists" in capsys.readouterr().err


def test_an_onnx_file_is_used_by_its_metadata_alone(tmp_path: Path) -> None:
    """By the program beside it, in a process that cannot import vtrack, from pixels alone and by OpenCV."""
    assert main(["export", "--model", "fast", "--parts", "eyes", "-o", str(tmp_path / "eyes.onnx")]) == 0
    with open_source(SAMPLE, stop=0.1) as source:
        image = next(iter(source)).image[:, 100:]
    face = next(iter(track(image[None], parts="eyes", smooth="none"))).faces[0]
    np.save(tmp_path / "photo.npy", image)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    told = []
    for photo in ("photo.npy", "photo.png"):
        words = ["eyes_example.py", photo, *map(str, face.box)]
        program = f"import runpy, sys; sys.modules['vtrack'] = None; sys.argv = {words}"
        program += "; runpy.run_path('eyes_example.py', run_name='__main__')"
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        told.append(done.stdout.splitlines())
    assert told[0] == told[1]
    assert float(told[0][0].removeprefix("face: ")) > 0.9
    assert [line.partition(":")[0] for line in told[0][1:]] == list(parse_query("eyes").names)
    points = np.array([line.split()[1:3] for line in told[0][1:]], float)
    sigma = np.array([line.split()[-1] for line in told[0][1:]], float)
    assert np.linalg.norm(points - face.points, axis=-1).max() < 0.01 * face.box[2]
    np.testing.assert_allclose(sigma, face.sigma, rtol=0.3)


def test_an_onnx_file_has_its_weights_in_half_precision(tmp_path: Path) -> None:
    """As they come; in floats 16 points of eyes would have 14.8 MB."""
    path = tmp_path / "eyes.onnx"
    done = export("fast", parse_query("eyes"), "onnx", path)
    assert path.stat().st_size < 7.5e6
    assert done.gap < 1e-4  # of what is hidden; coordinates are closer
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["vtrack"])
    card = read_card(WEIGHTS / "fast.json")
    assert facts["margin"] == card.config["margin"]
    assert facts["model"] == card.reference
    assert facts["input"].keys() == {entry.name for entry in session.get_inputs()}
    assert facts["outputs"].keys() == {entry.name for entry in session.get_outputs()}
    assert facts.keys() >= {"points", "parts", "positions", "box", "crop", "pixels", "vtrack"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "fast", "-o", "x.onnx"], 2, "--model needs --parts"),
        (["--model", "fast", "--parts", "eyes", "-o", "x.pt"], 2, "of format onnx ends in .onnx"),
        (
            ["--model", "fast", "--parts", "eyes", "--format", "tflite", "-o", "x"],
            2,
            "choose from onnx, torchscript, openvino",
        ),
        (["--model", "fast", "--parts", "eyes", "--name", "x", "-o", "x.onnx"], 2, "--name does not go with --model"),
        (["--run", "runs/x", "--parts", "eyes", "-o", "models"], 2, "--parts does not go with --run"),
        (["--run", "runs/x", "-o", "models"], 2, "--run needs a --name"),
        (["--model", "fats", "--parts", "eyes", "-o", "x.onnx"], 2, "no model 'fats'"),
        (["--model", "fast", "--parts", "eyess", "-o", "x.onnx"], 2, "eyes"),
        (["--model", "fast", "--parts", "eyes", "--format", "torchscript", "-o", "no/folder/x.pt"], 1, "no/folder"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *arguments]) == code
    assert message in capsys.readouterr().err
