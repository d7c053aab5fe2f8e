"""The model server: right points for each client, dying processes, faulty crops, and strangers."""

from __future__ import annotations

import logging
import os
import signal
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.batch.batching import batch, recipe, summary, tables, write_toys
from tests.pipelines.toys import ToyModel
from vtrack.errors import ModelError
from vtrack.models import load_model
from vtrack.pipelines.batch.workers.model_server import ModelClient, ModelServer, Request, make_batches, predict_batch
from vtrack.query import parse_query
from vtrack.types import ImageArray, Prediction, Query

QUERY = Query(("jaw", "left_eye"), (0.5, 0.5))


def crops(count: int, seed: int = 0, size: int = 128) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


class FaultyModel:
    """A model that raises on black crops, and whose process dies of white ones."""

    name, input_size, margin = "faulty", 8, 1.25

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        if (crops == 255).all((1, 2, 3)).any():
            os._exit(1)
        if (crops == 0).all((1, 2, 3)).any():
            raise RuntimeError("too dark")
        means = crops.mean((1, 2, 3), dtype=np.float32)
        return Prediction(np.tile(means[:, None, None], (1, len(query), 2)), np.ones((len(crops), len(query))), means)


def test_clients_get_predictions_of_their_own_crops() -> None:
    model, query = load_model("fast", device="cpu", shared=True), parse_query("eyes:4")
    with ModelServer("fast", "cpu", "auto") as server:
        clients = [ModelClient(server.address) for _ in range(3)]
        assert clients[0].card == model.card and (clients[0].input_size, clients[0].margin) == (128, model.margin)
        got: dict[int, list[Prediction]] = {}

        def ask(number: int) -> None:
            got[number] = [clients[number].predict(crops(1 + number, 10 * number + i), query) for i in range(4)]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert clients[0].predict(crops(0), query).points.shape == (0, len(query), 2)
    assert len(got) == 3
    for number, predictions in got.items():
        for i, prediction in enumerate(predictions):
            expected = model.predict(crops(1 + number, 10 * number + i), query)
            assert np.allclose(prediction.points, expected.points, atol=1e-3)
            assert np.allclose(prediction.sigma, expected.sigma, rtol=0.02)
    assert not Path(server.address.address).parent.exists()


def test_crops_of_several_clients_with_one_query_form_a_batch() -> None:
    other = Query(("jaw",), (0.1,))
    requests = [
        Request(None, crops(n, size=8), query) for n, query in ((3, QUERY), (200, other), (100, QUERY), (100, other))
    ]  # type: ignore[arg-type]
    assert [[len(request.crops) for request in group] for group in make_batches(requests)] == [[3, 100], [200], [100]]


def test_faulty_crops_fail_only_their_own_request() -> None:
    dark = np.zeros((2, 3, 8, 8), np.uint8)
    batch = [Request(None, pictures, QUERY) for pictures in (crops(2, size=8), dark, crops(3, size=8))]  # type: ignore[arg-type]
    first, second, third = predict_batch(FaultyModel(), batch)
    assert isinstance(first, Prediction) and len(first.points) == 2
    assert isinstance(second, ModelError) and "too dark" in str(second)
    assert isinstance(third, Prediction) and third.presence == pytest.approx(batch[2].crops.mean((1, 2, 3)))


def test_the_server_restarts_and_gives_up_deadly_crops(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), ModelServer(FaultyModel(), "cpu", "auto") as server:
        client = ModelClient(server.address)
        with pytest.raises(ModelError, match="died 3 times of these crops"):
            client.predict(np.full((1, 3, 8, 8), 255, np.uint8), QUERY)
        assert len(client.predict(crops(2, size=8), QUERY).points) == 2
        os.kill(server.process.pid, signal.SIGKILL)
        assert len(client.predict(crops(2, size=8), QUERY).points) == 2
    assert caplog.text.count("restarting it") == 4


def test_a_client_with_a_wrong_key_is_refused() -> None:
    with ModelServer(FaultyModel(), "cpu", "auto") as server:
        with pytest.raises(AuthenticationError):
            Client(server.address.address, authkey=b"guess")
        assert len(ModelClient(server.address).predict(crops(2, size=8), QUERY).points) == 2


def test_a_model_that_cannot_be_loaded_is_named() -> None:
    with pytest.raises(ModelError, match="there is no model 'none'"), ModelServer("none", "cpu", "auto"):
        pass


def test_a_batch_with_a_shared_model_makes_the_same_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[object] = []
    monkeypatch.setattr(
        "vtrack.pipelines.batch.workers.model_server.ModelServer",
        lambda *what: servers.append(what) or ModelServer(*what),
    )
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_toys(tmp_path / "in" / name)
    for share in (False, True):
        batch(tmp_path / "in", tmp_path / str(share), recipe(device="cpu", model=ToyModel()), share=share).run()
    assert servers == [(ToyModel(), "cpu", "auto")]
    assert {row["status"] for row in summary(tmp_path / "True").values()} == {"done"}
    assert tables(tmp_path / "True") == tables(tmp_path / "False")
