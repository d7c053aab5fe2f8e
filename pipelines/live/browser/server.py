"""The live picture in a browser: one page, one WebSocket, pictures no faster than each viewer can take them.

Binds to this machine alone unless told otherwise; elsewhere the page's address carries a token. A WebSocket is opened
for pages of this server only (Origin), so no other page in the same browser can look through the camera.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import math
import secrets
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from vtrack.errors import MissingExtraError, SinkError, UsageError, VTrackError
from vtrack.parts import GROUPS, PARTS
from vtrack.pipelines.live.latency import PaceMeter
from vtrack.pipelines.live.latest import Newest
from vtrack.pipelines.live.recorder import Drawings, Recordings
from vtrack.pipelines.live.session import Live, LiveResult, mirrored
from vtrack.pipelines.outputs.drawing.drawing import parse_kinds
from vtrack.pipelines.smoothing.motion import Smoothing
from vtrack.query import parse_query
from vtrack.types import Face, FrameResult, Query

if TYPE_CHECKING:
    from vtrack.pipelines.live.webrtc import Peer

try:
    from aiohttp import WSCloseCode, WSMsgType, web
except ImportError as error:
    raise MissingExtraError(
        'the browser view needs aiohttp; pip install "vtrack[live]", or use --view window'
    ) from error

WEB = Path(__file__).parent / "web"
CHIPS = ("jaw", "brows", "eyes", "pupils", "nose", "lips", "irises", "hairline", "ears")
"""What the page offers to show."""
DENSITY = (0.25, 6.0)
FULL = 4001
"""WebSocket close code of a server that has all the viewers it takes."""
_IN_FLIGHT = 2
"""Pictures that are on their way to a viewer at most."""
_QUALITY = 82
_LOOK = 0.3
"""Seconds between two looks at the camera's connection."""
_LARGEST_MESSAGE = 64 * 1024
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Where the server listens, and who may look."""

    host: str = "127.0.0.1"
    port: int = 8008
    """0 for any that is free."""
    viewers: int = 4
    token: str | None = None
    """Made up where one is needed and none is given."""
    certificate: Path | None = None
    """PEM; with it the page is served by https."""
    key: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise UsageError(f"the port must lie in 0..65535, got {self.port}")
        if self.viewers < 1:
            raise UsageError(f"viewers must be at least 1, got {self.viewers}")
        if self.token is not None and len(self.token) < 8:
            raise UsageError("the token must have at least 8 characters")
        if self.token is None and not self.is_local:
            object.__setattr__(self, "token", secrets.token_urlsafe(16))

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach the server."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def encryption(self) -> ssl.SSLContext | None:
        """What https needs, if it is wanted."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # ssl's own errors are among them
            raise UsageError(f"{self.certificate}: cannot be used as a certificate with its key ({error})") from error
        return context

    def allows_host(self, host: str) -> bool:
        """Whether a request may be for this `Host`; a page of another name that points here is not ours."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        return not self.is_local or name.strip("[]") in (self.host, "localhost", "127.0.0.1", "::1")

    def allows_token(self, token: str) -> bool:
        """Whether a request's token is right, if there must be one."""
        return self.token is None or hmac.compare_digest(token.encode(), self.token.encode())


@dataclass(eq=False)
class _Viewer:
    """One open page."""

    socket: web.WebSocketResponse
    packet: bytes | None = None
    """The newest picture it has not been sent."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0

    @property
    def wants(self) -> bool:
        return self.packet is None and self.in_flight < _IN_FLIGHT


@dataclass
class _Controls:
    """What the page's controls stand at; the same for all viewers."""

    parts: list[str]
    density: float = 1.0
    strength: float = 0.5
    draw: str = "points,curves"
    mirror: bool = True
    paused: bool = False


class Server:
    """Serves one live picture."""

    def __init__(
        self,
        live: Live,
        newest: Newest[LiveResult],
        draw: Drawings,
        recordings: Recordings,
        access: Access,
        *,
        mirror: bool = True,
    ) -> None:
        self._live, self._newest, self._draw, self._recordings = live, newest, draw, recordings
        self.access = access
        asked = live.pipeline.settings.strength
        strength = Smoothing().strength if asked is None else asked
        self._controls = _Controls(_chips_of(live.query), strength=strength, draw=",".join(draw.kinds), mirror=mirror)
        self._viewers: set[_Viewer] = set()
        self._opener = live.capture.opener
        self._peer: tuple[_Viewer, Peer] | None = None
        self._captured: dict[int, float] = {}
        self._meter = PaceMeter()
        self._wanted = threading.Event()
        self._ended = asyncio.Event()

    async def run(self, ready: Callable[[str], object]) -> None:
        """Serve until there are no more results; `ready` gets the page's address once it is there."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes([web.get("/", self._page), web.get("/ws", self._socket), web.static("/web", WEB)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.access.host, self.access.port, ssl_context=self.access.encryption())
            try:
                await site.start()
            except OSError as error:
                place = f"{self.access.host}:{self.access.port}"
                raise SinkError(f"cannot listen on {place}: {error.strerror or error}; try --port 0") from error
            port = runner.addresses[0][1]
            ready(self._address(port))
            loop = asyncio.get_running_loop()
            pictures = threading.Thread(target=self._make_pictures, args=(loop,), name="vtrack-pictures", daemon=True)
            pictures.start()
            teller = asyncio.create_task(self._tell_connection())
            await self._ended.wait()
            teller.cancel()
            await self._hang_up()
            pictures.join()
            await asyncio.gather(*(viewer.socket.close(code=WSCloseCode.GOING_AWAY) for viewer in self._viewers))
        finally:
            await runner.cleanup()

    def _address(self, port: int) -> str:
        host = f"[{self.access.host}]" if ":" in self.access.host else self.access.host
        token = f"?token={self.access.token}" if self.access.token else ""
        scheme = "http" if self.access.certificate is None else "https"
        return f"{scheme}://{host}:{port}/{token}"

    # Who may look

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not self.access.allows_host(request.host):
            raise web.HTTPForbidden(text="this server does not go by that name\n")
        if request.path in ("/", "/ws") and not self.access.allows_token(request.query.get("token", "")):
            raise web.HTTPForbidden(text="the address lacks its token; use the one that vtrack printed\n")
        if request.path == "/ws" and request.headers.get("Origin") != f"{request.scheme}://{request.host}":
            raise web.HTTPForbidden(text="only pages of this server may connect\n")
        response: web.StreamResponse = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(WEB / "index.html")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=20, max_msg_size=_LARGEST_MESSAGE, compress=False)
        await socket.prepare(request)
        if len(self._viewers) >= self.access.viewers:
            await socket.close(code=FULL, message=b"all places are taken")
            return socket
        viewer = _Viewer(socket)
        self._viewers.add(viewer)
        self._wanted.set()
        sender = asyncio.create_task(self._send(viewer))
        try:
            await socket.send_json(self._state())
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await self._receive(viewer, message.data)
        finally:
            self._viewers.discard(viewer)
            sender.cancel()
            if self._peer is not None and self._peer[0] is viewer:
                await self._hang_up()
        return socket

    # Pictures

    def _make_pictures(self, loop: asyncio.AbstractEventLoop) -> None:
        """Draw and encode results while there are viewers with room for them; in a thread of its own."""
        while (live := self._newest.take(0.2)) is not None or not self._newest.closed:
            if live is not None and self._wanted.is_set() and not self._controls.paused:
                packet = self._packet(live.shown)
                self._captured[live.shown.index] = live.shown.time
                while len(self._captured) > 100:
                    del self._captured[next(iter(self._captured))]
                loop.call_soon_threadsafe(self._publish, packet)
        loop.call_soon_threadsafe(self._ended.set)

    def _packet(self, shown: FrameResult) -> bytes:
        """A picture for the page: the length of the facts, the facts as JSON, the picture as JPEG."""
        result = mirrored(shown) if self._controls.mirror else shown
        image = cv2.cvtColor(self._draw(result), cv2.COLOR_RGB2BGR)
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        pace, connection = self._meter.pace, self._live.capture.connection
        facts = {
            "frame": result.index,
            "time": round(result.time, 4),
            "fps": round(pace.fps, 1),
            "p50": round(1000 * pace.p50),
            "p95": round(1000 * pace.p95),
            "camera": connection.camera,
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
        head = json.dumps(facts).encode()
        return len(head).to_bytes(4, "big") + head + jpeg.tobytes()

    def _publish(self, packet: bytes) -> None:
        for viewer in self._viewers:
            viewer.packet = packet  # one that was not sent yet is forgotten
            viewer.changed.set()
        self._update_wanted()

    def _update_wanted(self) -> None:
        if any(viewer.wants for viewer in self._viewers):
            self._wanted.set()
        else:
            self._wanted.clear()

    async def _send(self, viewer: _Viewer) -> None:
        """Send the newest picture whenever fewer than `_IN_FLIGHT` are on their way."""
        while True:
            await viewer.changed.wait()
            viewer.changed.clear()
            if viewer.packet is not None and viewer.in_flight < _IN_FLIGHT:
                packet, viewer.packet = viewer.packet, None
                viewer.in_flight += 1
                self._update_wanted()
                try:
                    await viewer.socket.send_bytes(packet)
                except ConnectionError:
                    return

    # Controls

    async def _receive(self, viewer: _Viewer, text: str) -> None:
        try:
            message = json.loads(text)
            if message["do"] == "camera":
                await self._use_camera(viewer, message.get("offer"))
                changed = True
            else:
                changed = self._obey(viewer, message)
        except VTrackError as error:
            await viewer.socket.send_json({"error": str(error)})
        except (ValueError, TypeError, KeyError, AttributeError):
            await viewer.socket.send_json({"error": "that message cannot be understood"})
        else:
            if changed:
                await self._tell_state()

    async def _use_camera(self, viewer: _Viewer, offer: str | None) -> None:
        """Take the pictures of this page's camera, which it offers; without an offer, our own again."""
        if offer is None:
            if self._peer is not None and self._peer[0] is viewer:
                await self._hang_up()
            return
        await self._hang_up()
        from vtrack.pipelines.live.webrtc import Peer

        peer = Peer(lambda camera: self._live.capture.switch(lambda: camera), self._hang_up)
        answer = await peer.answer(str(offer))
        self._peer = viewer, peer
        await viewer.socket.send_json({"answer": answer})

    async def _hang_up(self) -> None:
        if self._peer is not None:
            (_, peer), self._peer = self._peer, None
            await peer.close()
            self._live.capture.switch(self._opener)
            await self._tell_state()

    async def _tell_state(self) -> None:
        state = self._state()
        await asyncio.gather(*(viewer.socket.send_json(state) for viewer in self._viewers), return_exceptions=True)

    async def _tell_connection(self) -> None:
        """Tell every page when the camera is lost and when it is back."""
        told = self._live.capture.connection
        while True:
            await asyncio.sleep(_LOOK)
            if self._live.capture.connection != told:
                told = self._live.capture.connection
                await self._tell_state()

    def _obey(self, viewer: _Viewer, message: dict[str, Any]) -> bool:
        """Do what a page asks; True if the controls have changed."""
        controls = self._controls
        match message["do"]:
            case "shown":
                captured = self._captured.get(int(message["frame"]))
                if captured is not None:
                    self._meter.add(captured, self._live.capture.now)
                viewer.in_flight = max(viewer.in_flight - 1, 0)
                viewer.changed.set()
                self._update_wanted()
                return False
            case "show":
                parts, density = [str(part) for part in message["parts"]], float(message["density"])
                self._live.show(query_of(parts, density))
                controls.parts, controls.density = parts, density
            case "smooth":
                strength = float(message["strength"])
                self._live.smooth(strength)
                controls.strength = strength
            case "draw":
                self._draw.kinds, controls.draw = parse_kinds(str(message["kinds"])), str(message["kinds"])
            case "mirror":
                controls.mirror = bool(message["on"])
            case "pause":
                controls.paused = bool(message["on"])
            case "record":
                if message["on"]:
                    self._recordings.start()
                else:
                    self._recordings.stop()
            case other:
                raise UsageError(f"there is nothing called {other!r} to do")
        return True

    def _state(self) -> dict[str, Any]:
        """Where the controls stand, for every page."""
        connection = self._live.capture.connection
        return {
            "chips": list(CHIPS),
            **vars(self._controls),
            "points": len(self._live.query),
            "can_use_browser_camera": find_spec("aiortc") is not None,
            "uses_browser_camera": self._peer is not None,
            "recording": self._recordings.on,
            "recorded": [str(path) for path in self._recordings.paths],
            "connection": {"state": connection.state, "camera": connection.camera, "detail": connection.detail},
        }


def query_of(parts: list[str], density: float) -> Query:
    """The points of these chips at some density, 1 for as many as each has by itself."""
    if not DENSITY[0] <= density <= DENSITY[1]:
        raise UsageError(f"density must lie in {DENSITY[0]:g}..{DENSITY[1]:g}, got {density:g}")
    unknown = [part for part in parts if part not in CHIPS]
    if unknown:
        raise UsageError(f"unknown parts {', '.join(unknown)}; choose from {', '.join(CHIPS)}")
    terms = []
    for part in parts:
        members = [PARTS[name] for name in GROUPS.get(part, (part,))]
        count = round(density * sum(member.count for member in members))
        # A pupil is one point however dense the rest.
        single = all(member.count == 1 for member in members)
        terms.append(part if single else f"{part}:{max(count, 2 * len(members))}")
    return parse_query(",".join(terms)) if terms else Query((), ())


def _chips_of(query: Query) -> list[str]:
    """The chips that stand for a query's parts."""
    return [chip for chip in CHIPS if set(GROUPS.get(chip, (chip,))) & set(query.parts)]


def _measures(face: Face) -> dict[str, float | None]:
    """The measures of a face by name; JSON knows no NaN."""
    measures = () if face.measures is None else face.measures.items()
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in measures}
