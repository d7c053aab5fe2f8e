"""A landmark network as an ONNX graph, run by onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vtrack.errors import ModelError
from vtrack.models.card import Card
from vtrack.models.engines.base import GraphEngine, check_graph_crops, encode_query
from vtrack.models.engines.registry import INT8
from vtrack.runtime.onnxruntime import load_onnxruntime
from vtrack.types import FloatArray, ImageArray, Query


class OnnxEngine(GraphEngine):
    """A landmark network run by onnxruntime.

    If not `shared`, its threads spin between calls, which is faster; in a `shared` process a call has one thread.
    """

    def __init__(self, card: Card, path: Path, *, shared: bool = False) -> None:
        onnxruntime = load_onnxruntime()

        super().__init__(card, shared=shared)
        self.engine = "int8" if path.name.endswith(INT8) else "onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # A pattern of memory for each number of crops would be no faster, but the block of each would be kept.
        options.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"{path}: not a model that onnxruntime can run: {_first_line(error)}") from error
        inputs = {entry.name: entry.shape[1:] for entry in self._session.get_inputs()}
        if inputs.keys() != {"crops", "parts", "positions"} or len(self._session.get_outputs()) not in (3, 4):
            raise ModelError(f"{path}: not the graph of a landmark model: its inputs are {', '.join(inputs)}")
        check_graph_crops(path, inputs["crops"], self.input_size)

    def _run(self, crops: ImageArray, query: Query) -> Sequence[FloatArray]:
        parts, positions = encode_query(query)
        outputs: list[FloatArray] = self._session.run(None, {"crops": crops, "parts": parts, "positions": positions})
        return outputs


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
