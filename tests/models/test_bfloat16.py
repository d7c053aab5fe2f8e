"""The landmark models in bfloat16: what they say, the sizes that the graph is made for, and that nothing is reported."""

from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faces import noise
from vtrack.detectors.native import NATIVE_CARD
from vtrack.errors import ModelError
from vtrack.layouts import load_layout
from vtrack.models import load_model
from vtrack.models.card import WEIGHTS, read_card
from vtrack.models.engines import bfloat16
from vtrack.models.engines.base import encode_query
from vtrack.models.engines.bfloat16 import Bfloat16Engine, bf16_is_faster, has_amx
from vtrack.models.engines.onnx import OnnxEngine
from vtrack.models.engines.openvino import split_graph
from vtrack.parts import GROUPS
from vtrack.types import Query

openvino = pytest.importorskip("openvino")

ROOT = Path(__file__).parents[2]
QUERY = load_layout("300w").query
FEW = Query(QUERY.parts[:5], QUERY.positions[:5])


@pytest.fixture(scope="module")
def engine() -> Bfloat16Engine:
    model = load_model("fast", device="cpu", engine="bf16")
    assert isinstance(model, Bfloat16Engine)
    return model


@pytest.fixture
def made(engine: Bfloat16Engine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Sizes and points of the copies made from here on; none is there yet."""
    engine._graphs.clear()
    engine._calls.clear()
    made: list[tuple[int, int]] = []
    compile_ = engine._compile

    def noted(size: int, points: int) -> Any:
        made.append((size, points))
        return compile_(size, points)

    monkeypatch.setattr(engine, "_compile", noted)
    return made


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_it_says_nearly_what_the_graph_in_floats_says(name: str) -> None:
    exact, short = (load_model(name, device="cpu", engine=kind) for kind in ("onnx", "bf16"))
    images = noise(exact, 3)
    one, other = exact.predict(images, QUERY), short.predict(images, QUERY)
    gaps = np.linalg.norm(one.points - other.points, axis=-1)
    assert gaps.mean() < 0.005
    assert np.abs(one.presence - other.presence).max() < 0.05
    assert np.abs(other.sigma / one.sigma - 1).mean() < 0.05
    if has_amx():
        assert gaps.max() > 0  # or it would not be bfloat16


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9, 20])
def test_a_batch_of_any_size_answers_as_its_faces_do_alone(engine: Bfloat16Engine, count: int) -> None:
    images = noise(engine, count)
    together = engine.predict(images, FEW)
    for place in {0, count // 2, count - 1}:
        alone = engine.predict(images[place : place + 1], FEW)
        np.testing.assert_allclose(together.points[place], alone.points[0], atol=1e-4)
        np.testing.assert_allclose(together.sigma[place], alone.sigma[0], rtol=1e-3)
        np.testing.assert_allclose(together.presence[place], alone.presence[0], atol=1e-4)


def test_copies_are_made_for_what_is_asked_often(engine: Bfloat16Engine, made: list[tuple[int, int]]) -> None:
    engine.prepare(FEW)
    made.sort()  # they are made side by side
    assert made == [(1, 5), (8, 5)]
    images = noise(engine, 20)
    for _ in range(bfloat16._COMPILE_AFTER - 1):
        engine.predict(images[:3], FEW)  # in the copy for eight
    assert made == [(1, 5), (8, 5)]
    engine.predict(images[:3], FEW)
    assert made == [(1, 5), (8, 5), (4, 5)]
    engine.predict(images, FEW)  # 8 + 8 + 4
    assert len(made) == 3
    engine.predict(images[:2], Query(QUERY.parts[:7], QUERY.positions[:7]))  # nothing larger is there
    assert made[3:] == [(2, 7)]


def test_only_the_latest_copies_are_kept(engine: Bfloat16Engine, made: list[tuple[int, int]]) -> None:
    images = noise(engine, 1)
    for count in range(1, 11):
        engine.predict(images, Query(QUERY.parts[:count], QUERY.positions[:count]))
    assert len(made) == 10
    assert list(engine._graphs) == [(1, count) for count in range(3, 11)]
    assert set(engine._calls) == set(engine._graphs)


def test_each_query_gets_its_own_answer_and_is_worked_out_once(
    engine: Bfloat16Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries of one length share a copy, and its requests."""
    other = Query(QUERY.parts[30:35], QUERY.positions[30:35])
    images = noise(engine, 1)
    asked: list[Query] = []
    monkeypatch.setattr(bfloat16, "encode_query", lambda query: asked.append(query) or encode_query(query))
    engine._graphs.clear()
    told = [engine.predict(images, query).points for query in (FEW, other, FEW, other)]
    np.testing.assert_array_equal(told[0], told[2])
    np.testing.assert_array_equal(told[1], told[3])
    both = engine.predict(images, FEW + other).points
    assert np.abs(told[0] - both[:, :5]).mean() < 0.02 < np.abs(told[0] - told[1]).mean()
    assert asked == [FEW, other, FEW + other]


def test_an_interrupt_leaves_no_half_of_a_question(engine: Bfloat16Engine) -> None:
    other = Query(QUERY.parts[30:35], QUERY.positions[30:35])
    images = noise(engine, 1)
    engine._graphs.clear()
    expected = engine.predict(images, FEW).points
    idle = engine._graphs[1, 5]._idle
    request = idle.get()
    idle.put(request)
    real, calls = request._request, []

    class Interrupted:
        def set_input_tensor(self, place: int, tensor: object) -> None:
            calls.append(place)
            if place == 2:
                raise KeyboardInterrupt
            real.set_input_tensor(place, tensor)

    request._request = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        engine.predict(images, other)
    request._request = real
    assert calls == [1, 2]
    np.testing.assert_array_equal(engine.predict(images, FEW).points, expected)


def test_a_graph_is_parted_where_an_input_comes_in() -> None:
    """Also where it gives back what does not depend on it, and where nothing of it does."""
    operators = openvino.opset13
    late, early = (operators.parameter([2, 3], np.float32, name=name) for name in ("late", "early"))
    doubled = operators.add(early, early)
    whole = openvino.Model(
        [operators.multiply(late, doubled), operators.relu(early), operators.relu(late)], [late, early]
    )
    first, rest = split_graph(whole, "late")
    a, b = np.full((2, 3), 3, np.float32), np.full((2, 3), 5, np.float32)
    passed = list(openvino.compile_model(first, "CPU")([b]).values())
    told = openvino.compile_model(rest, "CPU")([a, *passed])
    assert [value[0, 0] for value in told.values()] == [30, 5, 3]


def test_an_empty_question_is_fine(engine: Bfloat16Engine) -> None:
    assert engine.predict(noise(engine, 0), QUERY).points.shape == (0, 68, 2)
    assert engine.predict(noise(engine, 2), Query((), ())).points.shape == (2, 0, 2)


def test_a_thousand_points_and_words_of_ones_own(engine: Bfloat16Engine) -> None:
    face = GROUPS["face"]
    many = Query(tuple(face[i % len(face)] for i in range(1000)), tuple(i / 999 for i in range(1000)))
    exact = load_model("fast", device="cpu", engine="onnx")
    images = noise(engine, 2)
    gaps = np.abs(engine.predict(images, many).points - exact.predict(images, many).points)
    assert gaps.shape == (2, 1000, 2)
    assert gaps.mean() < 0.01


def test_several_threads_may_ask_a_shared_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And get what one thread gets on a single core, to the bit: tables are to be the same whatever the machine."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    single = load_model("fast", device="cpu", engine="bf16", shared=True)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    shared = load_model("fast", device="cpu", engine="bf16", shared=True)
    assert (single.concurrency, shared.concurrency, shared.batch_multiple) == (1, 3, 8)  # type: ignore[attr-defined]
    images = noise(shared, 30)
    parts = [slice(start, start + 1 + start % 4) for start in range(27)]
    with ThreadPoolExecutor(3) as callers:
        told = list(callers.map(lambda part: shared.predict(images[part], FEW).points, parts))
    everything = single.predict(images, FEW).points
    for part, points in zip(parts, told, strict=True):
        np.testing.assert_array_equal(points, everything[part])


def test_answers_are_not_overwritten_by_the_next(engine: Bfloat16Engine) -> None:
    images = noise(engine, 2)
    first = engine.predict(images[:1], FEW).points
    kept = first.copy()
    engine.predict(images[1:], FEW)
    np.testing.assert_array_equal(first, kept)


def test_it_is_chosen_where_it_pays(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(bfloat16, "cpu_flags", lambda: frozenset({"amx_bf16"}))
    assert isinstance(load_model("fast", device="cpu"), Bfloat16Engine)
    assert not caplog.text
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "openvino", None)
        assert not bf16_is_faster()
        assert isinstance(load_model("fast", device="cpu"), OnnxEngine)
    assert "pip install 'vtrack[openvino]'" in caplog.text
    monkeypatch.setattr(bfloat16, "cpu_flags", lambda: frozenset({"avx512_bf16"}))
    assert isinstance(load_model("fast", device="cpu"), OnnxEngine)


def test_a_processor_without_tiles_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(bfloat16, "cpu_flags", frozenset)
    load_model("fast", device="cpu", engine="bf16")
    assert "slower than onnx" in caplog.text


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    card = read_card(WEIGHTS / "fast.json")
    with pytest.raises(ModelError, match=r"x\.onnx: not a model that OpenVINO can run: no such file"):
        Bfloat16Engine(card, tmp_path / "x.onnx")
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"x\.onnx: not a model that OpenVINO can run: (?!Exception from)\w+"):
        Bfloat16Engine(card, tmp_path / "x.onnx")


def test_a_graph_with_other_inputs(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"native\.onnx: not the graph of a landmark model"):
        Bfloat16Engine(read_card(WEIGHTS / "fast.json"), NATIVE_CARD.with_suffix(".onnx"))
    with pytest.raises(ModelError, match=r"accurate\.onnx: the graph takes crops of shape \[3, 256, 256\]"):
        Bfloat16Engine(read_card(WEIGHTS / "fast.json"), WEIGHTS / "accurate.onnx")


def test_nothing_is_reported_to_anybody() -> None:
    """Loaded as it comes, OpenVINO sends its makers word over the network; a face is nobody's business."""
    program = """
import socket, sys
def refuse(*_): raise AssertionError("somebody calls home")
socket.getaddrinfo = socket.socket.connect = refuse
from vtrack.models import load_model
load_model("fast", device="cpu", engine="bf16")
print("openvino" in sys.modules, any(name.startswith("openvino_telemetry") for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
    assert "calls home" not in done.stderr


def test_many_threads_may_load_it_at_once() -> None:
    program = """
import sys
from concurrent.futures import ThreadPoolExecutor
from vtrack.models import load_model
from vtrack.models.engines.openvino import core
with ThreadPoolExecutor(8) as pool:
    models = list(pool.map(lambda _: load_model("fast", device="cpu", engine="bf16"), range(8)))
print(len({id(model._core) for model in models}), any(name.startswith("openvino_telemetry") for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_an_openvino_that_is_broken_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("raise ImportError('libtbb.so: no such file')")
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from vtrack.models import load_model
try:
    load_model("fast", device="cpu", engine="bf16")
except Exception as error:
    print(error)
print(load_model("fast", device="cpu").engine)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said, engine = done.stdout.splitlines()
    assert said == "OpenVINO is installed but cannot be loaded: libtbb.so: no such file"
    assert engine in ("onnx", "int8")


def test_signals_arrive_after_an_engine_went_in_another_thread() -> None:
    """The stack that OpenVINO lends a thread for its signals must not go with the engine."""
    program = """
import gc, os, signal, sys, threading
from vtrack.models import load_model
held = [load_model("fast", device="cpu", engine="bf16")]
gone = threading.Thread(target=lambda: (held.clear(), gc.collect()))
gone.start(), gone.join()
came = []
signal.signal(signal.SIGUSR1, lambda *_: came.append(1))
for _ in range(200):
    os.kill(os.getpid(), signal.SIGUSR1)
print(len(came))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "200"
