"""Folders and globs of images as a source."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import ORIENTATIONS, as_stored, index_image, read_index, write_clip
from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.sources.base import Selection
from vtrack.pipelines.sources.images.sequence import ImageSequence
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
    with open_source(folder / "img1*.png", fps=29.97, images="sequence") as source:
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
    with open_source(folder, images="sequence") as source:
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
    save(tmp_path / "a.png", index_image(0, 160, 96))
    with pytest.raises(
        SourceError, match=r"1 video and 1 image; .*`vtrack batch .*`, for the images the pattern '.*\*\.png'"
    ):
        open_source(tmp_path)
    (tmp_path / "clip.mp4").unlink()
    with pytest.raises(SourceError, match=r"no image between start and stop; its 1 images at 25 fps end at 0\.04 s"):
        open_source(tmp_path, start=1, images="sequence")
    with pytest.raises(UsageError, match="photographs have no times"):
        open_source(tmp_path, start=1)
    with pytest.raises(UsageError, match="fps must be at least"):
        open_source(tmp_path, fps=0)
    with pytest.raises(UsageError, match="every must be at least 1"):
        open_source(tmp_path, every=0)


def sequence(images: object, **options: object) -> ImageSequence:
    selection = Selection(
        start=options.pop("start", None), stop=options.pop("stop", None), every=options.pop("every", 1)
    )  # type: ignore[arg-type]
    return ImageSequence("pictures", images, selection, **options)  # type: ignore[arg-type]


def stack(count: int) -> ImageArray:
    return np.stack([index_image(i, 160, 96) for i in range(count)])


def test_a_stack_a_list_and_a_generator_are_the_same() -> None:
    for images in (stack(6), list(stack(6)), (image for image in stack(6))):
        with sequence(images, fps=10, start=0.1, every=2) as source:
            assert source.info.size == (160, 96) and source.info.path == ""
            frames = list(source)
        assert [(frame.index, read_index(frame.image)) for frame in frames] == [(1, 1), (3, 3), (5, 5)]
        assert [frame.time for frame in frames] == pytest.approx([0.1, 0.3, 0.5])
    assert sequence(stack(6), start=0.1, fps=10, every=2).expected == 3
    assert sequence(iter(stack(6))).expected is None


def test_files_and_arrays_at_times_of_their_own(folder: Path) -> None:
    images = [folder / "img3.png", index_image(5, 160, 96)]
    with sequence(images, times=[-0.25, 100.000001]) as source:
        assert [(read_index(frame.image), frame.time) for frame in source] == [(2, -0.25), (5, 100.000001)]


def test_a_generator_is_read_as_frames_are_wanted_and_closed() -> None:
    given, ended = [], []

    def images() -> Iterator[ImageArray]:
        try:
            for i in range(100):
                given.append(i)
                yield index_image(i, 160, 96)
        finally:
            ended.append(True)

    def times() -> Iterator[float]:
        yield from (0.5 * i for i in range(100))

    with sequence(images(), times=times(), stop=100) as source:
        assert given == [0]
        for frame in source:
            if frame.time == 2.0:
                break
    assert given == [0, 1, 2, 3, 4] and ended == [True]


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (stack(3), {"times": [0, 1]}, "2 times do not match 3 images"),
        (stack(3), {"times": [0, 1, 1]}, r"times must grow, by a microsecond at least; time 2 is 1 s"),
        (stack(3), {"times": [0, 1, float("nan")]}, "finite numbers; time 2 is nan"),
        (stack(3), {"times": [0, float("inf"), 2]}, "finite numbers; time 1 is inf"),
        (stack(3), {"times": ["a", 1, 2]}, "finite numbers; time 0 is 'a'"),
        (iter(stack(3)), {"times": iter([0.0, 1.0])}, "there are 2 times but more images"),
        (stack(3), {"fps": float("nan")}, "fps must be above 0"),
        (stack(3).astype(float), {}, r"uint8 RGB arrays .* image 0 is float64 \(96, 160, 3\)"),
        (stack(3)[..., 0], {}, r"image 0 is uint8 \(96, 160\)"),
        ([stack(1)[0], 3], {}, "image 1 is int"),
        (stack(2)[:, :0], {}, "need a height and a width"),
    ],
)
def test_images_and_times_that_cannot_be(images: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(sequence(images, **options))


def test_nothing_to_read() -> None:
    with pytest.raises(SourceError, match="pictures: there are no images"):
        sequence([])
    with pytest.raises(SourceError, match="pictures: no image to read"):
        sequence(iter([]))
    with pytest.raises(SourceError, match=r"no image between start and stop; its 3 images$"):
        sequence(stack(3), times=[0, 1, 2], start=5)
