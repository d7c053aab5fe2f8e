"""Damaged, truncated and unsuitable files: what is read of them, and the messages."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import (
    damage,
    error_of,
    index_image,
    read,
    truncate,
    write_clip,
    write_sound,
)
from vtrack.pipelines.sources.open import open_source


def test_damage_in_the_middle_loses_only_its_own_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = damage(write_clip(tmp_path / "clip.mp4", frames=60), [25, 26])
    with open_source(path) as source:
        rows = read(source)
    assert source.damaged == 2
    assert len(rows) == 58
    assert [number for _, number, _ in rows][:25] == list(range(25))
    assert [(number, round(time * 25)) for _, number, time in rows][-30:] == [(i, i) for i in range(30, 60)]
    assert [index for index, _, _ in rows] == list(range(58))
    assert sum("skipped damaged data in 2 places" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("last", [1, 2, 3])
def test_damage_at_the_end_keeps_frames_held_by_the_decoder(tmp_path: Path, last: int) -> None:
    path = damage(write_clip(tmp_path / "clip.mp4", frames=60), range(60 - last, 60))
    with open_source(path) as source:
        rows = read(source)
    assert [number for _, number, _ in rows] == list(range(60 - last))
    assert source.damaged == last


def test_the_end_of_a_file_that_was_replaced_is_left_out(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "clip.mp4", frames=100, b_frames=2, gop=30, muxer={"movflags": "faststart"})
    with open_source(truncate(whole, 0.7)) as source:
        write_sound(tmp_path / "sound.m4a").rename(whole)
        rows = read(source)
    assert [number for _, number, _ in rows[:50]] == list(range(50))
    assert source.damaged > 0


@pytest.mark.parametrize("name, muxer", [
    ("clip.mkv", {}),
    ("clip.ts", {}),
    ("clip.avi", {}),
    ("clip.mp4", {"movflags": "faststart"}),
    ("fragments.mp4", {"movflags": "frag_keyframe+empty_moov"}),
])  # fmt: skip
def test_truncated_files_yield_what_is_left(tmp_path: Path, name: str, muxer: dict[str, str]) -> None:
    path = truncate(write_clip(tmp_path / name, frames=100, time_base=Fraction(1, 25), muxer=muxer), 0.6)
    with open_source(path) as source:
        rows = read(source)
    good = [number for _, number, _ in rows if number >= 0]
    assert good[:40] == list(range(40))
    assert len(rows) < 100


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
def test_file_cut_off_is_reported(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = truncate(write_clip(tmp_path / name, frames=100, start=5, muxer={"movflags": "faststart"}), 0.5)
    with open_source(path) as source:
        list(source)
    assert source.damaged > 0
    assert any("earlier than its header says" in record.message for record in caplog.records)


def test_whole_file_is_not_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("clip.mkv", "clip.mp4", "clip.ts"):
        with open_source(write_clip(tmp_path / name, frames=60, start=5, audio=1)) as source:
            list(source)
        assert source.damaged == 0
    assert not caplog.records


def test_files_without_video(tmp_path: Path) -> None:
    empty, text, named, log = (tmp_path / name for name in ("empty.mp4", "noise.mp4", "text.mp4", "text.txt"))
    empty.touch()
    text.write_bytes(np.random.default_rng(0).bytes(5000))
    named.write_text("hello\n" * 100)
    log.write_text("hello\n" * 100)
    assert error_of(empty).endswith("empty.mp4: the file is empty (0 bytes)")
    assert "not a video" in error_of(text)
    assert "not a video" in error_of(named)
    assert "a text file, not a video" in error_of(log)
    assert error_of(tmp_path / "absent.mp4").endswith("absent.mp4: no such file or folder")
    assert error_of(tmp_path / "absent" / "a.mp4").endswith("a.mp4: no such file or folder")
    assert error_of(write_sound(tmp_path / "sound.m4a")).endswith("sound.m4a: no video stream, only audio")
    assert "no video stream" in error_of(write_clip(tmp_path / "none.mp4", frames=0))
    assert "the recording or copy was cut off" in error_of(truncate(write_clip(tmp_path / "cut.mp4"), 0.5))
    assert "damaged" in error_of(truncate(write_clip(tmp_path / "head.mkv"), 0.01))


def test_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    write_sound(tmp_path / "plain.m4a")
    with av.open(str(tmp_path / "plain.m4a")) as sound, av.open(str(path), "w", format="mp4") as output:
        track = output.add_stream_from_template(sound.streams.audio[0])
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 160, 96, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(index_image(0, 160, 96))
        output.start_encoding()
        output.mux(cover.encode(picture))
        for packet in sound.demux(audio=0):
            if packet.size:
                packet.stream = track
                output.mux(packet)
    assert error_of(path).endswith("no video stream, only audio")


def test_no_decodable_frame(tmp_path: Path) -> None:
    path = damage(write_clip(tmp_path / "clip.mp4", frames=10), range(10))
    assert "no frame could be decoded" in error_of(path)


def test_name_like_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "clip.mp4", 3).rename(tmp_path / "concat:clip.mp4")
    monkeypatch.chdir(tmp_path)
    with open_source("concat:clip.mp4") as source:
        assert len(list(source)) == 3
