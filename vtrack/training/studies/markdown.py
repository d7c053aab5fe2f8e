"""Tables of figures as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def markdown(corner: str, heads: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> str:
    """A table with these columns; cells that a row lacks stay empty."""
    lines = [f"| {corner} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(row.get(head, '') for head in heads)} |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"
