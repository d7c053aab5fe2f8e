"""Trying a graph in a process of its own: on some damaged graphs the libraries that run them crash the whole process.

It takes a second or two, so only graphs are tried that no checksum vouches for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from vtrack.anchors import ANCHORS
from vtrack.errors import ModelError, VTrackError
from vtrack.models.card import read_landmark_card
from vtrack.models.engines.registry import ENGINES, load

_TIMEOUT = 120.0
"""Seconds that loading and running a graph may take."""
_COMMAND = "import sys; from vtrack.models.engines.trial import main; main(*sys.argv[1:])"


def try_graph(engine: str, card: Path) -> None:
    """Load the graph of a model and run it once, in another process.

    Args:
        engine: Name of an engine that runs graphs.
        card: Path of the model's card.

    Raises:
        ModelError: That process crashed, or failed by an error that is not ours; those that are will be raised here, too.
    """
    graph = card.with_suffix(ENGINES[engine].graph)
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # -P: the current folder may hold modules of the user, say a numpy.py.
    command = [sys.executable, "-P", "-c", _COMMAND, engine, str(card)]
    try:
        tried = subprocess.run(
            command, env=paths, capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{graph}: the graph is damaged: {engine} did not run it in {_TIMEOUT:g} s") from None
    if tried.returncode:
        raise ModelError(f"{graph}: the graph is damaged: {engine} {_failure(tried)}")


def _failure(tried: subprocess.CompletedProcess[bytes]) -> str:
    """How the other process ended."""
    if tried.returncode < 0:
        return f"crashes on it ({signal.Signals(-tried.returncode).name})"
    lines = tried.stderr.decode("utf-8", "replace").split("\n")
    return f"cannot run it: {next((line.strip() for line in reversed(lines) if line.strip()), 'no reason given')}"


def main(engine: str, card: str) -> None:
    """Load and run; an error of our own is none here, since the caller meets it again."""
    path = Path(card)
    entry = ENGINES[engine]
    try:
        model = load(entry.import_path)(read_landmark_card(path), path.with_suffix(entry.graph), shared=True)
        model.predict(np.zeros((1, 3, model.input_size, model.input_size), np.uint8), ANCHORS)
    except VTrackError:
        return
