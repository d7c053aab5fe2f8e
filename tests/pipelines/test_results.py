"""`track` and its results: sources of every kind, tables of all frames, and errors before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.clips import write_clip
from tests.pipelines.test_pipeline import QUERY, scene
from tests.pipelines.toys import ToyDetector, ToyModel, painter
from vtrack.errors import ModelError, QueryError, SourceError, UsageError
from vtrack.pipelines.results import Results
from vtrack.pipelines.sources.base import Source, SourceInfo
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.track import track
from vtrack.types import Frame, ImageArray

pytestmark = pytest.mark.usefixtures("no_thread_left")

COUNT = 24


def images() -> ImageArray:
    return np.stack([painter(lambda i: scene(i + 10))(i, 240, 180) for i in range(COUNT)])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = painter(lambda i: scene(i + 10))
    return write_clip(tmp_path_factory.mktemp("toys") / "toys.mp4", COUNT, (240, 180), draw=draw)


def toys(source: Any, **changes: Any) -> Results:
    return track(source, QUERY, **{"model": ToyModel(), "detector": ToyDetector(), **changes})


class OwnSource(Source):
    """A source of one's own: facts and frames, nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.info = SourceInfo("own", width=240, height=180, time_base=Fraction(1, 25))

    def frames(self) -> Iterator[Frame]:
        for i, image in enumerate(images()):
            yield Frame(image, i, i, self.info.time_base)


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    files = [tmp_path / f"img{i:02}.png" for i in range(COUNT)]
    for file, image in zip(files, images(), strict=True):
        file.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    expected = toys(images()).table()
    assert len(expected) == COUNT and expected.times[-1] == pytest.approx((COUNT - 1) / 25)
    times = [i / 25 for i in range(COUNT)]
    sources: list[tuple[Any, dict[str, Any]]] = [
        (list(images()), {"fps": 25}),
        ((image for image in images()), {}),
        ((image for image in images()), {"times": iter(times)}),
        (images(), {"times": times}),
        (files, {}),
        ([str(file) for file in files], {"times": times}),
        ([*files[:5], *images()[5:]], {}),
        (tmp_path, {}),
        (str(tmp_path / "img*.png"), {}),
        (OwnSource(), {}),
        (open_source(images()), {}),
    ]
    for source, options in sources:
        table = toys(source, **options).table()
        np.testing.assert_array_equal(table.frame, expected.frame)
        np.testing.assert_allclose(table.time, expected.time, atol=1e-9)
        np.testing.assert_allclose(table.cells, expected.cells, atol=1e-3)


def test_uneven_times_reach_the_results() -> None:
    times = np.cumsum(np.tile([0.02, 0.05, 0.03], COUNT // 3))
    assert [result.time for result in toys(images(), times=times)] == pytest.approx(times)


def test_one_image_is_one_frame() -> None:
    (result,) = toys(images()[3])
    assert len(result.faces) == 1 and result.frame.size == (240, 180)


def test_results_are_an_iterator_or_a_table(clip: Path) -> None:
    results = toys(clip)
    assert results.info is not None and results.info.size == (240, 180) and results.query == QUERY
    assert repr(results) == "Results(toys.mp4, 2 points)"
    table = results.table(["raw"])
    assert results.table() is table and len(table) == COUNT
    assert results.to_numpy("raw").shape == results.to_numpy().shape == (COUNT, 1, 2, 2)
    assert list(results) == []
    began = toys(clip)
    next(began)
    with pytest.raises(UsageError, match="some of these results were read already; call track again"):
        began.to_numpy()
    began.close()
    with pytest.raises(UsageError, match="rw"):
        toys(clip).table(["rw"])


def test_measures_are_in_the_table_when_they_were_measured(clip: Path) -> None:
    results = toys(clip, measures=True)
    assert results.to_numpy("blink").shape == (COUNT, 1)
    pandas = pytest.importorskip("pandas")
    assert isinstance(results.to_pandas(), pandas.DataFrame) and "mouth_open" in results.to_pandas()
    pytest.importorskip("xarray")
    assert results.to_xarray().sizes["time"] == COUNT


def test_a_with_statement_closes_the_source(clip: Path) -> None:
    source = open_source(clip)
    with toys(source) as results:
        assert next(results).index == 0
    with pytest.raises(SourceError, match="read only once"):
        next(iter(source))
    with toys(clip):
        pass  # never read
    assert list(results) == []


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"parts": "eyess"}, QueryError, "no part, group or layout called 'eyess'; did you mean eyes"),
    ({"parts": ["eyes", "lipz"]}, QueryError, "did you mean lips"),
    ({"parts": 3}, UsageError, "parts must be"),
    ({"smooth": "very"}, UsageError, "very"),
    ({"strength": -1}, UsageError, "strength must be 0 to 1, got -1"),
    ({"strengths": {"lipz": 0.5}}, UsageError, "no part is called 'lipz'"),
    ({"strengths": {"eyes": -0.5}}, UsageError, "eyes"),
    ({"detect_every": 7}, UsageError, "detect_every must be 0 to 1 seconds, got 7"),
    ({"max_faces": 0}, UsageError, "max_faces must be at least 1"),
    ({"model": "slow"}, ModelError, "there is no model 'slow'"),
    ({"model": lambda crops, query: None}, UsageError, "model must be a name"),
    ({"detector": "nativ"}, UsageError, "there is no detector 'nativ'"),
    ({"detector": 7}, UsageError, "detector must be a name, a function"),
    ({"engine": "fast"}, UsageError, "there is no engine 'fast'"),
    ({"device": "tpu"}, UsageError, "there is no device 'tpu' here"),
    ({"start": 3, "stop": 2}, UsageError, "must come after start"),
    ({"every": 0}, UsageError, "every must be at least 1"),
    ({"fps": 30}, UsageError, "fps applies to images only; .* has its own times"),
    ({"times": [0, 1]}, UsageError, "times are for images"),
    ({"fps": 30, "times": [0, 1]}, UsageError, "give one of them"),
    ({"source": "absent.mp4"}, SourceError, "absent.mp4: no such file"),
    ({"source": ["absent.png"]}, SourceError, "absent.png: no such file"),
    ({"source": []}, SourceError, "there are no images"),
    ({"source": None}, UsageError, "a source is a path, an address, an image array"),
    ({"source": True}, UsageError, "a source is a path"),
    ({"source": np.zeros((4, 4))}, UsageError, r"arrays of shape \(height, width, 3\), stacks .* got float64 \(4, 4\)"),
    ({"source": np.zeros((2, 4, 4, 3))}, UsageError, "image 0 is float64"),
    ({"source": np.zeros((2, 4, 4, 3), np.uint8), "times": [1, 0]}, UsageError, "times must grow"),
    ({"source": np.zeros((2, 4, 4, 3), np.uint8), "hwaccel": "cuda"}, UsageError, "hwaccel applies to video only"),
    ({"source": 0, "every": 2}, UsageError, "a camera's frames come as they are; leave out every"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG, ids=[str(arguments)[:40] for arguments, *_ in WRONG])
def test_what_cannot_be_is_refused_before_models_load(
    clip: Path, arguments: dict[str, Any], error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*args: object, **options: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("vtrack.pipelines.pipeline.load_model", load)
    monkeypatch.setattr("vtrack.pipelines.pipeline.load_detector", load)
    with pytest.raises(error, match=message):
        track(**{"source": clip, **arguments})
