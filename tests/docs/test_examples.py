"""Examples in docstrings run as they stand: those of names that are not public; `tests/core/test_public.py` runs the others."""

from __future__ import annotations

import doctest
import importlib
import shutil
from pathlib import Path

import pytest

import vtrack
from tests.docs.pages import ROOT

FOLDERS = {
    "vtrack": "vtrack",
    "detectors": "vtrack.detectors",
    "filters": "vtrack.filters",
    "pipelines": "vtrack.pipelines",
}


def _modules() -> list[str]:
    """The modules whose text holds an example."""
    names = []
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                within = path.relative_to(ROOT / folder).with_suffix("").parts
                names.append(".".join([package, *(part for part in within if part != "__init__")]))
    return names


def _examples() -> list[doctest.DocTest]:
    public = [getattr(vtrack, name) for name in vtrack.__all__ if name != "__version__"]
    tested = {f"{thing.__module__}.{thing.__qualname__}" for thing in public if hasattr(thing, "__qualname__")}
    finder, found = doctest.DocTestFinder(), []
    for name in _modules():
        module = importlib.import_module(name)
        for test in finder.find(module, name):
            if test.examples and not any(test.name == each or test.name.startswith(f"{each}.") for each in tested):
                found.append(test)
    return found


@pytest.mark.parametrize("example", _examples(), ids=lambda test: test.name)
def test_example(example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "samples").mkdir()
    shutil.copy(ROOT / "samples" / "sample.mp4", tmp_path / "samples")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "data").symlink_to(ROOT / "tests" / "data")
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert not report, "".join(report)
