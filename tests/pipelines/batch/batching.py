"""Batches over toy faces; also a program, so that tests can kill it.

python -m tests.pipelines.batch.batching IN OUT                  a batch that prints its events
python -m tests.pipelines.batch.batching IN OUT SIGINT Started   the same; sends itself a signal at an event of this kind
"""

from __future__ import annotations

import csv
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.clips import write_clip
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter
from vtrack.pipelines.batch import lock
from vtrack.pipelines.batch.files import FilePatterns, find_videos
from vtrack.pipelines.batch.run import BatchOptions, BatchRun
from vtrack.pipelines.batch.state import Recipe
from vtrack.pipelines.batch.workers.worker import TrackingWork
from vtrack.pipelines.settings import OutputSettings, Settings
from vtrack.runtime.threads import interruptible
from vtrack.types import Detections, Frame, Query

QUERY = Query(("jaw", "left_eye"), (0.5, 0.5))


def write_toys(path: Path, frames: int = 30, size: tuple[int, int] = (160, 120), **options: Any) -> Path:
    """A clip with one toy face that moves its own way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    speed = 0.2 + sum(os.fsencode(path.name)) % 7 / 10
    draw = painter(lambda i: [ToyFace((50 + speed * i, 60), 50)])
    return write_clip(path, frames, size, draw=draw, **options)


@dataclass
class ActingDetector(ToyDetector):
    """Does something at each frame of videos of one width, in the process that works on them."""

    width: int = 0
    act: Callable[[], object] = list

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        if frames[0].size[0] == self.width:
            self.act()
        return super().detect(frames)


def die_once(marker: Path) -> None:
    """Kill this process, unless one has been killed before."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def killer(marker: Path, width: int) -> ActingDetector:
    return ActingDetector(width=width, act=partial(die_once, marker))


def append(path: Path) -> None:
    """Let a file grow."""
    with path.open("ab") as file:
        file.write(b"more")


def grower(path: Path, width: int) -> ActingDetector:
    return ActingDetector(width=width, act=partial(append, path))


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
    lock._LOCK_TIMEOUT = 600.0  # workers of the run before that was killed end when the machine has time for them
    number, kind = (signal.Signals[sys.argv[3]], sys.argv[4]) if sys.argv[3:] else (None, "")
    with interruptible() as stop:

        def write(event: object) -> None:
            sys.stdout.write(f"{event}\n")
            if number is not None and type(event).__name__ == kind and not stop.is_set():
                os.kill(os.getpid(), number)

        job.run(stop=stop, on_event=write)
    sys.exit(130 if stop.is_set() else 1 if job.failed else 0)
