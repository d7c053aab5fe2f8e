"""One process that runs the landmark model for all workers, where the model lives on a GPU.

Workers decode, detect and cut crops, and ask here for the points. Whatever has come in while the model was busy goes through it
together, so that the crops of several videos make one batch, and the GPU holds one model, not one for each worker. When the
process dies it is started again, and workers ask again: no video is lost by it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import numpy as np

from vtrack.errors import ModelError, VTrackError
from vtrack.pipelines.batch.workers.pool import START, begin, deaf_to_interrupts
from vtrack.types import ImageArray, LandmarkModel, Prediction, Query

logger = logging.getLogger(__name__)

_ASKED = 3
"""How often a worker asks; crops that end the owner each time are themselves to blame."""
_MOST = 256
"""Crops that go through the model at once, unless one worker sends more."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where workers ask."""

    address: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """Crops of one worker, and what it wants to know of them."""

    guest: Connection
    crops: ImageArray
    query: Query


class Owner:
    """Keeps the model's process running; a context manager."""

    def __init__(self, model: str | LandmarkModel, device: str, engine: str) -> None:
        self._what = model, device, engine
        self._folder = TemporaryDirectory(prefix="vtrack-")
        name = secrets.token_hex(8)
        address = rf"\\.\pipe\vtrack-{name}" if os.name == "nt" else str(Path(self._folder.name, name))
        self.desk = Desk(address, secrets.token_bytes(32))
        self._context = multiprocessing.get_context("spawn")
        self._closing = threading.Event()
        self._guard = threading.Thread(target=self._watch, name="vtrack-owner", daemon=True)

    def __enter__(self) -> Self:
        self.process = self._start()
        self._guard.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self.process.kill()
        self._guard.join()
        self._folder.cleanup()

    def _start(self) -> multiprocessing.process.BaseProcess:
        """The process, when its model is loaded."""
        Path(self.desk.address).unlink(missing_ok=True)  # of one that died
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_serve, args=(*self._what, self.desk, theirs), name="vtrack-model", daemon=True
        )
        with deaf_to_interrupts():
            process.start()
        theirs.close()
        try:
            trouble = ours.recv() if ours.poll(START) else VTrackError("the model took too long to load")
        except EOFError:
            trouble = VTrackError("the model's process died while it was loading")
        finally:
            ours.close()
        if trouble is not None:
            process.kill()
            raise trouble
        return process

    def _watch(self) -> None:
        """Start the process again when it dies."""
        while True:
            self.process.join()
            if self._closing.is_set():
                return
            logger.warning("the model's process died; starting it again")
            try:
                self.process = self._start()
            except VTrackError as error:
                logger.error("the model's process could not be started again: %s", error)
                return
            if self._closing.is_set():
                self.process.kill()


class SharedModel:
    """A worker's end: a landmark model that asks the owner."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._owner = self._knock()

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Answer a query on `uint8` crops (B, 3, S, S)."""
        crops = np.ascontiguousarray(crops)
        with self._lock:
            for _ in range(_ASKED):
                try:
                    self._owner.send((crops.shape, query))
                    if crops.size:
                        self._owner.send_bytes(crops.data.cast("B"))
                    answer: Prediction | Exception = self._owner.recv()
                except (EOFError, OSError):
                    self._owner.close()
                    self._owner = self._knock()
                    continue
                if isinstance(answer, Exception):
                    raise answer
                return answer
        raise ModelError("the model's process died each time these faces were shown to it")

    def _knock(self) -> Connection:
        """A connection, as soon as the owner is there."""
        began = time.monotonic()
        while True:
            try:
                owner: Connection = Client(self._desk.address, authkey=self._desk.key)
                self.name, self.input_size, self.margin, self.card = owner.recv()
            except (EOFError, OSError) as error:
                if time.monotonic() - began > START:
                    raise ModelError("the model's process cannot be reached") from error
                time.sleep(0.1)
            else:
                return owner


def _serve(model: str | LandmarkModel, device: str, engine: str, desk: Desk, parent: Connection) -> None:
    """The life of the model's process."""
    begin(threads=1)
    from vtrack.models import load_model

    try:
        network = load_model(model, device=device, engine=engine, shared=True) if isinstance(model, str) else model
    except VTrackError as error:
        parent.send(error)
        return
    with Listener(desk.address, backlog=64, authkey=desk.key) as listener:
        parent.send(None)
        parent.close()
        card = getattr(network, "card", None)
        for requests in _visits(listener, (network.name, network.input_size, network.margin, card)):
            for batch in batches(requests):
                for request, answer in zip(batch, answers(network, batch), strict=True):
                    with suppress(OSError):  # a worker that was killed meanwhile
                        request.guest.send(answer)


def _visits(listener: Listener, greeting: Any) -> Iterator[list[Request]]:
    """All requests that have come since the last were answered."""
    guests: list[Connection] = []
    arrived: deque[Connection] = deque()
    bell, rope = multiprocessing.Pipe(duplex=False)

    def receive() -> None:
        while True:
            try:
                guest: Connection = listener.accept()
                guest.send(greeting)
            except (EOFError, OSError, multiprocessing.AuthenticationError):
                continue  # whoever it was is gone, or had not the key
            arrived.append(guest)
            rope.send_bytes(b"!")

    threading.Thread(target=receive, name="vtrack-door", daemon=True).start()
    while True:
        requests = []
        for visitor in wait([bell, *guests]):
            assert isinstance(visitor, Connection)
            if visitor is bell:
                bell.recv_bytes()
                guests.append(arrived.popleft())
                continue
            try:
                shape, query = visitor.recv()
                pixels = visitor.recv_bytes() if np.prod(shape) else b""
            except (EOFError, OSError):
                guests.remove(visitor)
                visitor.close()
                continue
            requests.append(Request(visitor, np.frombuffer(pixels, np.uint8).reshape(shape), query))
        if requests:
            yield requests


def batches(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Requests that go through the model together: of one query, and not too many crops."""
    groups: dict[Query, list[list[Request]]] = {}
    for request in requests:
        group = groups.setdefault(request.query, [[]])
        if group[-1] and sum(len(other.crops) for other in group[-1]) + len(request.crops) > _MOST:
            group.append([])
        group[-1].append(request)
    for group in groups.values():
        yield from group


def answers(network: LandmarkModel, batch: list[Request]) -> list[Prediction | Exception]:
    """What the model says to each request. Where it fails they are answered one by one, for one alone to be to blame."""
    try:
        if len(batch) == 1:
            return [network.predict(batch[0].crops, batch[0].query)]
        whole = network.predict(np.concatenate([request.crops for request in batch]), batch[0].query)
    except Exception as error:  # noqa: BLE001  whatever goes wrong with some crops goes to whoever sent them
        if len(batch) > 1:
            return [answer for request in batch for answer in answers(network, [request])]
        return [error if isinstance(error, VTrackError) else ModelError(f"{type(error).__name__}: {error}")]
    ends = np.cumsum([len(request.crops) for request in batch])[:-1]
    parts = (np.split(array, ends) for array in (whole.points, whole.sigma, whole.presence))
    return [Prediction(*part) for part in zip(*parts, strict=True)]
