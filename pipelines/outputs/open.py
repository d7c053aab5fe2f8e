"""Opens what is written of one video."""

from __future__ import annotations

from collections.abc import Mapping
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
) -> list[Sink]:
    """What writes the outputs; `outputs` has the path of each, by its name in `OUTPUTS`.

    `max_faces` is how many faces a table with a fixed number of them has columns for.
    """
    given = {name: getattr(settings, name) for name in ("format", "columns", "draw", "codec", "crf", "preset")}
    given |= {"max_faces": max_faces, "source": source}
    sinks = []
    for name, path in outputs.items():
        entry = OUTPUTS[name]
        sinks.append(entry.load()(path, query, **{option: given[option] for option in entry.takes}))
    return sinks
