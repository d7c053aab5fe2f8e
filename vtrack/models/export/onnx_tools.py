"""ONNX graphs made small enough to ship: without the exporter's notes, large tensors in half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

_LARGE = 1024
"""Numbers in a tensor from which it is worth halving."""


def strip_notes(model: Any) -> None:
    """Leave out where each node came from: that outweighs the graph and holds paths of the exporting machine."""
    del model.graph.metadata_props[:], model.metadata_props[:], model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


def halve(onnx: Any, model: Any, place: Callable[[Any, npt.NDArray[Any]], object] = lambda tensor, half: None) -> None:
    """Large tensors of floats in half precision behind a cast, which the runtime folds away; without notes.

    `place` may put each such tensor, whose halves it gets, somewhere else than into the graph.
    """
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != "float32" or values.size < _LARGE:
            continue
        name, half = tensor.name, values.astype("float16")
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
        place(tensor, half)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    strip_notes(model)
