"""What is installed: one import name, all files, from a wheel, from source and from a checkout to edit."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("detectors", "filters", "pipelines")
SOURCES = ("vtrack", *ROOMS)
# Built without looking at an index: setuptools is in the environment of the tests.
OFFLINE = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")

SCRIPT = """
import detectors, filters, pipelines
import vtrack

assert {module.OWNER for module in (detectors, filters, pipelines)} == {"the user"}
first = next(iter(vtrack.track(CLIP, parts="eyes")))
assert first.faces and first.faces[0]["left_eye"].shape[1] == 2
print(vtrack.__file__)
"""


def run(command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command without the paths that lead to this checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def pip(*words: str | Path, python: Path | None = None, cwd: Path) -> None:
    target = ("--python", python) if python else ()
    done = run([sys.executable, "-m", "pip", *target, *words], cwd)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a build reads, in a folder of their own: a build leaves files beside its sources."""
    place = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        shutil.copytree(ROOT / name, place / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place / name)
    return place


@pytest.fixture(scope="module")
def sdist(checkout: Path) -> Path:
    done = run([sys.executable, "-m", "build", "--sdist", "--no-isolation"], checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (checkout / "dist").glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    pip("wheel", *OFFLINE, "-w", checkout / "dist", checkout, cwd=checkout)
    [path] = (checkout / "dist").glob("*.whl")
    return path


def environment(place: Path) -> tuple[Path, Path]:
    """The interpreter and site-packages of a new environment that sees the dependencies of this one, but not its vtrack."""
    venv.create(place, with_pip=False, symlinks=True)
    [site] = place.glob("lib/python*/site-packages")
    # A path in a .pth file is searched last, and .pth files in it (such as an editable vtrack's) are not read.
    (site / "dependencies.pth").write_text(str(Path(numpy.__file__).parents[1]))
    return place / "bin" / "python", site


def users_folder(place: Path) -> Path:
    """A script that tracks, beside packages of the user's own that are called like folders of this repository."""
    place.mkdir()
    for name in ROOMS:
        (place / name).mkdir()
        (place / name / "__init__.py").write_text('OWNER = "the user"\n')
    script = place / "script.py"
    script.write_text(SCRIPT.replace("CLIP", repr(str(ROOT / "samples" / "sample.mp4"))))
    return script


def top_names(site: Path) -> set[str]:
    return {path.name for path in site.iterdir()} - {"dependencies.pth"}


def test_the_wheel_brings_one_import_name_and_tracks_beside_the_users_own_packages(wheel: Path, tmp_path: Path) -> None:
    python, site = environment(tmp_path / "env")
    pip("install", *OFFLINE, wheel, python=python, cwd=tmp_path)
    version = wheel.name.split("-")[1]
    assert top_names(site) == {"vtrack", f"vtrack-{version}.dist-info"}
    script = users_folder(tmp_path / "user")
    done = run([python, script], script.parent)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == site / "vtrack" / "__init__.py"
    for name in ROOMS:
        done = run([python, "-c", f"import {name}"], tmp_path)
        assert f"No module named '{name}'" in done.stderr


def test_a_checkout_can_be_installed_to_edit(checkout: Path, tmp_path: Path) -> None:
    python, site = environment(tmp_path / "env")
    pip("install", *OFFLINE, "--editable", checkout, python=python, cwd=tmp_path)
    assert all(name.startswith(("__editable__", "vtrack-", "__pycache__")) for name in top_names(site))
    script = users_folder(tmp_path / "user")
    done = run([python, script], script.parent)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == checkout / "vtrack" / "__init__.py"


def test_the_wheel_holds_every_file_of_the_program(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.startswith("vtrack-")}
    files = [
        path
        for name in SOURCES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    names = [path.relative_to(ROOT).as_posix() for path in files]
    assert packed == {name if name.startswith("vtrack/") else f"vtrack/{name}" for name in names}
    for suffix in (".py", ".toml", ".csv", ".json", ".safetensors", ".onnx", ".html", ".js", ".css"):
        assert any(name.endswith(suffix) for name in packed), suffix


def test_the_source_archive_has_files_for_links_and_makes_the_same_wheel(
    sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
        archive.extractall(tmp_path, filter="data")
    [source] = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert {path.name for path in source.iterdir()} >= {"pyproject.toml", "setup.py", "README.md", "LICENSE", "vtrack"}
    pip("wheel", *OFFLINE, "-w", tmp_path, source, cwd=tmp_path)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(tmp_path / wheel.name) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        assert {entry.filename: entry.CRC for entry in one.infolist() if "dist-info" not in entry.filename} == {
            entry.filename: entry.CRC for entry in other.infolist() if "dist-info" not in entry.filename
        }


def test_a_checkout_without_links_says_so(tmp_path: Path) -> None:
    (tmp_path / "vtrack").mkdir()
    shutil.copy(ROOT / "setup.py", tmp_path)
    for name in ROOMS:
        (tmp_path / "vtrack" / name).write_text(f"../{name}")  # what git writes where links are not allowed
    done = run([sys.executable, "setup.py", "--version"], tmp_path)
    assert done.returncode != 0
    assert "this checkout has no symbolic links" in done.stderr


def test_every_import_resolves_to_a_file_of_the_checkout() -> None:
    """As an editor looks for it: by path, from the top of the repository."""
    missing = []
    for path in [path for name in SOURCES for path in (ROOT / name).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else names
            for name in (name for name in names if name and name.split(".")[0] == "vtrack"):
                place = ROOT / name.replace(".", "/")
                if not (place / "__init__.py").is_file() and not place.with_suffix(".py").is_file():
                    missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert not missing


def test_mypy_resolves_every_room_in_a_plain_checkout(checkout: Path) -> None:
    """Without an installed vtrack; whether the types are right is for the linters."""
    names = sorted(path.stem for room in ROOMS for path in (checkout / room).glob("[a-z]*.py"))
    code = "import vtrack.detectors, vtrack.filters, vtrack.pipelines\n"
    code += "".join(
        f"import vtrack.{room}.{path.stem}\n" for room in ROOMS for path in (checkout / room).glob("[a-z]*.py")
    )
    assert len(names) > 10
    options = ["--follow-imports=skip", "--no-site-packages", "--config-file=", "--cache-dir", os.devnull]
    done = run([sys.executable, "-P", "-m", "mypy", *options, "-c", code], checkout)
    assert done.returncode == 0, done.stdout + done.stderr
