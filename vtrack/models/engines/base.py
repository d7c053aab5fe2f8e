"""Base classes of engines, which run landmark networks and give the same numbers for the same query."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from vtrack.errors import ModelError
from vtrack.models.card import Card
from vtrack.models.decoding.interpolation import TaughtPositions, plan_query
from vtrack.models.engines.registry import ENGINES
from vtrack.runtime.cores import cores, cpu_flags
from vtrack.text import embed
from vtrack.types import FloatArray, ImageArray, Prediction, Query


def int8_is_faster() -> bool:
    """Whether this CPU multiplies bytes faster than floats, and exactly: those with VNNI do."""
    return bool(cpu_flags() & {"avx512_vnni", "avx_vnni"})


def graph_paths(card: Path) -> dict[str, Path]:
    """The graph that each engine but torch would run, by engine, fastest first; the files need not exist.

    Args:
        card: Path of the model's card.
    """
    return {name: card.with_suffix(entry.graph) for name, entry in ENGINES.items() if entry.graph}


@lru_cache(maxsize=32)
def encode_query(query: Query) -> tuple[FloatArray, FloatArray]:
    """Text vectors (L, 384) and positions (L,) of a query."""
    return embed(query.parts), np.asarray(query.positions, np.float32)


class Engine:
    """A landmark model and the options of its card."""

    engine: str
    """Name of the engine on the command line."""
    device: str
    """What it runs on."""

    def __init__(self, card: Card) -> None:
        self.card, self.name, self._taught = card, card.name, TaughtPositions.of(card)
        self.input_size: int = card.config["input_size"]
        self.margin: float = card.config["margin"]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, {self.input_size} px, on {self.device})"


MOST_CROPS = 8
"""Crops of one computation of a graph: more are no faster, and the memory of the largest number is kept."""


class GraphEngine(Engine, ABC):
    """A network as an ONNX graph on the CPU.

    Args:
        card: The model's card.
        shared: False: a call uses all cores. True: a call uses one core, and as many callers as there are cores may call at
            once, which for many faces is faster too.
    """

    device = "cpu"
    batch_multiple = 1
    """Crops per computation; batches are fastest in multiples of it."""

    def __init__(self, card: Card, *, shared: bool = False) -> None:
        super().__init__(card)
        self.concurrency = cores() if shared else 1
        self._threads = 1 if shared else cores()
        """Threads of one call."""

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Predict the points of a query on `uint8` crops (B, 3, S, S)."""
        crops = np.asarray(crops)
        check_crops(crops.shape, str(crops.dtype), self.input_size)
        if not len(crops) or not len(query):
            return no_prediction(len(crops), len(query))
        plan = plan_query(query, self._taught)
        pieces = [crops[start : start + MOST_CROPS] for start in range(0, len(crops), MOST_CROPS)]
        outputs = [self._run(piece, plan.network_query) for piece in pieces]
        points, sigma, presence, *hidden = (np.concatenate(arrays) for arrays in zip(*outputs, strict=True))
        return plan.interpolate(Prediction(points, sigma * self.card.sigma_scale, presence, *hidden))

    @abstractmethod
    def _run(self, crops: ImageArray, query: Query) -> Sequence[FloatArray]:
        """The graph's points (B, L, 2), sigmas (B, L), presence (B,) and, if it has them, probabilities (B, L) that points
        are hidden, of at most `MOST_CROPS` crops."""


def check_crops(shape: tuple[int, ...], dtype: str, size: int) -> None:
    """Raise `ValueError` unless crops are `uint8` of shape (any, 3, size, size)."""
    if len(shape) != 4 or shape[1:] != (3, size, size) or dtype != "uint8":
        raise ValueError(f"crops must be uint8 of shape (any, 3, {size}, {size}), got {dtype} of shape {shape}")


def check_graph_crops(path: Path, shape: Sequence[object], size: int) -> None:
    """Raise `ModelError` unless a graph takes crops (3, size, size) as its card says."""
    if list(shape) != [3, size, size]:
        raise ModelError(f"{path}: the graph takes crops of shape {list(shape)}, but its card says {[3, size, size]}")


def no_prediction(crops: int, points: int) -> Prediction:
    """The prediction for no crops or no points."""
    return Prediction(
        np.zeros((crops, points, 2), np.float32), np.zeros((crops, points), np.float32), np.zeros(crops, np.float32)
    )
