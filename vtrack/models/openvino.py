"""OpenVINO, kept from reporting: its converter, which is loaded with it, tells its makers of each program that does so."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, cast

from vtrack.errors import MissingExtraError

_TELEMETRY = "openvino_telemetry"


def load_openvino() -> Any:
    """The module; it does without its telemetry where that is missing, so it is shown none."""
    known = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = cast(Any, None)  # this is how Python is told that there is no such module
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("OpenVINO needs its extra: pip install 'vtrack[openvino]'") from error
    finally:
        if known is None:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = known
    return openvino


@cache
def core() -> Any:
    """OpenVINO's core: one for the process, and never given up.

    With AMX the first core gives the thread that makes it a stack for its signals. If the last one ended in another thread,
    that stack would be freed while still in use, and the next signal would be the end of the process.
    """
    return load_openvino().Core()
