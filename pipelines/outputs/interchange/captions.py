"""Events as captions that players show: WebVTT and SubRip (SRT)."""

from __future__ import annotations

from pathlib import Path

from vtrack.measures import EyeEvent
from vtrack.pipelines.outputs.tables.events import EventTable
from vtrack.pipelines.outputs.tables.text import TextSink
from vtrack.types import FrameResult, Query

_VTT, _SRT = "vtt", "srt"


def open_events(path: str | Path, query: Query) -> TextSink:
    """Open the output of events: captions if the path ends in `.vtt` or `.srt`, else a table."""
    kind = Path(path).suffix.lower().removeprefix(".")
    return Captions(path, query, kind=kind) if kind in (_VTT, _SRT) else EventTable(path, query)


class Captions(TextSink):
    """Captions with one cue for each event, in order of their starts, as players need them.

    Args:
        path: File to write.
        query: The points of the faces, on which nothing depends.
        kind: `vtt` for WebVTT, `srt` for SubRip.
    """

    def __init__(self, path: str | Path, query: Query, *, kind: str) -> None:
        super().__init__(path)
        self._mark = "," if kind == _SRT else "."
        self._cues: list[tuple[int, int, str]] = []

    def add(self, event: EyeEvent) -> None:
        """Add a cue. All of them are written at the end: events are known in order of their ends."""
        start = max(round(event.lids.start * 1000), 0)
        end = max(round(event.lids.end * 1000), start + 1)  # players leave out cues without a duration
        self._cues.append((start, end, caption(event)))

    def _header(self) -> str:
        return "" if self._mark == "," else "WEBVTT\n\n"

    def _rows(self, result: FrameResult) -> str:
        for event in result.events:
            self.add(event)
        return ""

    def _finish(self, interrupted: bool) -> None:
        if self._stream is not None:
            for number, (start, end, text) in enumerate(sorted(self._cues), 1):
                self._stream.write(f"{number}\n{self._time(start)} --> {self._time(end)}\n{text}\n\n")
        super()._finish(interrupted)

    def _time(self, milliseconds: int) -> str:
        """The time as `hh:mm:ss.mmm`."""
        seconds, rest = divmod(milliseconds, 1000)
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{self._mark}{rest:03d}"


def caption(event: EyeEvent) -> str:
    """Return the text of a cue: `face 0: blink`, `face 3: left wink`, `face 0: incomplete blink`."""
    incomplete = event.kind in ("blink", "wink") and not event.lids.complete
    words = ["incomplete"] * incomplete + [event.eye] * (event.eye != "both") + [event.kind]
    return f"face {event.face}: {' '.join(words)}"
