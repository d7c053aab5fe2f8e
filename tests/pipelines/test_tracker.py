"""`Tracker`: models loaded once, for videos, photographs, loops of one's own and cameras."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.pipelines.test_pipeline import QUERY
from tests.pipelines.test_results import COUNT, images
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter, true_points
from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.live.camera import Camera, DeviceCamera
from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.live.session import LiveSession
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.settings import LiveSettings
from vtrack.pipelines.tracker import Tracker
from vtrack.types import ImageArray

pytestmark = pytest.mark.usefixtures("no_thread_left")


def toys(**changes: Any) -> Tracker:
    return Tracker(QUERY, **{"model": ToyModel(), "detector": ToyDetector(), **changes})


def photograph(*faces: ToyFace) -> ImageArray:
    return painter(lambda i: faces)(0, 240, 180)


def test_models_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str, **options: object) -> ToyModel:
        loaded.append(name)
        return ToyModel()

    monkeypatch.setattr("vtrack.pipelines.pipeline.load_model", load)
    tracker = Tracker(QUERY, detector=ToyDetector())
    tables = [tracker.track(images()).table() for _ in range(2)]
    assert loaded == ["fast"]
    np.testing.assert_array_equal(tables[0].cells, tables[1].cells)
    assert repr(tracker) == "Tracker(2 points, model toy)" and tracker.query == QUERY


def test_a_photograph(tmp_path: Path) -> None:
    faces = ToyFace((60, 90), 50), ToyFace((170, 80), 60, blue=120)
    image = photograph(*faces)
    (tmp_path / "photo.png").write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    tracker = toys(smooth="kalman", strength=1.0)
    for given in (image, tmp_path / "photo.png", str(tmp_path / "photo.png")):
        result = tracker.image(given)
        assert len(result.faces) == 2 and result.query == QUERY and result.time == 0
        found = sorted(result.faces, key=lambda face: float(face.box[0]))
        for face, true in zip(found, faces, strict=True):
            np.testing.assert_allclose(face.points, true_points(true, QUERY), atol=2.0)
            np.testing.assert_array_equal(face.points, face.raw)
    assert tracker.image(photograph()).faces == ()
    with pytest.raises(UsageError, match="image 0 is float64"):
        tracker.image(image / 255)
    with pytest.raises(SourceError, match="no such file"):
        tracker.image(tmp_path / "absent.png")
    with pytest.raises(UsageError, match="neutral applies to films only"):
        toys(expressions=True, neutral=1.0).image(image)


def test_a_loop_of_ones_own() -> None:
    with toys(measures=True) as tracker:
        results = [tracker.step(image, 0.04 * i) for i, image in enumerate(images())]
    assert [result.index for result in results] == list(range(COUNT))
    assert [result.time for result in results] == pytest.approx([0.04 * i for i in range(COUNT)])
    seen = [result for result in results if result.faces]
    assert len(seen) >= COUNT - 3 and {face.id for result in seen for face in result.faces} == {0}
    face = seen[-1].faces[0]
    assert face.measures and len(face.points) == len(QUERY)
    np.testing.assert_allclose(face.points, true_points(ToyFace((60 + 10 + COUNT - 1, 90), 50), QUERY), atol=4)
    assert not np.array_equal(face.points, face.raw), "smoothed"


def test_steps_are_what_a_live_session_gives() -> None:
    class Recorded(Capture):
        """A capture whose frames are at hand."""

        def __init__(self) -> None:
            pass

        def __iter__(self) -> Iterator[Any]:
            return iter([result.frame for result in stepped])

    with toys(smooth="one-euro", strength=0.8) as tracker:
        stepped = [tracker.step(image, 0.04 * i) for i, image in enumerate(images())]
    settings = LiveSettings(
        QUERY, model=ToyModel(), detector=ToyDetector(), smooth="one-euro", strength=0.8, measures=False
    )
    live = [result.shown for result in LiveSession(Pipeline(settings), Recorded()).results()]
    assert len(live) == COUNT
    for one, other in zip(stepped, live, strict=True):
        assert [face.id for face in one.faces] == [face.id for face in other.faces]
        for face, same in zip(one.faces, other.faces, strict=True):
            np.testing.assert_array_equal(face.points, same.points)


def test_reset_begins_another_video() -> None:
    with toys() as tracker:
        first = [tracker.step(image, 1 + 0.04 * i) for i, image in enumerate(images())]
        with pytest.raises(UsageError, match=r"time must grow, by a microsecond at least; got 0 s after 1\.92 s"):
            tracker.step(images()[0], 0.0)
        tracker.reset()
        second = [tracker.step(image, 0.04 * i) for i, image in enumerate(images())]
    for one, other in zip(first, second, strict=True):
        assert one.index == other.index
        for face, same in zip(one.faces, other.faces, strict=True):
            np.testing.assert_allclose(face.points, same.points, atol=1e-6)


def test_steps_that_cannot_be() -> None:
    image = photograph()
    with toys() as tracker:
        for time, message in ((float("nan"), "finite number; got nan"), ("now", "finite number; got 'now'")):
            with pytest.raises(UsageError, match=message):
                tracker.step(image, time)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="images are uint8 RGB"):
            tracker.step(image[..., 0], 0.0)
        assert tracker.step(image, -5.0).time == -5.0
    with toys(smooth="rts") as tracker, pytest.raises(UsageError, match=r"'rts'.*choose from kalman, one-euro, none"):
        tracker.step(image, 0.0)


class ToyCamera(DeviceCamera):
    """A camera that sees toy faces, a few times, and is then unplugged."""

    def __init__(self, device: str) -> None:
        self.device, self.name = device, f"camera {device}"
        if device != "0":
            raise SourceError(f"{self.name} cannot be opened")

    def images(self, stop: threading.Event) -> Iterator[ImageArray]:
        for image in images():
            yield image
            stop.wait(0.02)

    def close(self) -> None:
        pass


def test_a_camera_gives_its_newest_frames_until_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtrack.pipelines.tracker.DeviceCamera", ToyCamera)
    monkeypatch.setattr("vtrack.pipelines.live.capture._JOIN_TIMEOUT", 200.0)  # the thread is looked for at once
    tracker = toys()
    with pytest.raises(SourceError, match="camera 1 cannot be opened"):
        tracker.track(1)
    with tracker.track(0) as results:
        assert results.info is None and repr(results) == "Results(a camera, 2 points)"
        seen = [next(results) for _ in range(8)]
    assert all(one.time < other.time for one, other in itertools.pairwise(seen))
    assert any(result.faces for result in seen)
    with pytest.raises(UsageError, match="choose from kalman"):
        toys(smooth="rts").track(0)
    assert issubclass(ToyCamera, Camera)
