"""The file of a check beside its table: what it is called, whether it is up to date, and the score of the table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

SUFFIX = ".quality.csv"
"""What the name of the file has after the table's own, without the ending of that."""


def current_check(stem: Path, made: Path) -> Path | None:
    """The check of a table, if there is one that is not older.

    Args:
        stem: Path of the table without its ending.
        made: The file by which the table's age is known.
    """
    path = stem.with_name(f"{stem.name}{SUFFIX}")
    try:
        return path if path.stat().st_mtime_ns >= made.stat().st_mtime_ns else None
    except OSError:
        return None


def median_error(path: Path) -> float:
    """Median of the estimated errors of faces and seconds in %; NaN where there are none, or the file is another one."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            errors = [float(row["error"]) for row in csv.DictReader(file) if row["error"]]
    except (OSError, KeyError, ValueError, csv.Error):
        return float("nan")
    return float(np.median(errors)) if errors else float("nan")
