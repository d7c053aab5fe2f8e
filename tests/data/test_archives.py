"""Zips of photographs that are damaged, hostile or packed in ways that cannot be read: one line each, and little memory."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.faces import picture, template_faces
from vtrack.data.formats import archives, tables
from vtrack.data.formats.archives import read_zip
from vtrack.data.formats.tables import read_table
from vtrack.data.states import read_states
from vtrack.errors import DataError
from vtrack.layouts import load_layout

LAYOUT = load_layout("300w")


def labels(*files: str, coordinate: str = "5") -> str:
    """A table of faces, all with the same points."""
    points = template_faces(LAYOUT, 1)[0]
    header = ["file", "split", "group", *(f"{axis}{i + 1}" for i in range(len(points)) for axis in "xy")]
    numbers = [coordinate, *(f"{value:.2f}" for value in points.ravel()[1:])]
    return "\n".join([",".join(header), *(",".join([file, "val", "a", *numbers]) for file in files)]) + "\n"


def write(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def sound(path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip of one annotated photograph."""
    return write(path, {"labels.csv": labels("images/0.png").encode(), "images/0.png": picture(400, 400)}, method)


def altered(path: Path, signature: bytes, offset: int, value: bytes) -> None:
    """Change a field of the last record of a kind, which is that of the photograph."""
    content = bytearray(path.read_bytes())
    start = content.rindex(signature) + offset
    content[start : start + len(value)] = value
    path.write_bytes(content)


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def refused(path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read_zip("faces", LAYOUT, path, "all")
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_sound_zip(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        data = read_zip("faces", LAYOUT, sound(tmp_path / f"{method}.zip", method), "all")
        assert data.files == ("images/0.png",)
        assert data.read("images/0.png") == picture(400, 400)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.zip")
    for signature, offset in ((LOCAL, 6), (CENTRAL, 8)):
        altered(path, signature, offset, b"\1\0")
    refused(path, r"images/0\.png is encrypted; pack the zip without a password")


def test_an_unknown_method(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.zip")
    for signature, offset in ((LOCAL, 8), (CENTRAL, 10)):
        altered(path, signature, offset, b"\x62\0")
    refused(path, r"images/0\.png is packed by another method than deflate")


def test_a_zip_of_a_later_version(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.zip")
    altered(path, CENTRAL, 6, b"\xae\0")
    refused(path, r"not a readable zip of annotated pictures: zip file version 17\.4")
    with pytest.raises(DataError, match=r"not a readable zip of faces with states: zip file version 17\.4"):
        read_states(path, "all")


def test_faces_with_states_in_a_damaged_zip(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.zip")
    for signature, offset in ((LOCAL, 6), (CENTRAL, 8)):
        altered(path, signature, offset, b"\1\0")
    with pytest.raises(DataError, match="is encrypted"):
        read_states(path, "all")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_broken_stream(tmp_path: Path, method: int) -> None:
    path = sound(tmp_path / "a.zip", method)
    content = bytearray(path.read_bytes())
    start = content.rindex(LOCAL) + 60
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    refused(path, "a.zip")


def test_a_zip_that_is_cut_off(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes()[:-40])
    refused(path, "not a readable zip of annotated pictures")


def test_a_picture_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.zip", {"labels.csv": labels("0.png").encode(), "0.png": bytes(3 << 20)})
    monkeypatch.setattr(archives, "LARGEST_PICTURE", 2 << 20)
    refused(path, r"0\.png has 3 MB unpacked; at most 2 are read")


def test_a_bomb_of_many_pictures(tmp_path: Path) -> None:
    """Ten gigabytes by their entries: refused by these, before anything is unpacked."""
    path = write(
        tmp_path / "a.zip",
        {"labels.csv": labels(*(f"{i}.png" for i in range(50))).encode(), **{f"{i}.png": b"x" for i in range(50)}},
    )
    content = path.read_bytes()
    parts = content.split(CENTRAL)
    declared = struct.pack("<L", 200 << 20)
    parts[2:] = [part[:20] + declared + part[24:] for part in parts[2:]]
    path.write_bytes(CENTRAL.join(parts))
    refused(path, "10.5 GB unpacked, and at most 8.6 GB are kept in memory; unpack the zip")


def test_a_table_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sound(tmp_path / "a.zip")
    monkeypatch.setattr(archives, "LARGEST_TABLE", 100)
    refused(path, r"labels\.csv has 0 MB unpacked")
    monkeypatch.setattr(tables, "LARGEST_TABLE", 100)
    (tmp_path / "a.csv").write_text(labels("0.png"), encoding="utf-8")
    with pytest.raises(DataError, match="split it into several tables"):
        read_table("faces", LAYOUT, tmp_path / "a.csv", "all")


def test_an_entry_that_declares_less_than_it_unpacks_to(tmp_path: Path) -> None:
    """No more is unpacked than it declares: a gigabyte of zeros in a megabyte."""
    import resource

    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 24)) for _ in range(64)) + packer.flush()
    path = write(tmp_path / "a.zip", {"labels.csv": labels("0.png").encode(), "0.png": bomb}, zipfile.ZIP_STORED)
    for signature, method, size in ((LOCAL, 8, 22), (CENTRAL, 10, 24)):
        altered(path, signature, method, b"\x08\0")
        altered(path, signature, size, struct.pack("<L", 1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, "not a readable zip of annotated pictures: Bad CRC-32")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.zip", {"labels.csv": labels("0.png").encode(), **{f"{i}.png": b"" for i in range(99)}})
    monkeypatch.setattr(archives, "LARGEST_DIRECTORY", 1000)
    refused(path, "it lists too many files")


def test_names_that_lead_out_of_the_zip_are_names(tmp_path: Path) -> None:
    """Nothing is unpacked to a disk."""
    data = read_zip("faces", LAYOUT, write(tmp_path / "a.zip", {
        "labels.csv": labels("../../0.png").encode(), "../../0.png": b"x"}), "all")  # fmt: skip
    assert data.read("../../0.png") == b"x"


@pytest.mark.parametrize("coordinate", ["1e999", "-1e7", "inf"])
def test_coordinates_far_from_every_picture(tmp_path: Path, coordinate: str) -> None:
    (tmp_path / "a.csv").write_text(labels("0.png", "1.png", coordinate=coordinate), encoding="utf-8")
    with pytest.raises(DataError, match=r"the row of 0\.png has a coordinate beyond 1e\+06 pixels"):
        read_table("faces", LAYOUT, tmp_path / "a.csv", "all")
