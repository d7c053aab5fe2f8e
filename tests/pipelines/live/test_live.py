"""Live tracking: nothing queues up, lost cameras come back, options change on the way, records tell when."""

from __future__ import annotations

import csv
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from tests.clips import index_image, read_index, write_clip
from tests.pipelines.results import QUERY, make_face, make_result
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter
from vtrack.cli.main import FAILED, USAGE, main
from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.live.camera import Camera, Player
from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.live.latency import PaceMeter
from vtrack.pipelines.live.latest import Newest
from vtrack.pipelines.live.open_camera import camera_opener
from vtrack.pipelines.live.recorder import Drawings, Recorder
from vtrack.pipelines.live.session import Live, LiveResult, Worker, mirrored
from vtrack.pipelines.live.window import DRAWINGS, Window, has_display, labelled, next_drawing, save_snapshot
from vtrack.pipelines.measures.measurer import MEASURES
from vtrack.pipelines.outputs.streams import bundles, open_emitter, osc_message
from vtrack.pipelines.outputs.tables.csv import open_table
from vtrack.pipelines.outputs.video import VideoSink
from vtrack.pipelines.pipeline import Pipeline, Settings
from vtrack.pipelines.sources.open import open_source
from vtrack.types import ImageArray, Measures, Query


class Flaky(Camera):
    """A stream that gives a few pictures each time it is opened, then dies; some openings fail."""

    name = "flaky"
    sure = 0.0

    def __init__(self, images: list[ImageArray]) -> None:
        self._images = images
        self.closed = False

    def pictures(self, leave: threading.Event) -> Iterator[ImageArray]:
        for image in self._images:
            if leave.wait(0.01):
                return
            yield image

    def close(self) -> None:
        self.closed = True


def image(index: int) -> ImageArray:
    return index_image(index, 80, 48)


def toys(i: int) -> list[ToyFace]:
    return [ToyFace((60 + i, 90), 50)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("live") / "toys.mp4", 40, (240, 180), draw=painter(toys), rate=40)


def pipeline(query: Query = QUERY) -> Pipeline:
    return Pipeline(Settings(query, model=ToyModel(), detector=ToyDetector(), smooth="kalman", measures=True))


def test_the_newest_takes_the_place_of_what_nobody_took() -> None:
    newest: Newest[int] = Newest()
    for i in range(5):
        newest.put(i)
    assert newest.take() == 4 and newest.replaced == 4
    assert newest.take(0.01) is None and not newest.closed
    newest.close()
    assert newest.take() is None and newest.closed


def test_a_slow_reader_gets_new_frames_not_old_ones(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "fast.mp4", 60, rate=60)
    ages, seen = [], []
    with Capture(camera_opener(str(path))) as capture:
        for frame in capture:
            ages.append(capture.now - frame.time)
            seen.append(frame.index)
            assert read_index(frame.image) == frame.index
            time.sleep(0.15)
    assert seen == sorted(set(seen)) and 2 <= len(seen) < 30
    assert capture.skipped > 20
    assert np.median(ages) < 0.1  # the reader alone was late, not the frames
    assert capture.connection.state == "ended"


def test_a_player_keeps_the_files_own_pace(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "vfr.mp4", 4, times=[0, 0.1, 0.5, 0.6])
    with closing(Player(str(path))) as player:
        began = time.perf_counter()
        times = [time.perf_counter() - began for _ in player.pictures(threading.Event())]
    assert np.diff(times)[1] > 0.3 and times[-1] >= 0.55


def test_a_file_is_played_again_and_again(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "short.mp4", 3, rate=50)
    leave, seen = threading.Event(), []
    with closing(Player(str(path), loop=True)) as player:
        for picture in player.pictures(leave):
            seen.append(read_index(picture))
            if len(seen) == 8:
                leave.set()
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1]


def test_a_lost_camera_is_opened_again_with_growing_pauses() -> None:
    opened: list[float] = []
    cameras: list[Flaky] = []

    def opener() -> Camera:
        opened.append(time.perf_counter())
        if len(opened) in (2, 3, 4):
            raise SourceError("nobody answers")
        cameras.append(Flaky([image(i) for i in range(3)]))
        return cameras[-1]

    states, seen = set(), []
    with Capture(opener, first_pause=0.05) as capture:
        for frame in capture:
            states.add(capture.connection.state)
            seen.append(frame.index)
            if len(opened) == 5:
                break
    assert "live" in states
    assert len(cameras) == 2 and cameras[0].closed
    pauses = np.diff(opened)
    assert pauses[2] > 0.19 and pauses[3] > 0.39  # 0.05, 0.1, 0.2, 0.4 seconds and what the machine adds
    assert seen == sorted(seen)


def test_a_network_stream_dies_and_returns(tmp_path: Path) -> None:
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
    returned, last = False, -1
    try:
        with Capture(camera_opener(address), first_pause=0.1) as capture:
            for frame in capture:
                returned = returned or len(asked) >= 3
                assert frame.index > last
                last = frame.index
                if returned:
                    break
            assert "live.ts" in capture.connection.camera
    finally:
        server.shutdown()
        server.server_close()
    assert returned and last >= 25 and np.diff(asked)[:2].min() >= 0.1


def test_a_camera_that_was_never_there_is_an_error() -> None:
    def opener() -> Camera:
        raise SourceError("no such camera")

    with pytest.raises(SourceError, match="no such camera"), Capture(opener) as capture:
        list(capture)
    assert str(capture.connection) == "lost: camera (no such camera)"


def test_another_camera_takes_over() -> None:
    first, second = Flaky([image(1)] * 500), Flaky([image(2)] * 500)
    with Capture(lambda: first) as capture:
        for frame in capture:
            if frame.index == 3:
                capture.switch(lambda: second)
            if read_index(frame.image) == 2:
                break
    assert first.closed


def test_places_that_cannot_be_cameras() -> None:
    with pytest.raises(SourceError, match="takes a number"):
        camera_opener("nothing.mp4")
    with pytest.raises(SourceError, match="cannot be opened"):
        camera_opener("99")()


def test_faces_are_followed_while_the_points_shown_change(clip: Path) -> None:
    other = Query(("outer_lip",) * 3, (0.0, 0.25, 0.5))
    lives: list[LiveResult] = []
    with Capture(camera_opener(str(clip))) as capture:
        live = Live(pipeline(), capture)
        for result in live.results():
            lives.append(result)
            if len(lives) == 3:
                live.keep(QUERY)
                live.show(other)
                live.smooth(0.9)
    assert len(lives) > 5
    assert {face.id for live_ in lives for face in live_.shown.faces} == {0}
    for result in lives[4:]:
        assert result.shown.query == other and result.kept.query == QUERY
        for shown, kept in zip(result.shown.faces, result.kept.faces, strict=True):
            assert shown.points.shape == (3, 2) and kept.points.shape == (len(QUERY), 2)
            assert shown.measures is not None and kept.measures is not None
    with pytest.raises(UsageError, match="strength"):
        live.smooth(3)


def test_a_failure_in_the_thread_is_raised_by_whoever_waits(clip: Path) -> None:
    def record(result: LiveResult) -> None:
        raise OSError("the disk is full")

    with Capture(camera_opener(str(clip))) as capture:
        live = Live(pipeline(), capture)
        with pytest.raises(OSError, match="disk is full"), Worker(live, record) as worker:
            worker.wait()


def test_records_have_the_times_of_capture(clip: Path, tmp_path: Path) -> None:
    film, table = VideoSink(tmp_path / "r.mp4", draw=Drawings()), open_table(tmp_path / "r.csv", QUERY)
    times: list[float] = []
    with Recorder([film], [table]) as recorder, Capture(camera_opener(str(clip))) as capture:
        live = Live(pipeline(), capture)
        live.keep(QUERY)
        for result in live.results():
            recorder.write(result)
            times.append(result.kept.time)
    with (tmp_path / "r.csv").open(encoding="utf-8") as file:
        rows = [float(row["time_s"]) for row in csv.DictReader(file)]
    assert rows == pytest.approx(times, abs=1e-6) and recorder.frames == len(times)
    with open_source(tmp_path / "r.mp4") as source:
        shown = [frame.time for frame in source]
    assert np.diff(shown) == pytest.approx(np.diff(times), abs=0.002)


def test_a_mirrored_result_has_its_points_on_what_they_were_on() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[14, 11] = 255
    result = make_result(0, make_face(), image=picture)  # its second point is (11, 12)
    mirror = mirrored(result)
    assert mirror.frame.image[14, 52].all()
    assert mirror.faces[0].points[1] == pytest.approx([52, 12])
    assert mirror.faces[0].box == pytest.approx([63 - 10 - 40, 10, 40, 50])
    assert mirrored(mirror).faces[0].raw == pytest.approx(result.faces[0].raw)


def test_the_meter_tells_pace_and_age() -> None:
    watch = PaceMeter(recent=100)
    assert watch.pace.fps == 0
    for i in range(200):
        watch.add(captured=i / 50, shown=i / 50 + (0.1 if i % 10 == 5 else 0.02))
    assert watch.pace.fps == pytest.approx(50, rel=0.05)
    assert watch.pace.p50 == pytest.approx(0.02) and watch.pace.p95 == pytest.approx(0.1)
    assert str(watch.pace) == "50 fps  20 ms, 95 % within 100"


def test_the_pace_of_all_frames_is_known_however_many_there_were() -> None:
    watch = PaceMeter(recent=10)
    assert watch.whole.fps == 0
    for i in range(1000):
        watch.add(captured=i / 25, shown=i / 25 + (0.2 if i < 100 else 0.03))
    assert watch.pace.p95 == pytest.approx(0.03) and watch.whole.p95 == pytest.approx(0.2)
    assert watch.whole.fps == pytest.approx(25, rel=0.01) and watch.whole.p50 == pytest.approx(0.03)


def test_osc_messages_are_what_the_standard_says() -> None:
    assert osc_message("/a", 1, 0.5) == b"/a\0\0,if\0" + struct.pack(">if", 1, 0.5)
    assert len(osc_message("/abc")) % 4 == 0


def test_osc_bundles_fit_into_datagrams() -> None:
    query = Query(("jaw",) * 400 + ("left_eye",) * 2, (*np.linspace(0, 1, 400).tolist(), 0.0, 0.5))
    face = make_face(query, measures=Measures(MEASURES, np.arange(len(MEASURES)) / 8))
    sent = list(bundles(make_result(3, face, query=query)))
    assert len(sent) > 1 and all(bundle.startswith(b"#bundle\0") and len(bundle) % 4 == 0 for bundle in sent)
    everything = b"".join(sent)
    assert all(f"/vtrack/face/1/{name}\0".encode() in everything for name in (*MEASURES, "jaw", "left_eye"))


def test_datagrams_arrive() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(5)
        to = f"127.0.0.1:{ear.getsockname()[1]}"
        result = make_result(3, make_face(measures=Measures(MEASURES, np.zeros(len(MEASURES)))))
        with open_emitter("ndjson", to, QUERY, StringIO()) as emitter:
            emitter.write(result)
        line = json.loads(ear.recv(65536))
        assert line["frame"] == 3 and line["faces"][0]["left_eye_0_x"] == 10.0 and line["faces"][0]["blink"] == 0
        with open_emitter("osc", to, QUERY, StringIO()) as emitter:
            emitter.write(result)
        assert ear.recv(65536).startswith(b"#bundle\0")


@pytest.mark.parametrize(
    ("format", "to", "message"),
    [("midi", None, "choose from ndjson, osc"), ("osc", "nowhere", "HOST:PORT"), ("osc", "a:99999", "HOST:PORT")],
)
def test_what_cannot_be_emitted(format: str, to: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_emitter(format, to, QUERY, StringIO())


def test_the_drawing_key_goes_round() -> None:
    kinds = frozenset(DRAWINGS[0])
    seen = [kinds := next_drawing(kinds) for _ in DRAWINGS]
    assert set(seen) == {frozenset(way) for way in DRAWINGS}
    assert next_drawing(frozenset({"ids"})) == frozenset(DRAWINGS[0])


def test_the_label_stands_on_a_copy() -> None:
    picture = np.full((240, 320, 3), 200, np.uint8)
    shown = labelled(picture, "30 fps")
    assert (picture == 200).all() and (shown != 200).any() and (shown[:150] == 200).all()


def press(window: Window, key: str) -> tuple[bool, list[str]]:
    """Whether the window stays open after a key, and what it tells."""
    told: list[str] = []
    return window._key(ord(key), told.append), told


def test_the_keys_of_the_window(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = Drawings()
    live = Live(pipeline(), Capture(camera_opener(str(clip))))
    window = Window(live, draw)
    assert press(window, "3") == (True, []) and set(live.query.parts) == {"left_brow", "right_brow"}
    press(window, "d")
    assert draw.kinds == frozenset(DRAWINGS[1])
    assert press(window, "s") == (True, [])  # there is no picture yet
    assert press(window, "q")[0] is False and window._key(27, print) is False
    names = {save_snapshot(image(i)).name for i in range(3)}
    assert len(names) == 3 and all((tmp_path / name).stat().st_size for name in names)


@pytest.mark.skipif(not has_display(), reason="there is no screen; xvfb-run gives one")
def test_the_window_shows_until_there_is_no_more(clip: Path) -> None:
    with Capture(camera_opener(str(clip))) as capture:
        live = Live(pipeline(), capture)
        window = Window(live, Drawings())
        told: list[str] = []
        with Worker(live, lambda result: None) as worker:
            window.run(worker.newest, told.append)
    assert told[-1].startswith("shown at ")
    assert worker.frames > 0 and worker.newest.closed and window.meter.pace.fps > 0


def test_the_command_writes_what_it_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, boxes = write_clip(tmp_path / "clip.mp4", 10, rate=30), tmp_path / "boxes.csv"
    boxes.write_text("frame,x,y,w,h\n")
    options = ["--camera", str(clip), "--parts", "eyes", "--view", "none", "--detector", "boxes"]
    options += ["--detector-model", str(boxes)]
    outputs = ["--record", str(tmp_path / "o.mp4"), "--csv", str(tmp_path / "o.csv"), "--emit", "ndjson"]
    assert main(["webcam", *options, *outputs]) == 0
    captured = capsys.readouterr()
    rows = list(csv.DictReader((tmp_path / "o.csv").open(encoding="utf-8")))
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert 0 < len(rows) == len(lines) <= 10 and set(MEASURES) <= set(rows[0])
    assert [float(row["time_s"]) for row in rows] == [line["time_s"] for line in lines]
    assert f"wrote {tmp_path / 'o.mp4'}" in captured.err
    assert main(["webcam", *options, *outputs]) == FAILED  # nothing is overwritten unasked
    assert "add --overwrite" in capsys.readouterr().err
    assert main(["webcam", *options, "--smooth", "rts"]) == USAGE
    assert "use kalman" in capsys.readouterr().err
    assert main(["webcam", *options, "--to", "127.0.0.1:9"]) == USAGE
    assert "add --emit" in capsys.readouterr().err
