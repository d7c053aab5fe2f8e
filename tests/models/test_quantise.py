"""The 8-bit twin of a graph says what the graph says, nearly."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from vtrack.errors import ModelError
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.layouts import load_layout
from vtrack.models import load_model
from vtrack.models.card import WEIGHTS
from vtrack.models.checksums import add_checksums
from vtrack.models.engines.base import int8_is_faster
from vtrack.models.engines.onnx import OnnxEngine
from vtrack.models.engines.registry import INT8
from vtrack.models.export.quantise import quantise
from vtrack.pipelines.sources.open import open_source

QUERY = load_layout("300w").query
SAMPLE = Path(__file__).parents[2] / "samples" / "sample.mp4"


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """(frames, 3, 128, 128) of the sample's face, and of what lies about it."""
    with open_source(SAMPLE, stop=2, every=3) as source:
        frames = [frame.image for frame in source]
    height, width = frames[0].shape[:2]
    crops = Crops(np.array([[width / 2, height / 2]]), np.array([float(height)]), np.zeros(1))
    cuts = np.concatenate([warp([image], [0], crops, 128) for image in frames])
    cuts[0, :, :8], cuts[0, :, 8:16] = 0, 255  # the range of bytes must be seen
    return cuts


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory, faces: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    for file in WEIGHTS.glob("fast.*"):
        shutil.copy(file, folder)
    graph = quantise(folder / "fast.onnx", faces, QUERY)
    add_checksums(folder / "fast.json")
    return graph


def test_the_twin_says_nearly_the_same(twin: Path, faces: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    card = twin.with_name("fast.json")
    exact, bytewise = (load_model(str(card), device="cpu", engine=engine) for engine in ("onnx", "int8"))
    assert isinstance(bytewise, OnnxEngine)
    one, other = exact.predict(faces[1:], QUERY), bytewise.predict(faces[1:], QUERY)
    # Half a percent of the crop is a tenth of what the model is wrong by on such faces. Processors without VNNI cut sums of
    # products off, which is told.
    assert np.linalg.norm(one.points - other.points, axis=-1).mean() < (0.005 if int8_is_faster() else 0.03)
    assert ("less exact" in caplog.text) != int8_is_faster()
    assert np.abs(one.presence - other.presence).max() < 0.05
    few = QUERY.indices("jaw")[:3]
    query = type(QUERY)(tuple(QUERY.parts[i] for i in few), tuple(QUERY.positions[i] for i in few))
    assert bytewise.predict(faces[:1], query).points.shape == (1, 3, 2)


def test_the_twin_computes_in_bytes_from_the_first_convolution_on(twin: Path) -> None:
    graph = onnx.load(str(twin)).graph
    assert twin.name == f"fast{INT8}"
    readers = [node.op_type for node in graph.node if "crops" in node.input]
    assert set(readers) == {"DequantizeLinear", "Shape"}  # the runtime takes it and the convolution for one
    weights = [t for t in graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4]
    assert len(weights) == sum(node.op_type == "Conv" for node in graph.node)
    assert not any(node.doc_string or node.metadata_props for node in graph.node)


def test_calibration_without_the_whole_range_is_refused(twin: Path, faces: np.ndarray) -> None:
    with pytest.raises(ModelError, match="must hold black and white"):
        quantise(twin.with_name("fast.onnx"), np.clip(faces[1:4], 60, 200), QUERY)
