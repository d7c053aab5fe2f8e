"""Photographs: each by itself and in its own pixels; which images are a film; what is refused before it is decoded."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import ORIENTATIONS, as_stored, index_image, read_index, write_clip
from tests.pipelines.sources.test_images import save, with_exif
from vtrack.errors import SourceError
from vtrack.pipelines.sources.images.headers import read_header
from vtrack.pipelines.sources.open import open_source

SIZES = [(160, 96), (320, 192), (160, 192)]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three photographs of different sizes."""
    for i, (size, name) in enumerate(zip(SIZES, ["Ülla.png", "beach.bmp", "zoo, again.webp"], strict=True)):
        save(tmp_path / name, index_image(i, *size))
    return tmp_path


def named(folder: Path, names: list[str], size: tuple[int, int] = (160, 96)) -> Path:
    for i, name in enumerate(names):
        save(folder / name, index_image(i, *size))
    return folder


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side: int, *, animated: bool = False) -> bytes:
    """A PNG of black pixels, a thousandth of their size; the header of one where `animated`."""
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    if animated:
        head += chunk(b"acTL", struct.pack(">II", 2, 0))
        head += chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, side, side, 0, 0, 1, 10, 0, 0))
    packer = zlib.compressobj(1)
    row = bytes(1 + 3 * side)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_every_photograph_in_its_own_pixels(album: Path) -> None:
    with open_source(album) as source:
        assert source.info.photographs and source.expected == 3 and source.info.duration is None
        frames = list(source)
    assert [frame.file for frame in frames] == ["beach.bmp", "zoo, again.webp", "Ülla.png"]
    assert [frame.size for frame in frames] == [SIZES[1], SIZES[2], SIZES[0]]
    assert [read_index(frame.image) for frame in frames] == [1, 2, 0]
    assert [frame.index for frame in frames] == [0, 1, 2] and {frame.time for frame in frames} == {0.0}
    with open_source(album, every=2) as source:
        assert [frame.index for frame in source] == [0, 2]
    with open_source(list(album.iterdir())) as source:
        assert source.info.photographs and len(list(source)) == 3
    with open_source([index_image(i, *size) for i, size in enumerate(SIZES)]) as source:
        assert source.info.photographs and [frame.size for frame in source] == SIZES


def test_names_are_paths_below_the_folder_of_all(tmp_path: Path) -> None:
    for name in ("anna/1.png", "bert/1.png"):
        (tmp_path / name).parent.mkdir()
        save(tmp_path / name, index_image(0, 160, 96))
    with open_source(tmp_path / "*" / "*.png", images="photographs") as source:
        assert [frame.file for frame in source] == ["anna/1.png", "bert/1.png"]


@pytest.mark.parametrize(
    ("names", "film"),
    [
        (["img1.png", "img2.png", "img10.png"], False),
        ([f"img{i}.png" for i in range(8, 12)], True),
        ([f"img{i:04}.png" for i in range(0, 40, 5)], True),
        ([f"take2_{i:04}_left.png" for i in range(3)], True),
        ([f"{i}.png" for i in range(30) if i not in (7, 11)], True),
        (["IMG_0012.png", "IMG_0013.png", "IMG_0047.png"], False),
        (["anna1.png", "bert2.png", "cleo3.png"], False),
        (["1.png", "2.jpg", "3.png"], False),
        (["1_1.png", "2_2.png", "3_3.png"], False),
        (["anna.png", "bert.png"], False),
        (["1.png"], False),
    ],
)
def test_numbered_images_of_one_size_are_a_film(tmp_path: Path, names: list[str], film: bool) -> None:
    named(tmp_path, names)
    for source in (tmp_path, tmp_path / "*", sorted(tmp_path.iterdir())):
        with open_source(source) as opened:
            assert opened.info.photographs is not film
            assert {frame.file for frame in opened} == set(names)
    with open_source(tmp_path, images="photographs") as opened:
        assert opened.info.photographs
    with open_source(tmp_path, images="sequence") as opened:
        assert not opened.info.photographs
    save(tmp_path / names[-1], index_image(0, 160, 192))
    with open_source(tmp_path) as opened:
        assert opened.info.photographs


def test_numbered_photographs_of_a_camera_are_no_film(tmp_path: Path) -> None:
    named(tmp_path, [f"IMG_{i:04}.jpg" for i in range(3)])
    assert not open_source(tmp_path).info.photographs
    with_exif(tmp_path / "IMG_0001.jpg", 6)  # upright, it is as high as the others are wide
    assert open_source(tmp_path).info.photographs
    path = tmp_path / "IMG_0001.jpg"
    data, tag = path.read_bytes(), (0x0112).to_bytes(2, "big")
    path.write_bytes(data.replace(tag, (0x010F).to_bytes(2, "big"), 1))
    header = read_header(path)
    assert header is not None and header.by_camera and (header.width, header.height) == (160, 96)
    assert open_source(tmp_path).info.photographs


@pytest.mark.parametrize("suffix", [".bmp", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".webp"])
def test_headers_tell_the_size(tmp_path: Path, suffix: str) -> None:
    image = index_image(3, 160, 96)
    path = save(tmp_path / f"a{suffix}", image[..., 0] if suffix == ".pgm" else image)
    header = read_header(path)
    assert header is not None and (header.width, header.height, header.is_animated) == (160, 96, False)
    path.write_bytes(path.read_bytes()[:5])
    assert read_header(path) is None
    path.write_bytes(b"")
    assert read_header(path) is None


def test_headers_of_other_webp_kinds(tmp_path: Path) -> None:
    image = index_image(3, 160, 96)[..., ::-1]
    alpha = np.concatenate([image, np.full((96, 160, 1), 9, np.uint8)], -1)
    for options in ([cv2.IMWRITE_WEBP_QUALITY, 101], [cv2.IMWRITE_WEBP_QUALITY, 80]):
        for pixels in (image, alpha):
            (tmp_path / "a.webp").write_bytes(cv2.imencode(".webp", pixels, options)[1].tobytes())
            header = read_header(tmp_path / "a.webp")
            assert header is not None and (header.width, header.height) == (160, 96)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_headers_tell_the_size_as_displayed(tmp_path: Path, orientation: int) -> None:
    path = save(tmp_path / "a.jpg", as_stored(index_image(77, 160, 96), orientation))
    with_exif(path, orientation)
    header = read_header(path)
    assert header is not None and (header.width, header.height) == (160, 96)


def test_a_broken_photograph_is_named(
    album: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    (album / "cut.png").write_bytes((album / "Ülla.png").read_bytes()[:200])
    (album / "empty.jpg").write_bytes(b"")
    (album / "text.jpg").write_bytes(b"no image at all")
    with open_source(album) as source:
        assert [frame.index for frame in source] == [0, 4, 5]
    assert source.damaged == 3
    messages = [record.message for record in caplog.records]
    assert [Path(message.partition(": ")[0]).name for message in messages] == ["cut.png", "empty.jpg", "text.jpg"]
    assert all(message.endswith("; skipped") for message in messages)
    assert capfd.readouterr().err == ""  # nothing of OpenCV's own
    with pytest.raises(SourceError, match=r"text\.jpg: not an image, or its header is damaged$"):
        open_source(album / "text.jpg")
    with pytest.raises(SourceError, match=r"empty\.jpg: the file is empty"):
        open_source(album / "empty.jpg")
    for name in ("Ülla.png", "beach.bmp", "zoo, again.webp"):
        (album / name).unlink()
    with pytest.raises(SourceError, match=r"none of 3 images can be read; the last: .*text\.jpg: not an image"):
        open_source(album)


def test_large_images_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    message = r"bomb\.png: 15000x15000 pixels are more than max_pixels=200000000 allows"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for animated in (False, True):
        (tmp_path / "bomb.png").write_bytes(png_bomb(15000, animated=animated))
        for source in (tmp_path / "bomb.png", tmp_path, [tmp_path / "bomb.png"]):
            with pytest.raises(SourceError, match=message):
                open_source(source)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB; 675 MB of pixels
    save(tmp_path / "face.png", index_image(4, 160, 96))
    with open_source(tmp_path) as source:
        assert [frame.file for frame in source] == ["face.png"] and source.damaged == 1
    assert open_source(tmp_path / "face.png", max_pixels=160 * 96).info.size == (160, 96)
    with pytest.raises(SourceError, match="max_pixels=15359 allows"):
        open_source(tmp_path / "face.png", max_pixels=160 * 96 - 1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_large_frames_of_video_are_refused(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"clip{suffix}", 3, codec="mpeg4" if suffix == ".avi" else "libx264")
    with open_source(clip) as source:
        pixels = source.info.width * source.info.height
    with pytest.raises(SourceError, match=f"max_pixels={pixels - 1} allows"):
        open_source(clip, max_pixels=pixels - 1)
    with open_source(clip, max_pixels=pixels) as source:
        assert len(list(source)) == 3
