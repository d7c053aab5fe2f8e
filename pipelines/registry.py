"""What can be chosen by name in the pipelines: outputs, forms of the CSV table, groups of columns, kinds of drawing and of
smoothing. Each entry says what it takes and where it lives.

Adding one is an entry here and its own file. Nothing of it is imported before it is asked for, so that this module, the
settings and the command line above it are light.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TABLES = "vtrack.pipelines.outputs.tables"


@dataclass(frozen=True, slots=True)
class SinkEntry:
    """A sink that is opened by name as `sink(path, query, **options)`."""

    home: str
    """`module:name` of the class or function, imported when it is asked for."""
    help: str
    takes: tuple[str, ...] = ()
    """Which of `OutputSettings` it takes; `max_faces` and the opened `source`, too."""
    suffix: str = ""
    """Ending of its files."""
    stacks: bool = False
    """Whether tables of several videos can be put one below the other."""

    def load(self) -> Any:
        """What opens the sink."""
        module, _, name = self.home.partition(":")
        return getattr(importlib.import_module(module), name)


CSV_FORMATS: Mapping[str, SinkEntry] = {
    "wide": SinkEntry(f"{_TABLES}.csv:WideTable", "a row for each face", ("columns",), stacks=True),
    "long": SinkEntry(f"{_TABLES}.csv:LongTable", "a row for each point", ("columns",), stacks=True),
    "openface": SinkEntry(f"{_TABLES}.openface:OpenFaceTable", "as OpenFace writes it"),
    "dlc": SinkEntry(f"{_TABLES}.dlc:DeepLabCutTable", "as DeepLabCut writes it", ("max_faces",)),
}
OUTPUTS: Mapping[str, SinkEntry] = {
    "csv": SinkEntry(
        f"{_TABLES}.csv:open_table", "a CSV table", ("format", "columns", "max_faces"), ".csv", stacks=True
    ),
    "jsonl": SinkEntry(f"{_TABLES}.jsonl:JsonLines", "JSON lines, one frame a line", ("columns",), ".jsonl"),
    "parquet": SinkEntry(f"{_TABLES}.parquet:ParquetTable", "a Parquet table", ("columns",), ".parquet", stacks=True),
    "video": SinkEntry(
        "vtrack.pipelines.outputs.video:annotated_video",
        "an annotated video",
        ("draw", "codec", "crf", "preset", "source"),
        ".mp4",
    ),
}
SUFFIXES = {name: entry.suffix for name, entry in OUTPUTS.items()}
"""The ending of each output."""
TABLES = tuple(name for name, entry in OUTPUTS.items() if "columns" in entry.takes)


COLUMN_GROUPS = {
    "raw": "points as the model gives them",
    "inside": "whether points lie inside the picture",
    "measures": "eye opening, blinks, mouth, brows, smile and head turn",
}
"""Extra columns of tables; `vtrack.pipelines.outputs.tables.columns` makes them."""
DRAWINGS = {
    "points": "a dot on each point",
    "curves": "a line through each part",
    "boxes": "a box around each face",
    "ids": "the number of each face",
}
"""What an annotated video shows; `vtrack.pipelines.outputs.drawing` draws it."""
CODECS = ("h264", "hevc")
"""How a video is compressed; `vtrack.pipelines.outputs.codecs` says with what."""
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
"""Effort of the video encoder."""
WORST_CRF = 51
"""The lowest quality that video encoders know."""


@dataclass(frozen=True, slots=True)
class Method:
    """A kind of smoothing."""

    help: str
    online: bool
    """Whether it gives each frame back at once, as a live picture needs it; else it looks ahead."""
    predicts: bool = False
    """Whether a face that is missing for a moment is predicted before anybody knows if it comes back."""


METHODS = {
    "rts": Method("no lag, looks ahead", online=False),
    "kalman": Method("at once", online=True, predicts=True),
    "one-euro": Method("at once, plainer", online=True),
    "none": Method("points as the model gives them", online=True),
}
ONLINE = tuple(name for name, method in METHODS.items() if method.online)
HEAD = "head"
"""The name under which the motion of the whole head has a strength of its own."""
