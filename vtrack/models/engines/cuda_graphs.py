"""CUDA graphs: the hundreds of small kernels of a forward pass, recorded once and launched as one.

On a GPU a small network spends its time on launching kernels, not on their work. A graph has a fixed batch size and, for a
landmark model, a fixed query, so batches are padded to the next of a few sizes, and the latest graphs are kept.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Forward = Callable[[Tensor], Tensor]
"""A forward pass: from a batch (B, ...) on the device to rows (B, ...)."""

MAX_BATCH = 512
"""Default largest batch of a graph; larger batches are split."""
_KEPT = 24
"""Graphs kept at a time. They share their memory, since one runs after the other."""
_WARM_UPS = 2
_capture_lock = threading.Lock()
"""CUDA records one graph at a time in a process."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """A recorded graph with its input and output."""

    graph: torch.cuda.CUDAGraph
    batch: Tensor
    """Input of the graph."""
    rows: Tensor
    """Output of the graph."""
    forward: Forward
    """Kept alive, since the graph reads its tensors, a query's above all, by their addresses."""


def make_runner(device: str, largest: int = MAX_BATCH) -> CudaGraphs | EagerRunner:
    """What runs forward passes on a device: CUDA graphs on a GPU of NVIDIA's, else eager execution."""
    return CudaGraphs(device, largest) if device.startswith("cuda") else EagerRunner(device)


class EagerRunner:
    """Runs forward passes without recording them."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def __call__(self, batch: Tensor, about: object, forward: Forward) -> Tensor:
        """Rows for a batch, on the CPU."""
        with torch.inference_mode():
            return forward(batch.to(self._device, non_blocking=True)).cpu()

    def prepare(self, shape: tuple[int, ...], about: object, forward: Forward) -> None:
        """Do nothing: there are no graphs to record."""


class CudaGraphs:
    """Runs forward passes by recorded graphs, and without if a network cannot be recorded or a shape comes only once.

    It uses a stream of its own, so that several networks need not wait for each other.

    Args:
        device: `cuda`, `cuda:1`.
        largest: Largest batch of a graph; larger batches are split.
    """

    def __init__(self, device: str, largest: int = MAX_BATCH) -> None:
        self._device = torch.device(device)
        self._largest = largest
        self._stream = torch.cuda.Stream(self._device)
        # Graphs share memory only if they were recorded on one stream. Torch's default capture stream belongs to the current
        # GPU and would record nothing of another's work.
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._graphs: OrderedDict[tuple[object, torch.Size], _Graph] = OrderedDict()
        self._seen_once: deque[tuple[object, torch.Size]] = deque(maxlen=_KEPT)
        """Keys that came once and may never come again: recording takes three times as long as running."""
        self._recordable = True
        self._lock = threading.Lock()

    def __call__(self, batch: Tensor, about: object, forward: Forward) -> Tensor:
        """Run a batch.

        Args:
            batch: (B, ...) uint8, on any device.
            about: Hashable that identifies `forward`, such as the query.
            forward: The forward pass.

        Returns:
            (B, ...) rows on the CPU.
        """
        with self._lock, self._streaming():
            rows = [self._piece(piece, about, forward) for piece in batch.split(self._largest)]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def prepare(self, shape: tuple[int, ...], about: object, forward: Forward) -> None:
        """Record the graph for batches of this shape (B, ...), uint8, before the first one comes."""
        with self._lock, self._streaming():
            key = about, _padded(shape)
            if self._recordable and key not in self._graphs:
                self._record(key, forward)

    @contextmanager
    def _streaming(self) -> Iterator[None]:
        """Run a block on the own stream, after the work already queued on the current stream."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream), torch.inference_mode():
            yield

    def _piece(self, batch: Tensor, about: object, forward: Forward) -> Tensor:
        shape = _padded(tuple(batch.shape))
        graph = self._graph((about, shape), forward)
        # Padded in any case, so that the numbers are the same with and without a graph.
        padded = self._empty(shape) if graph is None else graph.batch
        padded[: len(batch)].copy_(batch, non_blocking=True)
        if graph is None:
            return forward(padded)[: len(batch)].cpu()
        graph.graph.replay()
        return graph.rows[: len(batch)].cpu()

    def _empty(self, shape: torch.Size) -> Tensor:
        return torch.zeros(shape, dtype=torch.uint8, device=self._device)

    def _graph(self, key: tuple[object, torch.Size], forward: Forward) -> _Graph | None:
        if not self._recordable:
            return None
        if key not in self._graphs:
            if key not in self._seen_once:
                self._seen_once.append(key)
                return None
            self._record(key, forward)
        if key in self._graphs:
            self._graphs.move_to_end(key)
        return self._graphs.get(key)

    def _record(self, key: tuple[object, torch.Size], forward: Forward) -> None:
        try:
            with _capture_lock:
                self._graphs[key] = self._capture(key[1], forward)
        except RuntimeError as error:
            log.warning(
                "cannot use CUDA graphs, running without them, which is slower: %s", str(error).partition("\n")[0]
            )
            self._recordable = False
            self._graphs.clear()
        while len(self._graphs) > _KEPT:
            self._graphs.popitem(last=False)

    def _capture(self, shape: torch.Size, forward: Forward) -> _Graph:
        batch = self._empty(shape)
        for _ in range(_WARM_UPS):  # libraries benchmark their kernels now, which they cannot while recording
            forward(batch)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU for something else meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            rows = forward(batch)
        return _Graph(graph, batch, rows, forward)


def _padded(shape: tuple[int, ...]) -> torch.Size:
    """The shape of the graph that takes a batch of this shape: its size is the next power of 2."""
    return torch.Size([1 << (shape[0] - 1).bit_length(), *shape[1:]])
