"""Loading models: the shipped ones, one's own, and everything that may be wrong with a file."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.faces import noise
from vtrack.errors import ModelError, UsageError
from vtrack.layouts import load_layout
from vtrack.models import gpu_likely, load_model, pick_device, shipped
from vtrack.models.card import WEIGHTS, Card, read_card
from vtrack.models.engines.cuda_graphs import CudaGraphs, EagerRunner
from vtrack.types import Query

QUERY = load_layout("300w").query


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The fast model in a folder of its own; gives the path of the card."""
    for file in WEIGHTS.glob("fast.*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "fast.json"


@pytest.mark.parametrize("name", shipped())
def test_both_engines_of_a_shipped_model_say_the_same(name: str) -> None:
    onnx = load_model(name, device="cpu", engine="onnx")
    torch = load_model(name, device="cpu", engine="torch")
    images = noise(onnx, 2)
    one, other = onnx.predict(images, QUERY), torch.predict(images, QUERY)
    assert np.abs(one.points - other.points).max() < 1e-3
    assert np.abs(one.sigma / other.sigma - 1).max() < 1e-2
    assert np.abs(one.presence - other.presence).max() < 1e-3


def test_a_batch_answers_as_its_faces_do_alone() -> None:
    model = load_model("fast", device="cpu")
    images = noise(model, 3)
    together = model.predict(images, QUERY)
    alone = model.predict(images[1:2], QUERY)
    assert np.abs(together.points[1] - alone.points[0]).max() < 1e-4


def test_no_crops_and_no_points_are_fine() -> None:
    for engine in ("onnx", "torch"):
        model = load_model("fast", device="cpu", engine=engine)
        assert model.predict(noise(model, 0), QUERY).points.shape == (0, 68, 2)
        assert model.predict(noise(model, 2), Query((), ())).points.shape == (2, 0, 2)


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_crops_of_another_kind_are_refused(engine: str) -> None:
    model = load_model("fast", device="cpu", engine=engine)
    with pytest.raises(ValueError, match="crops must be uint8"):
        model.predict(np.zeros((1, 3, 10, 10), np.uint8), QUERY)
    with pytest.raises(ValueError, match="crops must be uint8"):
        model.predict(noise(model, 1).astype(np.float32), QUERY)


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ModelError, match="no model 'fats'; did you mean fast"):
        load_model("fats")
    with pytest.raises(UsageError, match="no engine 'tensorrt'; choose from auto, torch, onnx"):
        load_model("fast", engine="tensorrt")
    with pytest.raises(UsageError, match="no device 'cuda:99' here; choose from auto"):
        pick_device("cuda:99")


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_truncated_weights_are_named(copy: Path, engine: str) -> None:
    weights = copy.with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:20_000])
    with pytest.raises(ModelError, match=r"fast\."):
        load_model(str(copy), device="cpu", engine=engine)


def test_weights_of_another_model_are_named(copy: Path) -> None:
    card = json.loads(copy.read_text())
    card["config"]["dim"] = 64
    copy.write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"fast\.safetensors: these are weights of another model"):
        load_model(str(copy), device="cpu", engine="torch")


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A list takes one line; what strings hold stays, brackets and spaces too."""
    card = Card(
        "x",
        "udfld",
        "two  spaces, [a  list] of  them",
        {},
        recipe={"numbers": [1, 2.5], "words": ["a  b", "c"], "none": []},
    )
    card.write(tmp_path / "x.json")
    assert read_card(tmp_path / "x.json") == card
    assert '"numbers": [1, 2.5],\n' in (tmp_path / "x.json").read_text()


def test_cards_that_are_none(copy: Path) -> None:
    copy.write_text("{")
    with pytest.raises(ModelError, match="not a model card"):
        load_model(str(copy))
    copy.write_text('{"name": "x"}')
    with pytest.raises(ModelError, match="not a model card"):
        load_model(str(copy))


def test_a_shared_engine_takes_several_callers_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    alone, shared = (load_model("fast", device="cpu", engine="onnx", shared=shared) for shared in (False, True))
    assert (alone.concurrency, shared.concurrency) == (1, 3)  # type: ignore[attr-defined]
    images = noise(alone, 7)
    one = alone.predict(images, QUERY)
    with ThreadPoolExecutor(3) as callers:
        others = callers.map(lambda part: shared.predict(images[part], QUERY), [slice(0, 3), slice(3, 6), slice(6, 7)])
        points, presence = map(np.concatenate, zip(*((other.points, other.presence) for other in others), strict=True))
    np.testing.assert_allclose(one.points, points, atol=1e-4)
    np.testing.assert_allclose(one.presence, presence, atol=1e-4)


@pytest.mark.skipif(gpu_likely(), reason="there may be a GPU, which only torch can tell")
def test_a_run_without_a_gpu_does_without_torch() -> None:
    program = """
import sys
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.settings import Settings
from vtrack.query import parse_query
Pipeline(Settings(parse_query("eyes")))
print("torch" in sys.modules)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("engine", ["onnx", "int8", "bf16", "torch"])
def test_crops_may_be_read_only(engine: str, recwarn: pytest.WarningsRecorder) -> None:
    """As those that come from another process are."""
    if engine == "bf16":
        pytest.importorskip("openvino")
    model = load_model("fast", device="cpu", engine=engine)
    images = noise(model, 2)
    frozen = images.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(model.predict(frozen, QUERY).points, model.predict(images, QUERY).points)
    assert not [warning for warning in recwarn if "not writable" in str(warning.message)]


@pytest.mark.cuda
@pytest.mark.parametrize("name", shipped())
def test_a_gpu_says_what_the_cpu_says_for_any_batch(name: str) -> None:
    """From recorded graphs, of batches that fill them or do not, and of one query after the other."""
    here, there = load_model(name, device="cpu", engine="torch"), load_model(name, device="cuda")
    images = noise(here, 7)
    for query in (QUERY, Query(("outer_lip",) * 3, (0.0, 0.25, 0.6))):
        expected = here.predict(images, query)
        for count in (1, 7, 3, 7):
            told = there.predict(images[:count], query)
            # Half precision; crops of noise are harder on it than faces are.
            assert np.abs(told.points - expected.points[:count]).mean() < 0.01
            assert np.abs(told.presence - expected.presence[:count]).max() < 0.1


@pytest.mark.cuda
def test_recorded_graphs_answer_as_the_network_does() -> None:
    model = load_model("fast", device="cuda")
    images = noise(model, 600)
    whole = model.predict(images, QUERY)
    assert isinstance(model._runner, CudaGraphs) and model._runner._recordable, "the network could not be recorded"
    model._runner = EagerRunner("cuda")
    plainly = model.predict(images, QUERY)
    np.testing.assert_allclose(whole.points, plainly.points, atol=5e-3)
    np.testing.assert_allclose(whole.sigma, plainly.sigma, rtol=0.1)


# In a process of its own: how many megabytes more are in use after one large batch than after a batch of eight crops.
LARGE_BATCH = """
import numpy as np
from pathlib import Path
from vtrack.models import load_model
from vtrack.query import parse_query

def megabytes():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024

model, query = load_model("fast", device="cpu", engine="int8"), parse_query("face")
crops = np.random.default_rng(0).integers(0, 255, (64, 3, model.input_size, model.input_size), np.uint8)
model.predict(crops[:8], query)
few, before = model.predict(crops[:8], query), megabytes()
many = model.predict(crops, query)
assert np.array_equal(few.points, many.points[:8])
print(megabytes() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory in use is read from Linux's /proc")
def test_a_large_batch_leaves_no_memory_in_use() -> None:
    done = subprocess.run([sys.executable, "-c", LARGE_BATCH], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 10
