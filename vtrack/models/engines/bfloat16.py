"""A landmark network in bfloat16, for processors that multiply whole tiles of it at once (Intel's AMX), by OpenVINO.

OpenVINO makes the best of a graph only once it knows all its sizes. So it gets a copy of the graph for each number of
points and each of a few sizes of batch, which take a fifth of a second to make; batches are filled up to one of them.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from vtrack.errors import MissingExtraError, ModelError
from vtrack.models.card import Card
from vtrack.models.decoding.interpolation import reading
from vtrack.models.engines.base import GraphEngine, encoded
from vtrack.models.engines.openvino import complaint, core, fold, load_openvino, parted, read
from vtrack.runtime.cores import skills
from vtrack.types import FloatArray, ImageArray, Query

log = logging.getLogger(__name__)

_SIZES = (1, 2, 4, 8)
"""Of batches. Larger ones would be no faster: they go through in pieces."""
_WORTH = 16
"""How often a size is asked for until it gets a copy of its own, if a larger one is there."""
_KEPT = 8
"""Copies at a time: each has its own weights."""
_QUERIES = 32
"""Queries of a copy of which is kept what the network makes of them."""


def has_tiles() -> bool:
    """Whether this processor multiplies tiles of bfloat16. Others that know the numbers are no faster with them."""
    return "amx_bf16" in skills()


def bf16_pays() -> bool:
    """Whether it does, and OpenVINO can be loaded."""
    if not has_tiles():
        return False
    try:
        load_openvino()
    except MissingExtraError as error:
        log.info("this processor would run landmark models at about twice the speed in bfloat16: %s", error)
        return False
    return True


class Bfloat16Engine(GraphEngine):
    """By OpenVINO, in bfloat16 wherever the processor has it.

    A number of points that was not asked for lately costs a fifth of a second at first; for programs that ask for ever other
    numbers the engines of onnxruntime are better.
    """

    engine = "bf16"
    grain = _SIZES[-1]

    def __init__(self, card: Card, path: Path, *, shared: bool = False) -> None:
        super().__init__(card, shared=shared)
        self._core = core()
        try:
            self._graph = read(path)
        except Exception as error:
            why = complaint(error) if path.exists() else "no such file"
            raise ModelError(f"{path}: not a model that OpenVINO can run: {why}") from error
        self._copies: OrderedDict[tuple[int, int], _Copy] = OrderedDict()
        self._wanted: Counter[tuple[int, int]] = Counter()
        self._lock = threading.Lock()

    def prepare(self, query: Query) -> None:
        """Make the copies that a query will need most, before the first crops come."""
        points = len(reading(query, self._taught).asked)
        with self._lock, ThreadPoolExecutor(2) as both:
            list(both.map(self._copy, (1, self.grain), (points, points)))

    def _run(self, crops: ImageArray, query: Query) -> Sequence[FloatArray]:
        pieces = [crops[start : start + self.grain] for start in range(0, len(crops), self.grain)]
        answers = [self._for(len(piece), len(query))(piece, query) for piece in pieces]
        return answers[0] if len(answers) == 1 else [np.concatenate(arrays) for arrays in zip(*answers, strict=True)]

    def _for(self, count: int, points: int) -> _Copy:
        """A copy that takes so many crops, or more."""
        fitting = [size for size in _SIZES if size >= count]
        with self._lock:
            self._wanted[fitting[0], points] += 1
            ready = [size for size in fitting if (size, points) in self._copies]
            if not ready or self._wanted[fitting[0], points] >= _WORTH:
                ready = fitting
            return self._copy(ready[0], points)

    def _copy(self, size: int, points: int) -> _Copy:
        key = size, points
        if key not in self._copies:
            while len(self._copies) >= _KEPT:
                forgotten, _ = self._copies.popitem(last=False)
                del self._wanted[forgotten]
            self._copies[key] = self._compile(size, points)
        self._copies.move_to_end(key)
        return self._copies[key]

    def _compile(self, size: int, points: int) -> _Copy:
        # Small batches hardly ever come two at a time, and each stream takes memory.
        streams = self.callers if size == self.grain else 1
        options = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": self._threads * streams,
            # With none, work is done by whoever asks for it. Threads of its own would take memory, for more than themselves:
            # what others allocate then spreads over more arenas.
            "NUM_STREAMS": streams if self._threads * streams > 1 else 0,
            "ENABLE_CPU_PINNING": False,  # other threads have work to do on the same cores
        }
        try:
            graph = self._graph.clone()
            shapes = {name: graph.input(name).partial_shape for name in ("crops", "parts", "positions")}
            shapes["crops"][0], shapes["parts"][0], shapes["positions"][0] = size, points, points
            graph.reshape(shapes)
            fold(graph)  # what follows from the sizes is not the query's
            asking, answering = parted(graph, "crops")
            exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 0}
            return _Copy(
                self._core.compile_model(asking, "CPU", exact),
                self._core.compile_model(answering, "CPU", options),
                size,
            )
        except RuntimeError as error:
            raise ModelError(f"{self.name}: OpenVINO cannot run it here: {complaint(error)}") from error


class _Copy:
    """A graph of fixed sizes, which any number of threads may ask at once.

    What the network makes of the query alone is worked out once for each query.
    """

    def __init__(self, asking: Any, answering: Any, size: int) -> None:
        self._answering, self._size = answering, size
        self._idle: SimpleQueue[_Request] = SimpleQueue()
        worked_out = partial(_worked_out, asking.create_infer_request(), threading.Lock())
        self._worked_out = lru_cache(maxsize=_QUERIES)(worked_out)

    def __call__(self, crops: ImageArray, query: Query) -> list[FloatArray]:
        count = len(crops)
        if count < self._size:
            crops = np.concatenate([crops, np.zeros((self._size - count, *crops.shape[1:]), crops.dtype)])
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = _Request(self._answering.create_infer_request())
        try:
            return [told[:count].copy() for told in request(crops, self._worked_out(query))]
        finally:
            self._idle.put(request)


class _Request:
    """For one thread at a time."""

    def __init__(self, request: Any) -> None:
        self._request, self._tensor = request, load_openvino().Tensor
        self._asked: Sequence[Any] = ()
        self._told = [request.get_output_tensor(place).data for place in range(3)]

    def __call__(self, crops: ImageArray, asked: Sequence[Any]) -> Sequence[FloatArray]:
        """Points, sigmas and presences, until it is called again."""
        if asked is not self._asked:
            self._asked = ()  # should an interrupt come between
            for place, tensor in enumerate(asked, start=1):
                self._request.set_input_tensor(place, tensor)
            self._asked = asked
        # It takes no memory that cannot be written, as that of crops from another process.
        crops = np.require(crops, requirements=["C", "W"])
        self._request.set_input_tensor(0, self._tensor(crops, shared_memory=True))
        self._request.infer()
        return self._told


def _worked_out(request: Any, lock: threading.Lock, query: Query) -> Sequence[Any]:
    """What the network makes of a query alone, as its other part takes it."""
    with lock:
        request.infer(dict(zip(("parts", "positions"), encoded(query), strict=True)))
        tensor = load_openvino().Tensor
        return [tensor(output.data) for output in request.output_tensors]
