"""The page in a headless Chromium: no console error, and keys change the picture.

python -m pytest tests/unit/play/test_page.py
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.helpers.driven_browser import Tab, browser_tab
from tests.helpers.play_worlds import play_world
from tinyworlds_gate.play.driver import Driver
from tinyworlds_gate.play.server import start

PICTURE = "document.getElementById('model').toDataURL()"
FRAMES = "document.body?.dataset.frames"


async def stepped(tab: Tab, key: str) -> str:
    """Press a key and return the picture that comes of it."""
    before = await tab.evaluate(FRAMES)
    await tab.key(key)
    await tab.wait_for(f"{FRAMES} !== '{before}'")
    picture: str = await tab.evaluate(PICTURE)
    return picture


async def drive(tab: Tab, url: str) -> None:
    await tab.open(url)
    await tab.wait_for(f"{FRAMES} === '0'")
    first = await tab.evaluate(PICTURE)
    left = await stepped(tab, "ArrowLeft")
    assert await tab.evaluate(FRAMES) == "1"
    assert left != first
    assert await stepped(tab, "d") != left

    # The same codes give the same pictures, by whatever key; other codes others.
    await tab.key("r")
    await tab.wait_for(f"{FRAMES} === '0'")
    assert await tab.evaluate(PICTURE) == first
    assert await stepped(tab, "0") == left
    await tab.key("r")
    await tab.wait_for(f"{FRAMES} === '0'")
    assert await stepped(tab, "3") != left

    await tab.key("n")
    await tab.wait_for("document.getElementById('clip').textContent.startsWith('clip 2 of 3')")
    assert await tab.evaluate(PICTURE) != first
    await tab.key("p")
    await tab.wait_for(f"Number({FRAMES}) >= 5")
    await tab.key("p")
    assert await tab.evaluate("document.getElementById('play').textContent.trim()") == "P Run"
    await tab.wait_for("/^[0-9.]+ \\/ [0-9.]+ ms$/.test(document.getElementById('page_ms').textContent)")

    # A key that is held goes on until it is released.
    at = int(await tab.evaluate(FRAMES))
    await tab.key("ArrowRight", up=False)
    await tab.wait_for(f"Number({FRAMES}) >= {at + 4}")
    assert await tab.evaluate("document.querySelector('#codes .down').dataset.code") == "1"
    await tab.key("ArrowRight", down=False)
    assert await tab.evaluate("document.querySelector('#codes .down')") is None

    # Every button can be reached and used without a mouse.
    await tab.evaluate("document.querySelector('#codes [data-code=\"2\"]').focus()")
    at = await tab.evaluate(FRAMES)
    await tab.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r")
    await tab.call("Input.dispatchKeyEvent", type="keyUp", key="Enter", code="Enter")
    await tab.wait_for(f"{FRAMES} !== '{at}'")
    texts = await tab.evaluate("[...document.querySelectorAll('button')].map(one => one.innerText.trim())")
    assert len(texts) == 10
    assert all(texts)

    await tab.key("c")
    await stepped(tab, "1")
    await tab.key("c")
    await tab.wait_for("document.getElementById('save').hidden === false")
    assert "1 frames" in await tab.evaluate("document.getElementById('save').textContent")


def test_keys_drive_the_model_without_a_console_message(tmp_path: Path) -> None:
    async def whole() -> None:
        server, runner = await start(Driver(play_world()), "127.0.0.1", 0)
        try:
            async with browser_tab(tmp_path) as tab:
                await drive(tab, server.access.url())
                assert tab.console == []
        finally:
            await runner.cleanup()
            server.close()

    asyncio.run(asyncio.wait_for(whole(), 120))


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_the_page_fits_its_window_and_a_second_one_gets_a_reason(width: int, dark: bool, tmp_path: Path) -> None:
    async def whole() -> None:
        server, runner = await start(Driver(play_world()), "0.0.0.0", 0)
        try:
            address = server.access.url().replace(server.access.url().split(":")[1], "//127.0.0.1")
            async with browser_tab(tmp_path) as tab:
                await tab.open(address, width=width, dark=dark)
                await tab.wait_for(f"{FRAMES} === '0'")
                assert await tab.evaluate("document.documentElement.scrollWidth") <= width
                assert await tab.evaluate("document.getElementById('model').clientWidth") >= 0.3 * width
                assert await tab.evaluate("location.search") == "", "the token stays in the address bar"
                light = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (light == "rgb(246, 246, 244)") is not dark
                # One script: between two of them the answer could come before anybody listens.
                await tab.evaluate(
                    "window.second = new WebSocket(`ws://${location.host}/drive`);"
                    "window.second.onmessage = one => { window.said = JSON.parse(one.data).type; }"
                )
                await tab.wait_for("window.said === 'busy'")
                assert tab.console == []
        finally:
            await runner.cleanup()
            server.close()

    asyncio.run(asyncio.wait_for(whole(), 120))
