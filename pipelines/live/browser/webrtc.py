"""WebRTC connection to the browser that shows the page: receives its camera's frames."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from vtrack.errors import MissingExtraError, UsageError
from vtrack.pipelines.live.camera import BrowserCamera, Camera

try:
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
    from aiortc.mediastreams import MediaStreamError
except ImportError as error:
    raise MissingExtraError('the browser\'s camera needs aiortc; pip install "vtrack[live]"') from error

_MEDIA = re.compile(r"^m=", re.MULTILINE)
_CANDIDATE = re.compile(r"^a=candidate:", re.MULTILINE)
_MAX_OFFER = 16 * 1024
"""Characters of an offer, of which browsers need half; 50,000 took aiortc 80 ms."""
_MAX_MEDIA, _MAX_CANDIDATES = 2, 64
"""Media and candidate addresses in an offer; the page offers one video, and a browser a few addresses."""


class BrowserConnection:
    """A connection to one browser.

    Args:
        on_start: Called with the camera when its first frame arrives.
        on_end: Called when the connection is lost.
    """

    def __init__(self, on_start: Callable[[Camera], object], on_end: Callable[[], Awaitable[object]]) -> None:
        self._on_start, self._on_end = on_start, on_end
        # No STUN or TURN servers: the browser is on this machine or in the same network.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._camera = BrowserCamera()
        self._task: asyncio.Task[None] | None = None

    async def answer(self, offer: object) -> str:
        """Answer a browser's offer; both are session descriptions (SDP).

        Raises:
            UsageError: The offer is invalid or contains no video; the connection is closed.
        """
        try:
            if not isinstance(offer, str) or len(offer) > _MAX_OFFER or len(_MEDIA.findall(offer)) > _MAX_MEDIA:
                raise ValueError("no offer of one video")
            if len(_CANDIDATE.findall(offer)) > _MAX_CANDIDATES:
                raise ValueError("too many candidates")
            self._connection.on("track", self._on_track)
            self._connection.on("connectionstatechange", self._on_state)
            await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            if not any(transceiver.kind == "video" for transceiver in self._connection.getTransceivers()):
                raise ValueError("no video")
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except Exception as error:  # aiortc raises whatever its parser meets: StopIteration, IndexError, ...
            await self.close()
            raise UsageError("invalid WebRTC offer") from error
        except BaseException:
            await self.close()
            raise
        return str(self._connection.localDescription.sdp)

    async def close(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
        self._camera.close()
        await self._connection.close()

    def _on_track(self, track: object) -> None:
        if self._task is None and getattr(track, "kind", "") == "video":
            self._task = asyncio.ensure_future(self._receive(track))

    async def _on_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            await self._on_end()

    async def _receive(self, track: object) -> None:
        started = False
        while True:
            try:
                frame = await track.recv()  # type: ignore[attr-defined]
            except MediaStreamError:
                break
            self._camera.put(frame)
            if not started:
                started = True
                self._on_start(self._camera)
        await self._on_end()
