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
    from vtrack.errors import VTrackError as VTrackError
    from vtrack.pipelines.pipeline import track as track
    from vtrack.types import Face as Face
    from vtrack.types import Frame as Frame
    from vtrack.types import FrameResult as FrameResult
    from vtrack.types import Query as Query

_HOMES = {
    "track": "vtrack.pipelines.pipeline",
    "VTrackError": "vtrack.errors",
    "Face": "vtrack.types",
    "Frame": "vtrack.types",
    "FrameResult": "vtrack.types",
    "Query": "vtrack.types",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vtrack' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
