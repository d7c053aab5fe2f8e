"""Zips of `images/` and a `labels.csv` as in `tables`, with all three leading columns: read and written."""

from __future__ import annotations

import csv
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vtrack.data.dataset import Dataset
from vtrack.data.formats.tables import LARGEST_TABLE, parse_table
from vtrack.errors import DataError
from vtrack.layouts import Layout
from vtrack.types import FloatArray

_LABELS = "labels.csv"
LARGEST_PICTURE = 256 << 20
"""Bytes of a picture; a photograph of 50 megapixels in PNG has a third of it."""
LARGEST_CONTENT = 8 << 30
"""Bytes of all pictures of a split together: they are kept in memory. The largest set known to us, WFLW, has 0.6 GB."""
LARGEST_DIRECTORY = 128 << 20
"""Bytes of the list of members, which zipfile reads whole: room for a million names."""
_END, _END64 = b"PK\x05\x06", b"PK\x06\x06"
_TAIL = 22 + 0xFFFF + 20 + 56
"""The most bytes from the end of a zip in which the record of its directory starts."""


def read_zip(name: str, layout: Layout | None, path: Path, split: str) -> Dataset:
    """Read the faces of one split of a zip, with the encoded pictures, which threads and processes can share in memory."""
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            if _LABELS not in members:
                raise DataError(f"{path}: there is no {_LABELS} in it")
            text = read_member(archive, path, _LABELS, LARGEST_TABLE)
            labels = parse_table(text.decode("utf-8-sig"), path, layout, split)
            wanted = sorted(set(labels.files))
            missing = [file for file in wanted if file not in members]
            if missing:
                raise DataError(f"{path}: {missing[0]} is in {_LABELS}, but not in the zip")
            size = sum(archive.getinfo(file).file_size for file in wanted)
            if size > LARGEST_CONTENT:
                raise DataError(
                    f"{path}: its pictures have {size / 1e9:.1f} GB unpacked, and at most {LARGEST_CONTENT / 1e9:.1f} GB "
                    "are kept in memory; unpack the zip and give the path of its labels.csv"
                )
            content = {file: read_member(archive, path, file, LARGEST_PICTURE) for file in wanted}
    except OSError as error:
        raise DataError(f"{path}: the zip cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, struct.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a readable zip of annotated pictures: {error}") from error
    return labels.dataset(name, content.__getitem__)


class LabelledFace(NamedTuple):
    """One row of a zip that is written, and its picture."""

    name: str
    """Name of the picture, without folder."""
    content: bytes
    """The encoded picture."""
    split: str
    group: str
    points: FloatArray
    """(points, 2) in pixels."""


def write_zip(faces: Iterable[LabelledFace], out: Path) -> int:
    """Write a zip that `read_zip` reads; an unfinished one has another name, and is removed if writing fails.

    Args:
        faces: The faces; all have the same number of points.
        out: The zip, which is replaced if it exists.

    Returns:
        The number of faces.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished, table, count = out.with_suffix(".part"), io.StringIO(), 0
    rows = csv.writer(table, lineterminator="\n")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
            for count, face in enumerate(faces, 1):
                if count == 1:
                    columns = (f"{axis}{i}" for i in range(1, len(face.points) + 1) for axis in "xy")
                    rows.writerow(["file", "split", "group", *columns])
                file = f"images/{face.name}"
                archive.writestr(file, face.content)
                rows.writerow([file, face.split, face.group, *(f"{value:.2f}" for value in face.points.ravel())])
            archive.writestr(_LABELS, table.getvalue())
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def read_member(archive: zipfile.ZipFile, path: Path, member: str, most: int) -> bytes:
    """A member's bytes: no more than its entry declares, whatever it unpacks to."""
    entry = archive.getinfo(member)
    if entry.flag_bits & 1:
        raise DataError(f"{path}: {member} is encrypted; pack the zip without a password")
    if entry.file_size > most:
        raise DataError(f"{path}: {member} has {entry.file_size / 1e6:.0f} MB unpacked; at most {most >> 20} are read")
    try:
        with archive.open(entry) as file:
            content = file.read(entry.file_size)  # a read without a size would unpack 2 GB at once before it counts
    except NotImplementedError as error:
        raise DataError(f"{path}: {member} is packed by another method than deflate; pack the zip again") from error
    except (zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise DataError(f"{path}: {member} is damaged: {error or 'it ends early'}") from error
    if len(content) != entry.file_size:
        raise DataError(f"{path}: {member} is damaged: it ends early")
    return content


def _check_directory(path: Path) -> None:
    """Refuse a zip whose list of members is too large to be read whole."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL, 0))
        tail = file.read()
    sizes = [0]
    for mark, layout, offset in ((_END, "<L", 12), (_END64, "<Q", 40)):
        start = tail.rfind(mark)
        if start >= 0 and start + offset + struct.calcsize(layout) <= len(tail):
            sizes.append(*struct.unpack_from(layout, tail, start + offset))
    known = [directory for directory in sizes if directory <= size]  # others are damaged, which zipfile will say
    if max(known) > LARGEST_DIRECTORY:
        raise DataError(f"{path}: it lists too many files; give a zip of at most about a million pictures")
