"""A served live session of toys, and a viewer without a browser, for the tests of the server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np

from tests.pipelines.live.patience import PATIENCE
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel
from vtrack.pipelines.live.browser.access import Access
from vtrack.pipelines.live.browser.server import BrowserServer
from vtrack.pipelines.live.camera import camera_opener
from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.live.recorder import LiveDrawing, OnDemandRecorder
from vtrack.pipelines.live.session import LiveSession, LiveThread
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.settings import Settings
from vtrack.query import parse_query

TOKEN = "a-good-long-token"
MOST_CALLS = 50_000
"""Function calls that one step of the server may need, in which it answers nobody else; the longest needs 14,000."""


def toys(i: int) -> list[ToyFace]:
    return [ToyFace((160 + 40 * float(np.sin(i / 5)), 120), 90)]


@contextmanager
def served(camera: Path | str, folder: Path, access: Access) -> Iterator[str]:
    """Serve a live session of toys; yields the page's address."""
    settings = Settings(
        parse_query("eyes,lips"), model=ToyModel(), detector=ToyDetector(), smooth="kalman", measures=True
    )
    ready, addresses = threading.Event(), []

    def report(address: str) -> None:
        addresses.append(address)
        ready.set()

    draw = LiveDrawing()
    with Capture(camera_opener(str(camera), loop=True)) as capture:
        session = LiveSession(Pipeline(settings), capture)
        recorder = OnDemandRecorder(session, draw, folder)
        with recorder, LiveThread(session, recorder.write) as tracking:
            server = BrowserServer(session, tracking.latest, draw, recorder, access)
            thread = threading.Thread(target=lambda: asyncio.run(server.run(report)))
            thread.start()
            try:
                assert ready.wait(PATIENCE)
                yield addresses[0]
            finally:
                capture.stop()
                thread.join(PATIENCE)
        assert not thread.is_alive()


_ENDS = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


class Page:
    """A viewer without a browser. It is always reading: the server closes the connection of who does not answer its pings."""

    def __init__(self, address: str, **headers: str) -> None:
        self._root, _, self._question = address.partition("?")
        self._headers = {"Origin": self._root.rstrip("/"), **headers}

    async def __aenter__(self) -> Page:
        self._session = aiohttp.ClientSession()
        try:
            self.socket = await self._session.ws_connect(f"{self._root}ws?{self._question}", headers=self._headers)
        except BaseException:
            await self._session.close()
            raise
        self._messages: asyncio.Queue[aiohttp.WSMessage] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self.socket.close()
        await self._session.close()

    async def _read(self) -> None:
        while True:
            message = await self.socket.receive()
            self._messages.put_nowait(message)
            if message.type in _ENDS:
                return

    async def receive(self) -> aiohttp.WSMessage:
        """The next message."""
        async with asyncio.timeout(PATIENCE):
            return await self._messages.get()

    async def message_with(self, *keys: str) -> dict[str, object]:
        """The next text message that has one of these keys."""
        while (message := await self.receive()).type not in _ENDS:
            if message.type == aiohttp.WSMsgType.TEXT and set(keys) & set(found := json.loads(message.data)):
                return found
        raise ConnectionError("the server has closed the connection")

    async def image(self) -> tuple[dict[str, object], bytes]:
        """The next image: header and JPEG; reports it as shown."""
        while (message := await self.receive()).type not in _ENDS:
            if message.type == aiohttp.WSMsgType.BINARY:
                length = int.from_bytes(message.data[:4], "big")
                info = json.loads(message.data[4 : 4 + length])
                await self.socket.send_json({"do": "shown", "frame": info["frame"]})
                return info, message.data[4 + length :]
        raise ConnectionError("the server has closed the connection")


async def status(address: str, **headers: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(address, headers=headers) as answer:
        return int(answer.status)
