"""A landmark network in bfloat16 by OpenVINO, for CPUs that multiply tiles of bfloat16 (Intel's AMX).

OpenVINO optimises a graph fully only if all its shapes are fixed. So a copy of the graph is compiled for each number of
points and each of a few batch sizes, which takes a fifth of a second each; batches are padded to one of these sizes.
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
from vtrack.models.decoding.interpolation import plan_query
from vtrack.models.engines.base import MOST_CROPS, GraphEngine, check_graph_crops, encode_query
from vtrack.models.engines.openvino import core, error_message, fold_constants, load_openvino, read_graph, split_graph
from vtrack.runtime.cores import cpu_flags
from vtrack.types import FloatArray, ImageArray, Query

log = logging.getLogger(__name__)

_SIZES = (1, 2, 4, MOST_CROPS)
"""Batch sizes of compiled graphs."""
_COMPILE_AFTER = 16
"""Calls of a size after which it gets a compiled graph of its own, if a larger one serves it until then."""
_KEPT = 8
"""Compiled graphs at a time: each has its own weights."""
_CACHED_QUERIES = 32
"""Queries per compiled graph whose encodings are kept."""


def has_amx() -> bool:
    """Whether this CPU multiplies tiles of bfloat16. Other CPUs with bfloat16 are no faster with it."""
    return "amx_bf16" in cpu_flags()


def bf16_is_faster() -> bool:
    """Whether this CPU has AMX and OpenVINO can be loaded."""
    if not has_amx():
        return False
    try:
        load_openvino()
    except MissingExtraError as error:
        log.info("landmark models would be about twice as fast in bfloat16 on this CPU: %s", error)
        return False
    return True


class Bfloat16Engine(GraphEngine):
    """A landmark network run by OpenVINO, in bfloat16 if the CPU has it.

    The first call with a new number of points takes a fifth of a second more. Programs whose number of points keeps changing
    are better served by the onnxruntime engines.
    """

    engine = "bf16"
    batch_multiple = _SIZES[-1]

    def __init__(self, card: Card, path: Path, *, shared: bool = False) -> None:
        super().__init__(card, shared=shared)
        self._core = core()
        try:
            self._graph = read_graph(path)
        except Exception as error:
            why = error_message(error) if path.exists() else "no such file"
            raise ModelError(f"{path}: not a model that OpenVINO can run: {why}") from error
        crops = next((entry for entry in self._graph.inputs if entry.any_name == "crops"), None)
        if crops is None:
            raise ModelError(f"{path}: not the graph of a landmark model: it has no input called crops")
        check_graph_crops(
            path, [side.get_length() for side in list(crops.partial_shape)[1:] if side.is_static], self.input_size
        )
        self._graphs: OrderedDict[tuple[int, int], _CompiledGraph] = OrderedDict()
        self._calls: Counter[tuple[int, int]] = Counter()
        self._lock = threading.Lock()

    def prepare(self, query: Query) -> None:
        """Compile the graphs that a query will need most, before the first crops come."""
        points = len(plan_query(query, self._taught).network_query)
        with self._lock, ThreadPoolExecutor(2, "vtrack-compile") as both:
            list(both.map(self._get, (1, self.batch_multiple), (points, points)))

    def _run(self, crops: ImageArray, query: Query) -> Sequence[FloatArray]:
        return self._graph_for(len(crops), len(query))(crops, query)

    def _graph_for(self, count: int, points: int) -> _CompiledGraph:
        """A compiled graph for at least this many crops."""
        fitting = [size for size in _SIZES if size >= count]
        with self._lock:
            self._calls[fitting[0], points] += 1
            ready = [size for size in fitting if (size, points) in self._graphs]
            if not ready or self._calls[fitting[0], points] >= _COMPILE_AFTER:
                ready = fitting
            return self._get(ready[0], points)

    def _get(self, size: int, points: int) -> _CompiledGraph:
        key = size, points
        if key not in self._graphs:
            while len(self._graphs) >= _KEPT:
                oldest, _ = self._graphs.popitem(last=False)
                del self._calls[oldest]
            self._graphs[key] = self._compile(size, points)
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _compile(self, size: int, points: int) -> _CompiledGraph:
        # Small batches hardly ever come concurrently, and each stream takes memory.
        streams = self.concurrency if size == self.batch_multiple else 1
        options = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": self._threads * streams,
            # With 0 streams the calling thread does the work. Threads of OpenVINO's own would take memory, and spread the
            # allocations of others over more arenas.
            "NUM_STREAMS": streams if self._threads * streams > 1 else 0,
            "ENABLE_CPU_PINNING": False,  # other threads have work to do on the same cores
        }
        try:
            graph = self._graph.clone()
            shapes = {name: graph.input(name).partial_shape for name in ("crops", "parts", "positions")}
            shapes["crops"][0], shapes["parts"][0], shapes["positions"][0] = size, points, points
            graph.reshape(shapes)
            fold_constants(graph)  # what depends on the shapes alone must not count as part of the query
            query_graph, crop_graph = split_graph(graph, "crops")
            exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 0}
            return _CompiledGraph(
                self._core.compile_model(query_graph, "CPU", exact),
                self._core.compile_model(crop_graph, "CPU", options),
                size,
            )
        except RuntimeError as error:
            raise ModelError(f"{self.name}: OpenVINO cannot run it on this machine: {error_message(error)}") from error


class _CompiledGraph:
    """A graph compiled for fixed shapes; any number of threads may call it at once.

    The part of the network that depends on the query alone is computed once per query.
    """

    def __init__(self, query_graph: Any, crop_graph: Any, size: int) -> None:
        self._crop_graph, self._size = crop_graph, size
        self._idle: SimpleQueue[_Request] = SimpleQueue()
        encode = partial(_encode, query_graph.create_infer_request(), threading.Lock())
        self._encodings = lru_cache(maxsize=_CACHED_QUERIES)(encode)

    def __call__(self, crops: ImageArray, query: Query) -> list[FloatArray]:
        count = len(crops)
        if count < self._size:
            crops = np.concatenate([crops, np.zeros((self._size - count, *crops.shape[1:]), crops.dtype)])
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = _Request(self._crop_graph.create_infer_request())
        try:
            return [output[:count].copy() for output in request(crops, self._encodings(query))]
        finally:
            self._idle.put(request)


class _Request:
    """An inference request, for one thread at a time."""

    def __init__(self, request: Any) -> None:
        self._request, self._tensor = request, load_openvino().Tensor
        self._query: Sequence[Any] = ()
        self._outputs = [tensor.data for tensor in request.output_tensors]

    def __call__(self, crops: ImageArray, query: Sequence[Any]) -> Sequence[FloatArray]:
        """The outputs of the graph; valid until the next call."""
        if query is not self._query:
            self._query = ()  # in case of an interrupt before the end
            for place, tensor in enumerate(query, start=1):
                self._request.set_input_tensor(place, tensor)
            self._query = query
        # OpenVINO refuses read-only memory, such as that of crops from another process.
        crops = np.require(crops, requirements=["C", "W"])
        self._request.set_input_tensor(0, self._tensor(crops, shared_memory=True))
        self._request.infer()
        return self._outputs


def _encode(request: Any, lock: threading.Lock, query: Query) -> Sequence[Any]:
    """Outputs of the graph's first part, which depends on the query alone, as inputs of the second."""
    with lock:
        request.infer(dict(zip(("parts", "positions"), encode_query(query), strict=True)))
        tensor = load_openvino().Tensor
        return [tensor(output.data) for output in request.output_tensors]
