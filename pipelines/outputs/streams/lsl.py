"""Lab Streaming Layer: a stream of the face's points, measures and pose, with the times of capture on the clock of LSL.

Cameras drop frames, so the stream has no nominal rate: readers that take one to be regular would move the samples in time.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from types import TracebackType

import numpy as np

from vtrack.errors import MissingExtraError
from vtrack.pipelines.outputs.base import ExceptionType, Sink
from vtrack.pipelines.outputs.tables.columns import Columns
from vtrack.types import FrameResult, Query


class LslStream(Sink):
    """An outlet of Lab Streaming Layer, which other programs of the network find by its name, `vtrack`, and type, `MoCap`.

    Channels are the columns of the wide table. A sample for each frame holds the face that is followed longest, whose number
    is the channel `face`; all channels are NaN in a frame without a face.

    Args:
        query: The points of the faces.
        columns: Names of extra column groups.
        clock: Tells the current time in seconds on the clock of the frames.

    Raises:
        MissingExtraError: The extra is not installed.
    """

    def __init__(self, query: Query, *, columns: Collection[str], clock: Callable[[], float]) -> None:
        try:
            import pylsl
        except (ImportError, RuntimeError) as error:  # RuntimeError: pylsl without the library itself
            raise MissingExtraError("--emit lsl needs the lsl extra: pip install 'vtrack[lsl]'") from error
        self._columns, self._clock, self._lsl_clock = Columns(query, columns), clock, pylsl.local_clock
        labels = [field.name for field in self._columns.of_face]
        self._empty = [np.nan] * len(labels)
        info = pylsl.StreamInfo(
            "vtrack",
            "MoCap",
            len(labels),
            pylsl.IRREGULAR_RATE,
            "float32",
            f"vtrack-{socket.gethostname()}-{os.getpid()}",
        )
        info.set_channel_labels(labels)
        self._outlet = pylsl.StreamOutlet(info)

    def write(self, result: FrameResult) -> None:
        face = min(result.faces, key=lambda face: face.id, default=None)
        values = self._empty if face is None else self._columns.values(face, result.frame)
        age = self._clock() - result.time
        self._outlet.push_sample(values, self._lsl_clock() - age)

    def __exit__(self, kind: ExceptionType, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._outlet  # closes it
