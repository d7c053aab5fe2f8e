"""mediapipe's legacy Solutions API, whose package contains the models; used to label photographs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vtrack.errors import MissingExtraError


def solution(name: str) -> Any:
    """A module of the API, `face_mesh` for example.

    Raises:
        MissingExtraError: mediapipe before 0.10.30 is not installed.
    """
    try:
        return import_module(f"mediapipe.python.solutions.{name}")
    except ImportError as error:
        raise MissingExtraError("labelling needs mediapipe 0.10 (pip install 'mediapipe>=0.10.14,<0.10.30')") from error
