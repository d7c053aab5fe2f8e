"""What a program of the benchmark says of its run, as a line of JSON that `contest` reads."""

from __future__ import annotations

import json
import sys
from typing import Any

from vtrack.pipelines.bench.memory import peak_mb


def tell(*, frames: int, seconds: float, cpu: float, versions: str, faces: int = 0, **more: Any) -> None:
    """Say it. `cpu` are seconds of all cores; the peak of memory is that of this process until now."""
    told = {
        "frames": frames,
        "faces": faces,
        "seconds": seconds,
        "cpu": cpu,
        "peak_mb": peak_mb(),
        "versions": versions,
        **more,
    }
    sys.stdout.write(json.dumps(told) + "\n")
