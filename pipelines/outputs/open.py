"""Opening the sinks of one video from its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from vtrack.errors import UsageError, spelled
from vtrack.options import words
from vtrack.pipelines.outputs.base import Sink
from vtrack.pipelines.registry import CSV_FORMATS, OUTPUTS
from vtrack.pipelines.settings import OutputSettings
from vtrack.pipelines.sources.base import Source
from vtrack.types import Query


def check_fit(outputs: Iterable[str], settings: OutputSettings, source: Source) -> None:
    """Raise `UsageError` if one of these outputs is of films, and the source is photographs."""
    if not source.info.photographs:
        return
    films = [name for name in outputs if not OUTPUTS[name].photographs]
    if films:
        raise UsageError(
            f"{spelled(films[0])} applies to videos and numbered images only; {source.info.name} is photographs: use "
            f"{spelled('pictures', 'DIR')}"
        )
    if not CSV_FORMATS[settings.format].photographs:
        able = words([name for name, entry in CSV_FORMATS.items() if entry.photographs])
        raise UsageError(
            f"{spelled('format', settings.format)} applies to films only; {source.info.name} is photographs; use {able}"
        )


def make_sinks(
    outputs: Mapping[str, Path],
    settings: OutputSettings,
    query: Query,
    source: Source | None,
    *,
    max_faces: int | None = None,
    overwrite: bool = True,
) -> list[Sink]:
    """Make the sinks of a run.

    Args:
        outputs: Path of each output by its name in `OUTPUTS`; `STDOUT` for stdout.
        settings: Settings of the outputs.
        query: The points of the faces.
        source: The opened source; None for results of a table of a film.
        max_faces: Number of faces that a table with a fixed number of columns has room for.
        overwrite: Whether a file that another run writes meanwhile is replaced; otherwise finishing fails.

    Raises:
        UsageError: An output cannot hold photographs, and the source is photographs.
    """
    if source is not None:
        check_fit(outputs, settings, source)
    options = {each.name: getattr(settings, each.name) for each in fields(settings)}
    options |= {"max_faces": max_faces, "source": source, "files": source is not None and bool(source.files)}
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
