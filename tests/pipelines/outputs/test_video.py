"""The annotated video: exact times, unchanged audio, any size, correct colours, plays in a browser."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import threading
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import read_index, write_clip
from tests.pipelines.results import QUERY, make_result, results_of
from tests.threads import own_threads
from vtrack.errors import UsageError
from vtrack.imaging.planes import Planes
from vtrack.pipelines.outputs.video import VideoSink
from vtrack.pipelines.sources.open import open_source
from vtrack.types import Frame, FrameResult, ImageArray

Track = list[tuple[Fraction, bytes]]


def copy(path: Path, output: Path, **options: object) -> Path:
    """Read a clip and write it again with its audio."""
    selection = {name: options[name] for name in ("start", "stop") if name in options}
    with VideoSink(output, source=path, **options) as sink:  # type: ignore[arg-type]
        for result in results_of(path, **selection):  # type: ignore[arg-type]
            sink.write(result)
    return output


def tracks(path: Path, kind: str) -> list[Track]:
    """Time and bytes of each packet of each stream of a type."""
    found: dict[int, Track] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.stream.type == kind and packet.size:
                found.setdefault(packet.stream.index, []).append((packet.pts * packet.time_base, bytes(packet)))
    return [found[index] for index in sorted(found)]


def payload(found: list[Track]) -> list[list[bytes]]:
    return [[data for _, data in track] for track in found]


def frame_times(path: Path) -> list[tuple[int, float]]:
    """The number in each frame, and its time."""
    with open_source(path) as source:
        return [(read_index(frame.image), frame.time) for frame in source]


STEADY = {"frames": 24, "b_frames": 2}
UNSTEADY = {"times": [0, 0.03, 0.04, 0.3, 0.31, 0.9, 1.43, 1.44], "frames": 8, "time_base": Fraction(1, 90000)}
LATE = {"frames": 12, "start": Fraction(1, 3), "time_base": Fraction(1, 90000)}


@pytest.mark.parametrize("size", [(320, 240), (1280, 720)], ids=["sd", "hd"])
def test_planes_are_encoded_without_conversion(tmp_path: Path, size: tuple[int, int]) -> None:
    """With lossless encoding the planes equal those of the source bit for bit: no conversion to RGB and back."""
    path = write_clip(tmp_path / "in.mp4", 3, size=size)
    output = copy(path, tmp_path / "out.mp4", crf=0)
    with open_source(path) as source, open_source(output) as film:
        for before, after in zip(source, film, strict=True):
            assert isinstance(before.pixels, Planes) and isinstance(after.pixels, Planes)
            for one, other in zip(before.pixels.each, after.pixels.each, strict=True):
                assert np.array_equal(one[0], other[0])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("clip", [STEADY, UNSTEADY, LATE], ids=["steady", "unsteady", "late"])
def test_times_and_audio_equal_those_of_the_source(tmp_path: Path, clip: dict[str, object], suffix: str) -> None:
    path = write_clip(tmp_path / "in.mp4", audio=2, subtitles=1, **clip)  # type: ignore[arg-type]
    output = copy(path, tmp_path / f"out{suffix}")
    # MP4 keeps every tick; Matroska counts in milliseconds.
    tick = 0.5e-3 if suffix == ".mkv" else 1e-9
    before, after = frame_times(path), frame_times(output)
    assert [number for number, _ in after] == [number for number, _ in before] == list(range(clip["frames"]))  # type: ignore[call-overload]
    assert [time for _, time in after] == pytest.approx([time for _, time in before], abs=1.01 * tick)
    sound, copied = tracks(path, "audio"), tracks(output, "audio")
    assert len(copied) == 2
    if suffix == ".mkv" and sound[0][0][0] < 0:
        # There are no times below 0 there: the packet that only warms the decoder up is left out.
        sound = [track[1:] for track in sound]
    assert payload(copied) == payload(sound)
    for track, original in zip(copied, sound, strict=True):
        assert [float(t) for t, _ in track] == pytest.approx(
            [float(t) for t, _ in original], abs=1.01 * max(tick, 1e-5)
        )
    if suffix != ".mkv":  # which cannot hold MP4's kind of subtitles
        assert payload(tracks(output, "subtitle")) == payload(tracks(path, "subtitle")) != []


def test_matroska_keeps_its_own_subtitles(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "in.mkv", 10, audio=1, subtitles=2)
    output = copy(path, tmp_path / "out.mkv")
    assert payload(tracks(output, "subtitle")) == payload(tracks(path, "subtitle"))
    assert len(tracks(output, "subtitle")) == 2
    assert payload(tracks(output, "audio")) == payload(tracks(path, "audio"))


def test_one_warning_names_the_streams_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_clip(tmp_path / "in.mkv", 10, audio=1, subtitles=2)
    with caplog.at_level(logging.WARNING):
        output = copy(path, tmp_path / "out.mp4")
    assert [record.message for record in caplog.records] == [
        f"MP4 (MPEG-4 Part 14) cannot hold subtitle stream 2 (srt), subtitle stream 3 (srt) of {path}; left out"
    ]
    assert len(tracks(output, "audio")) == 1 and tracks(output, "subtitle") == []


def test_language_and_disposition_of_streams_are_kept(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "in.mp4", 5, audio=1)
    marked = tmp_path / "marked.mp4"
    with av.open(str(path)) as source, av.open(str(marked), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        streams[1].metadata["language"] = "fra"
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    with av.open(str(copy(marked, tmp_path / "out.mp4"))) as container:
        assert container.streams.audio[0].language == "fra"


@pytest.mark.parametrize("start", [0.5, 3.0])
def test_start_and_stop_also_trim_audio(tmp_path: Path, start: float) -> None:
    path, stop = write_clip(tmp_path / "in.mp4", 120, audio=1, b_frames=2), start + 0.8
    output = copy(path, tmp_path / "out.mp4", start=start, stop=stop)
    numbers, times = zip(*frame_times(output), strict=True)
    with open_source(path, start=start, stop=stop) as source:
        assert list(times) == pytest.approx([frame.time - start for frame in source])
    first = int(np.ceil(25 * start))
    assert numbers == tuple(range(first, first + 20))
    kept = [(float(time) - start, data) for time, data in tracks(path, "audio")[0] if start <= time < stop]
    (copied,) = tracks(output, "audio")
    assert [data for _, data in copied] == [data for _, data in kept]
    assert [float(time) for time, _ in copied] == pytest.approx([time for time, _ in kept], abs=1e-4)


def test_names_that_look_like_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with VideoSink("tcp:1.mp4") as sink:
        sink.write(make_result(0))
    assert [file.name for file in tmp_path.iterdir()] == ["tcp:1.mp4"]


def test_audio_is_interleaved_with_the_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "in.mp4", 100, audio=1)
    output = copy(path, tmp_path / "out.mp4")
    with av.open(str(output)) as container:
        places = [(packet.pos, packet.dts * packet.time_base) for packet in container.demux() if packet.size]
    in_file = [float(time) for _, time in sorted(places)]
    # A player that reads the file from front to back never has to wait more than a second of one for the other.
    assert max(np.maximum.accumulate(in_file) - in_file) < 1


def test_an_interrupted_video_ends_with_its_last_frame(tmp_path: Path) -> None:
    path, output = write_clip(tmp_path / "in.mp4", 100, audio=1), tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt), VideoSink(output, source=path) as sink:
        for i, result in enumerate(results_of(path)):
            if i == 25:
                raise KeyboardInterrupt
            sink.write(result)
    assert len(frame_times(output)) == 25
    assert 0.9 < tracks(output, "audio")[0][-1][0] < 1.0


def test_a_source_that_cannot_be_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, output = tmp_path / "gone.mp4", tmp_path / "out.mp4"
    with caplog.at_level(logging.WARNING), VideoSink(output, source=path) as sink:
        sink.write(make_result(0))
    assert f"no audio copied: cannot open {path} a second time: No such file" in caplog.text
    assert tracks(output, "audio") == [] and len(tracks(output, "video")) == 1


@pytest.mark.parametrize("size", [(161, 96), (160, 97), (161, 97), (33, 1)])
def test_odd_sizes_are_extended_by_a_copy_of_the_edge(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), 100, np.uint8)
    image[:, -1], image[-1] = 200, 200
    with VideoSink(tmp_path / "out.mp4", crf=0) as sink:
        sink.write(make_result(0, image=image))
    with av.open(str(tmp_path / "out.mp4")) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert shown.shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
    assert np.abs(shown[: size[1], : size[0]].astype(int) - image).max() <= 2
    assert np.abs(shown[-1].astype(int) - 200).max() <= 2 and np.abs(shown[:, -1].astype(int) - 200).max() <= 2


def test_a_new_frame_size_is_scaled_to_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    output = tmp_path / "out.mp4"
    with caplog.at_level(logging.WARNING), VideoSink(output, crf=1) as sink:
        for i, (height, width) in enumerate([(48, 64), (96, 64), (24, 32), (48, 64)]):
            sink.write(make_result(i, image=np.full((height, width, 3), 180, np.uint8)))
    with av.open(str(output)) as container:
        shown = [frame.to_ndarray(format="rgb24")[..., 1] for frame in container.decode(video=0)]
    assert [picture.shape for picture in shown] == [(48, 64)] * 4
    # 64 x 96 becomes 32 x 48 with black on both sides; 32 x 24 fills the frame.
    assert shown[1][:, :14].max() < 12 and shown[1][:, 18:46].min() > 165 and shown[1][:, 50:].max() < 12
    assert shown[2].min() > 165 and shown[3].min() > 165
    assert [record.message for record in caplog.records] == [
        f"frame size changes to 64x96; scaling to fit into {output}"
    ]


@pytest.mark.parametrize(("height", "tag"), [(96, 6), (720, 1)])
def test_colours_are_kept_and_tagged(tmp_path: Path, height: int, tag: int) -> None:
    colors = np.array([[200, 60, 50], [40, 160, 70], [50, 70, 190], [225, 225, 225], [18, 18, 18]], np.uint8)
    image = np.repeat(np.repeat(colors[None], height, 0), 32, 1)
    with VideoSink(tmp_path / "out.mp4", crf=1) as sink:
        sink.write(make_result(0, image=image))
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (tag, tag, tag, 1)
        shown = frame.to_ndarray(format="rgb24")
    assert np.abs(shown[:, 16::32].astype(int) - image[:, 16::32]).max() <= 3


def test_frames_at_one_time_get_increasing_timestamps(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    with VideoSink(tmp_path / "out.mp4") as sink:
        for i, pts in enumerate([0, 5, 5, 4, 20]):
            sink.write(FrameResult(Frame(image, i, pts, Fraction(1, 100)), (), QUERY))
    assert [time * 100 for time, _ in sorted(tracks(tmp_path / "out.mp4", "video")[0])] == [0, 5, 6, 7, 20]


def test_drawn_frames_are_written(tmp_path: Path) -> None:
    def draw(result: FrameResult) -> ImageArray:
        return np.full_like(result.frame.image, 120)

    with VideoSink(tmp_path / "out.mp4", draw=draw) as sink:
        sink.write(make_result(0))
    with av.open(str(tmp_path / "out.mp4")) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(shown.astype(int) - 120).max() <= 2


def test_an_error_in_the_encoder_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file and no thread, also if the last frame failed."""

    def fail(self: VideoSink, pixels: object, time: object) -> None:
        raise ValueError("no picture")

    monkeypatch.setattr(VideoSink, "_timed_frame", fail)
    for count in (1, 9):
        before = own_threads()
        with pytest.raises(ValueError, match="no picture"), VideoSink(tmp_path / "out.mp4") as sink:
            for i in range(count):
                sink.write(make_result(i))
        assert own_threads() <= before
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
@pytest.mark.parametrize(("codec", "preset", "times"), [("h264", "veryfast", 6), ("hevc", "ultrafast", 2)])
def test_the_same_frames_make_the_same_file(
    tmp_path: Path, codec: str, preset: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise, the input for which encoders are least deterministic, on any number of cores."""
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    films, everything = set(), os.sched_getaffinity(0)
    for i in range(times):
        monkeypatch.setenv("OMP_NUM_THREADS", str(i + 1))
        os.sched_setaffinity(0, sorted(everything)[: i + 1])
        try:
            with VideoSink(tmp_path / f"{i}.mp4", codec=codec, preset=preset) as sink:
                for k in range(20):
                    sink.write(make_result(k, image=np.roll(noise, 7 * k)))
        finally:
            os.sched_setaffinity(0, everything)
        films.add((tmp_path / f"{i}.mp4").read_bytes())
    (film,) = films
    assert b"cpuid" not in film  # nor does it depend on the features of the CPU


def test_codec_crf_and_preset_have_an_effect(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)
    sizes = {}
    for name, options in {
        "plain": {},
        "coarse": {"crf": 45},
        "slow": {"preset": "slower"},
        "hevc": {"codec": "hevc"},
    }.items():
        path = tmp_path / f"{name}.mp4"
        with VideoSink(path, **options) as sink:  # type: ignore[arg-type]
            for i in range(4):
                sink.write(make_result(i, image=np.roll(noise, i)))
        sizes[name] = path.stat().st_size
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.name == ("hevc" if name == "hevc" else "h264")
            assert container.streams.video[0].codec_context.codec_tag == ("hvc1" if name == "hevc" else "avc1")
    assert sizes["coarse"] < sizes["plain"] / 4
    assert len(set(sizes.values())) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "mpeg4"}, "unknown codec 'mpeg4'; choose from h264, hevc"),
        ({"crf": 52}, r"crf must be 0 \(best\) to 51 \(smallest\), got 52"),
        ({"crf": -1}, "crf must be 0"),
        ({"preset": "quick"}, "unknown preset 'quick'; choose from ultrafast, superfast, veryfast"),
    ],
)
def test_options_are_checked(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VideoSink(tmp_path / "out.mp4", **options)  # type: ignore[arg-type]


def test_endings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown video file ending '\.avi'; choose from \.mp4, \.m4v, \.mov, \.mkv"):
        VideoSink(tmp_path / "out.avi")


@pytest.mark.data
@pytest.mark.parametrize("name", ["two-audio-tracks.mp4", "strong-vfr.mp4", "glasses-motion.mp4"])
def test_real_clips(tmp_path: Path, data_dir: Path, name: str) -> None:
    path = data_dir / "clips" / name
    output = copy(path, tmp_path / "out.mp4")
    with open_source(path) as before, open_source(output) as after:
        assert [frame.time for frame in after] == pytest.approx([frame.time for frame in before], abs=1e-9)
    assert payload(tracks(output, "audio")) == payload(tracks(path, "audio"))
    assert payload(tracks(output, "subtitle")) == payload(tracks(path, "subtitle"))
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


PAGE = """<script>
const tell = facts => fetch("/facts", {method: "POST", body: JSON.stringify(facts)})
const video = document.createElement("video")
video.muted = true
video.onerror = () => tell({error: video.error.message})
video.onplaying = () => setTimeout(function report() {
  if (!video.currentTime || !video.webkitAudioDecodedByteCount) return setTimeout(report, 100)
  const canvas = document.createElement("canvas")
  canvas.width = video.videoWidth
  canvas.height = video.videoHeight
  const pen = canvas.getContext("2d")
  pen.drawImage(video, 0, 0)
  tell({duration: video.duration, width: video.videoWidth, height: video.videoHeight, time: video.currentTime,
        sound: video.webkitAudioDecodedByteCount, pixel: Array.from(pen.getImageData(2, 2, 1, 1).data)})
}, 300)
video.src = "/video"
video.play()
</script>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="the browser `chromium` is not installed")
def test_plays_in_chromium(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", 50, (320, 180), audio=1)
    video, facts, told = copy(clip, tmp_path / "out.mp4").read_bytes(), {}, threading.Event()
    assert video.find(b"moov") < video.find(b"mdat")  # a browser can begin before the file has ended

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, kind = (video, "video/mp4") if self.path == "/video" else (PAGE.encode(), "text/html")
            self.send_response(200 if self.path in ("/", "/video") else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            facts.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            told.set()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required",
             f"--user-data-dir={tmp_path / 'profile'}", f"http://127.0.0.1:{site.server_port}/"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert told.wait(200), "the browser told nothing"
        finally:
            browser.terminate()
            browser.wait()
            site.shutdown()
    assert "error" not in facts, facts
    assert (facts["width"], facts["height"]) == (320, 180)
    assert facts["duration"] == pytest.approx(2.0, abs=0.05)
    assert facts["time"] > 0 and facts["sound"] > 0
    assert np.abs(np.array(facts["pixel"]) - (255, 0, 0, 255)).max() < 12  # the red corner of the clip's pictures
