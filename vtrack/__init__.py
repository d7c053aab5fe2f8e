"""vtrack tracks facial landmarks in video.

    import vtrack
    for result in vtrack.track("input.mp4", parts="eyes,lips"):
        for face in result.faces:
            print(result.time, face.id, face["left_eye"])

Names load on first use, so that `import vtrack` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vtrack._version import __version__ as __version__

if TYPE_CHECKING:
    from vtrack.detectors.registry import load_detector as load_detector
    from vtrack.errors import DataError as DataError
    from vtrack.errors import MissingExtraError as MissingExtraError
    from vtrack.errors import ModelError as ModelError
    from vtrack.errors import NameNotAskedError as NameNotAskedError
    from vtrack.errors import QueryError as QueryError
    from vtrack.errors import SinkError as SinkError
    from vtrack.errors import SourceError as SourceError
    from vtrack.errors import UsageError as UsageError
    from vtrack.errors import VTrackError as VTrackError
    from vtrack.measures import Expressions as Expressions
    from vtrack.measures import EyeEvent as EyeEvent
    from vtrack.measures import HeadPose as HeadPose
    from vtrack.measures import LidMotion as LidMotion
    from vtrack.measures import Measures as Measures
    from vtrack.measures import Points3d as Points3d
    from vtrack.models import load_model as load_model
    from vtrack.pipelines.outputs.drawing.draw import draw as draw
    from vtrack.pipelines.outputs.tables.read import read_table as read_table
    from vtrack.pipelines.outputs.tables.table import Table as Table
    from vtrack.pipelines.pipeline import Summary as Summary
    from vtrack.pipelines.results import Results as Results
    from vtrack.pipelines.run import run as run
    from vtrack.pipelines.sources.base import Source as Source
    from vtrack.pipelines.sources.base import SourceInfo as SourceInfo
    from vtrack.pipelines.sources.open import open_source as open_source
    from vtrack.pipelines.track import track as track
    from vtrack.pipelines.tracker import Tracker as Tracker
    from vtrack.query import parse_query as parse_query
    from vtrack.types import Detections as Detections
    from vtrack.types import Detector as Detector
    from vtrack.types import Face as Face
    from vtrack.types import Frame as Frame
    from vtrack.types import FrameResult as FrameResult
    from vtrack.types import LandmarkModel as LandmarkModel
    from vtrack.types import Prediction as Prediction
    from vtrack.types import Query as Query

__all__ = [
    "DataError",
    "Detections",
    "Detector",
    "Expressions",
    "EyeEvent",
    "Face",
    "Frame",
    "FrameResult",
    "HeadPose",
    "LandmarkModel",
    "LidMotion",
    "Measures",
    "MissingExtraError",
    "ModelError",
    "NameNotAskedError",
    "Points3d",
    "Prediction",
    "Query",
    "QueryError",
    "Results",
    "SinkError",
    "Source",
    "SourceError",
    "SourceInfo",
    "Summary",
    "Table",
    "Tracker",
    "UsageError",
    "VTrackError",
    "__version__",
    "draw",
    "load_detector",
    "load_model",
    "open_source",
    "parse_query",
    "read_table",
    "run",
    "track",
]

_HOMES = {
    "vtrack.detectors.registry": ("load_detector",),
    "vtrack.errors": (
        *(
            "DataError",
            "MissingExtraError",
            "ModelError",
            "NameNotAskedError",
            "QueryError",
            "SinkError",
            "SourceError",
        ),
        *("UsageError", "VTrackError"),
    ),
    "vtrack.measures": ("Expressions", "EyeEvent", "HeadPose", "LidMotion", "Measures", "Points3d"),
    "vtrack.models": ("load_model",),
    "vtrack.pipelines.outputs.drawing.draw": ("draw",),
    "vtrack.pipelines.outputs.tables.read": ("read_table",),
    "vtrack.pipelines.outputs.tables.table": ("Table",),
    "vtrack.pipelines.pipeline": ("Summary",),
    "vtrack.pipelines.results": ("Results",),
    "vtrack.pipelines.run": ("run",),
    "vtrack.pipelines.sources.base": ("Source", "SourceInfo"),
    "vtrack.pipelines.sources.open": ("open_source",),
    "vtrack.pipelines.track": ("track",),
    "vtrack.pipelines.tracker": ("Tracker",),
    "vtrack.query": ("parse_query",),
    "vtrack.types": (
        *("Detections", "Detector", "Face", "Frame", "FrameResult", "LandmarkModel", "Prediction", "Query"),
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
"""The module of each public name, imported when the name is first used; a test compares it with the imports above."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vtrack' has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
