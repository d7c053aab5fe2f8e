"""The outputs of one video: which there are, how they are called, and the sinks that write them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from vtrack.errors import UsageError
from vtrack.pipelines.outputs.base import Sink
from vtrack.pipelines.sources.base import Source
from vtrack.types import Query

TABLES = ("csv", "jsonl", "parquet")
SUFFIXES = {**{table: f".{table}" for table in TABLES}, "video": ".mp4"}
"""The ending of each output."""


@dataclass(frozen=True, slots=True)
class Looks:
    """How tables and videos look."""

    format: str = "wide"
    """Of the CSV table."""
    columns: tuple[str, ...] = ()
    max_faces: int | None = None
    draw: str = "points,curves"
    codec: str = "h264"
    crf: int | None = None
    preset: str = "veryfast"

    def check(self, outputs: Collection[str]) -> None:
        """Raise where a choice concerns an output that nobody asked for."""
        if self.format != "wide" and "csv" not in outputs:
            raise UsageError(f"--format {self.format} is of the CSV table; add --csv")


def make_sinks(outputs: Mapping[str, Path], looks: Looks, query: Query, source: Source) -> list[Sink]:
    """What writes the outputs; `outputs` has the path of each, by its key in `SUFFIXES`."""
    from vtrack.pipelines.outputs.tables.csv import open_table
    from vtrack.pipelines.outputs.tables.jsonl import JsonLines
    from vtrack.pipelines.outputs.tables.parquet import ParquetTable

    sinks: list[Sink] = [
        open_table(outputs.get("csv"), query, format=looks.format, columns=looks.columns, max_faces=looks.max_faces)
    ]
    if "jsonl" in outputs:
        sinks.append(JsonLines(outputs["jsonl"], query, looks.columns))
    if "parquet" in outputs:
        sinks.append(ParquetTable(outputs["parquet"], query, looks.columns))
    if "video" in outputs:
        sinks.append(_video_sink(outputs["video"], looks, query, source))
    return sinks


def _video_sink(path: Path, looks: Looks, query: Query, source: Source) -> Sink:
    from vtrack.pipelines.outputs.drawing.drawing import Drawing, parse_kinds
    from vtrack.pipelines.outputs.video import VideoSink

    info = source.info
    return VideoSink(
        path,
        source=None if info.is_live else info.path or None,
        start=source.selection.start,
        stop=source.selection.stop,
        rate=info.average_rate,
        codec=looks.codec,
        crf=looks.crf,
        preset=looks.preset,
        draw=Drawing(query, parse_kinds(looks.draw)).pixels,
    )
