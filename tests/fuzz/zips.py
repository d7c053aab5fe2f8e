"""Zips of photographs: damaged, hostile, or with tables of labels that are."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np

from tests.faces import picture, template_faces
from tests.fuzz.commands import run_command
from tests.fuzz.mutations import damaged
from tests.fuzz.outcomes import Outcome
from vtrack.layouts import load_layout

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
FIELDS = ((6, 8, 2), (8, 10, 2), (14, 16, 4), (18, 20, 4), (22, 24, 4))
"""Offsets in both headers of a member, and sizes: flags, method, checksum, packed and unpacked size."""


def run_case(rng: np.random.Generator, folder: Path) -> Outcome:
    """Damage a zip, a field of a member's headers, its table or its picture, and evaluate on it."""
    path, kind = folder / "faces.zip", int(rng.integers(4))
    table, image = labels(), picture(400, 400)
    if kind == 0:
        table = damaged(table, rng)
    elif kind == 1:
        image = damaged(image, rng)
    with zipfile.ZipFile(path, "w", METHODS[rng.integers(len(METHODS))]) as archive:
        archive.writestr("labels.csv", table)
        archive.writestr("images/0.png", image)
    if kind == 2:
        path.write_bytes(damaged(path.read_bytes(), rng))
    elif kind == 3:
        _alter_field(path, rng)
    return run_command(["eval", "--data", f"300w:{path}", "--engine", "int8"], folder)


def labels() -> bytes:
    """The table of one face."""
    points = template_faces(load_layout("300w"), 1)[0]
    header = ["file", "split", "group", *(f"{axis}{i + 1}" for i in range(len(points)) for axis in "xy")]
    row = ["images/0.png", "val", "a", *(f"{value:.2f}" for value in points.ravel())]
    return ("\n".join([",".join(header), ",".join(row)]) + "\n").encode()


def _alter_field(path: Path, rng: np.random.Generator) -> None:
    """Set the same field of both headers of a member to the same value."""
    content = bytearray(path.read_bytes())
    at_local, at_central, size = FIELDS[rng.integers(len(FIELDS))]
    value = struct.pack("<Q", int(rng.choice([0, 1, 9, 98, 0x7FFF, 0xFFFF, 1 << 30, 0xFFFFFFFF])))[:size]
    last = rng.random() < 0.7
    for signature, offset in ((LOCAL, at_local), (CENTRAL, at_central)):
        start = (content.rindex(signature) if last else content.index(signature)) + offset
        content[start : start + size] = value
    path.write_bytes(content)
