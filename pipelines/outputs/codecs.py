"""Ways to compress an annotated video, by name."""

from __future__ import annotations

from dataclasses import dataclass

from vtrack.runtime.cores import skills

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""The format of each file ending."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A way to compress pictures."""

    encoder: str
    crf: int
    """Quality when nobody says: thin lines stay clean, files stay small."""
    options: dict[str, str]
    tag: str | None = None
    """What MP4 calls it, where players insist on one of several names."""


# With AVX-512 x264 writes other bytes each time (not so without its macroblock tree, or with AVX2), and is not quicker.
_X264 = {"x264-params": "asm=AVX2"} if "avx512f" in skills() else {}
CODECS = {
    "h264": Codec("libx264", 21, _X264),
    "hevc": Codec("libx265", 24, {"x265-params": "log-level=none"}, tag="hvc1"),
}
