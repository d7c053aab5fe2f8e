"""One process answers all workers: with the right points, whoever dies, and whoever sends nonsense."""

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
from vtrack.pipelines.batch.workers.model_server import Owner, SharedModel, answers, batches
from vtrack.pipelines.batch.workers.model_server import Request as Asked
from vtrack.query import parse_query
from vtrack.types import ImageArray, Prediction, Query

QUERY = Query(("jaw", "left_eye"), (0.5, 0.5))


def crops(count: int, seed: int = 0, size: int = 128) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


class Moody:
    """A model that cannot bear black pictures, and dies of white ones."""

    name, input_size, margin = "moody", 8, 1.25

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        if (crops == 255).all((1, 2, 3)).any():
            os._exit(1)
        if (crops == 0).all((1, 2, 3)).any():
            raise RuntimeError("too dark")
        means = crops.mean((1, 2, 3), dtype=np.float32)
        return Prediction(np.tile(means[:, None, None], (1, len(query), 2)), np.ones((len(crops), len(query))), means)


def test_workers_get_what_the_model_says_to_their_own_crops() -> None:
    model, query = load_model("fast", device="cpu", shared=True), parse_query("eyes:4")
    with Owner("fast", "cpu", "auto") as owner:
        clients = [SharedModel(owner.desk) for _ in range(3)]
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
    assert not Path(owner.desk.address).parent.exists()


def test_crops_of_several_workers_make_one_batch_of_one_query() -> None:
    other = Query(("jaw",), (0.1,))
    asked = [
        Asked(None, crops(n, size=8), query) for n, query in ((3, QUERY), (200, other), (100, QUERY), (100, other))
    ]  # type: ignore[arg-type]
    assert [[len(request.crops) for request in group] for group in batches(asked)] == [[3, 100], [200], [100]]


def test_crops_that_the_model_cannot_bear_cost_only_who_sent_them() -> None:
    dark = np.zeros((2, 3, 8, 8), np.uint8)
    batch = [Asked(None, pictures, QUERY) for pictures in (crops(2, size=8), dark, crops(3, size=8))]  # type: ignore[arg-type]
    first, second, third = answers(Moody(), batch)
    assert isinstance(first, Prediction) and len(first.points) == 2
    assert isinstance(second, ModelError) and "too dark" in str(second)
    assert isinstance(third, Prediction) and third.presence == pytest.approx(batch[2].crops.mean((1, 2, 3)))


def test_it_is_started_again_and_deadly_crops_are_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Owner(Moody(), "cpu", "auto") as owner:
        client = SharedModel(owner.desk)
        with pytest.raises(ModelError, match="each time these faces were shown"):
            client.predict(np.full((1, 3, 8, 8), 255, np.uint8), QUERY)
        assert len(client.predict(crops(2, size=8), QUERY).points) == 2
        os.kill(owner.process.pid, signal.SIGKILL)
        assert len(client.predict(crops(2, size=8), QUERY).points) == 2
    assert caplog.text.count("starting it again") == 4


def test_a_stranger_is_sent_away_and_the_others_served() -> None:
    with Owner(Moody(), "cpu", "auto") as owner:
        with pytest.raises(AuthenticationError):
            Client(owner.desk.address, authkey=b"guess")
        assert len(SharedModel(owner.desk).predict(crops(2, size=8), QUERY).points) == 2


def test_a_model_that_cannot_be_loaded_is_told_by_name() -> None:
    with pytest.raises(ModelError, match="there is no model 'none'"), Owner("none", "cpu", "auto"):
        pass


def test_a_batch_with_one_model_for_all_makes_the_same_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("vtrack.pipelines.batch.run.Owner", lambda *what: asked.append(what) or Owner(*what))
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_toys(tmp_path / "in" / name)
    for share in (False, True):
        batch(tmp_path / "in", tmp_path / str(share), recipe(device="cpu", model=ToyModel()), share=share).run()
    assert asked == [(ToyModel(), "cpu", "auto")]
    assert {row["status"] for row in summary(tmp_path / "True").values()} == {"done"}
    assert tables(tmp_path / "True") == tables(tmp_path / "False")
