"""What can come of a case, and the report of all cases."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

GOOD = ("done", "clean error")
BAD = ("foreign exception", "crash", "hang", "absurd value", "leftover")


@dataclass(frozen=True)
class Outcome:
    """What came of one case."""

    kind: str
    """One of `GOOD` or `BAD`."""
    detail: str = ""


@dataclass
class Tally:
    """Outcomes of all cases by target."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, target: str, number: int, outcome: Outcome) -> None:
        """Count one outcome and remember it if it is bad."""
        self.counts.setdefault(target, Counter())[outcome.kind] += 1
        if outcome.kind in BAD:
            self.failures.append(f"{target}:{number}: {outcome.kind}: {outcome.detail}")

    @property
    def failed(self) -> bool:
        """Whether any case ended badly."""
        return bool(self.failures)

    def report(self) -> str:
        """A table with a row for each target, then a line for each failure."""
        columns = ("tried", *GOOD, *BAD)
        totals = {**self.counts, "all": sum(self.counts.values(), Counter())}
        lines = [f"{'target':<10} {'  '.join(columns)}"]
        for target, counts in totals.items():
            cells = [counts.total(), *(counts[kind] for kind in columns[1:])]
            row = "  ".join(f"{cell:>{len(column)}}" for cell, column in zip(cells, columns, strict=True))
            lines.append(f"{target:<10} {row}")
        return "\n".join([*lines, *self.failures])
