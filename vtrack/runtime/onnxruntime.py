"""onnxruntime without its telemetry: since 1.31 it writes a device id into the user's cache and uploads events."""

from __future__ import annotations

import os
from typing import Any


def load_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry off.

    The environment variable counts only before the library is loaded; calls that switch it off later leave the device id
    and the first event. A value that the user has set stays.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime  # the variable must be set first

    return onnxruntime
