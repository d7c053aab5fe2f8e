"""Options that all commands on tables have."""

from __future__ import annotations

import argparse


def add_table_options(
    parser: argparse.ArgumentParser,
    parts: str = "what its points are, if no .meta.json beside it tells: as they were tracked",
) -> None:
    """Add the table, the points, and whether files are replaced; `parts` is the help of the points."""
    parser.add_argument("table", metavar="TABLE", help="table to read: .csv, .jsonl or .parquet")
    parser.add_argument("--parts", metavar="QUERY", help=parts)
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")
