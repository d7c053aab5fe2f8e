"""Runs benchmarked programs in alternation: each round runs every program once, in a process of its own, on the same video.

Alternating means that a slowdown of the machine affects all programs alike. A program's time starts at its first frame, after
its models are loaded, and ends when its output is complete.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from vtrack.errors import MissingExtraError, UsageError, VTrackError

_FACEMESH = Path(__file__).with_name("facemesh.py")
_ROOT = Path(__file__).parents[3]
"""Folder that holds the package `vtrack`; on the path of the programs, wherever they are started."""


@dataclass(frozen=True)
class Program:
    """A program to benchmark."""

    name: str
    command: Sequence[str]
    """Command line; its last line of output is the JSON that `measurement.print_measurement` prints."""
    measures: str
    """What is included in the time, in words."""
    root: Path = _ROOT
    """Folder that holds the package `vtrack` that it imports."""


@dataclass(frozen=True)
class ProgramRun:
    """Measurement of one run of a program."""

    frames: int
    faces: int
    """Faces found, summed over all frames."""
    seconds: float
    cpu: float
    """CPU seconds, summed over all cores."""
    peak_mb: float | None
    versions: str
    process_seconds: float
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
class ProgramResult:
    """All runs of a program and their medians."""

    program: Program
    runs: Sequence[ProgramRun]

    @property
    def typical(self) -> ProgramRun:
        """The run of median speed."""
        return sorted(self.runs, key=lambda run: run.fps)[(len(self.runs) - 1) // 2]

    @property
    def fps(self) -> float:
        """Frames per second, median over all runs."""
        return median(run.fps for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        """All figures as JSON; `..._ms` are milliseconds per frame."""
        typical = self.typical
        peaks = [run.peak_mb for run in self.runs if run.peak_mb is not None]
        return {
            "name": self.program.name,
            "measures": self.program.measures,
            "versions": typical.versions,
            "fps": round(self.fps, 1),
            "fps_of_rounds": [round(run.fps, 1) for run in self.runs],
            "cpu_ms": round(median(run.cpu / run.frames for run in self.runs) * 1000, 2),
            "frames": typical.frames,
            "faces_per_frame": round(typical.faces / typical.frames, 3),
            "start_s": round(median(run.process_seconds - run.seconds for run in self.runs), 2),
            "peak_mb": round(max(peaks), 1) if peaks else None,
            "stages_ms": {stage: _ms_per_frame(seconds, typical) for stage, seconds in typical.stages.items()},
            "waits_ms": {
                queue: {side: _ms_per_frame(seconds, typical) for side, seconds in waits.items()}
                for queue, waits in typical.waits.items()
            },
        }


def _python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of vtrack. With -P, since the current folder may be a checkout of another version."""
    return [sys.executable, "-P", "-m", module, *arguments]


def vtrack_program(
    video: str, parts: str, device: str, faces: int, hwaccel: str, *, annotate: bool = False, root: Path | None = None
) -> Program:
    """vtrack writing a table and, with `annotate`, an annotated video.

    Args:
        video: Path of the video.
        parts: What to track.
        device: What the models run on.
        faces: Largest number of faces to track.
        hwaccel: What decodes the video.
        annotate: Whether an annotated video is written, too.
        root: The checkout of another version of vtrack to run; None for this one.

    Raises:
        UsageError: `root` is no checkout of vtrack.
    """
    if root is not None and not (root / "vtrack" / "__init__.py").exists():
        raise UsageError(f"--against: {root} is neither mediapipe nor a folder with a checkout of vtrack")
    arguments = ["--parts", parts, "--device", device, "--faces", str(faces), "--hwaccel", hwaccel]
    arguments += ["--video"] if annotate else []
    measures = "decode, detect, track, smooth with zero lag, write a table"
    measures += " and an annotated video" if annotate else ""
    name = "vtrack --video" if annotate else "vtrack"
    name += f" in {root}" if root is not None else ""
    command = _python("vtrack.pipelines.bench.pipeline", video, *arguments)
    return Program(name, command, measures, root.resolve() if root is not None else _ROOT)


def decoder_program(video: str, hwaccel: str) -> Program:
    """vtrack's decoder alone; the frames are discarded."""
    return Program("decoder alone", _python("vtrack.pipelines.bench.decoder", video, hwaccel), "decode")


def encoder_program(video: str) -> Program:
    """The encoder of annotated videos alone, on decoded frames."""
    command = _python("vtrack.pipelines.bench.encoder", video)
    return Program("encoder alone", command, "encode frames that are already decoded")


def facemesh_program(video: str, faces: int, python: str | None) -> Program:
    """mediapipe's face mesh.

    Args:
        video: Path of the video.
        faces: Largest number of faces to track.
        python: Interpreter that has mediapipe; None for the running one.

    Raises:
        MissingExtraError: The interpreter does not run, or has no mediapipe with `mp.solutions`.
    """
    interpreter = python or sys.executable
    _check_mediapipe(interpreter)
    measures = "decode with OpenCV, FaceMesh in video mode with refined landmarks, write a table of 68 points"
    return Program("mediapipe", [interpreter, str(_FACEMESH), video, str(faces)], measures)


@cache
def _check_mediapipe(interpreter: str) -> None:
    """Raise `MissingExtraError` unless this Python runs and has mediapipe with `mp.solutions`."""
    probe = "import mediapipe, cv2, sys; sys.exit(0 if hasattr(mediapipe, 'solutions') else 3)"
    try:
        # Captured, because mediapipe and TensorFlow print messages of their own on import.
        code = subprocess.run([interpreter, "-c", probe], capture_output=True, check=False).returncode
    except OSError as error:
        raise MissingExtraError(f"--against-python: {interpreter} cannot be run: {error.strerror}") from error
    if code == 3:
        raise MissingExtraError(
            f"mediapipe in {interpreter} has no mp.solutions; install a version before 0.10.30 there"
        )
    if code:
        raise MissingExtraError(
            f"{interpreter} cannot import mediapipe and OpenCV; name a Python that can: --against-python PATH"
        )


def run_programs(
    programs: Sequence[Program], rounds: int, progress: Callable[[str], object] = lambda name: None
) -> list[ProgramResult]:
    """Run all programs `rounds` times in alternation.

    Args:
        programs: The programs, in the order of each round.
        rounds: Number of rounds.
        progress: Called with a program's name before each of its runs.

    Returns:
        One result per program, in their order.

    Raises:
        VTrackError: A program failed.
    """
    runs: dict[str, list[ProgramRun]] = {program.name: [] for program in programs}
    for _ in range(rounds):
        for program in programs:
            progress(program.name)
            runs[program.name].append(_run(program))
    return [ProgramResult(program, runs[program.name]) for program in programs]


def _run(program: Program) -> ProgramRun:
    paths = [str(program.root), os.environ.get("PYTHONPATH", "")]
    # An empty path would be the current folder.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    start = time.perf_counter()
    process = subprocess.run(program.command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if process.returncode:
        reason = process.stderr.strip().rpartition("\n")[2]
        raise VTrackError(f"{program.name} failed: {reason}")
    measurement = json.loads(process.stdout.strip().rpartition("\n")[2])
    if not measurement["frames"]:
        raise VTrackError(f"{program.name} failed: it reads no frame of the video")
    return ProgramRun(**measurement, process_seconds=seconds)


def _ms_per_frame(seconds: float, run: ProgramRun) -> float:
    return round(seconds / run.frames * 1000, 3)
