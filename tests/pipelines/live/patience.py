"""Cameras that wait for their reader, so that what a test sees does not depend on how fast the machine is."""

from __future__ import annotations

import sys
from typing import TypeVar

from vtrack.pipelines.live.latest import Latest

T = TypeVar("T")

PATIENCE = 600.0
"""Seconds to wait for what must come."""

_PROGRAM = """
import sys
from tests.pipelines.live.patience import EveryItem
from vtrack.cli.main import main
from vtrack.pipelines.live import capture
capture.Latest = EveryItem
sys.exit(main(sys.argv[1:]))
"""
PROGRAM = [sys.executable, "-c", _PROGRAM]
"""`vtrack` in a process of its own, in the folder of the project: its camera skips no frame."""


class EveryItem(Latest[T]):
    """A slot whose writer waits until the item before has been taken."""

    def put(self, item: T) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._item is None or self._closed)
            super().put(item)

    def take(self, timeout: float | None = None) -> T | None:
        with self._changed:
            item = super().take(timeout)
            self._changed.notify_all()
            return item
