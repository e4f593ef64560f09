"""The screen in a browser: who may ask for it, what it may do, and the same in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from pgtrace.tui.web import server as web_server
from pgtrace.tui.web.server import LARGEST, VISITORS, WebServer
from tests.tui.web import chromium

CAPTURE = Path(__file__).parents[2] / "data" / "findings" / "pipeline_error.pgtrace"
QUIET = ("/bin/sh", "-c", "read line")


class Visited(NamedTuple):
    """A server that runs, and somebody who visits it."""

    server: WebServer
    browser: aiohttp.ClientSession
    base: str

    @property
    def own(self) -> dict[str, str]:
        """What its own page would send."""
        return {"Origin": self.base.rstrip("/")}

    async def enter(self) -> None:
        """Show the token."""
        async with self.browser.get(self.server.address) as answer:
            assert answer.status == 200

    async def status(self, path: str, **headers: str) -> int:
        async with self.browser.get(self.base + path, headers=headers, allow_redirects=False) as answer:
            return answer.status


@asynccontextmanager
async def visited(*arguments: str, captures: Sequence[Path] = (CAPTURE,), joins_sides: bool = True) -> AsyncIterator[Visited]:
    server = WebServer(captures, [capture.name for capture in captures], "pgtrace <shop>", joins_sides=joins_sides)
    if arguments:
        server._arguments = arguments
    stopped = asyncio.Event()
    serving = asyncio.create_task(server.serve(stopped))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        yield Visited(server, browser, server.address.partition("?")[0])
    stopped.set()
    await serving


async def test_nobody_gets_in_without_the_token() -> None:
    async with visited() as here:
        for path in ("", "page.css", "static/js/textual.js", "ws", "?token=", "?token=wrong", "?token=%00%ff"):
            assert await here.status(path, **here.own) == 403, path
        for host in ("evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", ""):
            assert await here.status("?token=" + here.server._token, Host=host) == 421, host


async def test_the_token_becomes_a_cookie_and_leaves_the_address() -> None:
    async with visited() as here:
        async with here.browser.get(here.server.address, allow_redirects=False) as answer:
            assert answer.status == 303
            assert answer.headers["Location"] == "/"
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert here.server._token not in cookie
        async with here.browser.get(here.base) as answer:
            page = await answer.text()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "pgtrace &lt;shop>" in page
        assert "http://" not in page.replace(here.base, "")
        assert "https://" not in page


async def test_what_the_library_would_have_served_is_not_there() -> None:
    async with visited() as here:
        await here.enter()
        assert await here.status("static/") == 403
        assert await here.status("static/../server.py") == 404
        assert await here.status("download/x") == 404
        assert await here.status("static/js/textual.js") == 200


async def test_a_socket_of_another_page_is_refused() -> None:
    async with visited() as here:
        await here.enter()
        assert await here.status("ws") == 403
        for origin in ("http://evil.example", "null", "https://127.0.0.1", here.base.replace("http", "https")):
            assert await here.status("ws", Origin=origin) == 403, origin


async def test_four_visitors_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "_STOPS_S", 0.1)
    async with visited(*QUIET) as here:
        await here.enter()
        sockets = [await here.browser.ws_connect(here.base + "ws", headers=here.own) for _ in range(VISITORS)]
        assert await here.status("ws", **here.own) == 503
        await sockets.pop().close()
        while here.server._visits == VISITORS:
            await asyncio.sleep(0.01)
        sockets.append(await here.browser.ws_connect(here.base + "ws", headers=here.own))
        for socket in sockets:
            await socket.close()


async def test_what_is_no_message_is_ignored_and_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "_STOPS_S", 0.1)
    sizes: list[tuple[int, int]] = []

    async def sized(self: object, width: int, height: int) -> None:
        sizes.append((width, height))

    monkeypatch.setattr(web_server.Visit, "set_terminal_size", sized)
    async with visited(*QUIET) as here:
        await here.enter()
        async with here.browser.ws_connect(here.base + "ws?width=5000&height=x", headers=here.own) as socket:
            for text in ("", "x", "1", "[]", '["stdin"]', '["stdin", 1]', '["resize", []]', '["resize", {"width": 9999, "height": -1}]'):
                await socket.send_str(text)
            await socket.send_json(["ping", "still here"])
            assert await socket.receive_json() == ["pong", "still here"]
    assert sizes == [(LARGEST[0], 5)]


async def test_the_screen_is_there_and_writes_nothing() -> None:
    async with visited() as here:
        await here.enter()
        async with here.browser.ws_connect(here.base + "ws?width=120&height=40", headers=here.own) as socket:
            written = b""

            async def until(text: bytes) -> None:
                nonlocal written
                async with asyncio.timeout(60):
                    while text not in written:
                        message = await socket.receive()
                        assert message.type is aiohttp.WSMsgType.BINARY
                        written += message.data

            await until(b"Findings")
            for key in "eEmv":
                written = b""
                await socket.send_json(["stdin", key])
                await until(f"{key} does nothing here".encode())
        while here.server._visits:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("joins_sides", [True, False])
async def test_two_sides_of_a_pooler_are_joined_or_compared(joins_sides: bool) -> None:
    sides = [CAPTURE.parents[1] / "poolers" / f"{side}.pgtrace" for side in ("front", "back")]
    async with visited(captures=sides, joins_sides=joins_sides) as here:
        await here.enter()
        async with here.browser.ws_connect(here.base + "ws?width=120&height=40", headers=here.own) as socket:
            written = b""
            async with asyncio.timeout(60):
                while (b"\xe2\x87\x92 b:" if joins_sides else b" Diff") not in written:
                    written += (await socket.receive()).data
        assert (b" Diff" in written) != joins_sides


@pytest.mark.skipif(chromium.PROGRAM is None, reason="needs Chromium")
async def test_in_chromium(tmp_path: Path) -> None:
    """The page asks nobody else for anything, and keys work without a click: `?` opens the help as soon as the screen is there."""
    async with visited() as here, chromium.page(tmp_path) as page:
        await page.call("Page.navigate", url=here.server.address)
        await page.wait_for("document.body && document.body.classList.contains('-first-byte')")
        assert await page.value("location.href") == here.base
        assert await page.value("document.cookie") == ""
        await page.wait_for("document.activeElement.classList.contains('xterm-helper-textarea')")
        before = len(page.received)
        await page.call("Input.dispatchKeyEvent", type="keyDown", key="?", code="Slash", text="?", windowsVirtualKeyCode=191)
        async with asyncio.timeout(60):
            while b"the driver had to wait for the network once" not in b"".join(page.received[before:]):
                await asyncio.sleep(0.1)
        own = here.base.partition("://")[2]
        assert all(asked.partition("://")[2].startswith(own) for asked in page.asked), page.asked
        assert any(asked.startswith("ws://") for asked in page.asked)
        assert not await page.value("document.body.classList.contains('-closed')")
