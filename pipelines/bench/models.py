"""Benchmark of a landmark model alone: milliseconds per face by engine, batch size and number of points."""

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
DEFAULT_POINTS = 68
"""Number of points while the batch size varies."""
SEGMENT_BATCH = 8
"""Batch size, besides 1, for which the number of points varies; about the faces of one segment of video."""
_MIN_SECONDS, _MIN_CALLS = 0.6, 5
"""Least time and number of calls of each measurement."""
_CROP_BYTES = 8 * 2**20
"""Approximate memory per crop in a network; batches that do not fit into half of the free memory are skipped."""


@dataclass(frozen=True)
class ModelTime:
    """One measurement of a model."""

    engine: str
    batch: int
    points: int
    ms: float
    """Milliseconds per face, median over all calls."""


def engines_of(name: str, device: str) -> tuple[str, ...]:
    """Engines that can run this model on this device."""
    if device != "cpu":
        return ("torch",)
    graphs = [engine for engine, graph in graph_paths(card_path(name)).items() if graph.exists()]
    return ("torch", *(engine for engine in reversed(graphs) if engine != "bf16" or bf16_is_faster()))


def spread_query(count: int) -> Query:
    """A query of `count` points: some of the 300w or WFLW layout, or spread over the parts of the face."""
    for query in (load_layout(name).query for name in ("300w", "wflw")):
        if count <= len(query):
            chosen = [i * len(query) // count for i in range(count)]
            return Query(tuple(query.parts[i] for i in chosen), tuple(query.positions[i] for i in chosen))
    parts = [GROUPS["face"][i % len(GROUPS["face"])] for i in range(count)]
    return Query(tuple(parts), tuple(i / (count - 1) for i in range(count)))


def measure(
    name: str, device: str = "auto", batches: Sequence[int] = BATCHES, points: Sequence[int] = POINTS
) -> Iterator[ModelTime]:
    """Measure a model with each engine.

    Args:
        name: Name of a landmark model.
        device: Device to run it on.
        batches: Batch sizes, measured with `DEFAULT_POINTS` points.
        points: Numbers of points, measured with batches of 1 and `SEGMENT_BATCH` faces.

    Yields:
        One measurement per engine, batch size and number of points.
    """
    device = pick_device(device)
    for engine in engines_of(name, device):
        model = load_model(name, device=device, engine=engine)
        cells = dict.fromkeys(
            [
                *((batch, DEFAULT_POINTS) for batch in batches if _fits(batch)),
                *((batch, count) for batch in batches if batch in (1, SEGMENT_BATCH) for count in points),
            ]
        )
        for batch, count in cells:
            yield ModelTime(engine, batch, count, _ms(model, batch, spread_query(count)))


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
    times: list[float] = []
    while len(times) < _MIN_CALLS or sum(times) < _MIN_SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def _fits(batch: int) -> bool:
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return True
    return batch * _CROP_BYTES < os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
