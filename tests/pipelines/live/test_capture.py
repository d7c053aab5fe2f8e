"""Capture: frames do not queue up, files are played at their own speed, lost cameras are reopened."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.clips import index_image, read_index, write_clip
from tests.pipelines.live.patience import PATIENCE
from vtrack.errors import SourceError
from vtrack.pipelines.live.camera import Camera, DeviceCamera, FileCamera, camera_opener
from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.live.latest import Latest
from vtrack.types import ImageArray


class FlakyCamera(Camera):
    """A camera that is lost after a few images."""

    name = "flaky"

    def __init__(self, images: list[ImageArray]) -> None:
        self._images = images
        self.closed = False

    def images(self, stop: threading.Event) -> Iterator[ImageArray]:
        for image in self._images:
            if stop.wait(0.01):
                return
            yield image

    def close(self) -> None:
        self.closed = True


def image(index: int) -> ImageArray:
    return index_image(index, 80, 48)


def test_the_latest_item_replaces_one_not_taken() -> None:
    latest: Latest[int] = Latest()
    for i in range(5):
        latest.put(i)
    assert latest.take() == 4 and latest.replaced == 4
    assert latest.take(0.01) is None and not latest.closed
    latest.close()
    assert latest.take() is None and latest.closed


def test_a_slow_reader_gets_the_latest_frame() -> None:
    """Ten images come while the reader is busy, and ten more when it has taken a frame."""
    come, taken = threading.Semaphore(0), threading.Semaphore(0)

    class Bursts(FlakyCamera):
        ends = True

        def images(self, stop: threading.Event) -> Iterator[ImageArray]:
            for i, picture in enumerate(self._images):
                yield picture
                if i % 10 == 9:  # the capture has this one, too, and asks for another
                    come.release()
                    taken.acquire(timeout=PATIENCE)

    seen = []
    with Capture(lambda: Bursts([image(i) for i in range(60)])) as capture:
        frames = iter(capture)
        for _ in range(6):
            assert come.acquire(timeout=PATIENCE)
            frame = next(frames)
            seen.append((frame.index, read_index(frame.image)))
            taken.release()
        assert list(frames) == []
    assert seen == [(i, i) for i in range(9, 60, 10)] and capture.skipped == 54
    assert capture.status.state == "ended"


class ToyClock(threading.Event):
    """A clock that only goes on when somebody waits for it."""

    now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return False


def test_a_file_is_played_at_its_own_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, clock = write_clip(tmp_path / "vfr.mp4", 4, times=[0, 0.1, 0.5, 0.6]), ToyClock()
    monkeypatch.setattr("vtrack.pipelines.live.camera.time", SimpleNamespace(perf_counter=lambda: clock.now))
    with closing(FileCamera(str(path))) as camera:
        assert [clock.now for _ in camera.images(clock)] == pytest.approx([0, 0.1, 0.5, 0.6], abs=1e-3)
    # A reader that is late gets what is due at once; one that is very late, as after a pause, goes on from where it is.
    for late, expected in ((0.3, [0, 0.3, 0.5, 0.6]), (5, [0, 5, 5.4, 5.5])):
        clock.now, times = 0.0, []
        with closing(FileCamera(str(path))) as camera:
            for _ in camera.images(clock):
                times.append(clock.now)
                clock.now += late if len(times) == 1 else 0
        assert times == pytest.approx(expected, abs=1e-3)


def test_a_file_is_looped(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "short.mp4", 3, rate=50)
    stop, seen = threading.Event(), []
    with closing(FileCamera(str(path), loop=True)) as camera:
        for image in camera.images(stop):
            seen.append(read_index(image))
            if len(seen) == 8:
                stop.set()
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1]


def test_a_lost_camera_is_reopened_after_growing_delays() -> None:
    opened: list[float] = []
    cameras: list[FlakyCamera] = []
    states = []

    class Watched(FlakyCamera):
        def images(self, stop: threading.Event) -> Iterator[ImageArray]:
            for picture in super().images(stop):
                yield picture
                states.append(capture.status.state)

    def opener() -> Camera:
        opened.append(time.perf_counter())
        if len(opened) in (2, 3, 4):
            raise SourceError("no answer")
        cameras.append(Watched([image(i) for i in range(3)]))
        return cameras[-1]

    seen, capture = [], Capture(opener, retry_delay=0.05)
    with capture:
        for frame in capture:
            seen.append(frame.index)
            if frame.index >= 3:  # of the camera that was reopened, if not of one after it
                break
    assert set(states) == {"live"}
    assert len(cameras) >= 2 and cameras[0].closed
    pauses = np.diff(opened)
    assert pauses[2] > 0.19 and pauses[3] > 0.39  # 0.05, 0.1, 0.2, 0.4 seconds and what the machine adds
    assert seen == sorted(seen)


def test_a_lost_network_stream_is_reopened(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "live.ts", 25, (80, 48)).read_bytes()
    asked: list[float] = []

    class Studio(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(time.perf_counter())
            self.send_response(503 if len(asked) == 2 else 200)
            self.end_headers()
            if len(asked) != 2:
                self.wfile.write(film)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Studio)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/live.ts"
    last = -1
    try:
        with Capture(camera_opener(address), retry_delay=0.1) as capture:
            for frame in capture:
                assert frame.index > last
                last = frame.index
                if last >= 25:
                    break
            assert "live.ts" in capture.status.camera
    finally:
        server.shutdown()
        server.server_close()
    assert len(asked) >= 3 and np.diff(asked)[:2].min() >= 0.1


def test_a_camera_that_never_opens_is_an_error() -> None:
    def opener() -> Camera:
        raise SourceError("no such camera")

    with pytest.raises(SourceError, match="no such camera"), Capture(opener) as capture:
        list(capture)
    assert str(capture.status) == "lost: camera (no such camera)"


def test_an_unexpected_error_of_a_camera_ends_the_frames() -> None:
    def opener() -> Camera:
        raise RuntimeError("driver bug")

    with pytest.raises(RuntimeError, match="driver bug"), Capture(opener) as capture:
        list(capture)


def test_switching_to_another_camera() -> None:
    first, second = FlakyCamera([image(1)] * 500), FlakyCamera([image(2)] * 500)
    switched = False
    with Capture(lambda: first) as capture:
        for frame in capture:
            if frame.index >= 3 and not switched:
                capture.switch(lambda: second)
                switched = True
            if read_index(frame.image) == 2:
                break
    assert first.closed


def test_names_that_are_no_cameras() -> None:
    with pytest.raises(SourceError, match="takes a number"):
        camera_opener("nothing.mp4")
    with pytest.raises(SourceError, match="cannot be opened"):
        camera_opener("99")()


def test_a_camera_that_is_not_there_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        SourceError, match=r"^camera 97 cannot be opened: it does not exist or another program uses it$"
    ):
        DeviceCamera("97")
    assert capfd.readouterr() == ("", "")  # OpenCV itself says nothing
