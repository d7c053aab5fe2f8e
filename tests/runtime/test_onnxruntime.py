"""No run calls home: onnxruntime's telemetry stays off wherever it is loaded."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "sample.mp4"


def run_sample(tmp_path: Path, engine: str, *wrapper: str) -> None:
    """A short run with an empty home folder, `tmp_path/home`."""
    home = tmp_path / "home"
    home.mkdir()
    hidden = {"XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | {"HOME": str(home)}
    command = [sys.executable, "-m", "vtrack", "run", str(SAMPLE), "--stop", "0.2", "--engine", engine]
    subprocess.run([*wrapper, *command, "-o", str(tmp_path), "--quiet"], check=True, env=environment, cwd=ROOT)


@pytest.mark.parametrize("engine", ["onnx", "int8"])
def test_a_run_leaves_nothing_in_the_users_home(tmp_path: Path, engine: str) -> None:
    run_sample(tmp_path, engine)
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_run_connects_to_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    run_sample(tmp_path, "onnx", "strace", "-f", "-e", "trace=connect,sendto", "-o", str(trace))
    lines = trace.read_text(errors="replace").splitlines()
    assert [line for line in lines if "AF_INET" in line] == []


def test_onnxruntime_is_imported_in_one_place() -> None:
    importers = [
        str(path.relative_to(ROOT))
        for folder in ("vtrack", "detectors", "filters", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "onnxruntime" for alias in node.names)
    ]
    assert importers == ["vtrack/runtime/onnxruntime.py"]
