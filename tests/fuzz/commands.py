"""One command of vtrack in this process, and what came of it."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.outcomes import Outcome
from vtrack.cli.main import main

FAR = 20.0
"""A point this many times the frame's longer side away from the frame is absurd."""


def run_command(arguments: Sequence[str | Path], folder: Path) -> Outcome:
    """Run a command; `folder` holds all its outputs.

    Args:
        arguments: what follows `vtrack` on the command line.
        folder: where temporary files would be left behind, and where tables are checked.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(
            "foreign exception", f"{type(error).__name__}: {str(error)[:200]} at {place.filename}:{place.lineno}"
        )
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
