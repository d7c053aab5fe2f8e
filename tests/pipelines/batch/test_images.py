"""Batches over folders of images: a table and annotated pictures for each, done again when an image changes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import pytest

import vtrack
from tests.pipelines.batch.batching import batch, recipe, summary, write_toys
from tests.pipelines.toys import ToyFace, painter
from vtrack.cli.main import FAILED, USAGE, main
from vtrack.pipelines.batch.merge import merge_tables
from vtrack.types import ImageArray


def photograph(number: int, size: tuple[int, int]) -> ImageArray:
    return painter(lambda i: [ToyFace((60 + number, 60), 50)])(0, *size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of photographs, one of a film's frames, and a video."""
    folder = tmp_path / "in"
    for name in ("photos", "film"):
        (folder / name).mkdir(parents=True)
    for i, size in enumerate([(160, 120), (200, 160), (180, 140)]):
        cv2.imwrite(str(folder / "photos" / f"{'abc'[i]}.png"), photograph(i, size)[..., ::-1])
    for i in range(6):
        cv2.imwrite(str(folder / "film" / f"{i}.png"), photograph(i, (160, 120))[..., ::-1])
    write_toys(folder / "clip.mp4", 8)
    return folder


def test_a_table_and_pictures_for_each_folder(folder: Path, tmp_path: Path) -> None:
    out, what = tmp_path / "out", recipe(("csv", "parquet", "pictures"))
    run = batch(folder, out, what)
    run.run()
    rows = summary(out)
    assert {name: (row["status"], row["frames"], row["tracks"]) for name, row in rows.items()} == {
        "clip.mp4": ("done", "8", "1"),
        "film": ("done", "6", "1"),
        "photos": ("done", "3", "3"),
    }
    table = vtrack.read_table(out / "photos.vtrack.csv")
    assert table.file == ("a.png", "b.png", "c.png")
    assert vtrack.read_table(out / "film.vtrack.parquet").file == tuple(f"{i}.png" for i in range(6))
    names = {path.name for path in (out / "photos.vtrack.pictures").iterdir()}
    assert names == {"a.png", "b.png", "c.png"}
    marked = cv2.imread(str(out / "photos.vtrack.pictures" / "b.png"))
    assert marked is not None and marked.shape == (160, 200, 3)
    # Merged, a video has an empty cell in the place of the file's name.
    for name in ("all.csv", "all.parquet"):
        assert merge_tables(out / name, list(run.outcomes), what)
    with (out / "all.csv").open(newline="") as file:
        merged = list(csv.DictReader(file))
    assert [row["file"] for row in merged] == [""] * 8 + [f"{i}.png" for i in range(6)] + ["a.png", "b.png", "c.png"]
    assert merged[0]["presence"] == merged[-1]["presence"] == "0.9800"
    parquet = pytest.importorskip("pyarrow.parquet").read_table(out / "all.parquet")
    assert [name or "" for name in parquet.column("file").to_pylist()] == [row["file"] for row in merged]
    # Nothing is left to do, until an image is added, removed or renamed.
    again = batch(folder, out, what)
    again.run()
    assert again.done_before == 3
    (folder / "photos" / "b.png").rename(folder / "photos" / "d.png")
    again = batch(folder, out, what)
    again.run()
    assert again.done_before == 2
    assert {path.name for path in (out / "photos.vtrack.pictures").iterdir()} == {"a.png", "c.png", "d.png"}
    (out / "photos.vtrack.pictures" / "a.png").unlink()
    again = batch(folder, out, what)
    again.run()
    assert again.done_before == 2 and (out / "photos.vtrack.pictures" / "a.png").is_file()


def test_what_photographs_cannot_be_fails_them_alone(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (folder / "film" / "3.png").write_bytes(b"no image")
    batch(folder, out, recipe(("csv", "video"))).run()
    rows = summary(out)
    assert [rows[name]["damaged"] for name in ("clip.mp4", "film", "photos")] == ["0", "1", "0"]
    assert [rows[name]["status"] for name in ("clip.mp4", "film", "photos")] == ["done", "done", "failed"]
    assert "video applies to videos and numbered images only" in rows["photos"]["error"]
    assert "skipped damaged data in 1 place" in rows["film"]["warnings"]
    (folder / "photos" / "a.png").write_bytes(b"no image")
    batch(folder / "photos", tmp_path / "other", recipe()).run()
    (row,) = summary(tmp_path / "other").values()
    assert (row["status"], row["frames"]) == ("done", "2") and "a.png: not an image" in row["warnings"]


def test_pictures_at_an_address(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", str(folder), "-o", "s3://bucket/out", "--pictures"]) == USAGE
    assert "--pictures needs a folder, and s3://bucket/out is an address" in capsys.readouterr().err


def test_a_broken_image_is_counted_and_fails_the_command(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(folder / "film")
    (folder / "clip.mp4").unlink()
    (folder / "photos" / "a.png").write_bytes(b"no image")
    command = ["batch", str(folder), "-o", str(tmp_path / "out"), "--parts", "eyes", "--workers", "1"]
    for _ in range(2):  # the second run does nothing, and says the same
        assert main(command) == FAILED
        assert "1 video: 1 done" in (said := capsys.readouterr().err) and ", 1 with damage; 2 frames" in said
    (row,) = summary(tmp_path / "out").values()
    assert (row["status"], row["frames"], row["damaged"]) == ("done", "2", "1")


def test_damage_that_an_earlier_version_did_not_count(folder: Path, tmp_path: Path) -> None:
    run = batch(folder / "photos", tmp_path / "out", recipe())
    run.run()
    (sidecar,) = (tmp_path / "out").glob("*.meta.json")
    facts = json.loads(sidecar.read_text())
    assert facts["counts"].pop("damaged") == 0
    sidecar.write_text(json.dumps(facts))
    again = batch(folder / "photos", tmp_path / "out", recipe())
    again.run()
    assert again.done_before == 1 and again.incomplete == 0
