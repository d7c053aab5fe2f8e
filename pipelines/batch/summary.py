"""Summary of a batch: `summary.csv` with one row per video, and a line of totals."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from vtrack.pipelines.batch.files import Video
from vtrack.pipelines.batch.state import VideoOutcome
from vtrack.pipelines.outputs.base import sidecar_path
from vtrack.pipelines.outputs.files import whole_file
from vtrack.pipelines.outputs.quality import current_check, median_error

NAME = "summary.csv"


def write_summary(folder: Path, outcomes: Mapping[Video, VideoOutcome]) -> Path:
    """Write the table and return its path; the previous table stays until the new one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["file", *(field.name for field in fields(VideoOutcome)), "estimated_error"])
        writer.writerows(
            [video.name, *asdict(outcome).values(), _estimated_error(video)] for video, outcome in outcomes.items()
        )
    return path


def _estimated_error(video: Video) -> str:
    """The score of a video's table by its check; empty where there is none that is up to date."""
    check = current_check(video.outputs, sidecar_path(video.outputs))
    error = math.nan if check is None else median_error(check)
    return "" if math.isnan(error) else f"{error:.2f}"


def format_totals(outcomes: Mapping[Video, VideoOutcome], done_before: int, seconds: float) -> str:
    """Format the totals of a batch as one line."""
    counts = Counter(outcome.status for outcome in outcomes.values())
    frames = sum(outcome.frames for outcome in outcomes.values())
    facts = [f"{counts['done']} done"]
    if done_before:
        facts[0] += f" ({done_before} of them before)"
    facts += [f"{counts[status]} {status}" for status in ("failed", "waiting") if counts[status]]
    damaged = sum(outcome.damaged > 0 for outcome in outcomes.values())
    facts += [f"{damaged} with damage"] * bool(damaged)
    word = "video" if len(outcomes) == 1 else "videos"
    return f"{len(outcomes)} {word}: {', '.join(facts)}; {frames} frames; {seconds:.1f} s"
