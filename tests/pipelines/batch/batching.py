"""Batches over toy faces; also a program, so that tests can kill it: `python -m tests.pipelines.batch.batching IN OUT`."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.clips import write_clip
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter
from vtrack.pipelines.batch.files import FilePatterns, find_videos
from vtrack.pipelines.batch.run import BatchOptions, BatchRun
from vtrack.pipelines.batch.state import Recipe
from vtrack.pipelines.batch.workers.worker import TrackingWork
from vtrack.pipelines.settings import OutputSettings, Settings
from vtrack.runtime.threads import interruptible
from vtrack.types import Query

QUERY = Query(("jaw", "left_eye"), (0.5, 0.5))


def write_toys(path: Path, frames: int = 30, size: tuple[int, int] = (160, 120), **options: Any) -> Path:
    """A clip with one toy face that moves its own way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    speed = 0.2 + sum(os.fsencode(path.name)) % 7 / 10
    draw = painter(lambda i: [ToyFace((50 + speed * i, 60), 50)])
    return write_clip(path, frames, size, draw=draw, **options)


def recipe(outputs: Sequence[str] = ("csv", "parquet"), format: str = "wide", **settings: Any) -> Recipe:
    """Toy detector and model."""
    chosen = Settings(QUERY, **{"model": ToyModel(), "detector": ToyDetector(), **settings})
    return Recipe(chosen, output=OutputSettings(outputs=outputs, format=format))


def batch(inputs: Path, out: Path, what: Recipe | None = None, *, overwrite: bool = False, **options: Any) -> BatchRun:
    """A batch over a folder or list, not run yet."""
    videos = find_videos([str(inputs)], out, FilePatterns())
    return BatchRun(videos, TrackingWork(what or recipe(), overwrite), out, BatchOptions(**{"workers": 2, **options}))


def summary(out: Path) -> dict[str, dict[str, str]]:
    """The rows of the summary by file."""
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def tables(out: Path) -> dict[str, bytes]:
    """All that must be the same after every run: tables whole, the summary but for its times, and no file too many."""
    content = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    alike: dict[str, bytes] = {
        name: path.read_bytes() if path.suffix in (".csv", ".parquet") else b"" for name, path in content.items()
    }
    timeless = {"seconds": "", "fps": ""}
    alike["summary.csv"] = repr([{**row, **timeless} for row in summary(out).values()]).encode()
    return alike


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    job = batch(Path(sys.argv[1]), Path(sys.argv[2]))
    with interruptible() as stop:
        job.run(stop=stop, on_event=lambda event: sys.stdout.write(f"{event}\n"))
    sys.exit(130 if stop.is_set() else 1 if job.failed else 0)
