"""A headless Chromium, driven over its debugging protocol: what a page shows and what it asks for."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

PROGRAM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_STARTS_S: Final = 60.0


class Page:
    """One page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.asked: list[str] = []
        """The addresses it has asked for."""
        self.received: list[bytes] = []
        """What came on its sockets, without texts."""
        self._reading = asyncio.create_task(self._read())

    async def call(self, method: str, **parameters: object) -> Any:
        """Call the browser."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        return await answer

    async def value(self, expression: str) -> Any:
        """The value of an expression of the page."""
        return (await self.call("Runtime.evaluate", expression=expression, returnByValue=True))["result"].get("value")

    async def wait_for(self, expression: str, limit_s: float = _STARTS_S) -> None:
        """Until an expression of the page holds."""
        async with asyncio.timeout(limit_s):
            while not await self.value(expression):
                await asyncio.sleep(0.1)

    async def picture(self, path: Path) -> None:
        """What it looks like."""
        path.write_bytes(base64.b64decode((await self.call("Page.captureScreenshot"))["data"]))

    async def close(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if told.get("method") in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                self.asked.append(told["params"].get("url") or told["params"]["request"]["url"])
            elif told.get("method") == "Network.webSocketFrameReceived" and told["params"]["response"]["opcode"] == 2:
                self.received.append(base64.b64decode(told["params"]["response"]["payloadData"]))
            elif "id" in told:
                answer = self._answers.pop(told["id"])
                if not answer.done():
                    answer.set_result(told.get("result", {}))


@asynccontextmanager
async def page(directory: Path, width: int = 1300, height: int = 800) -> AsyncIterator[Page]:
    """A page of a browser of its own."""
    assert PROGRAM is not None
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--window-size={width},{height}")
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *flags, f"--user-data-dir={directory}", "about:blank", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        said = directory / "DevToolsActivePort"
        async with asyncio.timeout(_STARTS_S):
            while not said.exists() or len(said.read_text().split()) < 2:
                await asyncio.sleep(0.05)
        port = said.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                target = next(one for one in await answer.json() if one["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                made = Page(socket)
                await made.call("Network.enable")
                yield made
                await made.close()
    finally:
        process.terminate()
        await process.wait()
