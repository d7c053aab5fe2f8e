"""Opening the sinks of one video from its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from vtrack.pipelines.outputs.base import Sink
from vtrack.pipelines.registry import OUTPUTS
from vtrack.pipelines.settings import OutputSettings
from vtrack.pipelines.sources.base import Source
from vtrack.types import Query


def make_sinks(
    outputs: Mapping[str, Path],
    settings: OutputSettings,
    query: Query,
    source: Source,
    *,
    max_faces: int | None = None,
    overwrite: bool = True,
) -> list[Sink]:
    """Make the sinks of a run.

    Args:
        outputs: Path of each output by its name in `OUTPUTS`; `STDOUT` for stdout.
        settings: Settings of the outputs.
        query: The points of the faces.
        source: The opened source.
        max_faces: Number of faces that a table with a fixed number of columns has room for.
        overwrite: Whether a file that another run writes meanwhile is replaced; otherwise finishing fails.
    """
    options = {each.name: getattr(settings, each.name) for each in fields(settings)}
    options |= {"max_faces": max_faces, "source": source}
    sinks = []
    for name, path in outputs.items():
        entry = OUTPUTS[name]
        sink = entry.load()(path, query, **{option: options[option] for option in entry.takes})
        sink.file.overwrite = overwrite
        sinks.append(sink)
    return sinks


def needs_pixels(outputs: Iterable[str]) -> bool:
    """Return whether one of these outputs needs the pixels of the frames."""
    return any(OUTPUTS[name].pixels for name in outputs)
