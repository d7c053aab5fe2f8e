"""One command of vtrack in this process, and what came of it."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fuzz.outcomes import Outcome
from vtrack.cli.main import main
from vtrack.errors import VTrackError

FAR = 20.0
"""A point this many times the frame's longer side away from the frame is absurd."""
LONGEST_MESSAGE = 1000
"""Letters that an error may have; it has to fit into a few lines of a terminal."""


def run_command(arguments: Sequence[str | Path], folder: Path) -> Outcome:
    """Run a command; `folder` holds all its outputs.

    Args:
        arguments: what follows `vtrack` on the command line.
        folder: where temporary files would be left behind, and where tables are checked.
    """
    errors = io.StringIO()
    code: int | None = 0

    def call() -> None:
        nonlocal code
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1

    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        outcome = run_call(call)
    if outcome.kind != "done":
        return outcome
    if "Traceback" in errors.getvalue():
        return Outcome("foreign exception", errors.getvalue()[-300:])
    left = [path.name for path in folder.rglob("*") if path.name.endswith(".part")]
    if left:
        return Outcome("leftover", ", ".join(left))
    for table in folder.rglob("*.vtrack.csv"):
        absurd = absurd_value(table)
        if absurd:
            return Outcome("absurd value", absurd)
    return Outcome("done" if code == 0 else "clean error")


def run_call(call: Callable[[], object]) -> Outcome:
    """Call something, and say what came of it: an error of the project's own is a clean one."""
    try:
        call()
    except VTrackError as error:
        text = str(error)
        long = "\n" in text or len(text) > LONGEST_MESSAGE
        return Outcome("foreign exception", f"no single line: {text[:200]!r}") if long else Outcome("clean error")
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(
            "foreign exception", f"{type(error).__name__}: {str(error)[:200]} at {place.filename}:{place.lineno}"
        )
    return Outcome("done")


def absurd_value(table: Path, side: float = 1000.0) -> str:
    """What is absurd in a wide table, or nothing. `side` is the longer side of the frame in pixels."""
    with table.open(newline="", encoding="utf-8") as file:
        last, index = -math.inf, -1
        for row in csv.DictReader(file):
            time, number = float(row["time_s"]), int(row["frame"])
            if number < index or (number > index and time < last):
                return f"{table.name}: frame {number} at {time} s follows frame {index} at {last} s"
            last, index = time, number
            for name, cell in row.items():
                if cell and name.endswith(("_x", "_y", "_w", "_h", "_sigma")):
                    value = float(cell)
                    if not math.isfinite(value) or abs(value) > FAR * side:
                        return f"{table.name}: {name} is {cell} in frame {number}"
    return ""
