"""Makes ONNX graphs small enough to ship: no metadata of the exporter, large tensors in half precision."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt

_LARGE = 1024
"""Number of elements from which a tensor is stored in half precision."""


@contextmanager
def exporter_silent() -> Iterator[None]:
    """Keep torch's exporter from warning of packages that it could use, and of its own use of what is deprecated."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        registration.setLevel(level)


def strip_metadata(model: Any) -> None:
    """Remove where each node came from: that is larger than the graph and contains paths of the exporting machine."""
    del model.graph.metadata_props[:], model.metadata_props[:], model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


def to_half_precision(
    onnx: Any, model: Any, place: Callable[[Any, npt.NDArray[Any]], object] = lambda tensor, half: None
) -> None:
    """Store large float tensors in half precision behind a cast, which runtimes fold away, and strip the metadata.

    Args:
        onnx: The module.
        model: The model, changed in place.
        place: Called with each such tensor and its values; may move them out of the graph.
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
    strip_metadata(model)
