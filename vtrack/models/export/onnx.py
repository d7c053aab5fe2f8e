"""A network as an ONNX graph that reads its large tensors from the weights' file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from vtrack.errors import MissingExtraError
from vtrack.models.export.onnx_tools import halve
from vtrack.models.systems.output import Output
from vtrack.models.systems.udfld import TEXT_DIM


class Answer(nn.Module):
    """A network's last word as three plain tensors, the form that is exported."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor, parts: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output: Output = self.network(crops, parts, positions)
        return output.points[-1], output.log_sigma.exp(), output.presence.sigmoid()


def export_onnx(network: nn.Module, size: int, weights: Path) -> Path:
    """The network as an ONNX graph of any batch and query beside its `weights`, from which it reads its tensors."""
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("exporting needs the export extra: pip install 'vtrack[export]'") from error
    crops = torch.randint(0, 255, (2, 3, size, size), dtype=torch.uint8)
    query = torch.randn(5, TEXT_DIM), torch.rand(5)
    batch, points = torch.export.Dim("batch"), torch.export.Dim("points")
    program = torch.onnx.export(
        Answer(network).eval(),
        (crops, *query),
        dynamo=True,
        input_names=["crops", "parts", "positions"],
        output_names=["points", "sigma", "presence"],
        dynamic_shapes=({0: batch}, {0: points}, {0: points}),
        opset_version=20,
        verbose=False,
    )
    assert program is not None
    path = weights.with_suffix(".onnx")
    onnx.save(_slimmed(onnx, program.model_proto, weights), str(path))
    return path


def _slimmed(onnx: Any, model: Any, weights: Path) -> Any:
    """Large tensors in half precision behind a cast, which the runtime folds away, and read from the weights' file."""
    stored = _places(weights)

    def place(tensor: Any, half: npt.NDArray[Any]) -> None:
        found = stored.get((half.shape, half.tobytes()))
        if found:
            onnx.external_data_helper.set_external_data(tensor, weights.name, offset=found[0], length=found[1])
            tensor.ClearField("raw_data")

    halve(onnx, model, place)
    return model


def _places(weights: Path) -> dict[tuple[tuple[int, ...], bytes], tuple[int, int]]:
    """Offset and length in a safetensors file of each half-precision tensor, by shape and content."""
    content = weights.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    places = {}
    for name, about in header.items():
        if name != "__metadata__" and about["dtype"] == "F16":
            first, last = (start + offset for offset in about["data_offsets"])
            places[tuple(about["shape"]), content[first:last]] = (first, last - first)
    return places
