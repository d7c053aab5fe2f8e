"""Which videos are found, in which order, and where their outputs go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.batch.files import FilePatterns, Video, find_videos
from vtrack.pipelines.sources.images.files import printable


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder as people have them."""
    for name in [
        "talk10.mp4", "talk2.MP4", "notes.txt", "photo.jpg", ".hidden.mp4", "deep/er/clip.mkv", "deep/clip.mov",
        "deep/clip.mp4", "raw/take.avi", ".cache/old.mp4", "out/made.mp4", "talk2.vtrack.mp4",
    ]:  # fmt: skip
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "tree"


def found(inputs: list[str | Path], out: Path, *, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> dict:
    videos = find_videos([str(path) for path in inputs], out, FilePatterns(include, exclude))
    return {video.name: video.outputs.relative_to(out).as_posix() for video in videos}


def test_a_tree_is_walked_and_mirrored(tree: Path) -> None:
    assert found([tree], tree / "out") == {
        "deep/clip.mov": "deep/clip.mov.vtrack",
        "deep/clip.mp4": "deep/clip.mp4.vtrack",
        "deep/er/clip.mkv": "deep/er/clip.vtrack",
        "raw/take.avi": "raw/take.vtrack",
        "talk2.MP4": "talk2.vtrack",
        "talk10.mp4": "talk10.vtrack",
    }


def test_numbers_count_as_numbers(tree: Path) -> None:
    names = list(found([tree], tree / "out"))
    assert names.index("talk2.MP4") < names.index("talk10.mp4")


def test_include_and_exclude(tree: Path) -> None:
    out = tree / "out"
    assert set(found([tree], out, include=("*.txt",))) == {"notes.txt"}
    assert set(found([tree], out, exclude=("deep", "*.avi"))) == {"talk2.MP4", "talk10.mp4"}
    assert set(found([tree], out, include=("deep/*",), exclude=("*.mov",))) == {"deep/clip.mp4", "deep/er/clip.mkv"}


def test_a_pattern_mirrors_below_its_fixed_part(tree: Path) -> None:
    assert found([tree / "**" / "clip.m*"], tree / "out") == {
        "deep/clip.mov": "deep/clip.mov.vtrack",
        "deep/clip.mp4": "deep/clip.mp4.vtrack",
        "deep/er/clip.mkv": "deep/er/clip.vtrack",
    }


def test_a_list_names_files_folders_and_addresses(tree: Path, tmp_path: Path) -> None:
    paths = tmp_path / "list.txt"
    paths.write_text(
        f"# mine\n\ntree/talk2.MP4\ntree/deep\n{tree}/raw/take.avi\nhttp://host:81/a/b.mp4?key=1\nno.mp4\n"
    )
    top = tree.relative_to(tree.anchor).as_posix()
    assert found([paths], tmp_path / "out") == {
        "host_81/a/b.mp4": "host_81/a/b.vtrack",
        "no.mp4": "no.vtrack",
        "tree/deep/clip.mov": "tree/deep/clip.mov.vtrack",
        "tree/deep/clip.mp4": "tree/deep/clip.mp4.vtrack",
        "tree/deep/er/clip.mkv": "tree/deep/er/clip.vtrack",
        "tree/talk2.MP4": "tree/talk2.vtrack",
        f"{top}/raw/take.avi": f"{top}/raw/take.vtrack",
    }


def test_nothing_leaves_the_output_folder(tree: Path, tmp_path: Path) -> None:
    paths = tree / "list.txt"
    paths.write_text("../../../elsewhere.mp4\n")
    out = tmp_path / "out"
    (video,) = find_videos([str(paths)], out, FilePatterns())
    assert video.outputs == out / "elsewhere.vtrack"


def test_a_file_named_twice_is_one_job(tree: Path) -> None:
    assert len(found([tree, tree / "talk2.MP4"], tree / "out")) == 6


def test_two_files_for_one_output_are_wrong_usage(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "talk2.MP4"
    other.write_bytes(b"x")
    assert found([other], tmp_path / "out") == {"talk2.MP4": "talk2.vtrack"}
    with pytest.raises(UsageError, match="would both be written to"):
        found([tree, other], tmp_path / "out")


def test_links_in_a_circle_end(tree: Path) -> None:
    (tree / "deep" / "circle").symlink_to(tree)
    (tree / "linked").symlink_to(tree / "raw")
    names = found([tree], tree / "out")
    assert sum(name.endswith("take.avi") for name in names) == 1
    assert len(names) == 6


def test_names_too_long_or_not_text(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    long = [("ü" * 125) + ending for ending in ("a.mp4", "b.mp4")]
    odd = os.fsdecode(b"caf\xe9.mp4")
    for name in (*long, odd):
        (folder / name).write_bytes(b"x")
    videos = find_videos([str(folder)], tmp_path / "out", FilePatterns())
    assert len({video.outputs for video in videos}) == 3
    assert all(len(os.fsencode(f".{video.outputs.name}.parquet.part")) <= 255 for video in videos)
    assert [video.name for video in videos if "caf" in video.name] == ["caf\\xe9.mp4"]
    assert printable("a\nb") == "a\\nb"


def test_a_fifo_is_no_video(tree: Path) -> None:
    os.mkfifo(tree / "pipe.mp4")
    assert "pipe.mp4" not in found([tree], tree / "out")


def test_nothing_found(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no videos and no images in .* \(looked for \*\.xyz\)"):
        found([tree], tree / "out", include=("*.xyz",))
    with pytest.raises(SourceError, match="no such file or folder, and not a pattern"):
        found([tmp_path / "nowhere"], tmp_path / "out")
    with pytest.raises(SourceError, match="cannot read ftp://"):
        found(["ftp://host/a.mp4"], tmp_path / "out")


def test_an_address_is_no_file() -> None:
    assert not Video("rtsp://host/a", "host/a", Path("a")).is_file


def test_images_of_a_folder_are_one_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        "b10.jpg",
        "b2.jpg",
        "anna/x.PNG",
        "anna/y.tif",
        "v1.2/z.webp",
        "anna.mp4",
        "anna/out.vtrack.pictures/x.PNG",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    out = tmp_path / "out"

    def found(*inputs: str | Path, include: tuple[str, ...] = ()) -> dict[str, tuple[str, tuple[str, ...]]]:
        videos = find_videos([str(each) for each in inputs], out, FilePatterns(include))
        assert all(path.is_file() for video in videos for path in video.files)
        return {video.name: (video.outputs.relative_to(out).as_posix(), video.images) for video in videos}

    # In a folder of videos images may be thumbnails.
    of_anna = ("anna.vtrack", ("x.PNG", "y.tif"))
    of_version = ("v1.2.vtrack", ("z.webp",))
    assert found(tmp_path / "photos") == {"anna": of_anna, "anna.mp4": ("anna.mp4.vtrack", ()), "v1.2": of_version}
    assert "2 images in folders of videos are left out, such as " in caplog.text and "('*.jpg')" in caplog.text
    assert found(tmp_path / "photos", include=("*.jpg",)) == {"photos": ("photos.vtrack", ("b2.jpg", "b10.jpg"))}
    assert found(tmp_path / "photos" / "*.jpg") == {"photos": ("photos.vtrack", ("b2.jpg", "b10.jpg"))}
    (tmp_path / "photos" / "anna.mp4").unlink()
    whole = {"anna": of_anna, "photos": ("photos.vtrack", ("b2.jpg", "b10.jpg")), "v1.2": of_version}
    assert found(tmp_path / "photos") == whole
    assert found(*(tmp_path / "photos" / name for name in ("b2.jpg", "anna/y.tif"))) == {
        "anna": ("anna.vtrack", ("y.tif",)),
        "photos": ("photos.vtrack", ("b2.jpg",)),
    }
