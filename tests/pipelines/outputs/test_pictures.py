"""Annotated pictures: names, sizes and orientation of the photographs, which are never replaced themselves."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import vtrack
from tests.clips import as_stored
from tests.pipelines.results import QUERY, make_face
from tests.pipelines.sources.test_images import save, with_exif
from vtrack.cli.main import FAILED, OK, USAGE, main
from vtrack.errors import SinkError
from vtrack.pipelines.outputs.pictures import PictureFolder
from vtrack.types import Frame, FrameResult, ImageArray

LONDON = Path(__file__).parents[2] / "data" / "london" / "images"


def result(file: str, index: int = 0, size: tuple[int, int] = (96, 64)) -> FrameResult:
    image = np.full((size[1], size[0], 3), (200, 100, 50), np.uint8)
    return FrameResult(Frame(image, index, 0, Fraction(1), file=file), (make_face(),), QUERY)


def rgb(path: Path) -> ImageArray:
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return image.astype(np.uint8, copy=False)


def write(folder: Path, results: Sequence[FrameResult], **options: object) -> None:
    with PictureFolder(folder, QUERY, **options) as sink:  # type: ignore[arg-type]
        for each in results:
            sink.write(each)


@pytest.mark.parametrize("name", ["Ülla, 1.jpg", "a.JPEG", "b.png", "c.bmp", "d.webp", "e.tif", "f.ppm", "sub/g.png"])
def test_a_file_for_each_photograph(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "marked"
    write(folder, [result(name, size=(90, 70))])
    image = rgb(folder / name)
    assert image.shape == (70, 90, 3)
    difference = np.abs(image.astype(int) - (200, 100, 50)).max(-1)
    assert np.median(difference) < 8 and difference.max() > 60  # the picture, and lines on it
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / name]
    assert capfd.readouterr().err == ""


def test_other_names(tmp_path: Path) -> None:
    write(tmp_path, [result("", 12), result("grey.pgm")], draw=())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000012.jpg", "grey.ppm"]
    assert (rgb(tmp_path / "grey.ppm") == (200, 100, 50)).all()
    sink = PictureFolder(tmp_path, QUERY)
    sink.file.overwrite = False
    with pytest.raises(SinkError, match=r"000012\.jpg was written by another run"), sink:
        sink.write(result("", 12))
    with pytest.raises(SinkError, match="cannot make the folder"), PictureFolder(tmp_path / "grey.ppm", QUERY):
        pass


def test_pictures_of_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    album, marked = tmp_path / "album", tmp_path / "marked"
    album.mkdir()
    upright = rgb(LONDON / "014.jpg")
    for orientation in (1, 3, 6, 8):
        with_exif(save(album / f"turned {orientation}.jpg", as_stored(upright, orientation)), orientation)
    save(album / "small.png", upright[40:300, 60:280])
    command = ["run", str(album), "--parts", "eyes,jaw", "-o", str(tmp_path), "--pictures", str(marked)]
    assert main(command) == OK
    assert f"wrote {tmp_path / 'album.vtrack.csv'}, {marked}" in capsys.readouterr().err
    assert {path.name for path in marked.iterdir()} == {path.name for path in album.iterdir()}
    assert rgb(marked / "small.png").shape == (260, 220, 3)
    first = rgb(marked / "turned 1.jpg").astype(int)
    for orientation in (3, 6, 8):
        same = rgb(marked / f"turned {orientation}.jpg").astype(int)
        assert same.shape == first.shape and np.abs(same - first).mean() < 3
    changed = np.abs(first - upright.astype(int)).max(-1) > 60
    rows, columns = np.nonzero(changed)
    face = vtrack.read_table(tmp_path / "album.vtrack.csv")
    assert 100 < changed.sum() < 4000
    assert (
        abs(rows.mean() - face.points[1][:, 1].mean()) < 40 and abs(columns.mean() - face.points[1][:, 0].mean()) < 40
    )
    # Once more: nothing is replaced unless it is allowed, and a photograph itself never.
    assert main([*command, "--overwrite"]) == OK
    (tmp_path / "album.vtrack.csv").unlink()
    assert main(command) == FAILED
    assert "and 2 more exist already; add --overwrite or choose another folder" in capsys.readouterr().err
    assert main([*command[:-1], str(album), "--overwrite"]) == USAGE
    assert "itself; give --pictures another folder" in capsys.readouterr().err
    assert main([*command[:-1], str(album / "small.png"), "--overwrite"]) == FAILED
    assert "it is a file; give a folder" in capsys.readouterr().err


def test_one_photograph_and_frames_of_a_video(tmp_path: Path) -> None:
    shutil.copy(LONDON / "004.jpg", tmp_path / "face.jpg")
    summary = vtrack.run(tmp_path / "face.jpg", parts="eyes", pictures=True)
    assert (summary.frames, summary.tracks) == (1, 1)
    assert [path.name for path in (tmp_path / "face.vtrack.pictures").iterdir()] == ["face.jpg"]
    sample = Path(__file__).parents[3] / "samples" / "sample.mp4"
    vtrack.run(sample, parts="eyes", stop=0.1, csv=tmp_path / "a.csv", pictures=tmp_path / "frames", every=2)
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["000000.jpg", "000002.jpg"]
    assert rgb(tmp_path / "frames" / "000002.jpg").shape == (480, 640, 3)
    with pytest.raises(SinkError, match=r"000000\.jpg, .*000002\.jpg exist already"):
        vtrack.run(sample, parts="eyes", stop=0.1, csv=tmp_path / "b.csv", pictures=tmp_path / "frames")
