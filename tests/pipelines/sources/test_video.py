"""Video files: every frame with its index and time, upright."""

from __future__ import annotations

import gc
import logging
import socket
import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available

from tests.clips import (
    ORIENTATIONS,
    as_stored,
    error_of,
    index_image,
    read,
    read_index,
    write_clip,
    write_joined,
    write_sound,
)
from vtrack.errors import SourceError, UsageError
from vtrack.models import gpu_likely
from vtrack.pipelines.sources.open import is_address, open_source
from vtrack.pipelines.sources.video import _split_planes


def packet_times(path: Path) -> list[int]:
    """Display times of the video packets as the container has them."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.best("video"))
        return sorted(packet.pts for packet in packets if packet.size and not packet.is_discard)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_every_frame_has_its_number_and_time(tmp_path: Path, name: str, b_frames: int) -> None:
    path = write_clip(tmp_path / name, frames=30, b_frames=b_frames)
    with open_source(path) as source:
        assert source.info.size == (160, 96)
        assert source.info.name == name
        assert source.expected == 30
        rows = read(source)
    assert [index for index, _, _ in rows] == list(range(30))
    assert [number for _, number, _ in rows] == list(range(30))
    times = [time for _, _, time in rows]
    assert times == [float(pts * source.info.time_base) for pts in packet_times(path)]
    assert np.diff(times) == pytest.approx(1 / 25)
    assert source.damaged == 0


def test_index_image_is_unreadable_when_turned_or_mirrored() -> None:
    image = index_image(0xA53C, 160, 160)
    assert read_index(image) == 0xA53C
    for orientation in range(2, 9):
        with pytest.raises(ValueError, match="corner"):
            read_index(as_stored(image, orientation))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("size", [(160, 96), (151, 97)])
def test_orientations(tmp_path: Path, orientation: int, size: tuple[int, int]) -> None:
    path = write_clip(tmp_path / "clip.mp4", 5, size, orientation=orientation, pix_fmt="yuv444p")
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0))
        # The matrices are those that players obey: FFmpeg reads a picture to be turned clockwise as -90.
        turned = {1: 0, 3: 180, 6: 90, 8: 90}
        if orientation in turned:
            assert abs(stored.rotation) == turned[orientation]
        if orientation == 6:
            assert stored.rotation == -90
    with open_source(path) as source:
        assert source.info.size == size
        frames = list(source)
    assert [read_index(frame.image) for frame in frames] == list(range(5))
    assert all(frame.size == size and frame.image.flags.c_contiguous for frame in frames)


def test_rotation_in_matroska(tmp_path: Path) -> None:
    with open_source(write_clip(tmp_path / "clip.mkv", 3, orientation=6)) as source:
        assert [number for _, number, _ in read(source)] == [0, 1, 2]


@pytest.mark.parametrize("name, codec", [("clip.mkv", "ffv1"), ("clip.mp4", "mpeg4"), ("clip.webm", "libvpx-vp9")])
def test_odd_sizes(tmp_path: Path, name: str, codec: str) -> None:
    with open_source(write_clip(tmp_path / name, 4, (151, 97), codec=codec)) as source:
        frames = list(source)
    assert [read_index(frame.image) for frame in frames] == [0, 1, 2, 3]
    assert {frame.image.shape for frame in frames} == {(97, 151, 3)}
    assert all(frame.image.flags.c_contiguous and frame.image.flags.writeable for frame in frames)


@pytest.mark.parametrize("name, codec", [("clip.mp4", "libx264"), ("clip.mkv", "libx264"), ("clip.webm", "libvpx")])
@pytest.mark.parametrize("start", [0.0, 0.5, 2.01, 3.96])
def test_start_finds_the_true_index(tmp_path: Path, name: str, codec: str, start: float) -> None:
    b_frames = 2 if codec == "libx264" else 0
    path = write_clip(tmp_path / name, frames=100, codec=codec, b_frames=b_frames)
    with open_source(path, start=start) as source:
        rows = read(source)
    wanted = [i for i in range(100) if i / 25 >= start - 1e-9]
    assert [index for index, _, _ in rows] == wanted
    assert [number for _, number, _ in rows] == wanted


def test_start_does_not_decode_all_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "clip.mp4", frames=500, gop=10)
    with open_source(path, start=19.0) as source:
        assert source.expected == 25
        first_decoded = source._span[0]  # type: ignore[attr-defined]
    assert first_decoded > 17


def test_stop_and_every(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", frames=100)
    with open_source(path, start=1, stop=2, every=4) as source:
        assert source.expected == 6  # a quarter of 25, rounded
        assert [index for index, _, _ in read(source)] == [25, 29, 33, 37, 41, 45, 49]
    with open_source(path, start=3, stop=60) as source:
        assert source.expected == len(list(source)) == 25
    with open_source(path, every=30) as source:
        assert [number for _, number, _ in read(source)] == [0, 30, 60, 90]


def test_invalid_selections(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", start=3)
    with pytest.raises(UsageError, match="every must be at least 1, got 0"):
        open_source(path, every=0)
    with pytest.raises(UsageError, match=r"stop \(1 s\) must come after start \(2 s\)"):
        open_source(path, start=2, stop=1)
    with pytest.raises(SourceError, match=r"no frame at or after 60 s; its last frame is at 3\.76 s"):
        open_source(path, start=60)
    with pytest.raises(SourceError, match="no frame before 1 s; its first frame is at 3 s"):
        open_source(path, stop=1)
    with pytest.raises(SourceError, match=r"no frame from 3\.01 s to 3\.02 s"):
        open_source(path, start=3.01, stop=3.02)


def test_audio_and_subtitle_streams(tmp_path: Path) -> None:
    with open_source(write_clip(tmp_path / "clip.mkv", audio=2, subtitles=1)) as source:
        assert source.info.has_audio and source.info.has_subtitles
    with open_source(write_clip(tmp_path / "silent.mp4")) as source:
        assert not source.info.has_audio and not source.info.has_subtitles
        assert Path(source.info.path).samefile(tmp_path / "silent.mp4")


def test_pixels_are_made_square(tmp_path: Path) -> None:
    with open_source(write_clip(tmp_path / "wide.mp4", 3, aspect=Fraction(4, 3))) as source:
        assert source.info.size == (213, 96)
        assert [number for _, number, _ in read(source)] == [0, 1, 2]
    with open_source(write_clip(tmp_path / "tall.mp4", 3, orientation=6, aspect=Fraction(2))) as source:
        assert source.info.size == (160, 192)  # stored 96 x 160, stretched to 192 x 160, then turned
    with open_source(write_clip(tmp_path / "rounding.mp4", 3, aspect=Fraction(1280, 1281))) as source:
        assert source.info.size == (160, 96)


def test_changing_frame_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_joined(tmp_path / "clip.ts", [(160, 96), (320, 192), (96, 160)])
    with open_source(path) as source:
        frames = list(source)
    assert [read_index(frame.image) for frame in frames] == list(range(30))
    assert {frame.size for frame in frames} == {(160, 96)}
    assert sum("frame size changes" in record.message for record in caplog.records) == 1


# (range, matrix) as in AVColorRange and AVColorSpace, and the luma weights of red and blue
COLORS = [(1, 5, 0.299, 0.114), (2, 5, 0.299, 0.114), (1, 1, 0.2126, 0.0722), (2, 1, 0.2126, 0.0722)]


@pytest.mark.parametrize("levels, matrix, red, blue, height", [
    *[(*color, 96) for color in COLORS],
    (1, 2, 0.299, 0.114, 96),  # unmarked: small pictures as BT.601, large as BT.709
    (1, 2, 0.2126, 0.0722, 720),
    (1, 8, 0.2126, 0.0722, 720),  # a matrix that the converter does not know
])  # fmt: skip
def test_colors(tmp_path: Path, levels: int, matrix: int, red: float, blue: float, height: int) -> None:
    y, u, v = 120, 90, 180
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, height, "yuv420p"
        stream.codec_context.color_range, stream.codec_context.colorspace = levels, matrix
        picture = av.VideoFrame(160, height, "yuv420p")
        picture.color_range, picture.colorspace, picture.pts = levels, matrix, 0
        for plane, value in zip(picture.planes, (y, u, v), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    luma, chroma = (255 / 219, 255 / 224) if levels == 1 else (1.0, 1.0)
    light = (y - (16 if levels == 1 else 0)) * luma
    r = light + 2 * (1 - red) * (v - 128) * chroma
    b = light + 2 * (1 - blue) * (u - 128) * chroma
    g = (light - red * r - blue * b) / (1 - red - blue)
    with open_source(path) as source:
        image = next(iter(source)).image
    assert image[height // 2, 80] == pytest.approx([r, g, b], abs=3)


def open_files() -> set[Path]:
    return {link.resolve() for link in Path("/proc/self/fd").iterdir() if link.exists()}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")
def test_always_closed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4").resolve()
    for _ in open_source(path):
        assert path in open_files()
        break
    assert path not in open_files()
    with pytest.raises(ZeroDivisionError):
        for frame in open_source(path):
            frame.index / 0
    assert path not in open_files()
    with open_source(path):
        assert path in open_files()
    assert path not in open_files()
    frames = iter(open_source(path))
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert path not in open_files()
    error_of(write_sound(tmp_path / "sound.m4a"))
    assert (tmp_path / "sound.m4a").resolve() not in open_files()


def test_read_once(tmp_path: Path) -> None:
    with open_source(write_clip(tmp_path / "clip.mp4")) as source:
        list(source)
        with pytest.raises(SourceError, match="open it again"):
            list(source)


# Network


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of an HTTP server of `tmp_path`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_http(tmp_path: Path, server: str) -> None:
    write_clip(tmp_path / "clip.mp4", 40, muxer={"movflags": "faststart"})
    with open_source(f"{server}/clip.mp4?token=secret") as source:
        assert source.info.name == f"{server}/clip.mp4"
        assert [number for _, number, _ in read(source)] == list(range(40))
    with open_source(f"{server}/clip.mp4", start=1.2) as source:
        assert [index for index, _, _ in read(source)] == list(range(30, 40))
    assert "cannot be reached or is not a video" in error_of(f"{server}/absent.mp4")


def test_a_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "no answer within 0.3 s" in error_of(f"http://user:word@127.0.0.1:{port}/clip.mp4", timeout=0.3)
        assert "word" not in error_of(f"http://user:word@127.0.0.1:{port}/clip.mp4", timeout=0.3)


def test_addresses() -> None:
    assert is_address("rtsp://camera/1")
    assert is_address("HTTP://host/clip.mp4")
    assert not is_address("clip.mp4")
    assert not is_address("C:\\clip.mp4")
    with pytest.raises(SourceError, match="cannot read ftp:// addresses, only http, https"):
        open_source("ftp://host/clip.mp4")


# Real clips

COUNTS = {
    "expressions-audio.mp4": 472,
    "webcam-man.mp4": 765,
    "strong-vfr.mp4": 300,
    "no-face.mp4": 95,  # of 98 packets: the edit list leaves out three
    "webcam-hand-vfr.webm": 1316,
    "face-then-none-vfr.mov": 169,
    "hands-over-face-vfr.mkv": 65,
    "two-audio-tracks.mp4": 390,
}


@pytest.mark.data
@pytest.mark.parametrize("name", COUNTS)
def test_real_clips(data_dir: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = data_dir / "clips" / name
    caplog.set_level(logging.WARNING)
    with open_source(path) as source:
        frames = [(frame.index, frame.pts) for frame in source]
    times = packet_times(path)
    assert [pts for _, pts in frames] == times
    assert [index for index, _ in frames] == list(range(COUNTS[name]))
    assert source.damaged == 0 and not caplog.records
    late = 2 * len(times) // 3
    with open_source(path, start=float(times[late] * source.info.time_base)) as source:
        assert [(frame.index, frame.pts) for frame in source] == frames[late:]


def decoded_frames() -> list[av.VideoFrame]:
    return [thing for thing in gc.get_objects() if type(thing) is av.VideoFrame]


def test_a_closed_source_frees_its_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 5)  # x264 tells its settings in the first picture's side data
    gc.collect()
    gc.disable()
    try:
        of_others = decoded_frames()
        with open_source(path) as source:
            for frame in source:
                assert frame.image.any()
        del source, frame
        assert len(decoded_frames()) == len(of_others)
    finally:
        gc.enable()


@pytest.mark.parametrize("size", [(160, 96), (158, 90)])
def test_nv12_planes_equal_yuv420p_planes(size: tuple[int, int]) -> None:
    """NV12 interleaves both chroma planes in one."""
    rgb = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    usual = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
    for one, other in zip(_split_planes(usual), _split_planes(usual.reformat(format="nv12")), strict=True):
        assert np.array_equal(one, other)


def test_missing_hardware_decoders(tmp_path: Path, server: str) -> None:
    path = write_clip(tmp_path / "clip.mp4", 3)
    with pytest.raises(UsageError, match="unknown hardware decoder 'abacus'; this build of PyAV has none, "):
        open_source(path, hwaccel="abacus")
    absent = [name for name in hwdevices_available() if name != "cuda" or not gpu_likely()]
    for name in absent[:1]:
        with pytest.raises(SourceError, match=f"clip.mp4: cannot decode with {name} on this machine"):
            open_source(path, hwaccel=name)
        with pytest.raises(SourceError, match=f"clip.mp4: cannot decode with {name} on this machine"):
            open_source(f"{server}/clip.mp4", hwaccel=name)
        with pytest.raises(SourceError, match=r"absent\.mp4: cannot be reached or is not a video"):
            open_source(f"{server}/absent.mp4", hwaccel=name)


@pytest.mark.cuda
def test_hardware_and_cpu_decode_the_same(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 40, (320, 240), b_frames=2)
    with open_source(path) as here, open_source(path, hwaccel="cuda") as there:
        pairs = list(zip(here, there, strict=True))
    assert len(pairs) == 40
    for one, other in pairs:
        assert (one.index, one.pts) == (other.index, other.pts)
        # FFmpeg turns NV12 into RGB another way, a level or two darker where it is white.
        assert np.abs(one.image.astype(int) - other.image).mean() < 2
