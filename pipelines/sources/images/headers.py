"""What the header of an image file says: size as displayed, whether it is animated, whether a camera took it.

OpenCV knows the size of an image only when it is decoded. The headers are read here, a few hundred bytes of each file, so that
an image that would not fit into memory is refused, and the sizes of a folder of images are known, without decoding any.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

_WIDTH, _HEIGHT, _MAKE, _ORIENTATION = 256, 257, 271, 274
"""Tags of TIFF and EXIF."""
_TAGS = 4096
"""Largest number of tags that are read."""
_JPEG_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of JPEG segments that hold the size."""


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """Facts about an image file that are known before it is decoded."""

    width: int
    """Width as stored, or as displayed once `oriented` was called."""
    height: int
    is_animated: bool = False
    by_camera: bool = False
    """Whether its EXIF data names the make of a camera."""

    @property
    def pixels(self) -> int:
        """Number of its pixels."""
        return self.width * self.height

    def oriented(self, tags: dict[int, int]) -> PictureHeader:
        """The same as displayed, by its EXIF tags."""
        width, height = self.width, self.height
        if 5 <= tags.get(_ORIENTATION, 1) <= 8:
            width, height = height, width
        return replace(self, width=width, height=height, by_camera=_MAKE in tags)


def read_header(path: Path) -> PictureHeader | None:
    """Read the header of a BMP, GIF, JPEG, PNG, PNM, TIFF or WebP file; None for any other content.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(32)
        for magic, read in _READERS.items():
            if start.startswith(magic):
                file.seek(0)
                try:
                    header = read(file)
                except (struct.error, ValueError, IndexError, OverflowError):
                    return None
                return header if header is not None and header.pixels > 0 else None
    return None


def _unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _jpeg(file: BinaryIO) -> PictureHeader | None:
    header, tags = None, dict[int, int]()
    file.seek(2)
    while header is None:
        fill, marker = _unpack(file, "BB")
        while marker == 0xFF:
            (marker,) = _unpack(file, "B")
        if fill != 0xFF or marker in (0xD9, 0xDA):
            return None
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        (length,) = _unpack(file, ">H")
        end = file.tell() + length - 2
        if marker in _JPEG_SIZES:
            _, height, width = _unpack(file, ">BHH")
            header = PictureHeader(width, height)
        elif marker == 0xE1 and file.read(6) == b"Exif\0\0":
            tags |= _exif(file.read(length - 8))
        file.seek(end)
    return header.oriented(tags)


def _png(file: BinaryIO) -> PictureHeader:
    file.seek(16)
    width, height = _unpack(file, ">II")
    tags, animated = dict[int, int](), False
    file.seek(8)
    while len(chunk := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", chunk)
        if kind in (b"IDAT", b"IEND"):
            break
        animated |= kind == b"acTL"
        end = file.tell() + length + 4
        if kind == b"eXIf":
            tags |= _exif(file.read(length))
        file.seek(end)
    return PictureHeader(width, height, animated).oriented(tags)


def _webp(file: BinaryIO) -> PictureHeader | None:
    file.seek(8)
    kind = file.read(8)
    file.seek(20)
    if kind == b"WEBPVP8 ":
        file.seek(26)
        width, height = _unpack(file, "<HH")
        return PictureHeader(width & 0x3FFF, height & 0x3FFF)
    if kind == b"WEBPVP8L":
        _, bits = _unpack(file, "<BI")
        return PictureHeader((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind != b"WEBPVP8X":
        return None
    flags, sizes = file.read(4), file.read(6)
    header = PictureHeader(
        int.from_bytes(sizes[:3], "little") + 1, int.from_bytes(sizes[3:], "little") + 1, bool(flags[0] & 0x02)
    )
    tags = dict[int, int]()
    while flags[0] & 0x08 and len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"EXIF":
            tags = _exif(file.read(length).removeprefix(b"Exif\0\0"))
            break
        file.seek(length + length % 2, io.SEEK_CUR)
    return header.oriented(tags)


def _gif(file: BinaryIO) -> PictureHeader:
    file.seek(6)
    width, height = _unpack(file, "<HH")
    return PictureHeader(width, height, is_animated=True)  # or not: only the rest of the file tells


def _bmp(file: BinaryIO) -> PictureHeader:
    file.seek(14)
    (size,) = _unpack(file, "<I")
    width, height = _unpack(file, "<HH" if size == 12 else "<ii")
    return PictureHeader(width, abs(height))


def _pnm(file: BinaryIO) -> PictureHeader:
    lines = file.read(1024)[2:].split(b"\n")
    words = b" ".join(line.partition(b"#")[0] for line in lines).split()
    return PictureHeader(int(words[0]), int(words[1]))


def _tiff(file: BinaryIO) -> PictureHeader:
    tags = _read_tags(file)
    return PictureHeader(tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)).oriented(tags)


def _exif(data: bytes) -> dict[int, int]:
    """The tags of an EXIF block; none if it is damaged, which hides no pixel."""
    try:
        return _read_tags(io.BytesIO(data))
    except (struct.error, ValueError, IndexError, OverflowError):
        return {}


def _read_tags(file: BinaryIO) -> dict[int, int]:
    """The tags of the first directory of a TIFF file or EXIF block: their values where they are whole numbers, else 0."""
    start = file.read(4)
    order = "<" if start[:2] == b"II" else ">"
    big = start[2:] in (b"\x2b\0", b"\0\x2b")  # BigTIFF
    if big:
        file.seek(8)
    (place,) = _unpack(file, order + ("Q" if big else "I"))
    file.seek(place)
    (count,) = _unpack(file, order + ("Q" if big else "H"))
    tags = {}
    for _ in range(min(count, _TAGS)):
        tag, kind, _, value = struct.unpack(order + ("HHQ8s" if big else "HHI4s"), file.read(20 if big else 12))
        layout = {3: "H", 4: "I", 16: "Q"}.get(kind)
        tags[tag] = struct.unpack(order + layout, value[: struct.calcsize(layout)])[0] if layout else 0
    return tags


_READERS: dict[bytes, Callable[[BinaryIO], PictureHeader | None]] = {
    b"\xff\xd8\xff": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"RIFF": _webp,
    b"GIF8": _gif,
    b"BM": _bmp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"II+\0": _tiff,
    b"MM\0+": _tiff,
    **{f"P{digit}".encode(): _pnm for digit in range(1, 7)},
}
