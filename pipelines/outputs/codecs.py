"""Codecs and container formats of annotated videos."""

from __future__ import annotations

from dataclasses import dataclass

from vtrack.runtime.cores import cpu_flags

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's name of the container format of each file ending."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A video codec and its encoder."""

    encoder: str
    """FFmpeg's name of the encoder."""
    crf: int
    """Default quality: thin lines stay clean and files stay small."""
    options: dict[str, str]
    """Options of the encoder."""
    tag: str | None = None
    """Codec tag in MP4, where players accept only one of several."""


ENCODER_THREADS = 4
"""Threads of every encoder: its output depends on their number, and must not depend on the machine's cores."""
# With AVX-512, x264 output differs from run to run (not without its macroblock tree, nor with AVX2), and is not faster.
_X264 = {"x264-params": "asm=AVX2"} if "avx512f" in cpu_flags() else {}
# By `info` x265 would write the features of the CPU into the video.
CODECS = {
    "h264": Codec("libx264", 21, _X264),
    "hevc": Codec("libx265", 24, {"x265-params": "log-level=none:info=0"}, tag="hvc1"),
}
