"""Runs the programs of a suite over its clips, and says what their ratios are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any

from vtrack.errors import VTrackError
from vtrack.pipelines.bench.runner import Program, run_programs
from vtrack.pipelines.bench.suite.clips import SuiteClip
from vtrack.pipelines.sources.open import open_source

ENOUGH_FACES = 0.9
"""Share of our faces that the other program must find for a clip to count."""


@dataclass(frozen=True)
class ClipFigures:
    """What the programs took for a clip."""

    clip: SuiteClip
    size: tuple[int, int]
    programs: Sequence[dict[str, Any]]
    """`ProgramResult.as_json()` of vtrack, of the other program if there is one, and of the decoder alone."""
    failure: str | None = None
    """Why there are no figures."""

    @property
    def ratio(self) -> float | None:
        """Frames a second of vtrack over those of the other program."""
        return self._ratio("fps", upper=0, lower=1)

    @property
    def cpu_ratio(self) -> float | None:
        """CPU time of the other program over that of vtrack, which other load of the machine hardly changes."""
        return self._ratio("cpu_ms", upper=1, lower=0)

    @property
    def left_out(self) -> str | None:
        """Why the clip does not count in means, or None if it does."""
        if self.failure is not None:
            return self.failure
        if len(self.programs) < 3:
            return "nothing to compare with"
        ours, theirs = (program["faces_per_frame"] for program in self.programs[:2])
        if theirs < ENOUGH_FACES * ours:
            return f"{self.programs[1]['name']} finds {theirs / ours:.0%} of our faces"
        return None

    def as_json(self) -> dict[str, Any]:
        """All figures as JSON."""
        return {
            "clip": self.clip.name,
            "kind": self.clip.kind,
            "size": list(self.size),
            "max_faces": self.clip.faces,
            "ratio": _rounded(self.ratio),
            "cpu_ratio": _rounded(self.cpu_ratio),
            "left_out": self.left_out,
            "programs": list(self.programs),
        }

    def _ratio(self, name: str, upper: int, lower: int) -> float | None:
        if self.failure is not None or len(self.programs) < 3:
            return None
        return float(self.programs[upper][name] / self.programs[lower][name])


@dataclass(frozen=True)
class SuiteFigures:
    """What the programs took for all clips."""

    clips: Sequence[ClipFigures]
    rounds: int
    seconds: float
    """Length of each clip at most."""

    @property
    def measured(self) -> list[ClipFigures]:
        """The clips on which no program failed."""
        return [figures for figures in self.clips if figures.failure is None]

    @property
    def counted(self) -> list[ClipFigures]:
        """The clips on which both find the same faces, about."""
        return [figures for figures in self.clips if figures.left_out is None]

    @property
    def mean(self) -> float | None:
        """Geometric mean of the ratios of the clips that count."""
        return _geometric_mean([figures.ratio for figures in self.counted])

    @property
    def cpu_mean(self) -> float | None:
        """Geometric mean of the ratios of CPU time of the clips that count."""
        return _geometric_mean([figures.cpu_ratio for figures in self.counted])

    @property
    def worst(self) -> ClipFigures | None:
        """The clip of the smallest ratio among those that count."""
        return min(self.counted, key=lambda figures: figures.ratio or 0.0, default=None)

    def as_json(self) -> dict[str, Any]:
        """All figures as JSON."""
        worst = self.worst
        return {
            "rounds": self.rounds,
            "seconds": self.seconds,
            "geometric_mean": _rounded(self.mean),
            "geometric_mean_cpu": _rounded(self.cpu_mean),
            "worst": None if worst is None else {"clip": worst.clip.name, "ratio": _rounded(worst.ratio)},
            "counted": [figures.clip.name for figures in self.counted],
            "clips": [figures.as_json() for figures in self.clips],
        }


def measure_suite(
    clips: Iterable[SuiteClip],
    programs: Callable[[SuiteClip], Sequence[Program]],
    rounds: int,
    progress: Callable[[str], object] = lambda text: None,
) -> list[ClipFigures]:
    """Run programs over clips, in turns on each clip.

    Args:
        clips: The clips.
        programs: Gives the programs for a clip: vtrack, the other one if there is one, the decoder alone.
        rounds: Turns of each program on each clip.
        progress: Called with what is being run.

    Returns:
        One entry a clip. Where a program fails, it has the reason instead of figures.
    """
    figures = []
    for clip in clips:
        size, listed = (0, 0), programs(clip)
        try:
            with open_source(str(clip.path)) as source:
                size = source.info.size
            results = run_programs(listed, rounds, lambda name, clip=clip: progress(f"{clip.name}: {name}"))  # type: ignore[misc]
            figures.append(ClipFigures(clip, size, [result.as_json() for result in results]))
        except VTrackError as error:
            figures.append(ClipFigures(clip, size, [], str(error)))
    return figures


def _geometric_mean(ratios: Sequence[float | None]) -> float | None:
    known = [ratio for ratio in ratios if ratio is not None]
    return exp(sum(map(log, known)) / len(known)) if known else None


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 3)
