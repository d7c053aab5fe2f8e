"""Small clips for tests. Every frame shows its own number, in blocks that survive lossy coding and scaling.

    write_clip(tmp_path / "a.mp4", frames=20, orientation=6, audio=2)
    assert read_index(frame.image) == 3

The picture is five blocks by four: the corners are red, green, blue and white (so a turned or mirrored picture is not
readable), the other sixteen are the binary digits of the number, white for 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vtrack.errors import SourceError
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.open import open_source
from vtrack.types import ImageArray

COLUMNS, ROWS = 5, 4
CORNERS = {(0, 0): (255, 0, 0), (0, 4): (0, 255, 0), (3, 0): (0, 0, 255), (3, 4): (255, 255, 255)}
DIGITS = [(row, column) for row in range(ROWS) for column in range(COLUMNS) if (row, column) not in CORNERS]

# The display matrices of the eight orientations, by EXIF number: (a, b, c, d) of x' = a x + c y, y' = b x + d y, which
# takes a stored pixel to where it is shown.
ORIENTATIONS = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),  # mirrored left to right
    3: (-1, 0, 0, -1),  # half a turn
    4: (1, 0, 0, -1),  # mirrored top to bottom
    5: (0, 1, 1, 0),  # transposed
    6: (0, 1, -1, 0),  # shown after a quarter turn clockwise
    7: (0, -1, -1, 0),  # transposed about the other diagonal
    8: (0, -1, 1, 0),  # shown after a quarter turn counter-clockwise
}

Drawing = Callable[[int, int, int], ImageArray]


def index_image(index: int, width: int, height: int) -> ImageArray:
    """(height, width, 3) image that shows `index`."""
    if not 0 <= index < 1 << len(DIGITS):
        raise ValueError(f"index must fit {len(DIGITS)} bits, got {index}")
    blocks = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    for place, color in CORNERS.items():
        blocks[place] = color
    for bit, place in enumerate(DIGITS):
        blocks[place] = 235 if index >> bit & 1 else 20
    rows = np.arange(height) * ROWS // height
    columns = np.arange(width) * COLUMNS // width
    return blocks[rows[:, None], columns]


def read_index(image: ImageArray) -> int:
    """The number that an image shows; ValueError unless it is upright and not mirrored."""
    height, width = image.shape[:2]

    def middle(row: int, column: int) -> np.ndarray:
        top, left = (row + 0.25) * height / ROWS, (column + 0.25) * width / COLUMNS
        block = image[int(top) : int(top + height / ROWS / 2) + 1, int(left) : int(left + width / COLUMNS / 2) + 1]
        return block.reshape(-1, 3).mean(0)

    for place, color in CORNERS.items():
        if np.abs(middle(*place) - color).max() > 100:
            raise ValueError(f"corner {place} should be {color}, is {middle(*place).round()}")
    return sum(1 << bit for bit, place in enumerate(DIGITS) if middle(*place).mean() > 128)


def as_stored(displayed: ImageArray, orientation: int) -> ImageArray:
    """The picture to store so that its display matrix shows it as `displayed`, pixel by pixel by the definition."""
    a, b, c, d = ORIENTATIONS[orientation]
    height, width = displayed.shape[:2] if b == 0 else displayed.shape[1::-1]
    y, x = np.mgrid[:height, :width]
    shown_x, shown_y = a * x + c * y, b * x + d * y
    return displayed[shown_y - shown_y.min(), shown_x - shown_x.min()]


def write_clip(
    path: Path,
    frames: int = 20,
    size: tuple[int, int] = (160, 96),
    *,
    rate: Fraction | int = 25,
    times: Sequence[float | Fraction] | None = None,
    start: Fraction | float = 0,
    time_base: Fraction = Fraction(1, 12800),
    orientation: int = 1,
    audio: int = 0,
    subtitles: int = 0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    gop: int = 10,
    b_frames: int = 0,
    aspect: Fraction | None = None,
    draw: Drawing = index_image,
    first_index: int = 0,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Write a clip whose displayed pictures are `draw(index, *size)`; the container goes by the file's extension.

    `times` gives each frame's second (variable rate) in place of `rate`; `start` shifts all tracks. `audio` and
    `subtitles` are numbers of tracks. Tracks are interleaved by time, as cameras write them.
    """
    moments = [Fraction(i) / rate for i in range(frames)] if times is None else [Fraction(t) for t in times]
    moments = [moment + Fraction(start) for moment in moments]
    options = {"preset": "ultrafast", "bf": str(b_frames), "sc_threshold": "0"} if codec.startswith("libx26") else {}
    with av.open(str(path), "w", options=muxer or {}) as output:
        video = output.add_stream(codec, rate=Fraction(rate), options=options)
        stored = as_stored(draw(0, *size), orientation)
        video.width, video.height, video.pix_fmt = stored.shape[1], stored.shape[0], pix_fmt
        video.codec_context.time_base = time_base
        video.gop_size = gop
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        if orientation != 1:
            a, b, c, d = (value << 16 for value in ORIENTATIONS[orientation])
            video.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        end = moments[-1] + 1 / Fraction(rate) if moments else Fraction(start)
        others = [_tone(output, 330 * (i + 1), Fraction(start), end, path.suffix) for i in range(audio)]
        others += [_captions(output, i, Fraction(start), end, path.suffix) for i in range(subtitles)]
        output.start_encoding()
        packets = [packet for encode in others for packet in encode()]
        for i, moment in enumerate(moments):
            picture = av.VideoFrame.from_ndarray(as_stored(draw(first_index + i, *size), orientation), format="rgb24")
            picture.pts, picture.time_base = round(moment / time_base), time_base
            packets += video.encode(picture)
        packets += video.encode(None) if moments else []
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return path


def _tone(
    output: av.container.OutputContainer, pitch: int, start: Fraction, end: Fraction, suffix: str
) -> Callable[[], list[av.Packet]]:
    """Add a track with a sine tone; calling the result encodes it."""
    rate = 48000
    stream = output.add_stream("libopus" if suffix == ".webm" else "aac", rate=rate)
    stream.layout = "mono"

    def encode() -> list[av.Packet]:
        moments = np.arange(int((end - start) * rate)) / rate
        wave = (0.2 * np.sin(2 * np.pi * pitch * moments)).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = rate, round(start * rate), Fraction(1, rate)
        return [*stream.encode(sound), *stream.encode(None)]

    return encode


def _captions(
    output: av.container.OutputContainer, number: int, start: Fraction, end: Fraction, suffix: str
) -> Callable[[], list[av.Packet]]:
    """Add a subtitle track of two lines; calling the result makes its packets."""
    mp4 = suffix in (".mp4", ".mov")
    stream = output.add_stream("mov_text" if mp4 else "subrip", options={})
    stream.time_base = Fraction(1, 1000)
    stream.codec_context.time_base = Fraction(1, 1000)
    stream.codec_context.subtitle_header = b"[Script Info]\n\n[Events]\nFormat: Layer, Text\n"

    def encode() -> list[av.Packet]:
        packets = []
        middle = (start + end) / 2
        for text, from_, to in [("one", start, middle), ("two", middle, end)]:
            data = f"{text} {number}".encode()
            packet = av.Packet(len(data).to_bytes(2, "big") + data if mp4 else data)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = int(from_ * 1000)
            packet.duration = int((to - from_) * 1000)
            packets.append(packet)
        return packets

    return encode


def write_sound(path: Path, seconds: int = 1) -> Path:
    """A file with audio only."""
    with av.open(str(path), "w") as output:
        encode = _tone(output, 440, Fraction(0), Fraction(seconds), path.suffix)
        output.start_encoding()
        output.mux(encode())
    return path


def write_joined(path: Path, sizes: Sequence[tuple[int, int]], frames: int = 10) -> Path:
    """An MPEG transport stream whose picture size changes, `frames` for each size."""
    data = b""
    for i, size in enumerate(sizes):
        piece = path.with_suffix(f".{i}.ts")
        write_clip(piece, frames, size, start=Fraction(i * frames, 25), first_index=i * frames)
        data += piece.read_bytes()
        piece.unlink()
    path.write_bytes(data)
    return path


def write_repeated(path: Path, clip: Path, times: int) -> Path:
    """The frames and the sound of a clip again and again, copied without encoding."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        copies = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        seconds = Fraction(source.streams.video[0].duration * source.streams.video[0].time_base)
        for turn in range(times):
            source.seek(0)
            for packet in source.demux():
                if packet.size:
                    shift = round(turn * seconds / packet.time_base)
                    packet.pts, packet.dts, packet.stream = (
                        packet.pts + shift,
                        packet.dts + shift,
                        copies[packet.stream.index],
                    )
                    output.mux(packet)
    return path


def truncate(path: Path, keep: float) -> Path:
    """Cut the file off after a share of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def damage(path: Path, packets: Sequence[int]) -> Path:
    """Overwrite the payload of these video packets, counted in the file's order, with noise."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    noise = np.random.default_rng(0)
    with path.open("r+b") as file:
        for packet in packets:
            position, size = places[packet]
            file.seek(position)
            file.write(noise.bytes(size))
    return path


def restamp(path: Path, times: Sequence[float], into: Path) -> Path:
    """Copy the video packets of a clip with these times in seconds, in any order, as a copy of a damaged file has them."""
    with av.open(str(path)) as container, av.open(str(into), "w") as output:
        stream = container.streams.video[0]
        copy = output.add_stream_from_template(stream)
        packets = (packet for packet in container.demux(stream) if packet.size)
        for packet, time in zip(packets, times, strict=True):
            packet.stream, packet.time_base = copy, Fraction(1, 1000)
            packet.pts, packet.dts = round(time * 1000), 0
            output.mux(packet)
    return into


def read(source: Source) -> list[tuple[int, int, float]]:
    """Index of each frame, the number in its pixels (-1 if unreadable), and its time."""
    rows = []
    for frame in source:
        try:
            number = read_index(frame.image)
        except ValueError:
            number = -1
        rows.append((frame.index, number, frame.time))
    return rows


def error_of(path: Path | str, **options: float) -> str:
    with pytest.raises(SourceError) as caught:
        open_source(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message
