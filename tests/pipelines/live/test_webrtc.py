"""Offers of a browser's camera: many, at the same time, malformed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason='the browser view needs aiohttp: pip install "vtrack[live]"')
pytest.importorskip("aiortc", reason='the browser\'s camera needs aiortc: pip install "vtrack[live]"')

from aiortc import RTCConfiguration, RTCPeerConnection

from tests.clips import write_clip
from tests.pipelines.live.patience import PATIENCE
from tests.pipelines.live.serving import MOST_CALLS, TOKEN, Page, served, toys
from tests.pipelines.toys import painter
from vtrack.pipelines.live.browser.access import Access

DESCRIPTORS = Path("/proc/self/fd")
needs_descriptors = pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="counts descriptors in /proc")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("live")
    clip = write_clip(folder / "toys.mp4", 60, (320, 240), draw=painter(toys), rate=20)
    with served(clip, folder, Access(port=0, token=TOKEN)) as found:
        yield found


async def make_offer() -> str:
    """The offer of a camera that never sends."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", direction="sendonly")
    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp
    await connection.close()
    return str(offer)


async def answer_to(page: Page, offer: object) -> dict[str, object]:
    """What the server answers to an offer."""
    await page.socket.send_json({"do": "camera", "offer": offer})
    return await page.message_with("answer", "error")


async def descriptors(at_most: int | None = None) -> int:
    """Number of open descriptors: the most within a second, or once there are few, when what is being closed is closed."""
    if at_most is None:
        counts = []
        for _ in range(10):  # the clip that is played again and again is closed and opened
            await asyncio.sleep(0.1)
            counts.append(len(list(DESCRIPTORS.iterdir())))
        return max(counts)
    for _ in range(10 * int(PATIENCE)):
        if (count := len(list(DESCRIPTORS.iterdir()))) <= at_most:
            break
        await asyncio.sleep(0.1)
    return count


@needs_descriptors
def test_offers_leave_no_descriptors(address: str) -> None:
    async def check() -> None:
        offer = await make_offer()
        async with Page(address) as one, Page(address) as two, Page(address) as three:
            assert "answer" in await answer_to(one, offer)
            before = await descriptors()
            counts = []
            for i in range(17):
                answers = await asyncio.gather(*(answer_to(page, offer) for page in (one, two, three)))
                assert all("answer" in answer for answer in answers)
                if i % 4 == 0:
                    counts.append(await descriptors(before))
            assert max(counts) <= before, counts
            state = await one.message_with("uses_browser_camera")
            assert state["uses_browser_camera"] is not None
        await descriptors(before - 1)
        async with Page(address) as page:
            assert (await page.message_with("uses_browser_camera"))["uses_browser_camera"] is False
            assert await descriptors(before - 1) < before

    asyncio.run(check())


@needs_descriptors
def test_malformed_offers_are_refused_and_the_socket_stays(busy: list[int], address: str) -> None:
    async def check() -> None:
        offer = await make_offer()
        lines, random_lines = offer.splitlines(), random.Random(0)
        without = ["\r\n".join(lines[:i] + lines[i + 1 :]) + "\r\n" for i in range(len(lines))]
        cut = [offer[: len(offer) * i // 12] for i in range(12)]
        mixed = ["\r\n".join(random_lines.sample(lines, len(lines))) + "\r\n" for _ in range(12)]
        many = offer + offer[offer.index("m=") :] * 8
        candidates = offer + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * 200
        sources = offer + "".join(f"a=ssrc:{i} cname:x\r\n" for i in range(600))
        long = offer + "".join(f"a=ssrc:{i} cname:x\r\n" for i in range(900))
        odd = [
            long,
            "hello",
            "",
            "v=0",
            7,
            1.5,
            [offer],
            {"sdp": offer},
            True,
            many,
            candidates,
            "m=video 9 X 1\r\n" * 1000,
        ]
        errors = 0
        async with Page(address) as page:
            before = await descriptors()
            for each in (*without, *cut, *mixed, sources, *odd):
                answer = await answer_to(page, each)
                errors += "error" in answer
                assert "answer" in answer or answer["error"] in ("invalid WebRTC offer", "message too long"), repr(
                    each
                )[:200]
            assert errors > len(odd) + 12
            await page.socket.send_json({"do": "camera"})
            assert await descriptors(before) <= before

    asyncio.run(check())
    assert max(busy) < MOST_CALLS


def test_a_malformed_offer_does_not_end_the_camera_of_another_page(address: str) -> None:
    async def check() -> None:
        async with Page(address) as one, Page(address) as two:
            assert "answer" in await answer_to(one, await make_offer())
            assert "error" in await answer_to(two, "hello")
            await two.socket.send_json({"do": "mirror", "on": True})
            assert (await two.message_with("uses_browser_camera"))["uses_browser_camera"] is True

    asyncio.run(check())
