"""MP4 files whose writing failed: cut behind the last fragment that is complete."""

from __future__ import annotations

import os
import struct
from pathlib import Path


def cut_fragments(path: Path) -> None:
    """Cut a fragmented MP4 behind its last complete fragment, so that players find no half of one.

    A fragment is a `moof` box, which says where its frames lie, and an `mdat` box, which holds them.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        position = end = 0
        while position + 8 <= size:
            file.seek(position)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:  # the length is too large for 32 bits and follows
                length = int.from_bytes(file.read(8), "big")
            position += length
            if length < 8 or position > size:
                break
            if kind == b"mdat":
                end = position
        file.truncate(end)
