"""What the documentation names exists: files, modules, public names, links."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import vtrack
from tests.docs.pages import PAGES, ROOT, name
from tests.test_structure import FLOORS

_FILE = re.compile(r"(?<![\w/.])((?:vtrack|detectors|filters|pipelines|samples|tests|docs)/[\w./-]*\w\.\w+)")
_FOLDER = re.compile(r"`((?:vtrack|detectors|filters|pipelines|samples|tests|docs)/(?:[\w-]+/?)*)`")
_DOTTED = re.compile(r"(?<![\w/.-])vtrack((?:\.\w+)+)")
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
# Outputs and addresses that look like a module.
_OUTPUTS = ("vtrack.csv", "vtrack.json", "vtrack.mp4", "vtrack.meta", "vtrack.jsonl", "vtrack.parquet", "vtrack.zip")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [path for path in (*_FILE.findall(text), *_FOLDER.findall(text)) if not (ROOT / path).exists()]
    assert not missing, missing


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_modules_and_names_exist(page: Path) -> None:
    names = {f"vtrack{dotted}" for dotted in _DOTTED.findall(page.read_text(encoding="utf-8"))}
    missing = [dotted for dotted in names if not dotted.startswith(_OUTPUTS) and not _resolves(dotted)]
    assert not missing, missing


def _resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    place, *rest = dotted.split(".")
    found: object = importlib.import_module(place)
    for i, step in enumerate(rest):
        if not hasattr(found, step):
            try:
                importlib.import_module(".".join([place, *rest[: i + 1]]))
            except ImportError:
                return False
        found = getattr(found, step)
    return True


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not missing, missing


def test_the_design_lists_the_layers_that_are_checked() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\d+\. (`.*)$", text, re.MULTILINE)
    listed = [{Path(name).stem for name in re.findall(r"`([\w./]+)`", line)} for line in lines]
    assert listed == [set(layer) for layer in FLOORS]


def test_every_public_name_is_in_the_reference() -> None:
    pages = (ROOT / "docs" / "reference").glob("*.md")
    documented = {line for page in pages for line in page.read_text(encoding="utf-8").splitlines()}
    missing = [
        public for public in vtrack.__all__ if public != "__version__" and f"::: vtrack.{public}" not in documented
    ]
    assert not missing, missing


def test_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 110
    assert [line for line in lines if len(line) > 128 and not line.startswith("|")] == []
