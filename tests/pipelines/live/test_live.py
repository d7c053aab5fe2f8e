"""Live tracking: settings change while it runs, recordings keep capture times, the window, the command."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.clips import index_image, write_clip
from tests.pipelines.live.patience import EveryItem
from tests.pipelines.results import QUERY, make_face, make_result
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter
from vtrack.cli.main import FAILED, USAGE, main
from vtrack.errors import UsageError
from vtrack.pipelines.live.camera import camera_opener
from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.live.latency import LatencyMeter
from vtrack.pipelines.live.recorder import STYLES, LiveDrawing, LiveRecorder
from vtrack.pipelines.live.session import LiveResult, LiveSession, LiveThread, mirrored
from vtrack.pipelines.live.window import Window, has_display, labelled, save_snapshot
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.outputs.tables.csv import open_table
from vtrack.pipelines.outputs.video import VideoSink
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.sources.open import open_source
from vtrack.types import Query


def toys(i: int) -> list[ToyFace]:
    return [ToyFace((60 + i, 90), 50)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("live") / "toys.mp4", 40, (240, 180), draw=painter(toys), rate=40)


def pipeline(query: Query = QUERY) -> Pipeline:
    return Pipeline(Settings(query, model=ToyModel(), detector=ToyDetector(), smooth="kalman", measures=True))


def test_faces_are_followed_while_the_points_shown_change(clip: Path, every_frame: None) -> None:
    other = Query(("outer_lip",) * 3, (0.0, 0.25, 0.5))
    results: list[LiveResult] = []
    with Capture(camera_opener(str(clip))) as capture:
        session = LiveSession(pipeline(), capture)
        for result in session.results():
            results.append(result)
            if len(results) == 3:
                session.record(QUERY)
                session.show(other)
                session.smooth(0.9)
    assert len(results) == 40
    assert {face.id for result in results for face in result.shown.faces} == {0}
    for result in results[4:]:
        assert result.shown.query == other and result.recorded.query == QUERY
        for shown, recorded in zip(result.shown.faces, result.recorded.faces, strict=True):
            assert shown.points.shape == (3, 2) and recorded.points.shape == (len(QUERY), 2)
            assert shown.measures and recorded.measures
    with pytest.raises(UsageError, match="strength"):
        session.smooth(3)


def test_an_error_in_the_thread_is_raised_in_the_thread_that_waits(clip: Path) -> None:
    def record(result: LiveResult) -> None:
        raise OSError("the disk is full")

    with Capture(camera_opener(str(clip))) as capture:
        session = LiveSession(pipeline(), capture)
        with pytest.raises(OSError, match="disk is full"), LiveThread(session, record) as thread:
            thread.wait()


def test_recordings_keep_capture_times(clip: Path, tmp_path: Path, every_frame: None) -> None:
    video, table = VideoSink(tmp_path / "r.mp4", draw=LiveDrawing()), open_table(tmp_path / "r.csv", QUERY)
    times: list[float] = []
    with LiveRecorder([video], [table]) as recorder, Capture(camera_opener(str(clip))) as capture:
        session = LiveSession(pipeline(), capture)
        session.record(QUERY)
        for result in session.results():
            recorder.write(result)
            times.append(result.recorded.time)
    with (tmp_path / "r.csv").open(encoding="utf-8") as file:
        rows = [float(row["time_s"]) for row in csv.DictReader(file)]
    assert rows == pytest.approx(times, abs=1e-6) and recorder.frames == len(times) == 40
    with open_source(tmp_path / "r.mp4") as source:
        shown = [frame.time for frame in source]
    assert np.diff(shown) == pytest.approx(np.diff(times), abs=0.002)


def test_points_of_a_mirrored_result_stay_on_the_same_pixels() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[14, 11] = 255
    result = make_result(0, make_face(), image=picture)  # its second point is (11, 12)
    mirror = mirrored(result)
    assert mirror.frame.image[14, 52].all()
    assert mirror.faces[0].points[1] == pytest.approx([52, 12])
    assert mirror.faces[0].box == pytest.approx([63 - 10 - 40, 10, 40, 50])
    assert mirrored(mirror).faces[0].raw == pytest.approx(result.faces[0].raw)


def test_the_meter_measures_frame_rate_and_latency() -> None:
    meter = LatencyMeter(recent=100)
    assert meter.recent.fps == 0
    for i in range(200):
        meter.add(captured=i / 50, shown=i / 50 + (0.1 if i % 10 == 5 else 0.02))
    assert meter.recent.fps == pytest.approx(50, rel=0.05)
    assert meter.recent.p50 == pytest.approx(0.02) and meter.recent.p95 == pytest.approx(0.1)
    assert str(meter.recent) == "50 fps, latency 20 ms (95 % within 100 ms)"


def test_the_meter_measures_all_frames() -> None:
    meter = LatencyMeter(recent=10)
    assert meter.total.fps == 0
    for i in range(1000):
        meter.add(captured=i / 25, shown=i / 25 + (0.2 if i < 100 else 0.03))
    assert meter.recent.p95 == pytest.approx(0.03) and meter.total.p95 == pytest.approx(0.2)
    assert meter.total.fps == pytest.approx(25, rel=0.01) and meter.total.p50 == pytest.approx(0.03)


@pytest.mark.parametrize("own", [STYLES[1], ("axes", "curves"), ("ids",)])
def test_the_drawing_key_cycles_through_styles_and_comes_back(own: tuple[str, ...]) -> None:
    draw = LiveDrawing(own)
    seen = []
    for _ in draw.styles:
        draw.kinds = draw.next_style
        seen.append(draw.kinds)
    assert seen[-1] == frozenset(own) and set(seen) == {frozenset(style) for style in (own, *STYLES)}
    draw.kinds = frozenset({"boxes"})  # a program that talks to the page's server may draw anything
    assert draw.next_style == frozenset(draw.styles[0])


def test_the_label_is_drawn_on_a_copy() -> None:
    picture = np.full((240, 320, 3), 200, np.uint8)
    shown = labelled(picture, "30 fps")
    assert (picture == 200).all() and (shown != 200).any() and (shown[:150] == 200).all()


def press(window: Window, key: str) -> tuple[bool, list[str]]:
    """Whether the window stays open after a key, and what it reports."""
    messages: list[str] = []
    return window._key(ord(key), messages.append), messages


def test_the_keys_of_the_window(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = LiveDrawing()
    session = LiveSession(pipeline(), Capture(camera_opener(str(clip))))
    window = Window(session, draw)
    assert press(window, "3") == (True, []) and set(session.shown_query.parts) == {"left_brow", "right_brow"}
    press(window, "d")
    assert draw.kinds == frozenset(STYLES[1])
    assert press(window, "s") == (True, [])  # there is no image yet
    assert press(window, "q")[0] is False and window._key(27, print) is False
    names = {save_snapshot(index_image(i, 80, 48)).name for i in range(3)}
    assert len(names) == 3 and all((tmp_path / name).stat().st_size for name in names)


def test_opencv_is_loaded_before_pyav() -> None:
    script = "import sys, vtrack.pipelines.live.camera; print(*(name for name in sys.modules if name in ('av', 'cv2')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cv2", "av"]


@pytest.mark.skipif(not has_display(), reason="there is no screen; xvfb-run gives one")
def test_the_window_shows_results_until_the_end(clip: Path, every_frame: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtrack.pipelines.live.session.Latest", EveryItem)
    with Capture(camera_opener(str(clip))) as capture:
        session = LiveSession(pipeline(), capture)
        window = Window(session, LiveDrawing())
        messages: list[str] = []
        with LiveThread(session, lambda result: None) as thread:
            window.run(thread.latest, messages.append)
    assert messages[-1].startswith("shown at ")
    assert thread.frames == 40 and thread.latest.closed and window.meter.recent.fps > 0


def test_the_command_writes_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str], every_frame: None) -> None:
    clip, boxes = write_clip(tmp_path / "clip.mp4", 10, rate=30), tmp_path / "boxes.csv"
    boxes.write_text("frame,x,y,w,h\n")
    options = ["--camera", str(clip), "--parts", "eyes", "--view", "none", "--detector", "boxes"]
    options += ["--detector-model", str(boxes)]
    outputs = ["--record", str(tmp_path / "o.mp4"), "--csv", str(tmp_path / "o.csv"), "--emit", "ndjson"]
    assert main(["webcam", *options, *outputs]) == 0
    captured = capsys.readouterr()
    rows = list(csv.DictReader((tmp_path / "o.csv").open(encoding="utf-8")))
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert len(rows) == len(lines) == 10 and set(MEASURES) <= set(rows[0])
    assert [float(row["time_s"]) for row in rows] == [line["time_s"] for line in lines]
    assert f"wrote {tmp_path / 'o.mp4'}" in captured.err
    assert main(["webcam", *options, *outputs]) == FAILED  # nothing is overwritten unasked
    assert "add --overwrite" in capsys.readouterr().err
    assert main(["webcam", *options, "--smooth", "rts"]) == USAGE
    assert "choose from kalman" in capsys.readouterr().err
    assert main(["webcam", *options, "--to", "127.0.0.1:9"]) == USAGE
    assert "add --emit" in capsys.readouterr().err


@pytest.mark.parametrize("view", ["none", "browser"])
def test_the_command_says_once_that_there_is_no_camera(
    view: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("frame,x,y,w,h\n")
    options = ["--camera", "97", "--view", view, "--detector", "boxes", "--detector-model", str(boxes)]
    assert main(["webcam", *options]) == FAILED
    said = capsys.readouterr().err
    assert said == "vtrack: camera 97 cannot be opened: it does not exist or another program uses it\n"
    assert not caplog.records
