# ruff: noqa: E402  without aiohttp the module is skipped before it imports what needs it
"""The browser view: access, messages of the page, and the page itself in Chromium."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import av
import pytest

aiohttp = pytest.importorskip("aiohttp", reason='the browser view needs aiohttp: pip install "vtrack[live]"')

from tests.clips import write_clip
from tests.pipelines.live.chromium import CHROMIUM, Browser
from tests.pipelines.live.disk import full_disk
from tests.pipelines.live.patience import PATIENCE
from tests.pipelines.live.serving import TOKEN, Page, served, toys
from tests.pipelines.toys import ToyDetector, ToyModel, painter
from vtrack.errors import SinkError
from vtrack.pipelines.live.browser.access import Access
from vtrack.pipelines.live.browser.controls import Controls, query_of
from vtrack.pipelines.live.browser.server import FULL, BrowserServer
from vtrack.pipelines.live.camera import camera_opener
from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.live.recorder import LiveDrawing, OnDemandRecorder
from vtrack.pipelines.live.session import LiveSession, LiveThread
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.sources.open import open_source
from vtrack.query import parse_query

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("live") / "toys.mp4", 60, (320, 240), draw=painter(toys), rate=20)


@pytest.fixture
def address(clip: Path, tmp_path: Path) -> Iterator[str]:
    with served(clip, tmp_path, Access(port=0, viewers=2, token=TOKEN)) as found:
        yield found


def test_the_number_of_viewers_is_limited(address: str) -> None:
    async def check() -> None:
        async with Page(address), Page(address), Page(address) as third:
            message = await third.receive()
            assert message.type == aiohttp.WSMsgType.CLOSE and message.data == FULL
        async with Page(address) as another:
            assert (await another.message_with("chips"))["parts"] == ["eyes", "lips"]

    asyncio.run(check())


async def images_until_error(page: Page) -> int:
    """Number of images that come before the answer to a wrong message; none is reported as shown."""
    images = 0
    while (message := await page.receive()).type != aiohttp.WSMsgType.TEXT or "error" not in json.loads(message.data):
        images += message.type == aiohttp.WSMsgType.BINARY
    return images


def test_a_slow_viewer_gets_few_and_recent_images(address: str) -> None:
    async def check() -> None:
        async with Page(address) as quick, Page(address) as slow:
            frames = [(await quick.image())[0]["frame"] for _ in range(20)]
            assert frames == sorted(set(frames))
            await slow.socket.send_json({"do": "dance"})
            assert await images_until_error(slow) == 2  # it has reported none as shown

    asyncio.run(check())


def test_controls_are_applied_and_sent_to_all_viewers(address: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with Page(address) as page, Page(address) as other:
            info, jpeg = await page.image()
            assert info["points"] == len(parse_query("eyes,lips")) and jpeg.startswith(b"\xff\xd8")
            await page.socket.send_json({"do": "show", "parts": ["nose"], "density": 2.0})
            async with asyncio.timeout(PATIENCE):
                while (await page.image())[0]["points"] != 22:
                    pass
                while (await other.message_with("parts"))["parts"] != ["nose"]:
                    pass
            await page.socket.send_json({"do": "record", "on": True})
            while (await page.message_with("recording"))["recording"] is not True:
                pass
            for _ in range(15):
                await page.image()
            await page.socket.send_json({"do": "record", "on": False})
            async with asyncio.timeout(PATIENCE):
                while (await page.message_with("recording"))["recording"] is not False:
                    pass
            for message, error in (
                ({"do": "smooth", "strength": 7}, "strength"),
                ({"do": "show", "parts": ["hats"], "density": 1}, "choose from jaw"),
                ({"do": "show", "parts": ["jaw"], "density": 1000}, "density must be"),
                ({"do": "draw", "kinds": "hats"}, "no kind of drawing 'hats'"),
                ({"do": "dance"}, "unknown action"),
                (["no"], "invalid message"),
                ({"do": "shown", "frame": "x"}, "invalid message"),
            ):
                await page.socket.send_json(message)
                assert error in str((await page.message_with("error"))["error"])

    asyncio.run(check())
    (film,), (table,) = tmp_path.glob("vtrack-*.mp4"), tmp_path.glob("vtrack-*.csv")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    frames = {row["frame"] for row in rows}  # a face that jumps, where frames were skipped, may have two rows in one
    assert {"nose_bridge_0_x", "mouth_open"} <= rows[0].keys() and len(frames) > 5
    with open_source(film) as source:
        assert sum(1 for _ in source) == len(frames)


def test_density_scales_the_number_of_points() -> None:
    assert len(query_of(["jaw", "pupils"], 2.0)) == 34 + 2
    assert len(query_of(["eyes"], 0.25)) == 4
    assert len(query_of([], 1.0)) == 0


def test_the_page_can_come_back_to_the_drawing_that_was_asked_for(clip: Path, tmp_path: Path) -> None:
    session = LiveSession(
        Pipeline(Settings("eyes", model=ToyModel(), detector=ToyDetector(), smooth="kalman")),
        Capture(camera_opener(str(clip))),
    )
    for own, shown in ((("axes", "curves"), "axes,curves"), (("curves", "points"), "points,curves"), ((), "none")):
        draw = LiveDrawing(own)
        state = Controls(session, draw, OnDemandRecorder(session, draw, tmp_path)).state()
        assert state["draw"] == shown and shown in state["styles"]


def test_a_port_in_use_is_reported(clip: Path, tmp_path: Path, address: str) -> None:
    port = int(urlsplit(address).port or 0)
    server = BrowserServer(*_parts(clip, tmp_path), Access(port=port))
    with pytest.raises(SinkError, match=r"cannot listen on .* try --port 0"):
        asyncio.run(server.run(print))


def _parts(clip: Path, folder: Path) -> tuple[object, ...]:
    settings = Settings(parse_query("eyes"), model=ToyModel(), detector=ToyDetector(), smooth="kalman", measures=True)
    session = LiveSession(Pipeline(settings), Capture(camera_opener(str(clip))))
    draw = LiveDrawing()
    return session, LiveThread(session, print).latest, draw, OnDemandRecorder(session, draw, folder)


@needs_chromium
def test_the_page_shows_moving_faces_and_reacts_to_chips_and_keys(address: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with Browser(tmp_path / "profile") as page, Page(address) as other:
            await page.open(address)
            await page.until("window.vtrack?.shown > 5 && vtrack.info.faces.length == 1")
            first = await page.value("vtrack.info.faces[0].points")
            await page.until(f"Math.abs(vtrack.info.faces[0].points[0] - {first[0]}) > 10")
            assert await page.value("document.getElementById('connection').dataset.state") == "live"
            assert await page.value("document.getElementById('overlay').hidden")
            # Chips change what is drawn.
            await page.value("document.querySelector('[data-part=eyes]').click()")
            await page.until("vtrack.info.points == 20")
            assert await page.value("document.querySelector('[data-part=eyes]').ariaPressed") == "false"
            await page.press("1")
            await page.until(
                "vtrack.info.points == 37 && document.querySelector('[data-part=jaw]').ariaPressed == 'true'"
            )
            await page.value(
                "document.getElementById('density').value = 1;document.getElementById('density').oninput()"
            )
            await page.until("vtrack.info.points == 74")
            await page.press("d")
            async with asyncio.timeout(PATIENCE):
                while (await other.message_with("draw"))["draw"] != "curves":
                    pass
            # Pausing stops the view.
            await page.press(" ")
            await page.until("document.getElementById('pause').ariaPressed == 'true'")
            shown = await page.value("vtrack.shown")
            await asyncio.sleep(1.5)
            assert await page.value("vtrack.shown") <= shown + 3  # those that were on their way; it would be 30
            await page.press(" ")
            await page.until(f"vtrack.shown > {shown}")
            # The image is not black, and the plots have lines.
            for canvas in ("view", "plot-eyes", "plot-turn"):
                script = (
                    f"new Set(document.getElementById('{canvas}').getContext('2d').getImageData(0,0,320,240).data).size"
                )
                await page.until(f"{script} > 3")
            await page.screenshot(tmp_path / "page.png")
            assert (tmp_path / "page.png").stat().st_size > 10_000

    asyncio.run(check())


@needs_chromium
def test_the_page_says_that_the_disk_is_full_and_goes_on(clip: Path, tmp_path: Path) -> None:
    async def check(address: str) -> None:
        async with Browser(tmp_path / "profile") as page, Page(address) as other:
            await page.open(address)
            await page.until("window.vtrack?.shown > 5")
            with full_disk(60_000):
                await page.press("r")
                await page.until("document.getElementById('message').classList.contains('error')")
                await page.until("document.getElementById('rec').hidden")
            said = await page.value("document.getElementById('message').textContent")
            assert "cannot write" in said and "File too large" in said
            await page.screenshot(tmp_path / "page.png")
            shown = await page.value("vtrack.shown")
            await page.until(f"vtrack.shown > {shown + 5}")
            while not (state := await other.message_with("notice"))["notice"] or state["recording"]:
                pass
            assert str(state["notice"]) in said

    recordings = tmp_path / "recordings"
    recordings.mkdir()
    with served(clip, recordings, Access(port=0, token=TOKEN)) as address:
        asyncio.run(check(address))
    assert not list(recordings.glob(".*"))


@needs_chromium
def test_a_page_of_another_origin_cannot_connect(address: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with Browser(tmp_path / "profile") as page:
            await page.open("data:text/html,<p>another page")
            await page.value(
                f"window.end = ''; const s = new WebSocket('{address.replace('http', 'ws').replace('/?', '/ws?')}');"
                "s.onopen = () => end = 'open'; s.onerror = () => end = 'refused'; 0"
            )
            assert await page.until("window.end") == "refused"

    asyncio.run(check())


def write_y4m(path: Path) -> Path:
    """The toys as Chromium's fake camera wants them."""
    with av.open(str(path), "w", format="yuv4mpegpipe") as output:
        stream = output.add_stream("rawvideo", rate=15)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(45):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(painter(toys)(i, 320, 240))))
        output.mux(stream.encode(None))
    return path


@needs_chromium
def test_the_browsers_own_camera_is_tracked(tmp_path: Path) -> None:
    pytest.importorskip("aiortc", reason='the browser\'s camera needs aiortc: pip install "vtrack[live]"')
    fake = write_y4m(tmp_path / "fake.y4m")
    flags = (
        *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
        f"--use-file-for-fake-video-capture={fake}",
    )

    async def check(address: str) -> None:
        async with Browser(tmp_path / "profile", *flags) as page:
            await page.open(address)
            await page.until("document.getElementById('camera')?.hidden === false")
            assert await page.value("vtrack.shown") == 0
            await page.press("c")
            await page.until("vtrack.shown > 5 && vtrack.info.faces.length == 1")
            first = await page.value("vtrack.info.faces[0].points")
            await page.until(f"Math.abs(vtrack.info.faces[0].points[0] - {first[0]}) > 5")
            assert "the browser's camera" in await page.value("document.getElementById('connection').textContent")
            assert await page.value("document.getElementById('camera').ariaPressed") == "true"
            await page.press("c")
            await page.until("document.getElementById('camera').ariaPressed == 'false'")

    with served("browser", tmp_path, Access(port=0)) as address:
        asyncio.run(check(address))
