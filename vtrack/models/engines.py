"""What runs a landmark network: torch, or onnxruntime on a CPU. Both answer the same queries with the same numbers."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtrack.cores import cores
from vtrack.errors import ModelError
from vtrack.models.card import Card
from vtrack.text import embed
from vtrack.types import FloatArray, ImageArray, Prediction, Query

if TYPE_CHECKING:
    import torch


INT8 = ".int8.onnx"
"""The ending of a graph's 8-bit twin (see `vtrack.models.quantise`)."""


def int8_pays() -> bool:
    """Whether this processor multiplies bytes faster than floats, and exactly: those with VNNI do, as Linux tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


@lru_cache(maxsize=32)
def encoded(query: Query) -> tuple[FloatArray, FloatArray]:
    """Text vectors (L, 384) and positions (L,) of a query."""
    return embed(query.parts), np.asarray(query.positions, np.float32)


class OnnxEngine:
    """A network as an ONNX graph, on the CPU.

    It takes all cores, and its threads stay awake between calls; with `threads` only so many, which rest, since others have
    work to do on the same cores.
    """

    device = "cpu"

    def __init__(self, card: Card, path: Path, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.inter_op_num_threads = 1
        if threads is not None:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"{path}: not a model that onnxruntime can run: {_first_line(error)}") from error
        self.card, self.name = card, card.name
        self.input_size: int = card.config["input_size"]
        self.margin: float = card.config["margin"]

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Answer a query on `uint8` crops (B, 3, S, S)."""
        crops = np.asarray(crops)
        _check(crops.shape, str(crops.dtype), self.input_size)
        if not len(crops) or not len(query):
            return _nothing(len(crops), len(query))
        parts, positions = encoded(query)
        feeds = {"crops": crops, "parts": parts, "positions": positions}
        points, sigma, presence = self._session.run(None, feeds)
        return Prediction(points, sigma * self.card.sigma_scale, presence)


class TorchEngine:
    """A network in torch, on any device."""

    def __init__(self, card: Card, network: torch.nn.Module, device: str) -> None:
        import torch

        from vtrack.models.backbones import channels_last

        self.card, self.name, self.device = card, card.name, device
        self.input_size: int = card.config["input_size"]
        self.margin: float = card.config["margin"]
        self._torch: Any = torch
        self.network = channels_last(network.to(device)).eval()

    def predict(self, crops: ImageArray | torch.Tensor, query: Query) -> Prediction:
        """Answer a query on `uint8` crops (B, 3, S, S), from NumPy or already on the device."""
        torch = self._torch
        images = torch.as_tensor(crops).to(self.device, non_blocking=True)
        _check(tuple(images.shape), str(images.dtype).removeprefix("torch."), self.input_size)
        if not len(images) or not len(query):
            return _nothing(len(images), len(query))
        parts, positions = (torch.from_numpy(array).to(self.device) for array in encoded(query))
        half = self.device.startswith("cuda")
        with torch.inference_mode(), torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=half):
            output = self.network(images, parts, positions)
            answer = torch.cat(
                [
                    output.points[-1].float().flatten(1),
                    output.log_sigma.exp() * self.card.sigma_scale,
                    output.presence.sigmoid()[:, None],
                ],
                1,
            )
        flat = answer.cpu().numpy()  # one copy back for all three
        count = len(query)
        return Prediction(flat[:, : 2 * count].reshape(-1, count, 2), flat[:, 2 * count : 3 * count], flat[:, -1])


def _check(shape: tuple[int, ...], dtype: str, size: int) -> None:
    if len(shape) != 4 or shape[1:] != (3, size, size) or dtype != "uint8":
        raise ValueError(f"crops must be uint8 of shape (any, 3, {size}, {size}), got {dtype} of shape {shape}")


def _nothing(crops: int, points: int) -> Prediction:
    return Prediction(
        np.zeros((crops, points, 2), np.float32), np.zeros((crops, points), np.float32), np.zeros(crops, np.float32)
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
