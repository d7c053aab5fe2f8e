"""The site builds without a warning and asks nothing of the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

_LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*\bhref=["']?(?:https?:)?//"""
)


def test_site(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    remote = [page.name for page in pages if _LOADED.search(page.read_text(encoding="utf-8"))]
    assert not remote, remote
    styles = [
        css.name
        for css in tmp_path.rglob("*.css")
        if re.search(r"(?:@import|url\()\s*[\"']?https?:", css.read_text(encoding="utf-8"))
    ]
    assert not styles, styles
    reference = re.sub(r"<[^>]*>", "", (tmp_path / "reference" / "api.html").read_text(encoding="utf-8"))
    assert "vtrack.track" in reference
    assert re.search(r"""detect_every: float = 0\.3,""", reference), (
        "defaults from the settings are shown by their values"
    )
