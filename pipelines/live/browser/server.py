"""The server of the browser view: one page, and one WebSocket per viewer for images, controls and the browser's camera.

It listens on this machine only by default, and the page's address contains a token, so that other users of the machine cannot
watch. Requests must name this server (`Host` header), and a WebSocket is accepted only from its own pages (`Origin` header), so
that no other page in the same browser can see the camera.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtrack.errors import MissingExtraError, SinkError, VTrackError
from vtrack.pipelines.live.browser.access import Access
from vtrack.pipelines.live.browser.controls import Controls
from vtrack.pipelines.live.browser.messages import MAX_MESSAGE, error_answer, parse_message
from vtrack.pipelines.live.latency import LatencyMeter
from vtrack.pipelines.live.latest import Latest
from vtrack.pipelines.live.recorder import LiveDrawing, OnDemandRecorder
from vtrack.pipelines.live.session import LiveResult, LiveSession, mirrored

try:
    from aiohttp import WSMsgType, web
    from aiohttp.http_exceptions import HttpProcessingError
except ImportError as error:
    raise MissingExtraError('--view browser needs aiohttp; pip install "vtrack[live]", or use --view window') from error

from vtrack.pipelines.live.browser.viewer import Viewer, Viewers, encode_packet

if TYPE_CHECKING:
    from vtrack.pipelines.live.browser.webrtc import BrowserConnection

WEB = Path(__file__).parent / "web"
FULL = 4001
"""WebSocket close code if the largest number of viewers is reached."""
_STATUS_INTERVAL = 0.3
"""Seconds between two checks of the camera's status."""
_MAX_SOCKET_MESSAGE = 4 * MAX_MESSAGE
"""Bytes of a message for which the socket is closed; shorter ones that are too long get an answer."""
_MAX_CAPTURE_TIMES = 100
"""Frames whose capture time is kept until a page reports them as shown."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "vtrack",
}
log = logging.getLogger(__name__)


class _MalformedRequests(logging.Filter):
    """Drops messages about requests that are no HTTP: anybody can cause them, and they quote the address with its token."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


log.addFilter(_MalformedRequests())


class _Handler(web.RequestHandler):
    """One connection. What aiohttp itself answers, as to requests that are no HTTP, has the headers of every response."""

    __slots__ = ()

    def handle_error(self, *args: Any, **options: Any) -> web.StreamResponse:
        response = super().handle_error(*args, **options)
        response.headers.update(_HEADERS)
        return response


class _Server(web.Server):
    """Makes the connections."""

    def __call__(self) -> web.RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """Runs the application on a server of ours; aiohttp has no option for it."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server


class BrowserServer:
    """Serves the results of one live session.

    Args:
        session: The session that the page controls.
        results: The latest result.
        draw: Draws results; the page changes what is drawn.
        recorder: Started and stopped by the page.
        access: Where to listen and who may connect.
        mirror: Whether the view starts mirrored.
    """

    def __init__(
        self,
        session: LiveSession,
        results: Latest[LiveResult],
        draw: LiveDrawing,
        recorder: OnDemandRecorder,
        access: Access,
        *,
        mirror: bool = True,
    ) -> None:
        self._session, self._capture, self._results, self._draw = session, session.capture, results, draw
        self.access = access
        self._controls = Controls(session, draw, recorder, mirror=mirror)
        self._viewers = Viewers()
        self._opener = session.capture.opener
        self._browser: tuple[Viewer, BrowserConnection] | None = None
        self._browser_switch = asyncio.Lock()
        self._can_use_browser_camera = find_spec("aiortc") is not None
        self._capture_times: dict[int, float] = {}
        self._meter = LatencyMeter()
        self._ended = asyncio.Event()

    async def run(self, ready: Callable[[str], object]) -> None:
        """Serve until there are no more results.

        Args:
            ready: Called with the page's address when the server is listening.

        Raises:
            SinkError: The address cannot be listened on.
            UsageError: The certificate cannot be loaded.
        """
        app = web.Application(middlewares=[self._check_request])
        app.on_response_prepare.append(_add_headers)
        app.add_routes([web.get("/", self._page), web.get("/ws", self._socket), web.static("/web", WEB)])
        runner = _Runner(app, access_log=None, logger=log, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.access.host, self.access.port, ssl_context=self.access.ssl_context())
            try:
                await site.start()
            except OSError as error:
                address = f"{self.access.host}:{self.access.port}"
                raise SinkError(f"cannot listen on {address}: {error.strerror or error}; try --port 0") from error
            ready(self.access.url(runner.addresses[0][1]))
            loop = asyncio.get_running_loop()
            images = threading.Thread(target=self._make_images, args=(loop,), name="vtrack-images", daemon=True)
            images.start()
            watcher = asyncio.create_task(self._watch_status())
            await self._ended.wait()
            watcher.cancel()
            async with self._browser_switch:
                await self._close_browser()
            images.join()
            await self._viewers.close()
        finally:
            await runner.cleanup()

    # Requests

    @web.middleware
    async def _check_request(self, request: web.Request, handler: Any) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not self.access.allows_host(host):
            raise web.HTTPForbidden(text="unknown host name; use the address that vtrack printed\n")
        if request.path in ("/", "/ws") and not self.access.allows_token(request.query.get("token", "")):
            raise web.HTTPForbidden(text="missing or wrong token; use the address that vtrack printed\n")
        if request.path == "/ws" and request.headers.get("Origin") != f"{request.scheme}://{host}":
            raise web.HTTPForbidden(text="only pages of this server may connect\n")
        response: web.StreamResponse = await handler(request)
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(WEB / "index.html")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=20, max_msg_size=_MAX_SOCKET_MESSAGE, compress=False)
        await socket.prepare(request)
        if len(self._viewers) >= self.access.viewers:
            await socket.close(code=FULL, message=b"too many viewers")
            return socket
        viewer = Viewer(socket)
        self._viewers.add(viewer)
        sender = asyncio.create_task(self._viewers.send_images(viewer))
        try:
            await socket.send_json(self._state())
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await self._receive(viewer, message.data)
        finally:
            self._viewers.remove(viewer)
            sender.cancel()
            await self._disconnect_browser(viewer)
        return socket

    # Images

    def _make_images(self, loop: asyncio.AbstractEventLoop) -> None:
        """Draw and encode results while a viewer can take them; runs in a thread of its own."""
        while (live := self._results.take(0.2)) is not None or not self._results.closed:
            if live is not None and self._viewers.ready.is_set() and not self._controls.paused:
                result = mirrored(live.shown) if self._controls.mirror else live.shown
                camera, latency = self._capture.status.camera, self._meter.recent
                packet = encode_packet(result, self._draw(result), camera, latency)
                self._capture_times[result.index] = result.time
                while len(self._capture_times) > _MAX_CAPTURE_TIMES:
                    del self._capture_times[next(iter(self._capture_times))]
                loop.call_soon_threadsafe(self._viewers.publish, packet)
        loop.call_soon_threadsafe(self._ended.set)

    # Messages

    async def _receive(self, viewer: Viewer, text: str) -> None:
        try:
            message = parse_message(text)
            match message["do"]:
                case "shown":
                    captured = self._capture_times.get(int(message["frame"]))
                    if captured is not None:
                        self._meter.add(captured, self._capture.now)
                    self._viewers.acknowledge(viewer)
                    return
                case "camera":
                    await self._use_browser_camera(viewer, message.get("offer"))
                case "record":  # opening and finishing files takes time
                    await asyncio.to_thread(self._controls.apply, message)
                case _:
                    self._controls.apply(message)
        except VTrackError as error:
            await viewer.send_json(error_answer(error))
        except (ValueError, TypeError, KeyError):
            await viewer.send_json({"error": "invalid message"})
        else:
            await self._send_state()

    def _state(self) -> dict[str, Any]:
        """State of the controls and the camera as JSON for the page."""
        status = self._capture.status
        return {
            **self._controls.state(),
            "can_use_browser_camera": self._can_use_browser_camera,
            "uses_browser_camera": self._browser is not None,
            "connection": {"state": status.state, "camera": status.camera, "detail": status.detail},
        }

    async def _send_state(self) -> None:
        await self._viewers.send_json(self._state())

    async def _watch_status(self) -> None:
        """Send the state when the camera is lost or back, and when a recording has ended by itself."""
        status = None
        while True:
            now = self._capture.status, self._controls.recording, self._session.notice
            if now != status:
                status = now
                await self._send_state()
            await asyncio.sleep(_STATUS_INTERVAL)

    # The browser's camera

    async def _use_browser_camera(self, viewer: Viewer, offer: object) -> None:
        """Switch to the camera that a page offers; without an offer, back to the original camera."""
        if offer is None:
            await self._disconnect_browser(viewer)
            return
        # aiortc is an extra of its own, and importing it takes time.
        webrtc = await asyncio.to_thread(importlib.import_module, "vtrack.pipelines.live.browser.webrtc")

        async def end() -> None:
            await self._disconnect_browser(browser)

        async with self._browser_switch:  # offers of several pages are answered one after the other
            browser = webrtc.BrowserConnection(lambda camera: self._capture.switch(lambda: camera), end)
            answer = await browser.answer(offer)
            await self._close_browser()
            self._browser = viewer, browser
        await viewer.send_json({"answer": answer})

    async def _disconnect_browser(self, whose: Viewer | BrowserConnection) -> None:
        """Switch back from a browser's camera, if it is that of this viewer or connection."""
        async with self._browser_switch:
            if self._browser is None or whose not in self._browser:
                return
            await self._close_browser()
        await self._send_state()

    async def _close_browser(self) -> None:
        """Close the connection to a browser's camera, if there is one."""
        if self._browser is not None:
            (_, browser), self._browser = self._browser, None
            await browser.close()
            self._capture.switch(self._opener)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that every response has, those of refused requests too."""
    response.headers.update(_HEADERS)
