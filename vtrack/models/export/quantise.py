"""The 8-bit twin of a landmark network's ONNX graph, for processors that multiply bytes faster than floats.

All convolutions, which are most of the work, get 8-bit weights for each channel and 8-bit activations whose ranges are
those seen on a few training faces. Queries, attention and coordinates stay in floats. The crops are bytes already, so the
first convolution takes them as they are: their normalisation goes into its weights.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.errors import MissingExtraError, ModelError
from vtrack.models.engines.base import INT8, encoded
from vtrack.models.export.onnx_tools import halve
from vtrack.types import ImageArray, Query

MIDDLE, SPREAD = 116.0, 57.0
"""What is taken off every colour, and what it is divided by then, in place of the network's own figures per colour."""
_BATCH = 16


def quantise(graph: Path, crops: ImageArray, query: Query) -> Path:
    """Write the 8-bit twin beside `graph`, calibrated on training `crops` (n, 3, S, S) asked for the points of `query`."""
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError as error:
        raise MissingExtraError("8-bit graphs need the export extra: pip install 'vtrack[export]'") from error

    class Faces(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._batches: Iterator[ImageArray] = (crops[i : i + _BATCH] for i in range(0, len(crops), _BATCH))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return (
                None
                if batch is None
                else dict(zip(("crops", "parts", "positions"), (batch, *encoded(query)), strict=True))
            )

    with tempfile.TemporaryDirectory() as folder:
        plain, rough = Path(folder, "plain.onnx"), Path(folder, "rough.onnx")
        _fold_constants(graph, plain)
        model = onnx.load(str(plain))
        bytewise = _bytewise(model.graph)
        _normalise_in_weights(onnx, model)
        onnx.save(model, str(plain))
        logging.getLogger().addFilter(_no_advice)  # it recommends a preparation that has been done above
        try:
            quantization.quantize_static(
                str(plain),
                str(rough),
                Faces(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_quantize=bytewise,
            )
        except (
            AssertionError,
            ValueError,
        ) as error:  # a network that has hardly learned has activations without a range
            raise ModelError(f"{graph}: its activations cannot be told in 8 bits: {error}") from error
        finally:
            logging.getLogger().removeFilter(_no_advice)
        model = onnx.load(str(rough))
    _take_bytes(onnx, model)
    halve(onnx, model)
    path = graph.with_suffix(INT8)
    onnx.save(model, str(path))
    return path


def _bytewise(graph: Any) -> list[str]:
    """Names of the nodes computed in bytes: convolutions, and the ReLUs after them: bytes need not tell what those cut off."""
    convolutions = {name for node in graph.node if node.op_type == "Conv" for name in node.output}
    return [
        node.name
        for node in graph.node
        if node.op_type == "Conv" or (node.op_type == "Relu" and node.input[0] in convolutions)
    ]


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-process" not in record.getMessage()


def _fold_constants(graph: Path, out: Path) -> None:
    """The graph with its weights inside, in floats, norms and constants folded."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _normalise_in_weights(onnx: Any, model: Any) -> None:
    """One mean and spread for all colours, so that bytes are the convolution's 8-bit input; its weights make up for it.

    What lies beyond the crop's edge counts as `MIDDLE` then and not as the mean of its colour, which differs by at most a
    fifth of the spread.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    cast, centre, divide, first = _way(model, 4)
    if [node.op_type for node in (cast, centre, divide, first)] != ["Cast", "Sub", "Div", "Conv"] or len(
        first.input
    ) < 3:
        raise ModelError(
            "this graph does not begin as expected: (crops - mean) / spread, then a convolution and its norm"
        )
    values = onnx.numpy_helper.to_array
    mean, spread = (values(constants[node.input[1]]).reshape(3) for node in (centre, divide))
    weights, bias = (values(constants[name]) for name in first.input[1:3])
    shift = (weights * ((MIDDLE - mean) / spread)[:, None, None]).sum((1, 2, 3))
    changed = {
        centre.input[1]: np.full((1, 3, 1, 1), MIDDLE),
        divide.input[1]: np.full((1, 3, 1, 1), SPREAD),
        first.input[1]: weights * (SPREAD / spread)[:, None, None],
        first.input[2]: bias + shift,
    }
    for name, array in changed.items():
        constants[name].CopyFrom(onnx.numpy_helper.from_array(np.asarray(array, np.float32), name))


def _take_bytes(onnx: Any, model: Any) -> None:
    """Leave out the way of the crops from bytes to floats and back."""
    graph = model.graph
    *way, back = _way(model, 5)  # to floats, centred, scaled, to bytes; and what reads these
    scale, zero = (
        onnx.numpy_helper.to_array(t) for name in way[-1].input[1:] for t in graph.initializer if t.name == name
    )
    if abs(float(scale) * SPREAD - 1) > 1e-3 or int(zero) != MIDDLE:
        raise ModelError("the calibration crops must hold black and white; give more of them")
    back.input[0] = "crops"
    unused = {name for node in way for name in node.input}
    for node in way:
        graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name in unused and not _users(graph, tensor.name)]:
        graph.initializer.remove(tensor)


def _users(graph: Any, name: str) -> list[Any]:
    return [node for node in graph.node if name in node.input]


def _way(model: Any, steps: int) -> list[Any]:
    """The first nodes that the crops go through, from their cast to floats on."""
    way, name = [], "crops"
    for _ in range(steps):
        way.append(next(node for node in _users(model.graph, name) if node.op_type != "Shape"))
        name = way[-1].output[0]
    return way
