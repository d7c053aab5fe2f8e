"""A video through a pipe has the frames of the same file, wherever its index stands."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from tests.clips import write_clip
from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.outputs.video import annotated_video
from vtrack.pipelines.settings import OutputSettings
from vtrack.pipelines.sources.open import open_source
from vtrack.types import FrameResult, Query


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BufferedWriter]:
    """The other end of stdin."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stream, os.fdopen(writing, "wb", buffering=0) as end:
        monkeypatch.setattr("sys.stdin", stream)
        yield end  # type: ignore[misc]


def feed(end: io.BufferedWriter, data: bytes) -> None:
    """Write into a pipe, in a thread, in pieces of odd sizes, and close it."""

    def work() -> None:
        try:
            for place in range(0, len(data), 777):
                end.write(data[place : place + 777])
        except BrokenPipeError:
            pass
        end.close()

    threading.Thread(target=work, daemon=True).start()


def with_index_first(clip: Path) -> Path:
    path = clip.with_name("first.mp4")
    with av.open(str(clip)) as source, av.open(str(path), "w", options={"movflags": "+faststart"}) as target:
        copies = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    return path


def frames(source: Path | str, **selection: float) -> list[tuple[int, float, int]]:
    with open_source(source, **selection) as opened:  # type: ignore[arg-type]
        return [(frame.index, frame.time, int(frame.image.sum())) for frame in opened]


@pytest.mark.parametrize("kind", ["last.mp4", "first.mp4", "clip.mkv", "clip.ts"])
def test_frames_are_those_of_the_file(tmp_path: Path, stdin: io.BufferedWriter, kind: str) -> None:
    clip = write_clip(tmp_path / kind.replace("first", "last"), frames=60, audio=1)
    if kind == "first.mp4":
        clip = with_index_first(clip)
    data = clip.read_bytes()
    if clip.suffix == ".mp4":
        assert (data.index(b"mdat") < data.index(b"moov")) == (kind == "last.mp4")
    feed(stdin, data)
    assert frames("-") == frames(clip)


def test_a_part_of_it(tmp_path: Path, stdin: io.BufferedWriter) -> None:
    clip = write_clip(tmp_path / "clip.ts", frames=60)
    feed(stdin, clip.read_bytes())
    assert frames("-", start=1.5, stop=2, every=3) == frames(clip, start=1.5, stop=2, every=3)


def test_what_is_known_of_it(tmp_path: Path, stdin: io.BufferedWriter) -> None:
    feed(stdin, write_clip(tmp_path / "clip.mkv", frames=20, audio=1).read_bytes())
    with open_source("-") as source:
        info = source.info
    assert (info.name, info.path, info.is_live, info.has_audio, info.size) == ("stdin", "", True, True, (160, 96))


def test_a_waiting_read_ends_when_nobody_wants_it(tmp_path: Path, stdin: io.BufferedWriter) -> None:
    data = write_clip(tmp_path / "clip.ts", frames=60).read_bytes()
    stdin.write(data[: len(data) // 2])
    with open_source("-") as source:
        for number, _ in enumerate(source):
            if number == 9:
                threading.Timer(0.5, source.abandon).start()
        assert 9 <= number < 59


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "stdin: nothing came (0 bytes)"),
        (b"no video at all" * 500, "stdin: not a video, or its header is damaged"),
        (b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x10mdat" + bytes(999), "stdin: its MP4 or MOV index is missing"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "stdin: a playlist or list of files, not a video"),
    ],
)
def test_what_is_no_video(stdin: io.BufferedWriter, data: bytes, message: str) -> None:
    feed(stdin, data)
    with pytest.raises(SourceError) as error:
        open_source("-")
    assert str(error.value).startswith(message)


def test_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SourceError, match="stdin: it is closed"):
        open_source("-")
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    with pytest.raises(UsageError, match="which is a terminal here; pipe one into it"):
        open_source("-")


def test_a_file_called_minus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "-.mp4", frames=5).rename(tmp_path / "-")
    monkeypatch.chdir(tmp_path)
    assert len(frames("./-")) == len(frames(Path("-"))) == 5


def test_its_annotated_video_says_that_it_has_no_sound(
    tmp_path: Path, stdin: io.BufferedWriter, caplog: pytest.LogCaptureFixture
) -> None:
    feed(stdin, write_clip(tmp_path / "clip.mkv", frames=20, audio=1).read_bytes())
    look = {name: getattr(OutputSettings, name) for name in ("draw", "codec", "crf", "preset")}
    query = Query((), ())
    output = tmp_path / "out.mp4"
    with (
        caplog.at_level(logging.WARNING),
        open_source("-") as source,
        annotated_video(output, query, source=source, **look) as sink,
    ):
        for frame in source:
            sink.write(FrameResult(frame, (), query))
    assert "no audio copied: stdin can be read only once" in caplog.text
    with av.open(str(output)) as video:
        assert [stream.type for stream in video.streams] == ["video"] and video.streams.video[0].frames == 20
