"""What runs a landmark network: torch, or onnxruntime on a CPU. Both answer the same queries with the same numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtrack.errors import ModelError
from vtrack.models.card import Card
from vtrack.models.decoding.interpolation import Taught, reading
from vtrack.runtime.cores import cores, skills
from vtrack.text import embed
from vtrack.types import FloatArray, ImageArray, Prediction, Query

if TYPE_CHECKING:
    import torch

    from vtrack.models.engines.cuda_graphs import Answer


INT8 = ".int8.onnx"
"""The ending of a graph's 8-bit twin (see `vtrack.models.export.quantise`)."""


_QUERIES = 32
"""Queries whose vectors stay on a device."""
_USUAL = (1, 8, 16)
"""Faces looked at together, where one or two are followed through a video."""


def int8_pays() -> bool:
    """Whether this processor multiplies bytes faster than floats, and exactly: those with VNNI do."""
    return bool(skills() & {"avx512_vnni", "avx_vnni"})


def graphs_of(card: Path) -> dict[str, Path]:
    """The graph beside a card that each engine but torch would run, the fastest engine first; whether there or not."""
    graph = card.with_suffix(".onnx")
    return {"bf16": graph, "int8": card.with_suffix(INT8), "onnx": graph}


@lru_cache(maxsize=32)
def encoded(query: Query) -> tuple[FloatArray, FloatArray]:
    """Text vectors (L, 384) and positions (L,) of a query."""
    return embed(query.parts), np.asarray(query.positions, np.float32)


class Engine:
    """What every engine knows of its model."""

    engine: str
    """Its name on the command line."""

    def __init__(self, card: Card) -> None:
        self.card, self.name, self._taught = card, card.name, Taught.of(card)
        self.input_size: int = card.config["input_size"]
        self.margin: float = card.config["margin"]


class GraphEngine(Engine, ABC):
    """A network as an ONNX graph, on the CPU, whatever runs the graph.

    Alone it takes all cores for each call. In a `shared` process a call takes one core, and as many `callers` as there
    are cores may ask at once. For many faces that is faster, too.
    """

    device = "cpu"
    grain = 1
    """Crops that it computes together; batches are best multiples of it."""

    def __init__(self, card: Card, *, shared: bool = False) -> None:
        super().__init__(card)
        self.callers = cores() if shared else 1
        self._threads = 1 if shared else cores()
        """Of a call."""

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Answer a query on `uint8` crops (B, 3, S, S)."""
        crops = np.asarray(crops)
        _check(crops.shape, str(crops.dtype), self.input_size)
        if not len(crops) or not len(query):
            return _nothing(len(crops), len(query))
        plan = reading(query, self._taught)
        points, sigma, presence = self._run(crops, plan.asked)
        return plan.read(Prediction(points, sigma * self.card.sigma_scale, presence))

    @abstractmethod
    def _run(self, crops: ImageArray, query: Query) -> Sequence[FloatArray]:
        """The graph's points, sigmas and presence."""


class OnnxEngine(GraphEngine):
    """By onnxruntime. Alone, its threads stay awake between calls; in a `shared` process nobody waits awake."""

    def __init__(self, card: Card, path: Path, *, shared: bool = False) -> None:
        import onnxruntime

        super().__init__(card, shared=shared)
        self.engine = "int8" if path.name.endswith(INT8) else "onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"{path}: not a model that onnxruntime can run: {_first_line(error)}") from error

    def _run(self, crops: ImageArray, query: Query) -> Sequence[FloatArray]:
        parts, positions = encoded(query)
        answer: list[FloatArray] = self._session.run(None, {"crops": crops, "parts": parts, "positions": positions})
        return answer


class TorchEngine(Engine):
    """A network in torch, on any device."""

    engine = "torch"

    def __init__(self, card: Card, network: torch.nn.Module, device: str) -> None:
        import torch

        from vtrack.models.backbones.registry import channels_last
        from vtrack.models.engines.cuda_graphs import answering

        super().__init__(card)
        self.device = device
        self._torch: Any = torch
        self._queries: dict[Query, tuple[torch.Tensor, torch.Tensor]] = {}
        self.network = channels_last(network.to(device)).eval()
        self._answers = answering(device)

    def predict(self, crops: ImageArray | torch.Tensor, query: Query) -> Prediction:
        """Answer a query on `uint8` crops (B, 3, S, S), from NumPy or already on the device."""
        torch = self._torch
        # Crops from another process may be read-only, of which torch warns.
        images = torch.as_tensor(crops if isinstance(crops, torch.Tensor) else np.require(crops, requirements="W"))
        _check(tuple(images.shape), str(images.dtype).removeprefix("torch."), self.input_size)
        if not len(images) or not len(query):
            return _nothing(len(images), len(query))
        plan = reading(query, self._taught)
        flat, count = self._answers(images, plan.asked, self._answer(plan.asked)).numpy(), len(plan.asked)
        return plan.read(
            Prediction(flat[:, : 2 * count].reshape(-1, count, 2), flat[:, 2 * count : 3 * count], flat[:, -1])
        )

    def prepare(self, query: Query) -> None:
        """Before there is a hurry, make what helps with so many faces as are usually asked about at once."""
        if not len(query):
            return
        asked = reading(query, self._taught).asked
        for count in _USUAL:
            self._answers.prepare((count, 3, self.input_size, self.input_size), asked, self._answer(asked))

    def _answer(self, query: Query) -> Answer:
        parts, positions = self._on_device(query)
        return partial(self._rows, parts=parts, positions=positions)

    def _rows(self, images: torch.Tensor, parts: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """(B, 3 L + 1) points, sigmas and presence side by side, so that one copy brings all three back."""
        library = self._torch
        half = self.device.startswith("cuda")
        # A graph is to hold every step from the weights on: nothing may stay behind in a cache.
        with library.autocast(self.device.split(":")[0], library.bfloat16, enabled=half, cache_enabled=False):
            output = self.network(images, parts, positions)
        points = output.points[-1].float().flatten(1)
        sigmas = output.log_sigma.float().exp() * self.card.sigma_scale
        rows: torch.Tensor = library.cat([points, sigmas, output.presence.float().sigmoid()[:, None]], 1)
        return rows

    def _on_device(self, query: Query) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network is asked, sent once for the latest queries."""
        known = self._queries.get(query)
        if known is None:
            parts, positions = (self._torch.from_numpy(array).to(self.device) for array in encoded(query))
            known = parts, positions
            if len(self._queries) >= _QUERIES:
                self._queries.clear()
            self._queries[query] = known
        return known


def _check(shape: tuple[int, ...], dtype: str, size: int) -> None:
    if len(shape) != 4 or shape[1:] != (3, size, size) or dtype != "uint8":
        raise ValueError(f"crops must be uint8 of shape (any, 3, {size}, {size}), got {dtype} of shape {shape}")


def _nothing(crops: int, points: int) -> Prediction:
    return Prediction(
        np.zeros((crops, points, 2), np.float32), np.zeros((crops, points), np.float32), np.zeros(crops, np.float32)
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
