"""Datagrams of `vtrack webcam --emit`, as another program receives them."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLE = str(Path(__file__).parents[2] / "samples" / "sample.mp4")


@contextmanager
def live_datagrams(kind: str, *options: str) -> Iterator[Callable[[], bytes]]:
    """Emit a stream of the sample, over and over; gives what waits for the next datagram."""
    arguments = ["webcam", "--camera", SAMPLE, "--loop", "--view", "none", *options, "--emit", kind]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(300)
        to = f"127.0.0.1:{receiver.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, "-m", "vtrack", *arguments, "--to", to], stderr=subprocess.DEVNULL
        ) as live:
            try:
                yield lambda: receiver.recv(65536)
            finally:
                live.terminate()
