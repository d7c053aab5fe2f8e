"""Open pages of the browser view: each gets images no faster than it reports them as shown."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from aiohttp import WSCloseCode, web

from vtrack.pipelines.live.latency import Latency
from vtrack.types import Face, FrameResult, ImageArray

_MAX_IN_FLIGHT = 2
"""Largest number of images sent to a viewer and not yet reported as shown."""
_JPEG_QUALITY = 82


@dataclass(eq=False)
class Viewer:
    """One open page."""

    socket: web.WebSocketResponse
    packet: bytes | None = None
    """The latest image, if it has not been sent."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0

    async def send_json(self, message: dict[str, Any]) -> None:
        """Send a message, unless the page has been closed."""
        with suppress(ConnectionError):
            await self.socket.send_json(message)

    @property
    def is_ready(self) -> bool:
        """Whether it can take another image."""
        return self.packet is None and self.in_flight < _MAX_IN_FLIGHT


class Viewers:
    """All open pages.

    Attributes:
        ready: Set while at least one viewer can take another image.
    """

    def __init__(self) -> None:
        self._viewers: set[Viewer] = set()
        self.ready = threading.Event()

    def __len__(self) -> int:
        return len(self._viewers)

    def __iter__(self) -> Iterator[Viewer]:
        return iter(self._viewers)

    def add(self, viewer: Viewer) -> None:
        """Add a page that was opened."""
        self._viewers.add(viewer)
        self._update_ready()

    def remove(self, viewer: Viewer) -> None:
        """Remove a page that was closed."""
        self._viewers.discard(viewer)

    def publish(self, packet: bytes) -> None:
        """Hand an image to every viewer in place of one that has not been sent."""
        for viewer in self._viewers:
            viewer.packet = packet
            viewer.changed.set()
        self._update_ready()

    def acknowledge(self, viewer: Viewer) -> None:
        """Count an image as shown."""
        viewer.in_flight = max(viewer.in_flight - 1, 0)
        viewer.changed.set()
        self._update_ready()

    async def send_images(self, viewer: Viewer) -> None:
        """Send the latest image to a viewer whenever it can take one, until its connection is lost."""
        while True:
            await viewer.changed.wait()
            viewer.changed.clear()
            if viewer.packet is not None and viewer.in_flight < _MAX_IN_FLIGHT:
                packet, viewer.packet = viewer.packet, None
                viewer.in_flight += 1
                self._update_ready()
                try:
                    await viewer.socket.send_bytes(packet)
                except ConnectionError:
                    return

    async def send_json(self, message: dict[str, Any]) -> None:
        """Send a message to every viewer."""
        await asyncio.gather(*(viewer.send_json(message) for viewer in self), return_exceptions=True)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(viewer.socket.close(code=WSCloseCode.GOING_AWAY) for viewer in self))

    def _update_ready(self) -> None:
        if any(viewer.is_ready for viewer in self._viewers):
            self.ready.set()
        else:
            self.ready.clear()


def encode_packet(result: FrameResult, image: ImageArray, camera: str, latency: Latency) -> bytes:
    """Encode an image for the page: the length of the header (4 bytes, big endian), the header as JSON, the image as JPEG."""
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    info = {
        "frame": result.index,
        "time": round(result.time, 4),
        "fps": round(latency.fps, 1),
        "p50": round(1000 * latency.p50),
        "p95": round(1000 * latency.p95),
        "camera": camera,
        "points": len(result.query),
        "faces": [
            {
                "id": face.id,
                "points": np.round(face.points, 1).ravel().tolist(),
                "measures": _measures(face),
            }
            for face in result.faces
        ],
    }
    header = json.dumps(info).encode()
    return len(header).to_bytes(4, "big") + header + jpeg.tobytes()


def _measures(face: Face) -> dict[str, float | None]:
    """The measures of a face by name; JSON has no NaN."""
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in face.measures.items()}
