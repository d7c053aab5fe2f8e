"""Models for other programs: one file, one query, everything inside."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from vtrack.cli.main import main
from vtrack.models import load_model
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
    tmp_path: Path, cut: np.ndarray, format: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"eyes{suffix}"
    arguments = ["export", "--model", "fast", "--parts", "eyes,lips", "--format", format, "-o", str(path)]
    assert main(arguments) == 0
    assert "36 points" in capsys.readouterr().out
    if format == "onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        facts = session.get_modelmeta().custom_metadata_map["vtrack"]
        points, sigma, presence = session.run(None, {"image": cut})
    elif format == "openvino":
        openvino = pytest.importorskip("openvino")
        model = openvino.Core().read_model(path)
        facts = model.get_rt_info(["vtrack"]).astype(str)
        compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        points, sigma, presence = compiled(cut).to_tuple()
    else:
        files = {"vtrack.json": ""}
        module = torch.jit.load(str(path), _extra_files=files)
        facts = files["vtrack.json"]
        points, sigma, presence = (answer.numpy() for answer in module(torch.from_numpy(cut)))
    query, model = parse_query("eyes,lips"), load_model("fast", device="cpu", engine="torch")
    assert json.loads(facts)["points"] == list(query.names)
    small = cv2.resize(cut, (model.input_size, model.input_size), interpolation=cv2.INTER_AREA)
    told = model.predict(small.transpose(2, 0, 1)[None], query)
    # The ways to make the cut smaller differ; the answers hardly do.
    assert np.linalg.norm(points - told.points[0], axis=-1).mean() < 0.01
    np.testing.assert_allclose(sigma, told.sigma[0], rtol=0.3)
    assert presence.shape == (1,)
    assert presence[0] == pytest.approx(told.presence[0], abs=0.02)
    made = {path.name, "eyes.bin"} if format == "openvino" else {path.name}
    assert {file.name for file in tmp_path.iterdir()} == made
    assert main(arguments) == 1
    assert "exists" in capsys.readouterr().err


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
