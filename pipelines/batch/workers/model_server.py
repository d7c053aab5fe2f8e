"""One process that runs the landmark model for all workers of a machine, when the model is on a GPU.

Workers decode, detect and cut crops, and send them here. All requests that arrived while the model was busy are predicted
together, so that crops of several videos form one batch and the GPU holds one model instead of one per worker. If the process
dies it is restarted and workers repeat their requests: no video is lost.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import numpy as np

from vtrack.errors import ModelError, VTrackError
from vtrack.models import pick_device
from vtrack.pipelines.batch.workers.dispatch import START_TIMEOUT
from vtrack.pipelines.batch.workers.pool import init_process, start_process
from vtrack.pipelines.settings import Settings
from vtrack.types import ImageArray, LandmarkModel, Prediction, Query

log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 3
"""Times that a client sends a request; crops that kill the server each time are given up."""
_MAX_BATCH = 256
"""Largest number of crops predicted at once, unless one request has more."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where clients connect, and the key that proves they may."""

    address: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """Crops of one client, and the points it asks for."""

    client: Connection
    crops: ImageArray
    query: Query


@contextmanager
def shared_model(settings: Settings, share: bool | None = None) -> Iterator[Address | None]:
    """Yield the address of a process that runs the landmark model for all workers; None if each loads its own.

    Args:
        settings: The model and its device.
        share: Whether there is such a process; None if the model is on a GPU.
    """
    model = settings.model
    if share is False or (share is None and not isinstance(model, str)):
        yield None
        return
    device = pick_device(settings.device)
    if device == "cpu" and not share:
        yield None
        return
    with ModelServer(model, device, settings.engine) as server:
        yield server.address


class ModelServer:
    """Keeps the model's process running; a context manager.

    Args:
        model: Name of a landmark model, or a model.
        device: Device that a named model is loaded on.
        engine: Engine that runs a named model.

    Raises:
        VTrackError: On entering, if the model cannot be loaded.

    Example:
        with ModelServer("fast", "cuda", "auto") as server:
            prediction = ModelClient(server.address).predict(crops, query)
    """

    def __init__(self, model: str | LandmarkModel, device: str, engine: str) -> None:
        self._model = model, device, engine
        self._folder = TemporaryDirectory(prefix="vtrack-")
        name = secrets.token_hex(8)
        address = rf"\\.\pipe\vtrack-{name}" if os.name == "nt" else str(Path(self._folder.name, name))
        self.address = Address(address, secrets.token_bytes(32))
        self._context = multiprocessing.get_context("spawn")
        self._closing = threading.Event()
        self._restarter = threading.Thread(target=self._restart, name="vtrack-model-server", daemon=True)

    def __enter__(self) -> Self:
        self.process = self._start()
        self._restarter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self.process.kill()
        self._restarter.join()
        self._folder.cleanup()

    def _start(self) -> multiprocessing.process.BaseProcess:
        """Start the process and wait until its model is loaded."""
        Path(self.address.address).unlink(missing_ok=True)  # socket of a process that died
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_serve, args=(*self._model, self.address, theirs), name="vtrack-model", daemon=True
        )
        start_process(process)
        theirs.close()
        try:
            error = ours.recv() if ours.poll(START_TIMEOUT) else VTrackError("loading the model took too long")
        except EOFError:
            error = VTrackError("the model's process died while loading the model")
        finally:
            ours.close()
        if error is not None:
            process.kill()
            raise error
        return process

    def _restart(self) -> None:
        """Restart the process whenever it dies."""
        while True:
            self.process.join()
            if self._closing.is_set():
                return
            log.warning("the model's process died; restarting it")
            try:
                self.process = self._start()
            except VTrackError as error:
                log.error("the model's process could not be restarted: %s", error)
                return
            if self._closing.is_set():
                self.process.kill()


class ModelClient:
    """A landmark model for a worker that sends its crops to the server.

    Raises:
        ModelError: The server cannot be reached.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._server = self._connect()

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        """Predict the points of a query on crops (B, 3, S, S), `uint8`.

        Raises:
            ModelError: The model failed on these crops, or its process died of them repeatedly.
        """
        crops = np.ascontiguousarray(crops)
        with self._lock:
            for _ in range(_MAX_ATTEMPTS):
                try:
                    self._server.send((crops.shape, query))
                    if crops.size:
                        self._server.send_bytes(crops.data.cast("B"))
                    answer: Prediction | Exception = self._server.recv()
                except (EOFError, OSError):
                    self._server.close()
                    self._server = self._connect()
                    continue
                if isinstance(answer, Exception):
                    raise answer
                return answer
        raise ModelError(f"the model's process died {_MAX_ATTEMPTS} times of these crops")

    def _connect(self) -> Connection:
        """Connect, waiting until the server is ready."""
        start = time.monotonic()
        while True:
            try:
                server: Connection = Client(self._address.address, authkey=self._address.key)
                self.name, self.input_size, self.margin, self.card = server.recv()
            except (EOFError, OSError) as error:
                if time.monotonic() - start > START_TIMEOUT:
                    raise ModelError("the model's process cannot be reached") from error
                time.sleep(0.1)
            else:
                return server


def _serve(model: str | LandmarkModel, device: str, engine: str, address: Address, parent: Connection) -> None:
    """Main function of the model's process."""
    init_process(threads=1)
    from vtrack.models import load_model  # imports torch, which reads the number of threads set above

    try:
        network = load_model(model, device=device, engine=engine, shared=True) if isinstance(model, str) else model
    except VTrackError as error:
        parent.send(error)
        return
    with Listener(address.address, backlog=64, authkey=address.key) as listener:
        parent.send(None)
        parent.close()
        card = getattr(network, "card", None)
        for requests in _receive_requests(listener, (network.name, network.input_size, network.margin, card)):
            for batch in make_batches(requests):
                for request, answer in zip(batch, predict_batch(network, batch), strict=True):
                    with suppress(OSError):  # the client has died
                        request.client.send(answer)


def _receive_requests(listener: Listener, greeting: Any) -> Iterator[list[Request]]:
    """Yield all requests that arrived since the last ones were answered."""
    clients: list[Connection] = []
    new_clients: deque[Connection] = deque()
    # A pipe wakes up `wait` below when a client has connected.
    wakeup_reader, wakeup_writer = multiprocessing.Pipe(duplex=False)

    def accept() -> None:
        while True:
            try:
                client: Connection = listener.accept()
                client.send(greeting)
            except (EOFError, OSError, multiprocessing.AuthenticationError):
                continue  # the client has died or has the wrong key
            new_clients.append(client)
            wakeup_writer.send_bytes(b"!")

    threading.Thread(target=accept, name="vtrack-accept", daemon=True).start()
    while True:
        requests = []
        for connection in wait([wakeup_reader, *clients]):
            assert isinstance(connection, Connection)
            if connection is wakeup_reader:
                wakeup_reader.recv_bytes()
                clients.append(new_clients.popleft())
                continue
            try:
                shape, query = connection.recv()
                pixels = connection.recv_bytes() if np.prod(shape) else b""
            except (EOFError, OSError):
                clients.remove(connection)
                connection.close()
                continue
            requests.append(Request(connection, np.frombuffer(pixels, np.uint8).reshape(shape), query))
        if requests:
            yield requests


def make_batches(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Group requests into batches of one query and at most `_MAX_BATCH` crops."""
    groups: dict[Query, list[list[Request]]] = {}
    for request in requests:
        batches = groups.setdefault(request.query, [[]])
        if batches[-1] and sum(len(other.crops) for other in batches[-1]) + len(request.crops) > _MAX_BATCH:
            batches.append([])
        batches[-1].append(request)
    for batches in groups.values():
        yield from batches


def predict_batch(network: LandmarkModel, batch: list[Request]) -> list[Prediction | Exception]:
    """Predict a batch. If that fails, predict each request alone, so that only the faulty one gets an error."""
    try:
        if len(batch) == 1:
            return [network.predict(batch[0].crops, batch[0].query)]
        joint = network.predict(np.concatenate([request.crops for request in batch]), batch[0].query)
    except Exception as error:  # noqa: BLE001  whatever goes wrong is sent to the client
        if len(batch) > 1:
            return [answer for request in batch for answer in predict_batch(network, [request])]
        return [error if isinstance(error, VTrackError) else ModelError(f"{type(error).__name__}: {error}")]
    ends = np.cumsum([len(request.crops) for request in batch])[:-1]
    hidden = [] if joint.hidden is None else [joint.hidden]
    parts = (np.split(array, ends) for array in (joint.points, joint.sigma, joint.presence, *hidden))
    return [Prediction(*part) for part in zip(*parts, strict=True)]
