"""mediapipe's older interface, whose models come in its package, for programs that label photographs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vtrack.errors import MissingExtraError


def solution(name: str) -> Any:
    """One of its modules, `face_mesh` for example."""
    try:
        return import_module(f"mediapipe.python.solutions.{name}")
    except ImportError as error:
        raise MissingExtraError("labelling needs mediapipe 0.10 (pip install 'mediapipe>=0.10.14,<0.10.30')") from error
