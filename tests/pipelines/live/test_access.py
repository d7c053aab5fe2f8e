# ruff: noqa: E402  without aiohttp the module is skipped before it imports what needs it
"""The browser view refuses strangers and strange messages, stays quick, and loses neither its token nor descriptors."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

aiohttp = pytest.importorskip("aiohttp", reason='the browser view needs aiohttp: pip install "vtrack[live]"')

from tests.clips import write_clip
from tests.pipelines.live.serving import MOST_CALLS, TOKEN, Page, served, status, toys
from tests.pipelines.toys import painter
from vtrack.errors import UsageError
from vtrack.pipelines.live.browser.access import Access
from vtrack.pipelines.live.browser.controls import CHIPS
from vtrack.pipelines.live.browser.messages import MAX_MESSAGE, parse_message


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("live") / "toys.mp4", 60, (320, 240), draw=painter(toys), rate=20)


@pytest.fixture
def address(clip: Path, tmp_path: Path) -> Iterator[str]:
    with served(clip, tmp_path, Access(port=0, token=TOKEN)) as found:
        yield found


def test_access_is_for_those_who_know_the_token(address: str) -> None:
    root = address.partition("?")[0]

    async def check() -> None:
        assert await status(address) == 200
        for wrong in (
            "",
            "?token=",
            "?token=wrong-wrong-wrong",
            f"?token={TOKEN}x",
            "?token=%ff%00",
            "?token=\N{SNOWMAN}",
        ):
            assert await status(root + wrong) == 403
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with Page(root + wrong):
                    pass
            assert refused.value.status == 403

    asyncio.run(check())


def test_every_address_has_a_token_and_is_a_link_that_opens() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "192.168.1.5"):
        made = Access(host).token
        assert made is not None and len(made) >= 16 and made != Access(host).token
    assert Access("192.168.1.5", token=TOKEN).url(80) == f"http://192.168.1.5:80/?token={TOKEN}"
    assert Access("::1", token="a b&c=d#é").url(80) == "http://[::1]:80/?token=a%20b%26c%3Dd%23%C3%A9"
    for everywhere in ("0.0.0.0", "::"):
        assert urlsplit(Access(everywhere).url(80)).hostname not in (None, "0.0.0.0", "::")
    for wrong, message in (
        ({"port": -1}, "port"),
        ({"viewers": 0}, "at least 1"),
        ({"token": "short"}, "8 characters"),
    ):
        with pytest.raises(UsageError, match=message):
            Access(**wrong)


def test_an_unusual_token_opens_the_page(clip: Path, tmp_path: Path) -> None:
    async def check(address: str) -> None:
        async with Page(address) as page:
            assert (await page.image())[0]["points"] > 0

    with served(clip, tmp_path, Access(port=0, token="a b&c=d#é+/?")) as address:
        asyncio.run(check(address))


def test_an_invalid_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("hello")
    with pytest.raises(UsageError, match="cannot load the certificate"):
        Access(certificate=tmp_path / "bad.pem").ssl_context()


@pytest.mark.parametrize(
    ("host", "allowed", "refused"),
    [
        (
            "127.0.0.1",
            ("127.0.0.1:8008", "localhost", "LOCALHOST:1", "[::1]:8008"),
            ("evil.example:8008", "192.168.1.5", ""),
        ),
        ("192.168.1.5", ("192.168.1.5:8008", "localhost:8008"), ("evil.example", "192.168.1.6")),
        ("box.lan", ("box.lan:8008", "Box.LAN"), ("evil.example", "box.lan.evil.example")),
        ("0.0.0.0", ("192.168.1.5:8008", "[fe80::1]:8008", "localhost"), ("evil.example:8008", "0x7f.1", "")),
    ],
)
def test_only_names_of_this_server_are_served(host: str, allowed: tuple[str, ...], refused: tuple[str, ...]) -> None:
    access = Access(host, token=TOKEN)
    assert all(access.allows_host(name) for name in allowed)
    assert not any(access.allows_host(name) for name in refused)


def test_a_machine_is_reached_by_its_name_where_it_listens_on_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Studio")
    assert Access("0.0.0.0").allows_host("studio:8008") and Access("0.0.0.0").allows_host("studio.local:8008")
    assert not Access("127.0.0.1").allows_host("studio:8008")


def test_pages_of_other_origins_and_names_are_refused(clip: Path, tmp_path: Path) -> None:
    async def check(address: str) -> None:
        root = address.partition("?")[0].rstrip("/")
        for origin in ("http://evil.example", "null", root.replace("http:", "https:")):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with Page(address, Origin=origin):
                    pass
            assert refused.value.status == 403
        for host in ("evil.example", f"evil.example:{urlsplit(address).port}"):  # DNS rebinding, with the right token
            assert await status(address, Host=host) == 403
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with Page(address, Host=host, Origin=f"http://{host}"):
                    pass

    for host in ("127.0.0.1", "0.0.0.0"):
        with served(clip, tmp_path, Access(host, port=0, token=TOKEN)) as address:
            asyncio.run(check(address))


def test_every_response_has_the_headers_of_security(address: str) -> None:
    root = address.partition("?")[0]

    async def check() -> None:
        statuses = []
        async with aiohttp.ClientSession() as session:
            for method, place in (
                *(
                    ("GET", place)
                    for place in (address, f"{root}web/app.js", root, f"{root}nothing", f"{root}web/", f"{root}web/x")
                ),
                *(("POST", address), ("GET", f"{root}ws?token={TOKEN}"), ("GET", f"{root}web/../server.py")),
            ):
                async with session.request(method, place) as answer:
                    statuses.append(answer.status)
                    assert answer.headers["X-Content-Type-Options"] == "nosniff", place
                    assert answer.headers["Referrer-Policy"] == "no-referrer", place
                    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], place
                    assert answer.headers["Server"] == "vtrack"
        assert {200, 403, 404, 405} <= set(statuses)

    asyncio.run(check())


def test_the_log_holds_no_token(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    parts = urlsplit(address)

    async def check() -> None:
        await status(address)
        await status(f"{address}&wrong")
        async with Page(address) as page:
            await page.socket.send_json({"do": "dance"})
            await page.message_with("error")
        for request in (
            f"GET /?token={TOKEN} HTTP/9\r\n\r\n",
            f"G@T /?token={TOKEN}\r\n\r\n",
            "\x16\x03\x01\x02\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(request.encode())
            assert b"400" in await reader.readline()
            headers = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert "X-Content-Type-Options: nosniff" in headers and "frame-ancestors 'none'" in headers
            writer.close()
        await asyncio.sleep(0.1)

    asyncio.run(check())
    ours = [record for record in caplog.records if record.name.startswith(("vtrack", "aiohttp"))]
    assert not any(TOKEN in record.getMessage() or record.exc_info for record in ours)


MESSAGES = {
    "infinite number": '{"do": "show", "parts": ["eyes"], "density": 1e999}',
    "not a number": '{"do": "smooth", "strength": NaN}',
    "infinite frame": '{"do": "shown", "frame": 1e999}',
    "long number": '{"do": "shown", "frame": ' + "9" * 2000 + "}",
    "very long number": '{"do": "camera", "offer": ' + "9" * 20_000 + "}",
    "brackets": "[" * 60_000,
    "brackets in an offer": '{"do": "camera", "offer": ' + "[" * 20_000,
    "objects": '{"do": "camera", "offer": ' + '{"a":' * 4_000,
    "many parts": '{"do": "show", "density": 1, "parts": [' + ",".join(['"eyes"'] * 4500) + "]}",
    "parts in an offer": '{"do": "camera", "offer": [' + ",".join(['"eyes"'] * 2500) + "]}",
    "long part": '{"do": "show", "density": 1, "parts": ["' + "x" * 1900 + '"]}',
    "long action": '{"do": "' + "x" * 1900 + '"}',
    "long message": " " * (MAX_MESSAGE + 1),
    "longest message": "x" * (4 * MAX_MESSAGE - 1),
    "no object": '["do"]',
    "no action": '{"do": 1}',
    "no action at all": "{}",
    "no JSON": "hello",
    "nothing": "",
    "a surrogate": '{"do": "\\ud800"}',
    "lines": '{"do": "a\\nb\\nc"}',
}


def test_strange_messages_get_an_answer_and_delay_nobody(busy: list[int], address: str) -> None:
    async def check() -> None:
        async with Page(address) as page:
            for name, message in MESSAGES.items():
                await page.socket.send_str(message)
                error = str((await page.message_with("error"))["error"])
                assert 0 < len(error) <= 201 and "\n" not in error, name
            await page.socket.send_json({"do": "pause", "on": True})  # by the same socket
            while not (await page.message_with("paused"))["paused"]:
                pass

    asyncio.run(check())
    assert len(busy) > len(MESSAGES) and max(busy) < MOST_CALLS


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_strange_messages_are_refused_before_they_are_parsed(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is long, deep or full of digits would take the parser long."""
    parsed: list[str] = []

    def loads(text: str, **options: Any) -> object:
        parsed.append(text)
        return json.loads(text, **options)

    monkeypatch.setattr("vtrack.pipelines.live.browser.messages.json", SimpleNamespace(loads=loads))
    with suppress(UsageError):
        parse_message(message)
    assert all(len(text) <= MAX_MESSAGE and text.count("[") + text.count("{") <= 16 for text in parsed)
    assert not any(len(text) > 2048 and not text.startswith('{"do": "camera"') for text in parsed)


def test_all_parts_at_the_largest_density_are_shown_quickly(busy: list[int], address: str) -> None:
    async def check() -> None:
        async with Page(address) as page:
            await page.socket.send_json({"do": "show", "parts": list(CHIPS), "density": 6})
            while (await page.message_with("parts"))["parts"] != list(CHIPS):
                pass
            await page.socket.send_json({"do": "show", "parts": [*CHIPS, "eyes"], "density": 1})
            assert "at most" in str((await page.message_with("error"))["error"])

    asyncio.run(check())
    assert max(busy) < MOST_CALLS
