"""What every engine of landmark networks has in common: the same queries get the same numbers from each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vtrack.models.card import Card
from vtrack.models.decoding.interpolation import Taught, reading
from vtrack.runtime.cores import cores, skills
from vtrack.text import embed
from vtrack.types import FloatArray, ImageArray, Prediction, Query

if TYPE_CHECKING:
    pass


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
        check_crops(crops.shape, str(crops.dtype), self.input_size)
        if not len(crops) or not len(query):
            return no_prediction(len(crops), len(query))
        plan = reading(query, self._taught)
        points, sigma, presence = self._run(crops, plan.asked)
        return plan.read(Prediction(points, sigma * self.card.sigma_scale, presence))

    @abstractmethod
    def _run(self, crops: ImageArray, query: Query) -> Sequence[FloatArray]:
        """The graph's points, sigmas and presence."""


def check_crops(shape: tuple[int, ...], dtype: str, size: int) -> None:
    if len(shape) != 4 or shape[1:] != (3, size, size) or dtype != "uint8":
        raise ValueError(f"crops must be uint8 of shape (any, 3, {size}, {size}), got {dtype} of shape {shape}")


def no_prediction(crops: int, points: int) -> Prediction:
    return Prediction(
        np.zeros((crops, points, 2), np.float32), np.zeros((crops, points), np.float32), np.zeros(crops, np.float32)
    )
