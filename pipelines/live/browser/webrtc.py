"""The camera of the browser that looks at the page, over WebRTC: its pictures come here, the results go back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator

import av
import numpy as np

from vtrack.errors import MissingExtraError, UsageError
from vtrack.pipelines.live.camera import Camera
from vtrack.pipelines.live.latest import Newest
from vtrack.types import ImageArray

try:
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
    from aiortc.mediastreams import MediaStreamError
except ImportError as error:
    raise MissingExtraError('the browser\'s camera needs aiortc; pip install "vtrack[live]"') from error

NAME = "the browser's camera"
_POLL = 0.1


class Awaited(Camera):
    """No camera yet: the page may bring one."""

    name = NAME

    def pictures(self, leave: threading.Event) -> Iterator[ImageArray]:
        leave.wait()
        yield from ()

    def close(self) -> None:
        """There is nothing to let go of."""


class BrowserCamera(Camera):
    """What a browser sends. Pictures are put in by the connection and taken out by the capture."""

    name = NAME

    def __init__(self) -> None:
        self._newest: Newest[av.VideoFrame] = Newest()

    def put(self, frame: av.VideoFrame) -> None:
        """The newest picture."""
        self._newest.put(frame)

    def pictures(self, leave: threading.Event) -> Iterator[ImageArray]:
        while not leave.is_set():
            frame = self._newest.take(_POLL)
            if frame is not None:
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            elif self._newest.closed:
                return

    def close(self) -> None:
        self._newest.close()


class Peer:
    """A connection to one browser. `begin` is called with its camera once there is one, `end` once it is gone."""

    def __init__(self, begin: Callable[[Camera], object], end: Callable[[], Awaitable[object]]) -> None:
        self._begin, self._end = begin, end
        # No servers on the way: page and program are on one machine or in one network.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._camera = BrowserCamera()
        self._task: asyncio.Task[None] | None = None

    async def answer(self, sdp: str) -> str:
        """The answer to a browser's offer."""
        try:
            self._connection.on("track", self._on_track)
            self._connection.on("connectionstatechange", self._on_state)
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            if not any(transceiver.kind == "video" for transceiver in self._connection.getTransceivers()):
                raise ValueError("no video")
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except (ValueError, IndexError, KeyError, AssertionError) as error:
            await self.close()
            raise UsageError("that is no offer of a browser's camera") from error
        return str(self._connection.localDescription.sdp)

    async def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
        self._camera.close()
        await self._connection.close()

    def _on_track(self, track: object) -> None:
        if self._task is None and getattr(track, "kind", "") == "video":
            self._task = asyncio.ensure_future(self._receive(track))

    async def _on_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            await self._end()

    async def _receive(self, track: object) -> None:
        begun = False
        while True:
            try:
                frame = await track.recv()  # type: ignore[attr-defined]
            except MediaStreamError:
                break
            self._camera.put(frame)
            if not begun:
                begun = True
                self._begin(self._camera)
        await self._end()
