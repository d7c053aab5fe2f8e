"""Strange messages to the live page's server: WebSocket text and WebRTC offers."""

from __future__ import annotations

import asyncio
import atexit
import json
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import numpy as np

from tests.fuzz.mutations import damaged
from tests.fuzz.outcomes import Outcome
from tests.fuzz.videos import SAMPLE, scratch

SLOW = 1.0
"""Seconds that a message may keep the server from sending pictures to everybody."""
OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n"
MESSAGES = (
    {"do": "show", "parts": ["eyes", "lips"], "density": 2},
    {"do": "smooth", "strength": 0.5},
    {"do": "draw", "kinds": "points,curves"},
    {"do": "mirror", "on": False},
    {"do": "record", "on": True},
    {"do": "record", "on": False},
    {"do": "shown", "frame": 3},
    {"do": "camera", "offer": OFFER},
    {"do": "camera"},
)
STRANGE = (
    *("", "null", "[]", "1e999", '"\\ud800"', "[" * 60_000),
    '{"do": "shown", "frame": 1e999}',
    '{"do": "smooth", "strength": "NaN"}',
    json.dumps({"do": "show", "parts": ["jaw"] * 4500, "density": 1}),
)


class LiveServer:
    """A `vtrack webcam` that shows the sample again and again to browsers of this machine."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "vtrack", "webcam", "--camera", str(SAMPLE), "--loop", "--view", "browser"]
        # It ends by itself should this process be killed.
        command += ["--seconds", "900"]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "-o", str(folder)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert self.process.stderr is not None
        address = None
        while address is None and (line := self.process.stderr.readline()):
            address = re.search(r"https?://\S+", line)
        if address is None:
            raise RuntimeError("the live server did not start")
        self.address = urlsplit(address[0])
        atexit.register(self.process.kill)

    @property
    def socket(self) -> str:
        """Address of the WebSocket."""
        return self.address._replace(scheme="ws", path="/ws").geturl()

    @property
    def origin(self) -> str:
        """What a page of this server says where it is from."""
        return f"{self.address.scheme}://{self.address.netloc}"

    @property
    def descriptors(self) -> int:
        """How many files and sockets the process holds open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@lru_cache
def live_server() -> LiveServer:
    """The server of all cases of this process."""
    return LiveServer(scratch())


def run_case(rng: np.random.Generator, folder: Path) -> Outcome:
    """Send messages in a row; pictures must go on coming and nothing may pile up."""
    server = live_server()
    before = server.descriptors
    outcome = asyncio.run(_talk(server, rng))
    if server.process.poll() is not None:
        live_server.cache_clear()
        return Outcome("crash", f"the server ended with {server.process.returncode}")
    if server.descriptors > before + 16:
        return Outcome("leftover", f"open descriptors rose from {before} to {server.descriptors}")
    return outcome


async def _talk(server: LiveServer, rng: np.random.Generator) -> Outcome:
    loop = asyncio.get_running_loop()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.socket, headers={"Origin": server.origin}) as watcher,
    ):
        for _ in range(8):
            message = _message(rng)
            async with session.ws_connect(server.socket, headers={"Origin": server.origin}) as sender:
                began = loop.time()
                await sender.send_str(message)
                try:
                    async with asyncio.timeout(10):
                        await _answer(sender)
                except TimeoutError:
                    return Outcome("hang", f"no answer to {message[:80]!r}")
                if loop.time() - began > SLOW * 3:
                    return Outcome("hang", f"{message[:80]!r} was answered after {loop.time() - began:.1f} s")
        if watcher.closed:
            return Outcome("crash", "the connection of another viewer was closed")
    return Outcome("clean error")


async def _answer(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Wait for the server's state, an error, or the end of the connection after a message."""
    texts = 0
    async for message in socket:
        if message.type == aiohttp.WSMsgType.TEXT:
            texts += 1
            if texts == 2 or "error" in json.loads(message.data):
                return
        elif texts and message.type == aiohttp.WSMsgType.BINARY:
            return


def _message(rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        return STRANGE[rng.integers(len(STRANGE))]
    text = json.dumps(MESSAGES[rng.integers(len(MESSAGES))])
    return damaged(text.encode(), rng).decode("utf-8", "replace") if rng.random() < 0.7 else text
