"""Quantisation of a landmark network's ONNX graph to 8 bits, for CPUs that multiply bytes faster than floats.

All convolutions, which are most of the work, get 8-bit weights per channel and 8-bit activations, with ranges measured on
a few training faces. Queries, attention and coordinates stay in floats. The crops are bytes already, so the first
convolution takes them as they are: their normalisation is folded into its weights.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.errors import MissingExtraError, ModelError
from vtrack.models.engines.base import encode_query
from vtrack.models.engines.registry import INT8
from vtrack.models.export.onnx_tools import to_half_precision
from vtrack.runtime.onnxruntime import load_onnxruntime
from vtrack.types import ImageArray, Query

MIDDLE, SPREAD = 116.0, 57.0
"""One mean and standard deviation for all colours, in place of the network's own for each."""
_BATCH = 16


def quantise(graph: Path, crops: ImageArray, query: Query) -> Path:
    """Write the 8-bit version of a graph beside it.

    Args:
        graph: The ONNX graph.
        crops: (n, 3, S, S) uint8 training crops for calibration; together they must contain black and white.
        query: Points that are predicted for calibration.

    Returns:
        Path of the 8-bit graph.

    Raises:
        MissingExtraError: The export extra is not installed.
        ModelError: The graph or the crops do not allow it.
    """
    try:
        import onnx

        load_onnxruntime()
        from onnxruntime import quantization  # not before its telemetry is off
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
                else dict(zip(("crops", "parts", "positions"), (batch, *encode_query(query)), strict=True))
            )

    with tempfile.TemporaryDirectory() as folder:
        plain, rough = Path(folder, "plain.onnx"), Path(folder, "rough.onnx")
        _fold_constants(graph, plain)
        model = onnx.load(str(plain))
        bytewise = _bytewise(model.graph)
        _normalise_in_weights(onnx, model)
        onnx.save(model, str(plain))
        logging.getLogger().addFilter(_no_advice)  # it recommends preprocessing, which is done above
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
        ) as error:  # an untrained network has activations without a range
            raise ModelError(f"{graph}: its activations cannot be quantised to 8 bits: {error}") from error
        finally:
            logging.getLogger().removeFilter(_no_advice)
        model = onnx.load(str(rough))
    _take_bytes(onnx, model)
    to_half_precision(onnx, model)
    path = graph.with_suffix(INT8)
    onnx.save(model, str(path))
    return path


def _bytewise(graph: Any) -> list[str]:
    """Names of the nodes to quantise: convolutions, and the ReLUs after them, so that no range is spent on negative values."""
    convolutions = {name for node in graph.node if node.op_type == "Conv" for name in node.output}
    return [
        node.name
        for node in graph.node
        if node.op_type == "Conv" or (node.op_type in ("Relu", "Clip") and node.input[0] in convolutions)
    ]


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-process" not in record.getMessage()


def _fold_constants(graph: Path, out: Path) -> None:
    """Write the graph with its weights inside, in floats, with norms and constants folded."""
    onnxruntime = load_onnxruntime()

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _normalise_in_weights(onnx: Any, model: Any) -> None:
    """Use one mean and standard deviation for all colours and correct the first convolution's weights, so that bytes can be
    its 8-bit input.

    Padding then counts as `MIDDLE` and not as the mean of its colour, which differs by at most a fifth of the deviation.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    cast, centre, divide, first = _crop_nodes(model, 4)
    if [node.op_type for node in (cast, centre, divide, first)] != ["Cast", "Sub", "Div", "Conv"] or len(
        first.input
    ) < 3:
        raise ModelError("this graph does not start with (crops - mean) / deviation, then a convolution and its norm")
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
    """Remove the conversion of the crops from bytes to floats and back."""
    graph = model.graph
    *conversion, first = _crop_nodes(model, 5)  # to floats, centred, scaled, to bytes; and the node after
    scale, zero = (
        onnx.numpy_helper.to_array(t) for name in conversion[-1].input[1:] for t in graph.initializer if t.name == name
    )
    if abs(float(scale) * SPREAD - 1) > 1e-3 or int(zero) != MIDDLE:
        raise ModelError("the calibration crops must hold black and white; give more of them")
    first.input[0] = "crops"
    unused = {name for node in conversion for name in node.input}
    for node in conversion:
        graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name in unused and not _users(graph, tensor.name)]:
        graph.initializer.remove(tensor)


def _users(graph: Any, name: str) -> list[Any]:
    return [node for node in graph.node if name in node.input]


def _crop_nodes(model: Any, count: int) -> list[Any]:
    """The first nodes that the crops go through, starting with the cast to floats."""
    nodes, name = [], "crops"
    for _ in range(count):
        nodes.append(next(node for node in _users(model.graph, name) if node.op_type != "Shape"))
        name = nodes[-1].output[0]
    return nodes
