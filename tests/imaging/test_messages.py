"""Libraries that decode images write nothing to stderr, and what others write there meanwhile is not lost."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import LONDON
from vtrack.errors import SourceError
from vtrack.imaging.messages import decoding
from vtrack.pipelines.sources.images.files import read_picture
from vtrack.runtime import streams


def test_a_damaged_jpeg_is_named_in_a_line_of_ours(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    content = bytearray(next(iter(sorted((LONDON / "images").glob("*.jpg")))).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = b"\xff\xd0" * 20
    (tmp_path / "a.jpg").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert read_picture(tmp_path / "a.jpg").ndim == 3
    (line,) = [record.getMessage() for record in caplog.records]
    damage = "Corrupt JPEG data: premature end of data segment"
    assert line == f"{tmp_path / 'a.jpg'}: a damaged image, parts of which may be wrong: {damage}"
    assert "\nCorrupt" not in (said := capfd.readouterr().err) and not said.startswith("Corrupt")


def test_a_damaged_png_is_an_error_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = (np.arange(300 * 300 * 3) * 7 % 256).astype(np.uint8).reshape(300, 300, 3)
    content = bytearray(cv2.imencode(".png", image)[1].tobytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SourceError, match="a damaged or unusual image, which cannot be decoded"):
        read_picture(tmp_path / "a.png")
    assert capfd.readouterr().err == ""


def test_lines_of_others_arrive(capfd: pytest.CaptureFixture[str]) -> None:
    with decoding() as damage:
        os.write(
            2, b"vtrack: one\nlibpng warning: iCCP: known incorrect sRGB profile\nlibpng error: bad CRC\nall: 50%|"
        )
        assert not damage
    assert capfd.readouterr().err == "vtrack: one\nall: 50%|"
    assert damage == ["libpng error: bad CRC"]
    os.write(2, b"later")
    assert capfd.readouterr().err == "later"


def test_the_log_level_of_opencv_comes_back() -> None:
    opencv_log = getattr(cv2.utils, "logging", cv2)  # of OpenCV 5, or 4
    before = opencv_log.getLogLevel()
    with decoding():
        assert opencv_log.getLogLevel() == 0
    assert opencv_log.getLogLevel() == before


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="open files are counted in /dev/fd")
def test_without_room_for_messages_images_are_read_and_no_file_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    before = open_files()
    with decoding() as damage:
        assert open_files() == before
    assert open_files() == before
    assert not damage


def test_a_reader_of_stderr_that_has_left_is_no_error() -> None:
    reader, writer = os.pipe()
    kept = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    os.close(reader)
    try:
        with decoding() as damage:
            os.write(2, b"vtrack: a line of another thread\n")
        assert not damage
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no terminals of this kind")
def test_a_terminal_that_is_closed_meanwhile_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_terminal_left", False)
    kept, (terminal, stderr) = os.dup(2), os.openpty()
    os.dup2(stderr, 2)
    os.close(stderr)
    try:
        with decoding():
            streams.leave_terminal()  # as SIGHUP does
            os.close(terminal)
        line = b"vtrack: interrupted\n"
        assert os.write(2, line) == len(line)  # fails on a terminal that is gone
    finally:
        os.dup2(kept, 2)
        os.close(kept)
