"""The pages of the documentation and the code blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "samples" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^\n]*) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of code."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None
    """Why the tests do not run it, from the comment above it: `<!-- not run: needs a camera -->`."""

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, continued lines joined, without empty ones."""
        return [line for line in self.code.replace("\\\n", " ").splitlines() if line.strip()]


def name(page: Path) -> str:
    """How a page is called in messages."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: match.start("code")].count("\n"), match["language"], match["code"], match["reason"])
        for match in _BLOCK.finditer(text)
    ]
