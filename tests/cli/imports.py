"""What a command imports: its start-up time without a clock, which says little on a busy machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def imported_modules(words: list[str], code: int) -> set[str]:
    """The modules that a command imports, which ends with this exit code."""
    command = [sys.executable, "-X", "importtime", "-m", "vtrack", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr[-1000:]
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "vtrack.pipelines.settings" in modules
    return modules
