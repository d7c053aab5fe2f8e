"""Looking ahead for the end of blinks, where later frames are there: eyes that stay closed do not blink."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from vtrack.measures import EyeEvent, Measures
from vtrack.pipelines.measures.eyes import MAX_DURATION
from vtrack.types import Face, FrameResult

_MEMORY = 256 * 2**20
"""Largest number of bytes of frames, as RGB, that are held back: 0.7 s of 1920 x 1080 pixels at 60 frames a second."""
_MIN_FRAMES = 8
"""Frames that are held back, however large they are."""


@dataclass(eq=False, slots=True)
class _Run:
    """Consecutive frames of a face with `blink`."""

    start: float
    """Time of its first frame in seconds."""
    is_blink: bool | None = None
    """None until its end is known."""
    counted: bool = False
    """Whether its first frame was let go."""


class BlinkLookahead:
    """Holds results back while eyes are closed, and removes `blink` where they do not open within `MAX_DURATION`.

    Eyes that stay closed until the face leaves or the video ends do not blink either. Frames too large to be held back for
    so long are let go earlier, as blinks. One result is always held back, for the events that end with the video.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Run] = {}
        """By track, the run that goes on."""
        self._pending: deque[tuple[FrameResult, dict[int, _Run]]] = deque()
        """Results, and the runs that they are part of by track."""
        self._removed: Counter[int] = Counter()
        """Runs that were removed, by track."""

    def push(self, results: Iterable[FrameResult]) -> list[FrameResult]:
        """Add the next results, which have measures; return those that are ready, in order."""
        return [ready for result in results for ready in self._push(result)]

    def flush(self, events: tuple[EyeEvent, ...] = ()) -> list[FrameResult]:
        """Return the results that are still held back; the last one gets events that end with the video."""
        for run in self._open.values():
            run.is_blink = bool(run.is_blink)
        self._open.clear()
        if self._pending and events:
            result, runs = self._pending[-1]
            self._pending[-1] = replace(result, events=result.events + events), runs
        return self._ready(0)

    def _push(self, result: FrameResult) -> list[FrameResult]:
        runs: dict[int, _Run] = {}
        for face in result.faces:
            if _measures(face)["blink"]:
                runs[face.id] = self._open.setdefault(face.id, _Run(result.time))
            elif run := self._open.pop(face.id, None):
                run.is_blink = run.is_blink or result.time - run.start <= MAX_DURATION
        # Of faces that are missing.
        for track in [track for track, run in self._open.items() if result.time - run.start > MAX_DURATION]:
            run = self._open.pop(track)
            run.is_blink = bool(run.is_blink)
        self._pending.append((result, runs))
        width, height = result.frame.size
        if len(self._pending) > max(_MEMORY // max(width * height * 3, 1), _MIN_FRAMES):
            for run in self._pending[0][1].values():
                run.is_blink = True if run.is_blink is None else run.is_blink
        return self._ready()

    def _ready(self, held: int = 1) -> list[FrameResult]:
        """Let go of the oldest results but the last `held`, as far as it is known which of their faces blink."""
        ready = []
        while len(self._pending) > held and all(run.is_blink is not None for run in self._pending[0][1].values()):
            result, runs = self._pending.popleft()
            for track, run in runs.items():
                self._removed[track] += not (run.is_blink or run.counted)
                run.counted = True
            ready.append(
                replace(result, faces=tuple(self._corrected(face, runs.get(face.id)) for face in result.faces))
            )
        return ready

    def _corrected(self, face: Face, run: _Run | None) -> Face:
        """The face with what is known now."""
        removed = self._removed[face.id]
        if not removed:
            return face
        names, values = _measures(face).names, _measures(face).array.copy()
        values[names.index("blinks")] -= removed
        values[names.index("blink")] = run is not None and bool(run.is_blink)
        return replace(face, measures=Measures(names, values))


def _measures(face: Face) -> Measures:
    if not face.measures:
        raise ValueError("BlinkLookahead needs measured faces")
    return face.measures
