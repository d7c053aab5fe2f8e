"""CUDA graphs of a network: the hundreds of small kernels of an answer, recorded once and started as one.

On a GPU a small network spends its time on starting kernels, not on their work. A graph has one size of batch, and of a
landmark model one query, so batches are filled up to the next of a few sizes, and the latest graphs are kept.
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

Answer = Callable[[Tensor], Tensor]
"""What a network makes of a batch (B, ...) on the device: rows (B, ...)."""

LARGEST = 512
"""Of a batch in a graph, unless told otherwise; more goes through in pieces."""
_KEPT = 24
"""Graphs at a time. They share their memory, since one runs after the other."""
_WARM_UPS = 2
_recording = threading.Lock()
"""CUDA records one graph at a time, whatever model it is of."""


@dataclass(frozen=True, slots=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    batch: Tensor
    """Where a batch is put."""
    rows: Tensor
    """Where its answer comes."""
    answer: Answer
    """Keeps what the graph reads besides the batch, a query's tensors above all, which it knows by their addresses only."""


def answering(device: str, largest: int = LARGEST) -> Replay | Plain:
    """What gets answers of a network on a device: by graphs where that has them."""
    return Replay(device, largest) if device.startswith("cuda") else Plain(device)


class Plain:
    """Answers as they come."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def __call__(self, batch: Tensor, about: object, answer: Answer) -> Tensor:
        """Rows for a whole batch, on the CPU."""
        with torch.inference_mode():
            return answer(batch.to(self._device, non_blocking=True)).cpu()

    def prepare(self, shape: tuple[int, ...], about: object, answer: Answer) -> None:
        """There is nothing to be made for batches of this shape."""


class Replay:
    """Answers by recorded graphs; as they come where a network cannot be recorded, or what is asked comes only once.

    All its work is in a stream of its own, so that several networks need not wait for each other.
    """

    def __init__(self, device: str, largest: int = LARGEST) -> None:
        self._device = torch.device(device)
        self._largest = largest
        self._stream = torch.cuda.Stream(self._device)
        # Graphs share memory only if they were recorded on one stream. It is not torch's own for recording, which is of the
        # current GPU and would record nothing of another one's work.
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._recordings: OrderedDict[tuple[object, torch.Size], _Recording] = OrderedDict()
        self._asked: deque[tuple[object, torch.Size]] = deque(maxlen=_KEPT)
        """What was asked once, and may never be again: recording it takes three times as long as answering."""
        self._recordable = True
        self._lock = threading.Lock()

    def __call__(self, batch: Tensor, about: object, answer: Answer) -> Tensor:
        """Rows for a whole batch, on the CPU. `about` tells one `answer` from another."""
        with self._lock, self._streaming():
            rows = [self._piece(piece, about, answer) for piece in batch.split(self._largest)]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def prepare(self, shape: tuple[int, ...], about: object, answer: Answer) -> None:
        """Record the graph for batches of this shape (B, ...), uint8, which will be asked."""
        with self._lock, self._streaming():
            key = about, _filled(shape)
            if self._recordable and key not in self._recordings:
                self._record(key, answer)

    @contextmanager
    def _streaming(self) -> Iterator[None]:
        """Within its own stream, when what others have begun is done there."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream), torch.inference_mode():
            yield

    def _piece(self, batch: Tensor, about: object, answer: Answer) -> Tensor:
        shape = _filled(tuple(batch.shape))
        recording = self._recording((about, shape), answer)
        # Filled up in any case: the numbers are to be the same from a graph and without one.
        whole = self._room(shape) if recording is None else recording.batch
        whole[: len(batch)].copy_(batch, non_blocking=True)
        if recording is None:
            return answer(whole)[: len(batch)].cpu()
        recording.graph.replay()
        return recording.rows[: len(batch)].cpu()

    def _room(self, shape: torch.Size) -> Tensor:
        return torch.zeros(shape, dtype=torch.uint8, device=self._device)

    def _recording(self, key: tuple[object, torch.Size], answer: Answer) -> _Recording | None:
        if not self._recordable:
            return None
        if key not in self._recordings:
            if key not in self._asked:
                self._asked.append(key)
                return None
            self._record(key, answer)
        if key in self._recordings:
            self._recordings.move_to_end(key)
        return self._recordings.get(key)

    def _record(self, key: tuple[object, torch.Size], answer: Answer) -> None:
        try:
            with _recording:
                self._recordings[key] = self._recorded(key[1], answer)
        except RuntimeError as error:
            log.warning("runs without CUDA graphs, which is slower: %s", str(error).partition("\n")[0])
            self._recordable = False
            self._recordings.clear()
        while len(self._recordings) > _KEPT:
            self._recordings.popitem(last=False)

    def _recorded(self, shape: torch.Size, answer: Answer) -> _Recording:
        batch = self._room(shape)
        for _ in range(_WARM_UPS):  # libraries choose their kernels before the recording, which allows no trying
            answer(batch)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU for something else meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            rows = answer(batch)
        return _Recording(graph, batch, rows, answer)


def _filled(shape: tuple[int, ...]) -> torch.Size:
    """The shape of the graph that takes a batch of this one: one of a few sizes."""
    return torch.Size([1 << (shape[0] - 1).bit_length(), *shape[1:]])
