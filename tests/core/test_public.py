"""The public names: one list in three places, each documented with an example, and every example runs as it stands."""

from __future__ import annotations

import ast
import doctest
import inspect
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import vtrack
from vtrack.pipelines.settings import InputSettings, OutputSettings, Settings

ROOT = Path(__file__).parents[2]
NAMES = {
    "functions": {"draw", "load_detector", "load_model", "open_source", "parse_query", "read_table", "run", "track"},
    "results": {
        *(
            "Expressions",
            "Face",
            "Frame",
            "FrameResult",
            "HeadPose",
            "Measures",
            "Points3d",
            "Query",
            "Results",
            "Summary",
        ),
        "Table",
    },
    "events": {"EyeEvent", "LidMotion"},
    "to derive from": {"Detector", "LandmarkModel", "Source"},
    "what those return": {"Detections", "Prediction", "SourceInfo"},
    "classes": {"Tracker"},
    "errors": {
        *(
            "DataError",
            "MissingExtraError",
            "ModelError",
            "NameNotAskedError",
            "QueryError",
            "SinkError",
            "SourceError",
        ),
        *("UsageError", "VTrackError"),
    },
}
"""What docs/reference/api.md lists."""
ALL = sorted(name for names in NAMES.values() for name in names)


def test_the_list_of_names() -> None:
    assert sorted(vtrack.__all__) == sorted([*ALL, "__version__"])
    assert set(vtrack.__dir__()) == set(vtrack.__all__)
    with pytest.raises(AttributeError, match="module 'vtrack' has no attribute 'trak'"):
        vtrack.trak  # noqa: B018


def test_editors_see_what_is_loaded() -> None:
    """The imports for type checking name the same homes as those that happen."""
    tree = ast.parse(Path(vtrack.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert homes == vtrack._HOME


def test_importing_is_cheap() -> None:
    code = "import vtrack, sys; heavy = {'numpy', 'torch', 'cv2', 'av'} & set(sys.modules); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("name", ALL)
def test_every_name_has_an_example(name: str) -> None:
    doc = inspect.getdoc(getattr(vtrack, name)) or ""
    assert "Examples:\n" in doc and ">>> " in doc


def _documented() -> list[doctest.DocTest]:
    """The examples of all public names and of their own public methods."""
    finder = doctest.DocTestFinder(recurse=False)
    found = []
    for name in ALL:
        thing = getattr(vtrack, name)
        members = vars(thing).items() if inspect.isclass(thing) else ()
        documented = [(name, thing)]
        documented += [
            (f"{name}.{key}", getattr(member, "__func__", member))
            for key, member in members
            if not key.startswith("_") and (inspect.isfunction(member) or isinstance(member, classmethod))
        ]
        for full, each in documented:
            found += [test for test in finder.find(each, full, globs={}) if test.examples]
    return found


@pytest.mark.parametrize("example", _documented(), ids=lambda test: test.name)
def test_examples_run(example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pandas", "xarray"):
        if f"to_{package}" in example.docstring:  # type: ignore[operator]
            pytest.importorskip(package)
    (tmp_path / "samples").mkdir()
    shutil.copy(ROOT / "samples" / "sample.mp4", tmp_path / "samples")
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize(
    ("function", "settings"),
    [
        (vtrack.track, (Settings, InputSettings)),
        (vtrack.Tracker, (Settings,)),
        (vtrack.Tracker.track, (InputSettings,)),
        (vtrack.run, (Settings, InputSettings, OutputSettings)),
    ],
)
def test_arguments_are_the_settings(function: object, settings: tuple[type, ...]) -> None:
    """Every setting is an argument of the same default; None stands for what depends on the source or on the format."""
    arguments = inspect.signature(function).parameters  # type: ignore[arg-type]
    assert not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in arguments.values())
    for each in (field for kind in settings for field in fields(kind)):
        default = arguments[each.name].default
        depends = each.name in ("fps", "strengths", "outputs", "parts" if function is vtrack.run else "smooth")
        assert default == (None if depends else each.default), each.name
        assert f"    {each.name}: " in (inspect.getdoc(function) or "") or function is vtrack.Tracker.track
