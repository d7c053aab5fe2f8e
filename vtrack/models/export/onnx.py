"""A network as an ONNX graph that reads its large tensors from the weights' file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from vtrack.errors import MissingExtraError
from vtrack.models.card import Card
from vtrack.models.export.onnx_tools import exporter_silent, to_half_precision
from vtrack.models.systems.output import Output
from vtrack.models.systems.udfld import TEXT_DIM


class ExportableNetwork(nn.Module):
    """A network whose output is plain tensors, as exported: points of the last layer, sigma, presence, and whether points are
    hidden, if the network tells."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor, parts: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
        output: Output = self.network(crops, parts, positions)
        hidden = () if output.hidden is None else (output.hidden.sigmoid(),)
        return output.points[-1], output.log_sigma.exp(), output.presence.sigmoid(), *hidden


def output_names(card: Card) -> list[str]:
    """What the outputs of an exported network are called, in order."""
    return ["points", "sigma", "presence", *["hidden"] * card.tells_hidden]


def export_onnx(network: nn.Module, card: Card, weights: Path) -> Path:
    """Write the network as an ONNX graph for any batch and query.

    Args:
        network: A trained network.
        card: The model's card.
        weights: The network's safetensors file; the graph is written beside it and reads its large tensors from it.

    Returns:
        Path of the graph.

    Raises:
        MissingExtraError: The export extra is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("exporting needs the export extra: pip install 'vtrack[export]'") from error
    size = card.config["input_size"]
    crops = torch.randint(0, 255, (2, 3, size, size), dtype=torch.uint8)
    query = torch.randn(5, TEXT_DIM), torch.rand(5)
    batch, points = torch.export.Dim("batch"), torch.export.Dim("points")
    with exporter_silent():
        program = torch.onnx.export(
            ExportableNetwork(network).eval(),
            (crops, *query),
            dynamo=True,
            input_names=["crops", "parts", "positions"],
            output_names=output_names(card),
            dynamic_shapes=({0: batch}, {0: points}, {0: points}),
            opset_version=20,
            verbose=False,
        )
    assert program is not None
    path = weights.with_suffix(".onnx")
    onnx.save(_with_external_weights(onnx, program.model_proto, weights), str(path))
    return path


def _with_external_weights(onnx: Any, model: Any, weights: Path) -> Any:
    """The graph with large tensors in half precision, read from the weights' file."""
    stored = _tensors_in(weights)

    def place(tensor: Any, half: npt.NDArray[Any]) -> None:
        location = stored.get((half.shape, half.tobytes()))
        if location:
            onnx.external_data_helper.set_external_data(tensor, weights.name, offset=location[0], length=location[1])
            tensor.ClearField("raw_data")

    to_half_precision(onnx, model, place)
    return model


def _tensors_in(weights: Path) -> dict[tuple[tuple[int, ...], bytes], tuple[int, int]]:
    """Offset and length in a safetensors file of each half-precision tensor, by shape and content."""
    content = weights.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    tensors = {}
    for name, about in header.items():
        if name != "__metadata__" and about["dtype"] == "F16":
            first, last = (start + offset for offset in about["data_offsets"])
            tensors[tuple(about["shape"]), content[first:last]] = (first, last - first)
    return tensors
