"""Strange messages to the live page's server: WebSocket text and WebRTC offers."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from functools import lru_cache
from multiprocessing.util import Finalize
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import numpy as np

from tests.clips import write_clip
from tests.fuzz.mutations import damaged
from tests.fuzz.outcomes import Outcome
from tests.fuzz.videos import scratch
from tests.pipelines.live.patience import PATIENCE
from tests.pipelines.live.serving import served, toys
from tests.pipelines.toys import painter
from vtrack.pipelines.live.browser.access import Access

SLOW = 20.0
"""Seconds of work, of all threads, in which a message is answered, also on a machine that is slow and shared."""
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
    """A live session of painted faces in this process: no model is loaded, and none takes the time of the messages."""

    def __init__(self, folder: Path) -> None:
        clip = write_clip(folder / "toys.mp4", 50, (320, 240), draw=painter(toys))
        ends = ExitStack()
        self.address = urlsplit(ends.enter_context(served(clip, folder, Access(port=0, viewers=20))))
        # Earlier than by `atexit`, before which the process waits for its threads.
        Finalize(None, ends.close, exitpriority=1)

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
        return len(list(Path("/proc/self/fd").iterdir()))


@lru_cache
def live_server() -> LiveServer:
    """The server of all cases of this process."""
    return LiveServer(scratch())


def run_case(rng: np.random.Generator, folder: Path) -> Outcome:
    """Send messages in a row; pictures must go on coming and nothing may pile up."""
    server = live_server()
    before = server.descriptors
    outcome = asyncio.run(_talk(server, rng))
    end = time.monotonic() + PATIENCE
    while server.descriptors > before + 16 and time.monotonic() < end:  # until what is being closed is closed
        time.sleep(0.1)
    if server.descriptors > before + 16:
        return Outcome("leftover", f"open descriptors rose from {before} to {server.descriptors}")
    return outcome


async def _talk(server: LiveServer, rng: np.random.Generator) -> Outcome:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.socket, headers={"Origin": server.origin}) as watcher,
    ):
        watching = asyncio.create_task(_read(watcher))
        for _ in range(8):
            message = _message(rng)
            async with session.ws_connect(server.socket, headers={"Origin": server.origin}) as sender:
                began = time.process_time()
                await sender.send_str(message)
                try:
                    async with asyncio.timeout(PATIENCE):
                        await _answer(sender)
                except TimeoutError:
                    return Outcome("hang", f"no answer to {message[:80]!r}")
                if (spent := time.process_time() - began) > SLOW:
                    return Outcome("hang", f"{message[:80]!r} took {spent:.1f} s of the processor")
        if watching.done():
            return Outcome("crash", "the connection of another viewer was closed")
        watching.cancel()
    return Outcome("clean error")


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Read until the connection is closed: who does not read does not answer either when the server asks who is there."""
    async for _ in socket:
        pass


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
