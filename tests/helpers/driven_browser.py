"""Drive a page in a headless Chromium: keys, screenshots, what its script says, and its console messages.

It speaks the browser's DevTools protocol over a websocket, with aiohttp.
"""

from __future__ import annotations

import asyncio
import base64
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.helpers.browser import find_chromium

SWITCHES = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync hide-scrollbars remote-debugging-port=0"
)
WAIT_S = 60.0


class Tab:
    """One tab; ``console`` collects errors, warnings and uncaught exceptions."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number = socket, 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.console: list[str] = []

    async def listen(self) -> None:
        """Take in what the browser sends, until it closes the connection."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Runtime.exceptionThrown":
                self.console.append(str(said["params"]["exceptionDetails"]))
            elif said["method"] == "Runtime.consoleAPICalled" and said["params"]["type"] in ("error", "warning"):
                self.console.append(str(said["params"]["args"]))
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] in ("error", "warning"):
                self.console.append(said["params"]["entry"]["text"])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of a command of the protocol."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        said = await asyncio.wait_for(answer, WAIT_S)
        assert "error" not in said, said
        found: dict[str, Any] = said["result"]
        return found

    async def open(self, url: str, *, width: int = 1200, height: int = 850, dark: bool = False) -> None:
        """Load a page in a window of this size, px."""
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[theme])
        await self.call("Page.navigate", url=url)
        await self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def evaluate(self, script: str) -> Any:
        """Return the value of an expression of JavaScript."""
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def wait_for(self, script: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        deadline = time.monotonic() + WAIT_S
        while not (value := await self.evaluate(script)):
            assert time.monotonic() < deadline, f"waited too long for {script}; console: {self.console}"
            await asyncio.sleep(0.02)
        return value

    async def key(self, key: str, *, down: bool = True, up: bool = True) -> None:
        """Press and release a key, by its `KeyboardEvent.key`."""
        for kind in ["keyDown"] * down + ["keyUp"] * up:
            await self.call("Input.dispatchKeyEvent", type=kind, key=key)

    async def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of the window, or of the whole page."""
        found = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@asynccontextmanager
async def browser_tab(folder: Path) -> AsyncIterator[Tab]:
    """Start Chromium with a profile below ``folder`` and yield a tab; without Chromium the test is skipped."""
    profile = folder / "profile"
    command = [find_chromium(), *(f"--{one}" for one in SWITCHES.split()), f"--user-data-dir={profile}", "about:blank"]
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        written = profile / "DevToolsActivePort"
        deadline = time.monotonic() + WAIT_S
        while not (written.exists() and len(lines := written.read_text().splitlines()) > 1):
            assert process.poll() is None, (folder / "chromium.log").read_text()
            assert time.monotonic() < deadline, "Chromium has not started"
            await asyncio.sleep(0.05)
        async with aiohttp.ClientSession() as client:
            async with client.get(f"http://127.0.0.1:{lines[0]}/json") as answer:
                [page] = [one for one in await answer.json(content_type=None) if one["type"] == "page"]
            async with client.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                listener = asyncio.create_task(tab.listen())
                yield tab
            await listener
    finally:
        process.terminate()
        process.wait(timeout=30)
