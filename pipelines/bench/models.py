"""How long a landmark model takes for a face, by the size of the batch and the number of points asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from vtrack.layouts import load_layout
from vtrack.models import card_path, load_model, pick_device
from vtrack.models.engines.base import graph_paths
from vtrack.models.engines.bfloat16 import bf16_is_faster
from vtrack.parts import GROUPS
from vtrack.types import LandmarkModel, Query

BATCHES = (1, 8, 64, 512)
POINTS = (1, 8, 68, 98, 1000)
USUAL = 68
"""Points asked for while batches grow."""
TOGETHER = 8
"""Faces looked at together for each number of points, besides one: about what a moment of video makes."""
_SECONDS, _LEAST = 0.6, 5
"""Each cell is measured for so long, and at least so often."""
_BYTES = 8 * 2**20
"""What a crop takes on its way through a network, about; batches that do not fit in half the free memory are left out."""


@dataclass(frozen=True)
class Row:
    """One cell of the table."""

    engine: str
    batch: int
    points: int
    ms: float
    """Milliseconds for a face, the median of all calls."""


def engines_of(name: str, device: str) -> tuple[str, ...]:
    """The engines that can run this model on this device."""
    if device != "cpu":
        return ("torch",)
    graphs = [engine for engine, graph in graph_paths(card_path(name)).items() if graph.exists()]
    return ("torch", *(engine for engine in reversed(graphs) if engine != "bf16" or bf16_is_faster()))


def spread_query(count: int) -> Query:
    """So many points as somebody might ask for: some of a well-known layout, or else evenly over the parts of the face."""
    for query in (load_layout(name).query for name in ("300w", "wflw")):
        if count <= len(query):
            chosen = [i * len(query) // count for i in range(count)]
            return Query(tuple(query.parts[i] for i in chosen), tuple(query.positions[i] for i in chosen))
    parts = [GROUPS["face"][i % len(GROUPS["face"])] for i in range(count)]
    return Query(tuple(parts), tuple(i / (count - 1) for i in range(count)))


def measure(
    name: str, device: str = "auto", batches: Sequence[int] = BATCHES, points: Sequence[int] = POINTS
) -> Iterator[Row]:
    """Batches of growing size at the usual number of points, then growing numbers of points for one face, and for some."""
    device = pick_device(device)
    for engine in engines_of(name, device):
        model = load_model(name, device=device, engine=engine)
        cells = dict.fromkeys(
            [
                *((batch, USUAL) for batch in batches if _fits(batch)),
                *((batch, count) for batch in batches if batch in (1, TOGETHER) for count in points),
            ]
        )
        for batch, count in cells:
            yield Row(engine, batch, count, _ms(model, batch, spread_query(count)))


def _ms(model: LandmarkModel, batch: int, query: Query) -> float:
    size = model.input_size
    crops = np.random.default_rng(0).integers(0, 256, (batch, 3, size, size), dtype=np.uint8)

    def call() -> object:
        return model.predict(crops, query)

    for _ in range(2):
        call()
    return median(_times(call)) / batch * 1000


def _times(call: Callable[[], object]) -> list[float]:
    """Seconds of each call."""
    took: list[float] = []
    while len(took) < _LEAST or sum(took) < _SECONDS:
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return took


def _fits(batch: int) -> bool:
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return True
    return batch * _BYTES < os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
