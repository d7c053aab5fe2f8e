"""OpenVINO, kept from reporting: its converter, which is loaded with it, tells its makers of each program that does so."""

from __future__ import annotations

import sys
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
