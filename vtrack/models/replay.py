"""CUDA graphs of a network: the hundreds of small kernels of an answer, recorded once and started as one.

On a GPU a small network spends its time on starting kernels, not on their work. A graph has one size of batch and one
query, so batches are filled up to the next of a few sizes, and the graphs of the latest queries are kept.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Answer = Callable[[Tensor], Tensor]
"""Crops (B, 3, S, S) uint8 on the device to rows (B, n)."""

LARGEST = 512
"""Crops in a graph; more go through in pieces."""
_KEPT = 24
"""Graphs at a time. They share their memory, since one runs after the other."""
_WARM_UPS = 2
_recording = threading.Lock()
"""CUDA records one graph at a time, whatever model it is of."""


@dataclass(frozen=True, slots=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    crops: Tensor
    """Where a batch is put."""
    rows: Tensor
    """Where its answer comes."""
    answer: Answer
    """Keeps what the graph reads besides the crops, the query's tensors above all, which it knows by their addresses only."""


class Replay:
    """Answers by recorded graphs; as they come where a network cannot be recorded."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._recordings: OrderedDict[tuple[object, torch.Size], _Recording] = OrderedDict()
        self._side: torch.cuda.Stream | None = None
        self._pool: Any = None
        self._recordable = True
        self._lock = threading.Lock()

    def __call__(self, crops: Tensor, about: object, answer: Answer) -> Tensor:
        """Rows for all crops, on the CPU. `about` tells one `answer` from another."""
        with self._lock:
            return torch.cat([self._piece(piece, about, answer) for piece in crops.split(LARGEST)])

    def _piece(self, crops: Tensor, about: object, answer: Answer) -> Tensor:
        count = len(crops)
        if self._recordable:
            shape = torch.Size([1 << (count - 1).bit_length(), *crops.shape[1:]])
            recording = self._recording(shape, about, answer)
            if recording is not None:
                recording.crops[:count].copy_(crops)
                recording.graph.replay()
                return recording.rows[:count].cpu()
        return answer(crops).cpu()

    def _recording(self, shape: torch.Size, about: object, answer: Answer) -> _Recording | None:
        key = about, shape
        if key not in self._recordings:
            try:
                with _recording:
                    self._recordings[key] = self._record(shape, answer)
            except RuntimeError as error:
                log.warning("runs without CUDA graphs, which is slower: %s", str(error).partition("\n")[0])
                self._recordable = False
                self._recordings.clear()
                return None
            while len(self._recordings) > _KEPT:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        return self._recordings[key]

    def _record(self, shape: torch.Size, answer: Answer) -> _Recording:
        crops = torch.zeros(shape, dtype=torch.uint8, device=self._device)
        if self._side is None:  # one for all, for graphs share memory only if they were recorded on one stream
            self._side, self._pool = torch.cuda.Stream(self._device), torch.cuda.graph_pool_handle()
        side = self._side
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):  # libraries choose their kernels before the recording, which allows no trying
            for _ in range(_WARM_UPS):
                answer(crops)
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Not on torch's own stream, which is of the current GPU and would record nothing of another one's work. Other threads
        # may use the GPU for something else meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
            rows = answer(crops)
        return _Recording(graph, crops, rows, answer)
