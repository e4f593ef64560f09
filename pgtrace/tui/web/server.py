"""The page and its WebSocket, on loopback, for users who know the token.

textual-serve provides the terminal in the page and the protocol to the visitor's process. It has no
access checks, so this module checks every request:

- Host must be this listener's own name, so that another site's page cannot get here through its own
  name for 127.0.0.1.
- The token is in the printed address. The first request with it gets a cookie, HttpOnly and
  SameSite=Strict, and a redirect to an address without it. Nothing is logged.
- The WebSocket accepts only the page's own Origin.
- The page may load only from this listener (Content-Security-Policy).

There are at most VISITORS at once, each with a process. Their screens are read only and have at
most LARGEST cells, whatever the page asks for.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import textual_serve
from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

VISITORS: Final = 4
LARGEST: Final = (400, 200)
SMALLEST: Final = (20, 5)
_LONGEST_MESSAGE: Final = 1 << 20
_STOPS_S: Final = 1.0
"""How long a process may take to end, in seconds."""
_FONT_SIZES: Final = (6, 40)
_PAGE: Final = Path(__file__).with_name("page")
_FILES: Final = {"page.css": "text/css", "page.js": "text/javascript"}
_STATIC: Final = Path(textual_serve.__file__).with_name("static")
_SPOKEN: Final = "pgtrace: open the address that `pgtrace open --web` printed\n"
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Visit(AppService):
    """The process of one visitor."""

    def __init__(self, arguments: Sequence[str], websocket: web.WebSocketResponse) -> None:
        async def close() -> None:
            await websocket.close()

        super().__init__(
            "", write_bytes=websocket.send_bytes, write_str=websocket.send_str, close=close, download_manager=DownloadManager()
        )
        self._arguments = arguments

    async def _open_app_process(self, width: int = 80, height: int = 24) -> asyncio.subprocess.Process:
        environment = self._build_environment(width, height) | {"PYTHONUTF8": "1", "TERM": "xterm-256color"}
        environment.pop("NO_COLOR", None)
        pipe = asyncio.subprocess.PIPE
        self._process = process = await asyncio.create_subprocess_exec(
            *self._arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        )
        self._stdin = process.stdin
        return process

    async def stop(self) -> None:
        """End the process: ask first, then kill it."""
        process = self._process
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOPS_S):
                await super().stop()
        if process is None:
            return
        try:
            async with asyncio.timeout(_STOPS_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class WebServer:
    """Serves the screen of some captures until it is stopped."""

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]], names: Sequence[str | os.PathLike[str]], title: str, *, joins_sides: bool = True
    ) -> None:
        """`joins_sides`: whether the two sides of a pooler are joined."""
        settings = {
            "paths": [os.path.abspath(path) for path in paths],
            "names": [os.fspath(name) for name in names],
            "joins_sides": joins_sides,
        }
        self._arguments = (sys.executable, "-m", "pgtrace.tui.web.visitor", json.dumps(settings))
        self._title = title
        self._token = secrets.token_urlsafe(24)
        self._admitted = secrets.token_urlsafe(24)
        self._visits = 0
        self._sockets: set[web.WebSocketResponse] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._hosts = frozenset({f"127.0.0.1:{self._port}", f"localhost:{self._port}"})
        self._cookie = f"pgtrace-{self._port}"

    @property
    def address(self) -> str:
        """The address to open in a browser."""
        return f"http://127.0.0.1:{self._port}/?token={self._token}"

    async def serve(self, stopped: asyncio.Event) -> None:
        """Serve until stopped."""
        application = web.Application(middlewares=[self._admit])
        application.router.add_get("/", self._index)
        for name, kind in _FILES.items():
            application.router.add_get(f"/{name}", partial(self._file, name, kind))
        application.router.add_get("/ws", self._socket)
        application.router.add_static("/static", _STATIC, show_index=False)
        application.on_shutdown.append(self._close)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listener).start()
            await stopped.wait()
        finally:
            await runner.cleanup()

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check every request before it is handled."""
        if request.headers.get("Host", "") not in self._hosts:
            return web.Response(status=421, text=_SPOKEN, headers=HEADERS)
        token = request.query.get("token")
        if request.path == "/" and token is not None and hmac.compare_digest(token.encode(), self._token.encode()):
            answer = web.Response(status=303, headers={**HEADERS, "Location": "/"})
            answer.set_cookie(self._cookie, self._admitted, httponly=True, samesite="Strict", path="/")
            return answer
        if not hmac.compare_digest(request.cookies.get(self._cookie, "").encode(), self._admitted.encode()):
            return web.Response(status=403, text=_SPOKEN, headers=HEADERS)
        if request.path == "/ws":
            if request.headers.get("Origin", "").removeprefix("http://") not in self._hosts:
                return web.Response(status=403, text=_SPOKEN, headers=HEADERS)
            return await handler(request)
        try:
            answer_of = await handler(request)
        except web.HTTPException as error:
            return web.Response(status=error.status, text=f"{error.reason}\n", headers=HEADERS)
        answer_of.headers.update(HEADERS)
        return answer_of

    async def _index(self, request: web.Request) -> web.Response:
        """Serve the page."""
        page = (_PAGE / "index.html").read_text(encoding="utf-8")
        values = {
            "title": self._title,
            "socket": f"ws://{request.host}/ws",
            "font_size": str(_number(request.query.get("fontsize"), 16, *_FONT_SIZES)),
        }
        for name, value in values.items():
            page = page.replace("{{ " + name + " }}", _escaped(value))
        return web.Response(text=page, content_type="text/html")

    async def _file(self, name: str, kind: str, _: web.Request) -> web.Response:
        """Serve a file of the page."""
        return web.Response(text=(_PAGE / name).read_text(encoding="utf-8"), content_type=kind)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        """Serve one visitor, from the first byte of the process to its end."""
        if self._visits >= VISITORS:
            return web.Response(status=503, text=f"pgtrace: {VISITORS} visitors are connected already\n", headers=HEADERS)
        self._visits += 1
        websocket = web.WebSocketResponse(heartbeat=15, max_msg_size=_LONGEST_MESSAGE)
        visit = Visit(self._arguments, websocket)
        try:
            await websocket.prepare(request)
            self._sockets.add(websocket)
            await visit.start(*_size(request.query.get("width"), request.query.get("height")))
            async for message in websocket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    await self._handle(visit, websocket, message.data)
        finally:
            self._sockets.discard(websocket)
            self._visits -= 1
            await visit.stop()
        return websocket

    async def _handle(self, visit: Visit, websocket: web.WebSocketResponse, text: str) -> None:
        """Handle a message of the page; anything else is ignored."""
        try:
            match json.loads(text):
                case ["stdin", str(data)]:
                    await visit.send_bytes(data.encode("utf-8", "replace"))
                case ["resize", {"width": width, "height": height}]:
                    await visit.set_terminal_size(*_size(width, height))
                case ["ping", data]:
                    await websocket.send_json(["pong", data])
                case ["blur", *_]:
                    await visit.blur()
                case ["focus", *_]:
                    await visit.focus()
        except ValueError:
            pass

    async def _close(self, _: web.Application) -> None:
        for websocket in list(self._sockets):
            await websocket.close(code=aiohttp.WSCloseCode.GOING_AWAY)


def _number(sent: Any, default: int, least: int, most: int) -> int:
    """A number within bounds, whatever the page sent."""
    try:
        return max(least, min(int(sent), most))
    except (TypeError, ValueError, OverflowError):
        return default


def _size(width: Any, height: Any) -> tuple[int, int]:
    """A size in cells, within bounds."""
    return _number(width, 80, SMALLEST[0], LARGEST[0]), _number(height, 24, SMALLEST[1], LARGEST[1])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
