"""Folders and globs of images as a source."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import ORIENTATIONS, as_stored, index_image, read_index, write_clip
from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.sources.open import open_source
from vtrack.types import ImageArray


def save(path: Path, image: ImageArray) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, image[..., ::-1])[1].tobytes())
    return path


def with_exif(path: Path, orientation: int) -> None:
    """Put an EXIF orientation into a JPEG: one tag (0x0112) in one directory."""
    entry = bytes.fromhex("0112 0003 00000001") + orientation.to_bytes(2, "big") + b"\0\0"
    body = b"Exif\0\0MM\0*" + (8).to_bytes(4, "big") + (1).to_bytes(2, "big") + entry + bytes(4)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images img1 to img12, and a file that is none."""
    for i in range(12):
        save(tmp_path / f"img{i + 1}.png", index_image(i, 160, 96))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_natural_order_and_times(folder: Path) -> None:
    with open_source(folder) as source:
        assert source.expected == 12 and source.info.size == (160, 96)
        frames = list(source)
    assert [read_index(frame.image) for frame in frames] == list(range(12))
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(12)])


def test_rate_selection_and_glob(folder: Path) -> None:
    with open_source(folder / "img1*.png", fps=29.97) as source:
        assert source.info.average_rate == Fraction(2997, 100)
        assert [read_index(frame.image) for frame in source] == [0, 9, 10, 11]
    with open_source(str(folder), start=0.1, stop=0.4, every=2, fps=20) as source:
        assert source.expected == 3
        assert [frame.index for frame in source] == [2, 4, 6]


def test_glob_over_folders(tmp_path: Path) -> None:
    for i, name in enumerate(["take2/a.png", "take10/a.png", "take10/b.png", "odd[1]/a.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(tmp_path / name, index_image(i, 160, 96))
    with open_source(tmp_path / "take*" / "*.png") as source:
        assert [read_index(frame.image) for frame in source] == [0, 1, 2]
    with open_source(tmp_path / "odd[1]" / "*.png") as source:
        assert [read_index(frame.image) for frame in source] == [3]


def test_single_image(folder: Path) -> None:
    with open_source(folder / "img7.png") as source:
        assert [read_index(frame.image) for frame in source] == [6]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    with_exif(save(tmp_path / "photo.jpg", as_stored(index_image(77, 160, 96), orientation)), orientation)
    with open_source(tmp_path) as source:
        frame = next(iter(source))
    assert read_index(frame.image) == 77 and frame.size == (160, 96)


def test_grey_deep_and_transparent_images(tmp_path: Path) -> None:
    image = index_image(5, 160, 96)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", image[..., ::-1].astype(np.uint16) * 257)[1].tobytes())
    alpha = np.concatenate([image[..., ::-1], np.full((96, 160, 1), 9, np.uint8)], -1)
    (tmp_path / "b.png").write_bytes(cv2.imencode(".png", alpha)[1].tobytes())
    with open_source(tmp_path) as source:
        assert [read_index(frame.image) for frame in source] == [5, 5]
    save(tmp_path / "grey.pgm", image[..., 0])
    with open_source(tmp_path / "grey.pgm") as source:
        assert next(iter(source)).image.shape == (96, 160, 3)


def test_sizes_differ(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(folder / "img3.png", index_image(2, 320, 192))
    save(folder / "img4.png", index_image(3, 80, 48))
    with open_source(folder) as source:
        frames = list(source)
    assert [read_index(frame.image) for frame in frames] == list(range(12))
    assert {frame.size for frame in frames} == {(160, 96)}
    assert sum("differ in size" in record.message for record in caplog.records) == 1


def test_damaged_images_leave_gaps(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "img1.png").write_bytes(b"")
    (folder / "img5.png").write_bytes(b"no image at all")
    with open_source(folder) as source:
        assert [frame.index for frame in source] == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert source.damaged == 2
    assert "skipped damaged data in 2 places" in caplog.text


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no images in this folder \(looked for \.bmp"):
        open_source(tmp_path)
    with pytest.raises(SourceError, match="nothing matches this pattern"):
        open_source(tmp_path / "*.png")
    write_clip(tmp_path / "clip.mp4", 3)
    with pytest.raises(SourceError, match=r"holds 1 video, no images; try `vtrack batch .*`"):
        open_source(tmp_path)
    with pytest.raises(SourceError, match=r"matches no images; .*`vtrack batch`"):
        open_source(tmp_path / "*.mp4")
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(SourceError, match="none of 1 images could be read"):
        open_source(tmp_path)
    save(tmp_path / "a.png", index_image(0, 160, 96))
    with pytest.raises(SourceError, match=r"no image between start and stop; its 1 images at 25 fps end at 0\.04 s"):
        open_source(tmp_path, start=1)
    with pytest.raises(UsageError, match="fps must be above 0, got 0"):
        open_source(tmp_path, fps=0)
    with pytest.raises(UsageError, match="every must be at least 1"):
        open_source(tmp_path, every=0)
