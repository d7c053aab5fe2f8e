"""A camera by its name: `camera_opener` takes a number, a device file, an address, `browser` or a file."""

from __future__ import annotations

import re
from pathlib import Path

from vtrack.errors import SourceError
from vtrack.pipelines.live.camera import CameraOpener, Device, Player, Stream
from vtrack.pipelines.sources.open import is_address


def camera_opener(place: str, *, loop: bool = False) -> CameraOpener:
    """What opens the camera of this name: a number, `/dev/video0`, an address, `browser` or a file.

    `loop` plays a file for ever. `browser` waits until somebody lends the camera of the browser that shows the page.
    """
    if re.fullmatch(r"\d+|/dev/video\d+", place):
        return lambda: Device(place)
    if place == "browser":
        from vtrack.pipelines.live.webrtc import Awaited

        return Awaited
    if is_address(place):
        return lambda: Stream(place)
    if not Path(place).exists():
        raise SourceError(f"{place}: no such file; --camera takes a number, /dev/video0, an address or a file")
    return lambda: Player(place, loop)
