"""Recorded answers on a GPU. Without one, torch's graphs are replaced by stand-ins that tell how they were used."""

from __future__ import annotations

import contextlib
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from vtrack.models import load_model
from vtrack.models.engines.cuda_graphs import CudaGraphs
from vtrack.types import Query


class Stream:
    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.waited = 0

    def wait_stream(self, other: Stream) -> None:
        self.waited += 1


class Graph:
    def replay(self) -> None:
        pass


@pytest.fixture
def recorded_on(monkeypatch: pytest.MonkeyPatch) -> list[Stream | None]:
    """The streams of all recordings."""
    streams: list[Stream | None] = []

    def graph(_: Graph, pool: object, capture_error_mode: str, stream: Stream | None = None) -> object:
        streams.append(stream)
        return contextlib.nullcontext()

    for name, stand_in in {
        "Stream": Stream,
        "current_stream": Stream,
        "stream": contextlib.nullcontext,
        "graph_pool_handle": object,
        "CUDAGraph": Graph,
        "graph": graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return streams


def rows(crops: Tensor, query: Tensor) -> Tensor:
    return query.repeat(len(crops), 1)


def crops(count: int) -> Tensor:
    return torch.zeros((count, 3, 4, 4), dtype=torch.uint8)


@pytest.mark.usefixtures("recorded_on")
def test_a_recording_keeps_the_query_that_its_graph_reads() -> None:
    """The graph knows it by its address only, which nothing else may be put at."""
    graphs, query = CudaGraphs("cpu"), torch.ones(3)
    kept = weakref.ref(query)
    for _ in range(2):
        assert graphs(crops(1), "about", partial(rows, query=query)).shape == (1, 3)
    del query
    assert kept() is not None


def test_what_is_asked_only_once_is_not_recorded(recorded_on: list[Stream | None]) -> None:
    """Pictures of all sizes, for example; but what will be asked for certain is, at once."""
    graphs, answer = CudaGraphs("cpu"), partial(rows, query=torch.ones(3))
    for count in (1, 2, 3, 5):
        graphs(crops(count), "about", answer)
    assert not recorded_on
    graphs(crops(4), "about", answer)  # a batch of four, as the three were filled up to
    assert len(recorded_on) == 1
    for count in (3, 4):
        assert graphs(crops(count), "about", answer).shape == (count, 3)
    for count in (5, 7):
        graphs.prepare((count, 3, 4, 4), "another", answer)
    graphs(crops(8), "another", answer)
    assert len(recorded_on) == 2
    assert graphs._stream.waited == 10  # each time, for crops that another stream may be at  # type: ignore[attr-defined]


def test_the_graphs_used_last_are_kept(recorded_on: list[Stream | None]) -> None:
    graphs, answer = CudaGraphs("cpu"), partial(rows, query=torch.ones(3))
    for about in range(24):
        graphs.prepare((1, 3, 4, 4), about, answer)
    graphs(crops(1), 0, answer)
    graphs.prepare((1, 3, 4, 4), 24, answer)  # in place of 1, since 0 was asked for again
    assert [about for about, _ in graphs._graphs] == [*range(2, 24), 0, 24]
    graphs(crops(1), 0, answer)
    assert len(recorded_on) == 25


@pytest.mark.usefixtures("recorded_on")
def test_more_than_a_graph_takes_goes_through_in_pieces() -> None:
    asked: list[int] = []

    def answer(batch: Tensor) -> Tensor:
        asked.append(len(batch))
        return torch.zeros((len(batch), 3))

    assert CudaGraphs("cpu", largest=8)(crops(19), "about", answer).shape == (19, 3)
    assert asked == [8, 8, 8, 8, 4]  # the second is recorded, after two trials; the last is filled up


def test_all_recordings_are_made_on_one_stream_of_the_model_s_own_device(recorded_on: list[Stream | None]) -> None:
    """Torch's own is of the current GPU, and would record nothing of what another does."""
    graphs = CudaGraphs("meta")
    for count in (1, 2):
        graphs.prepare(crops(count).shape, "about", partial(rows, query=torch.ones(3)))
    first, second = recorded_on
    assert first is second is not None
    assert first.device == torch.device("meta")


@pytest.mark.cuda
def test_a_query_is_answered_alike_after_many_others() -> None:
    """When the engine has long let go of the tensors that the recorded graph reads."""
    model = load_model("fast", device="cuda")
    images = np.random.default_rng(0).integers(0, 256, (1, 3, model.input_size, model.input_size), dtype=np.uint8)
    sizes = [("jaw", 16, 17), ("outer_lip", 12, 12), ("left_eye", 6, 6)]
    queries = [
        Query((part,) * count, tuple(i / steps for i in range(count)))
        for part, steps, most in sizes
        for count in range(1, most + 1)
    ]
    first = [[model.predict(images, query).points for _ in range(2)][1] for query in queries]  # the second is recorded
    for query, points in list(zip(queries, first, strict=True))[-24:]:
        np.testing.assert_allclose(model.predict(images, query).points, points, atol=5e-3)
