"""What can be chosen by name in the pipelines: outputs, forms of the CSV table, files for other programs, streams to other
programs, groups of columns, kinds of drawing and of smoothing. Each entry says what it takes and where it lives.

Adding one is an entry here and its own file. Nothing of it is imported before it is asked for, so that this module, the
settings and the command line above it are light.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TABLES = "vtrack.pipelines.outputs.tables"
_INTERCHANGE = "vtrack.pipelines.outputs.interchange"
_STREAMS = "vtrack.pipelines.outputs.streams"
_CHANNELS = "vtrack.pipelines.smoothing.channels"


def load(import_path: str) -> Any:
    """The object that `module:name` stands for."""
    module, _, name = import_path.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, slots=True)
class SinkEntry:
    """A sink that is opened by name as `sink(path, query, **options)`."""

    import_path: str
    """`module:name` of the class or function, imported when it is asked for."""
    help: str
    takes: tuple[str, ...] = ()
    """Which of `OutputSettings` it takes; `max_faces`, the opened `source`, and `files`: whether frames are image files. In
    conversions `facts` about the table, too, the `ids` of all its faces, and the `size` of the frames where it is known."""

    photographs: bool = True
    """Whether it can hold photographs, which have no times and sizes of their own."""

    def load(self) -> Any:
        """What opens the sink."""
        return load(self.import_path)


@dataclass(frozen=True, slots=True)
class FormatEntry(SinkEntry):
    """A form of the CSV table."""

    stacks: bool = False
    """Whether tables of several videos can be put one below the other."""
    parts: str = ""
    """The points that it needs, tracked unless parts are chosen; empty where it takes any."""


@dataclass(frozen=True, slots=True)
class OutputEntry(SinkEntry):
    """A kind of output: all that the command line, Python, batches and `read_table` need to know of it."""

    suffixes: tuple[str, ...] = ()
    """Endings of its files; the first is that of outputs without a path. `.CSV` is as good as `.csv`."""
    shared_suffixes: tuple[str, ...] = ()
    """Further endings of its files, which are those of other outputs, too."""
    table: bool = True
    """Whether it is a table. A run without a table writes a CSV table, too."""
    reader: str = ""
    """`module:name` of what reads a file back: from a path to blocks of its rows, each a `RawTable`; at least one."""
    stacker: str = ""
    """`module:name` of what puts tables below each other, if that can be: takes the path to write, the name of the column
    that comes first, and the path of each table by its cell in that column."""
    stdout: bool = False
    """Whether it can be written to stdout, frame by frame."""
    pixels: bool = False
    """Whether it needs the pixels of the frames."""
    folder: bool = False
    """Whether it is a folder of files."""
    measures: bool = False
    """Whether faces must be measured for it."""

    @property
    def suffix(self) -> str:
        """The ending of outputs without a path."""
        return self.suffixes[0]


CSV_FORMATS: Mapping[str, FormatEntry] = {
    "wide": FormatEntry(f"{_TABLES}.csv:WideTable", "a row for each face", ("columns", "files"), stacks=True),
    "long": FormatEntry(f"{_TABLES}.csv:LongTable", "a row for each point", ("columns", "files"), stacks=True),
    "openface": FormatEntry(
        f"{_TABLES}.openface:OpenFaceTable",
        "as OpenFace writes it, with its 68 points",
        photographs=False,
        parts="300w",
    ),
    "dlc": FormatEntry(f"{_TABLES}.dlc:DeepLabCutTable", "as DeepLabCut writes it", ("max_faces",), photographs=False),
}
OUTPUTS: Mapping[str, OutputEntry] = {
    "csv": OutputEntry(
        f"{_TABLES}.csv:open_table",
        "a CSV table",
        ("format", "columns", "max_faces", "files"),
        suffixes=(".csv", ".txt"),
        reader=f"{_TABLES}.csv_reader:read_blocks",
        stacker=f"{_TABLES}.csv:stack_tables",
        stdout=True,
    ),
    "jsonl": OutputEntry(
        f"{_TABLES}.jsonl:JsonLines",
        "JSON lines, one frame a line",
        ("columns", "files"),
        suffixes=(".jsonl", ".ndjson"),
        reader=f"{_TABLES}.jsonl:read_blocks",
        stdout=True,
    ),
    "parquet": OutputEntry(
        f"{_TABLES}.parquet:ParquetTable",
        "a Parquet table",
        ("columns", "files"),
        suffixes=(".parquet",),
        reader=f"{_TABLES}.parquet:read_blocks",
        stacker=f"{_TABLES}.parquet:stack_tables",
    ),
    "events": OutputEntry(
        f"{_INTERCHANGE}.captions:open_events",
        "a table of blinks, winks, squints and closures",
        photographs=False,
        suffixes=(".events.csv",),
        shared_suffixes=(".csv", ".txt", ".jsonl", ".ndjson", ".vtt", ".srt"),
        stdout=True,
        measures=True,
    ),
    "video": OutputEntry(
        "vtrack.pipelines.outputs.video:annotated_video",
        "an annotated video",
        ("draw", "codec", "crf", "preset", "source"),
        photographs=False,
        suffixes=(".mp4", ".m4v", ".mov", ".mkv"),
        table=False,
        pixels=True,
    ),
    "pictures": OutputEntry(
        "vtrack.pipelines.outputs.pictures:PictureFolder",
        "annotated pictures, a file for each photograph or frame",
        ("draw",),
        suffixes=(".pictures",),
        table=False,
        pixels=True,
        folder=True,
    ),
}
DUMPS: Mapping[str, str] = {
    ".json": f"{_TABLES}.mesh.objects:read_json",
    ".npy": f"{_TABLES}.mesh.objects:read_array",
}
"""`module:name` of what reads files of other programs that no output writes, by their endings; see `OutputEntry.reader`."""
_CAPTIONS = f"{_INTERCHANGE}.captions:Captions"
INTERCHANGE: Mapping[str, OutputEntry] = {
    "coco": OutputEntry(
        f"{_INTERCHANGE}.coco:CocoKeypoints", "a file of COCO keypoints", ("size", "facts"), suffixes=(".json",)
    ),
    "netcdf": OutputEntry(
        f"{_INTERCHANGE}.movement:MovementDataset",
        "a netCDF file for xarray and movement",
        ("facts",),
        photographs=False,
        suffixes=(".nc",),
    ),
    "dlc-h5": OutputEntry(
        f"{_INTERCHANGE}.deeplabcut:DeepLabCutFile",
        "DeepLabCut's h5",
        ("max_faces",),
        photographs=False,
        suffixes=(".h5",),
    ),
    "nwb": OutputEntry(
        f"{_INTERCHANGE}.nwb:NwbPoses", "an NWB file", ("ids", "facts"), photographs=False, suffixes=(".nwb",)
    ),
    "vtt": OutputEntry(
        _CAPTIONS, "WebVTT captions of events", photographs=False, suffixes=(".vtt",), stdout=True, measures=True
    ),
    "srt": OutputEntry(
        _CAPTIONS, "SRT captions of events", photographs=False, suffixes=(".srt",), stdout=True, measures=True
    ),
}
"""Files for other programs, which are made of tables; `vtrack convert` alone writes them."""


def output_entry(name: str) -> OutputEntry:
    """The entry of an output, or of a file for other programs."""
    return OUTPUTS[name] if name in OUTPUTS else INTERCHANGE[name]


NETWORK = "network"
"""Receiver of streams that are open to all machines of the network."""


@dataclass(frozen=True, slots=True)
class EmitterEntry:
    """A stream of results to other programs."""

    import_path: str
    """`module:name` of what is called as `emitter(query, **options)` and makes the datagrams of results, or the stream."""
    help: str
    to: str = ""
    """HOST:PORT that datagrams are sent to unless told otherwise, or `NETWORK`; empty for none."""
    takes: tuple[str, ...] = ()
    """Which it takes of the groups of `columns`, the `clock` of the frames, and the distance between the outer corners of the
    eyes in the `unit` of places."""
    needs: tuple[str, ...] = ()
    """Which of `MEASURED_GROUPS` it needs beside the measures."""
    parts: str = ""
    """The points that it needs, tracked unless parts are chosen; empty where it takes any."""

    def load(self) -> Any:
        """What makes the datagrams, or the stream."""
        return load(self.import_path)


EMITTERS: Mapping[str, EmitterEntry] = {
    "ndjson": EmitterEntry(f"{_STREAMS}.ndjson:line_encoder", "JSON lines", takes=("columns",)),
    "osc": EmitterEntry(f"{_STREAMS}.osc:osc_encoder", "OSC", "127.0.0.1:9000"),
    "vmc": EmitterEntry(
        f"{_STREAMS}.vmc:vmc_encoder", "the VMC protocol of avatars", "127.0.0.1:39539", needs=("pose",)
    ),
    "openseeface": EmitterEntry(
        f"{_STREAMS}.openseeface:openseeface_encoder",
        "OpenSeeFace's datagrams",
        "127.0.0.1:11573",
        takes=("clock", "unit"),
        needs=("pose", "points3d"),
        parts="300w,pupils",
    ),
    "lsl": EmitterEntry(f"{_STREAMS}.lsl:LslStream", "Lab Streaming Layer", NETWORK, ("columns", "clock")),
}
"""Streams to other programs, which `vtrack webcam --emit` sends."""
IMAGE_KINDS = {
    "auto": "a sequence if the images are numbered and of one size, else photographs",
    "photographs": "each image by itself, in its own size",
    "sequence": "the frames of a film, in one size",
}
"""What the images of a folder, pattern or list are; `vtrack.pipelines.sources.open` reads them so."""
COLUMN_GROUPS = {
    "raw": "points as the model gives them, and all else that smoothing starts from",
    "inside": "whether points lie inside the picture",
    "hidden": "probability that something in front of the face hides a point",
    "measures": "eye opening, blinks, mouth, brows, smile and head turn",
    "pose": "place and turn of the head in space",
    "points3d": "each point in space",
    "expressions": "blend shapes, proxies of action units, asymmetry and speed, relative to the neutral face",
}
"""Extra columns of tables; `vtrack.pipelines.outputs.tables.columns` makes them."""
MEASURED_GROUPS = ("measures", "pose", "points3d", "expressions")
"""Groups of columns of what is measured of faces; settings of the same names ask for it."""
DRAWINGS = {
    "points": "a dot on each point",
    "curves": "a line through each part",
    "wireframe": "lines between neighbouring points",
    "boxes": "a box around each face",
    "ids": "the number of each face",
    "axes": "where each head looks: x red, y green, z blue and towards the viewer",
    "expressions": "a bar for each expression, beside each face",
    "black": "a black picture in place of the frame",
}
"""What annotated videos and pictures show; `vtrack.pipelines.outputs.drawing` draws it."""
DRAWN_GROUPS = {"axes": "pose", "expressions": "expressions"}
"""Which of `MEASURED_GROUPS` a kind of drawing needs."""
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
    import_path: str = ""
    """`module:name` of its filter of channels, opened as `filter(traits, lag)`; empty for no filter."""

    def load(self) -> Any:
        """What makes the filter."""
        return load(self.import_path)


METHODS = {
    "rts": Method("no lag, looks ahead", online=False, import_path=f"{_CHANNELS}:KalmanChannels"),
    "kalman": Method("at once", online=True, predicts=True, import_path=f"{_CHANNELS}:KalmanChannels"),
    "one-euro": Method("at once, plainer", online=True, import_path=f"{_CHANNELS}:OneEuroChannels"),
    "none": Method("points as the model gives them", online=True),
}
ONLINE = tuple(name for name, method in METHODS.items() if method.online)
HEAD = "head"
"""The name under which the motion of the whole head has a strength of its own."""
