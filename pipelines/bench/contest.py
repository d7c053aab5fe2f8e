"""Programs in turns: each round runs every one of them once, in a process of its own, on the same video.

Turns alternate, so that a machine that slows down slows all of them down. Each program counts from its first frame to the
end of its output, and loads its models before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pipelines
from vtrack.errors import MissingExtraError, VTrackError

HERE = Path(__file__).parent
LEGACY = "has no mp.solutions; its versions before 0.10.30 do"


@dataclass(frozen=True)
class Program:
    """What takes part."""

    name: str
    command: Sequence[str]
    measures: str
    """In words."""


@dataclass(frozen=True)
class Turn:
    """What one run of a program took."""

    frames: int
    faces: int
    """Faces found, over all frames."""
    seconds: float
    cpu: float
    """Seconds of work of all cores together."""
    peak_mb: float | None
    versions: str
    whole: float
    """Seconds from the start of the process to its end."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each stage."""
    waits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Seconds that the reader (`starved`) and the writer (`full`) of each queue waited."""

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds


@dataclass(frozen=True)
class Score:
    """A program's turns, summed up."""

    program: Program
    turns: Sequence[Turn]

    @property
    def typical(self) -> Turn:
        """The turn of median speed."""
        return sorted(self.turns, key=lambda turn: turn.fps)[(len(self.turns) - 1) // 2]

    @property
    def fps(self) -> float:
        """Frames per second, the median of all turns."""
        return median(turn.fps for turn in self.turns)

    def as_json(self) -> dict[str, Any]:
        """All figures: per frame in milliseconds."""
        turn = self.typical
        peaks = [turn.peak_mb for turn in self.turns if turn.peak_mb is not None]
        return {
            "name": self.program.name,
            "measures": self.program.measures,
            "versions": turn.versions,
            "fps": round(self.fps, 1),
            "fps_of_rounds": [round(one.fps, 1) for one in self.turns],
            "cpu_ms": round(median(one.cpu / one.frames for one in self.turns) * 1000, 2),
            "frames": turn.frames,
            "faces_per_frame": round(turn.faces / turn.frames, 3),
            "start_s": round(median(one.whole - one.seconds for one in self.turns), 2),
            "peak_mb": round(max(peaks), 1) if peaks else None,
            "stages_ms": {stage: _per_frame(seconds, turn) for stage, seconds in turn.stages.items()},
            "waits_ms": {
                queue: {side: _per_frame(seconds, turn) for side, seconds in waits.items()}
                for queue, waits in turn.waits.items()
            },
        }


def ours(video: str, parts: str, device: str, faces: int, hwaccel: str, *, film: bool = False) -> Program:
    """vtrack, with a table, and an annotated video if wanted."""
    arguments = ["--parts", parts, "--device", device, "--faces", str(faces), "--hwaccel", hwaccel]
    arguments += ["--video"] if film else []
    what = "decode, detect, follow, smooth with zero lag, write a table" + (" and an annotated video" if film else "")
    name = "vtrack --video" if film else "vtrack"
    return Program(name, [sys.executable, "-m", "vtrack.pipelines.bench.ours", video, *arguments], what)


def decoder(video: str, hwaccel: str) -> Program:
    """The decoder of all of these, for nobody."""
    return Program("decoder alone", [sys.executable, "-m", "vtrack.pipelines.bench.decoder", video, hwaccel], "decode")


def encoder(video: str) -> Program:
    """The encoder of annotated videos, on decoded pictures."""
    what = "encode pictures that are decoded already"
    return Program("encoder alone", [sys.executable, "-m", "vtrack.pipelines.bench.encoder", video], what)


def facemesh(video: str, faces: int, python: str | None) -> Program:
    """mediapipe's face mesh, in this interpreter or another one."""
    interpreter = python or sys.executable
    probe = "import mediapipe, cv2, sys; sys.exit(0 if hasattr(mediapipe, 'solutions') else 3)"
    try:
        # Its own messages (a missing sound library, TensorFlow's greetings) are not ours to show.
        code = subprocess.run([interpreter, "-c", probe], capture_output=True, check=False).returncode
    except OSError as error:
        raise MissingExtraError(f"--against-python: {interpreter} cannot be run: {error.strerror}") from error
    if code == 3:
        raise MissingExtraError(f"the mediapipe of {interpreter} {LEGACY}")
    if code:
        raise MissingExtraError(
            f"{interpreter} cannot import mediapipe and OpenCV; name a Python that can: --against-python PATH"
        )
    what = "decode with OpenCV, FaceMesh in video mode with refined landmarks, write a table of 68 points"
    return Program("mediapipe", [interpreter, str(HERE / "facemesh.py"), video, str(faces)], what)


def contest(
    programs: Sequence[Program], rounds: int, progress: Callable[[str], object] = lambda name: None
) -> list[Score]:
    """Run all programs in turns."""
    turns: dict[str, list[Turn]] = {program.name: [] for program in programs}
    for _ in range(rounds):
        for program in programs:
            progress(program.name)
            turns[program.name].append(_run(program))
    return [Score(program, turns[program.name]) for program in programs]


def _run(program: Program) -> Turn:
    root = Path(pipelines.__path__[0]).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    began = time.perf_counter()
    done = subprocess.run(program.command, env=environment, capture_output=True, text=True, check=False)
    whole = time.perf_counter() - began
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise VTrackError(f"{program.name} failed: {reason}")
    return Turn(**json.loads(done.stdout.strip().rpartition("\n")[2]), whole=whole)


def _per_frame(seconds: float, turn: Turn) -> float:
    return round(seconds / turn.frames * 1000, 3)
