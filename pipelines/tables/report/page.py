"""The page of a report: one HTML file that holds its style, script and pictures, and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

GENERATOR = "vtrack report"
"""By which a page is known as one of ours."""
WEB = Path(__file__).parent / "web"
_FIGURES = re.compile(r'<script type="application/json" id="figures">(.*?)</script>', re.DOTALL)


def web_file(name: str) -> str:
    """The text of a file of the page."""
    return (WEB / name).read_text(encoding="utf-8").rstrip("\n")


def policy(script: str) -> str:
    """The Content-Security-Policy of a page: nothing from anywhere, no script but this one."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join([*rules, f"script-src 'sha256-{digest}'"] if script else rules)


def html_page(
    title: str,
    body: str,
    *,
    script: str = "",
    data: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
) -> str:
    """A whole page.

    Args:
        title: Its title, as HTML.
        body: Its content, as HTML.
        script: Its script.
        data: What the script reads.
        figures: What an index says of the page; see `read_figures`.
    """
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy(script)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        f'<meta name="generator" content="{GENERATOR}">',
        f"<title>{title}</title>",
        f"<style>\n{web_file('report.css')}\n</style>",
        "</head>",
        "<body>",
        body,
    ]
    lines += [_json("figures", figures)] if figures is not None else []
    lines += [_json("data", data)] if data is not None else []
    if script:
        lines.append(f"<script>{script}</script>")
    return "\n".join([*lines, "</body>", "</html>", ""])


def read_figures(path: Path) -> dict[str, Any] | None:
    """The figures in a page; None if it is not one of ours, or cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        found = _FIGURES.search(text) if f'content="{GENERATOR}"' in text[:2000] else None
        figures = json.loads(found[1]) if found else None
    except (OSError, ValueError):
        return None
    return figures if isinstance(figures, dict) else None


def is_ours(path: Path) -> bool:
    """Whether a file is a page that was made here."""
    try:
        return f'content="{GENERATOR}"'.encode() in path.open("rb").read(2000)
    except OSError:
        return False


def _json(name: str, value: Mapping[str, Any]) -> str:
    """Data in a page, by the id of its element."""
    # A `</script>` in a name would end the element.
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def table_html(
    caption: str, header: Iterable[str], rows: Iterable[Iterable[str]], *, heads: int = 1, kind: str = ""
) -> str:
    """A table of HTML cells; the first of each row are its headings. `kind` is its class."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = []
    for row in rows:
        cells = [*row]
        names = "".join(f'<th scope="row">{cell}</th>' for cell in cells[:heads])
        body.append(f"<tr>{names}{''.join(f'<td>{cell}</td>' for cell in cells[heads:])}</tr>")
    title = f"<caption>{caption}</caption>" if caption else ""
    lines = "\n".join(body)
    inside = f"{title}<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}\n</tbody>"
    return f'<div class="scroll" tabindex="0"><table class="{kind}">{inside}</table></div>'


def fact_list(facts: Iterable[tuple[str, str, str]]) -> str:
    """Figures with their names: name, value and note, as HTML."""
    items = "".join(
        f"<div><dt>{name}</dt><dd>{value}{f'<small>{note}</small>' if note else ''}</dd></div>"
        for name, value, note in facts
    )
    return f'<dl class="facts">{items}</dl>'
