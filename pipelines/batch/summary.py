"""What came of all videos: `summary.csv`, one line for each, and the total in words."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from vtrack.pipelines.batch.files import Video
from vtrack.pipelines.batch.state import Outcome
from vtrack.pipelines.outputs.base import PartFile

NAME = "summary.csv"


def write_summary(folder: Path, outcomes: Mapping[Video, Outcome]) -> Path:
    """Write the table; the old one stands until the new one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    file, whole = PartFile(folder / NAME), False
    try:
        with file.guarded(), file.part.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["file", *(field.name for field in fields(Outcome))])
            writer.writerows([video.name, *asdict(outcome).values()] for video, outcome in outcomes.items())
        whole = True
    finally:
        file.settle(whole)
    return file.path


def total(outcomes: Mapping[Video, Outcome], done_before: int, seconds: float) -> str:
    """All in one line."""
    counts = Counter(outcome.status for outcome in outcomes.values())
    frames = sum(outcome.frames for outcome in outcomes.values())
    facts = [f"{counts['done']} done"]
    if done_before:
        facts[0] += f" ({done_before} of them before)"
    facts += [f"{counts[status]} {status}" for status in ("failed", "waiting") if counts[status]]
    word = "video" if len(outcomes) == 1 else "videos"
    return f"{len(outcomes)} {word}: {', '.join(facts)}; {frames} frames; {seconds:.1f} s"
