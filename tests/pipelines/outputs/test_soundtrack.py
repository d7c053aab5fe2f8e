"""Sound whose packets are damaged or whose times step back never costs the video or the table."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet

from tests.clips import write_clip
from vtrack.cli.main import main
from vtrack.pipelines.outputs.soundtrack import Soundtrack


def tracked(clip: Path, folder: Path) -> av.container.InputContainer:
    """The annotated video of a clip; the run ends well."""
    assert main(["run", str(clip), "--parts", "eyes", "--video", "-o", str(folder), "--quiet"]) == 0
    assert (folder / f"{clip.stem}.vtrack.csv").exists()
    return av.open(str(folder / f"{clip.stem}.vtrack.mp4"))


def packet_times(video: av.container.InputContainer) -> list[float]:
    return [float(packet.pts * packet.time_base) for packet in video.demux(audio=0) if packet.size]


def test_sound_of_a_joined_recording_goes_on(tmp_path: Path) -> None:
    # The second half begins at time 0 again.
    half = write_clip(tmp_path / "half.ts", frames=25, audio=1).read_bytes()
    (tmp_path / "joined.ts").write_bytes(half + half)
    with tracked(tmp_path / "joined.ts", tmp_path / "out") as video:
        times = packet_times(video)
    assert times == sorted(times)
    assert max(times) == pytest.approx(2.0, abs=0.1)
    assert np.diff(times).max() < 0.1


def test_damaged_sound_packets(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=25, audio=1)
    with av.open(str(clip)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    noise = np.random.default_rng(0)
    with clip.open("r+b") as file:
        for position, size in places[5:8]:
            file.seek(position)
            file.write(noise.bytes(size))
    with tracked(clip, tmp_path / "out") as video:
        assert video.streams.video[0].frames == 25
        assert max(packet_times(video)) == pytest.approx(1.0, abs=0.1)


def test_sound_that_cannot_be_written_is_left_out_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=25, audio=1)
    whole = Soundtrack.until

    def until(self: Soundtrack, time: Fraction | None = None) -> Iterator[Packet]:
        if time is not None and time > 0.5:
            raise av.error.InvalidDataError(22, "Invalid argument")
        yield from whole(self, time)

    monkeypatch.setattr(Soundtrack, "until", until)
    with tracked(clip, tmp_path / "out") as video:
        assert video.streams.video[0].frames == 25
        assert max(packet_times(video)) == pytest.approx(0.5, abs=0.1)
    assert "clip.vtrack.mp4: no sound from here on: Invalid argument" in caplog.text


def test_a_list_of_files_is_no_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "secret.mp4", frames=5)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    assert main(["run", str(tmp_path / "list.mp4"), "--quiet"]) == 1
    assert "a playlist or list of files, not a video" in capsys.readouterr().err
