"""Animated WebP, PNG and GIF files are videos, with all their frames and times."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.clips import index_image, read_index
from vtrack.errors import SourceError
from vtrack.pipelines.sources.open import open_source
from vtrack.types import ImageArray

DURATIONS = [40, 80, 120, 40, 50]
SIZE = (160, 96)


def webp(image: ImageArray) -> bytes:
    """The chunks of a WebP image without its header and without metadata: VP8L, or ALPH and VP8."""
    data = cv2.imencode(".webp", image[..., [2, 1, 0, 3][: image.shape[2]]], [cv2.IMWRITE_WEBP_QUALITY, 101])[
        1
    ].tobytes()
    return data[12:] if data[12:16] != b"VP8X" else data[30:]


def three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def part(image: ImageArray, duration: int, x: int = 0, y: int = 0, flags: int = 0) -> bytes:
    """One frame of an animation: flag 1 clears its part afterwards, flag 2 replaces what is there."""
    height, width = image.shape[:2]
    head = three(x // 2) + three(y // 2) + three(width - 1) + three(height - 1) + three(duration) + bytes([flags])
    return chunk(b"ANMF", head + webp(image))


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def animation(parts: list[bytes], size: tuple[int, int] = SIZE) -> bytes:
    head = chunk(b"VP8X", bytes([0x12, 0, 0, 0]) + three(size[0] - 1) + three(size[1] - 1))
    body = b"WEBP" + head + chunk(b"ANIM", bytes(6)) + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "walk.webp"
    path.write_bytes(animation([part(index_image(i, *SIZE), time) for i, time in enumerate(DURATIONS)]))
    return path


def test_an_animated_webp_is_a_video(path: Path) -> None:
    with open_source(path) as source:
        assert source.info.size == SIZE and source.info.frames == 5 and source.info.duration == pytest.approx(0.33)
        assert not source.info.photographs
        frames = list(source)
    assert [read_index(frame.image) for frame in frames] == list(range(5))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.12, 0.24, 0.28])
    with open_source(path, start=0.1, stop=0.25, every=2) as source:
        assert [(frame.index, read_index(frame.image)) for frame in source] == [(2, 2)]
    with pytest.raises(SourceError, match=r"no frame between start and stop; it ends at 0\.33 s"):
        open_source(path, start=9)
    with pytest.raises(SourceError, match="max_pixels=9 allows"):
        open_source(path, max_pixels=9)


def test_parts_of_frames_are_blended_and_cleared(tmp_path: Path) -> None:
    """As OpenCV, which decodes whole animations, shows them."""
    path = tmp_path / "parts.webp"
    rng = np.random.default_rng(0)
    base = index_image(0, *SIZE)
    glass = rng.integers(0, 256, (40, 60, 4), np.uint8)
    opaque = rng.integers(0, 256, (30, 50, 3), np.uint8)
    parts = [
        part(base, 50, flags=2),
        part(glass, 50, x=20, y=10),
        part(opaque, 50, x=100, y=60, flags=1),
        part(glass, 50, x=90, y=50, flags=2),
        part(opaque, 50),
    ]
    path.write_bytes(animation(parts))
    ok, expected = cv2.imreadanimation(str(path))
    assert ok and len(expected.frames) == 5
    with open_source(path) as source:
        frames = list(source)
    for frame, whole in zip(frames, expected.frames, strict=True):
        seen = whole[..., 3] > 0
        difference = np.abs(frame.image.astype(int) - whole[..., 2::-1].astype(int))[seen]
        assert np.quantile(difference, 0.99) <= 2


def test_damage(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    with open_source(path) as source:
        assert [frame.index for frame in source] == [0, 1, 2, 3]
    assert source.damaged == 1 and "skipped damaged data in 1 place" in caplog.text
    path.write_bytes(data[:60])
    with pytest.raises(SourceError, match="without a frame; the file is damaged"):
        open_source(path)
    # Among photographs an animation is none.
    path.write_bytes(data)
    cv2.imwrite(str(tmp_path / "face.png"), index_image(7, *SIZE))
    with open_source(tmp_path) as source:
        assert [frame.file for frame in source] == ["face.png"]
    assert "walk.webp: an animation, not a photograph; track it by itself, as a video; skipped" in caplog.text


@pytest.mark.parametrize(("suffix", "codec", "pixels"), [(".png", "apng", "rgb24"), (".gif", "gif", "rgb8")])
def test_animated_png_and_gif(tmp_path: Path, suffix: str, codec: str, pixels: str) -> None:
    path = tmp_path / f"walk{suffix}"
    with av.open(str(path), "w", format=codec) as output:
        stream = output.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pixels
        for i in range(5):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(index_image(i, *SIZE)).reformat(format=pixels)))
        output.mux(stream.encode(None))
    with open_source(path) as source:
        frames = list(source)
    assert [read_index(frame.image) for frame in frames] == list(range(5))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    with pytest.raises(SourceError, match="max_pixels=9 allows"):
        open_source(path, max_pixels=9)
