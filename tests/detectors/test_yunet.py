"""OpenCV's YuNet. No model file is shipped, so the tests build a network with YuNet's outputs that sees one known face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.detectors.pictures import frame
from vtrack.detectors import load_detector
from vtrack.errors import ModelError

SIDE = 64
"""Of the frame, and of what the network below answers for."""
CELL = (3, 4)
"""Row and column, at stride 8, of the face it sees."""
POINTS = np.array([[20.0, 24], [36, 24], [28, 32], [22, 40], [34, 40]])


def network(path: Path) -> Path:
    """YuNet's twelve outputs: for strides 8, 16 and 32 class, objectness, box and points of every cell."""
    made, outputs = [], []
    values: dict[str, np.ndarray] = {}
    for stride in (8, 16, 32):
        cells = (SIDE // stride) ** 2
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            values[f"{kind}_{stride}"] = np.zeros((1, cells, width), np.float32)
    at = CELL[0] * (SIDE // 8) + CELL[1]
    values["cls_8"][0, at] = values["obj_8"][0, at] = 0.9
    corner = np.array(CELL[::-1]) * 8.0
    values["kps_8"][0, at] = ((POINTS - corner) / 8).ravel()
    for name, value in values.items():
        made.append(numpy_helper.from_array(value, f"{name}_value"))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    # Each output has to depend on the picture, or OpenCV drops it: nothing times its mean is added.
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    nodes += [helper.make_node("Add", [f"{name}_value", "nothing"], [name]) for name in values]
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, SIDE, SIDE))
    graph = helper.make_graph(nodes, "yunet", [picture], outputs, [*made, zero])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("scale", [1, 4])
def test_points_become_the_landmark_box(tmp_path: Path, scale: int) -> None:
    detector = load_detector("yunet", model_path=network(tmp_path / "yunet.onnx"), size=SIDE)
    [found] = detector.detect([frame(np.zeros((SIDE * scale, SIDE * scale, 3), np.uint8))])
    assert len(found) == 1
    assert found.scores[0] == pytest.approx(0.9, abs=0.01)
    assert found.angles[0] == pytest.approx(0, abs=0.01)
    x, y, w, h = found.boxes[0] / scale
    # Jaw to jaw around the eyes, from above the brows to below the mouth.
    assert x < 16 and x + w > 40 and 30 < w < 50
    assert 8 < y < 22 and 44 < y + h < 60
    assert x + w / 2 == pytest.approx(28, abs=1.5)


def test_missing_and_wrong_model_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        load_detector("yunet", model_path=tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("this is not a network")
    with pytest.raises(ModelError, match="not a YuNet model"):
        load_detector("yunet", model_path=tmp_path / "text.onnx").detect([frame(np.zeros((64, 64, 3), np.uint8))])
