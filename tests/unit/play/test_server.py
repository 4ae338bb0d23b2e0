"""The page's server, over real sockets: who is answered, who drives, and what bad requests get.

python -m pytest tests/unit/play/test_server.py
"""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import av
import numpy as np
import psutil
import pytest

from tests.helpers.play_worlds import play_world
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.play import access as access_module
from tinyworlds_gate.play.driver import Driver
from tinyworlds_gate.play.server import BUSY, PlayServer, serve, start
from tinyworlds_gate.play.session import PlaySession

SIDE = 16


@asynccontextmanager
async def served(host: str = "127.0.0.1") -> AsyncIterator[tuple[PlayServer, aiohttp.ClientSession, str]]:
    """A server and a client; the address has no path."""
    server, runner = await start(Driver(play_world()), host, 0)
    try:
        async with aiohttp.ClientSession() as client:
            yield server, client, f"http://127.0.0.1:{server.access.port}"
    finally:
        await runner.cleanup()
        server.close()


def unpacked(data: bytes) -> tuple[dict[str, Any], np.ndarray]:
    """The facts and the frames of a view."""
    length = int.from_bytes(data[:4], "big")
    facts = json.loads(data[4 : 4 + length])
    return facts, np.frombuffer(data[4 + length :], np.uint8).reshape(-1, SIDE, SIDE, 3)


def run(test: Callable[[PlayServer, aiohttp.ClientSession, str], Awaitable[None]], host: str = "127.0.0.1") -> None:
    async def whole() -> None:
        async with served(host) as parts:
            await test(*parts)

    asyncio.run(asyncio.wait_for(whole(), 60))


def driving(client: aiohttp.ClientSession, url: str, **headers: str) -> Any:
    return client.ws_connect(f"{url}/drive", headers={"Origin": url} | headers)


async def asked(ws: aiohttp.ClientWebSocketResponse, request: object) -> tuple[dict[str, Any], np.ndarray]:
    await ws.send_str(request if isinstance(request, str) else json.dumps(request))
    return unpacked(await ws.receive_bytes())


def test_it_listens_on_the_loopback_interface_only() -> None:
    async def test(server: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        listening = {
            one.laddr.ip
            for one in psutil.Process().net_connections(kind="tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr.port == server.access.port
        }
        assert listening == {"127.0.0.1"}

    run(test)


def test_the_page_its_script_and_its_style_come_with_a_policy_that_allows_nothing_else() -> None:
    async def test(_: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        for path, kind in (("/", "text/html"), ("/play.js", "text/javascript"), ("/play.css", "text/css")):
            async with client.get(url + path) as answer:
                text = await answer.text()
                assert (answer.status, answer.content_type) == (200, kind)
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert f"ws://{url.removeprefix('http://')};" in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                assert "https://" not in text
                assert not answer.cookies
        async with client.get(url + "/../driver.py") as answer:
            assert answer.status == 404
        async with client.post(url + "/") as answer:
            assert answer.status == 405

    run(test)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1"])
def test_a_foreign_name_is_refused_everywhere(host: str) -> None:
    async def test(server: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        headers = {"Host": host.format(port=server.access.port)}
        for path in ("/", "/play.js", "/recording.mp4", "/nothing"):
            async with client.get(url + path, headers=headers) as answer:
                assert answer.status == 403
                assert "does not have that name" in await answer.text()
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await driving(client, url, **headers, Origin=f"http://{headers['Host']}")
        assert error.value.status == 403

    run(test)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://localhost:{port}"]
)
def test_a_websocket_of_another_site_is_refused(origin: str) -> None:
    async def test(server: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await driving(client, url, Origin=origin.format(port=server.access.port))
        assert error.value.status == 403

    run(test)


def test_a_websocket_without_an_origin_is_refused() -> None:
    async def test(_: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await client.ws_connect(f"{url}/drive")
        assert error.value.status == 403

    run(test)


def test_beyond_this_machine_everything_needs_the_token_which_then_is_a_cookie() -> None:
    async def test(server: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        token = server.access.token
        assert token is not None
        for query in ("", "?token=", "?token=wrong", f"?token={token}x", f"?x={token}"):
            for path in ("/", "/play.js", "/recording.mp4"):
                async with client.get(f"{url}{path}{query}") as answer:
                    assert answer.status == 403
                    assert token not in await answer.text()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await driving(client, url)
        async with client.get(f"{url}/?token={token}") as answer:
            assert answer.status == 200
            assert token not in await answer.text()
            [cookie] = answer.cookies.values()
            assert (cookie.value, cookie["httponly"], cookie["samesite"]) == (token, True, "Strict")
        own = {"Cookie": f"play_{server.access.port}={token}"}
        async with client.get(f"{url}/play.js", headers=own) as answer:
            assert answer.status == 200
        async with driving(client, url, **own) as ws:
            assert (await ws.receive_json())["type"] == "about"

    run(test, "0.0.0.0")


def test_codes_generate_what_the_session_generates() -> None:
    async def test(_: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        world = play_world()
        session = PlaySession(world.trained.models, world.settings, world.device)
        async with driving(client, url) as ws:
            about = await ws.receive_json()
            assert [one["keys"] for one in about["codes"]] == [
                ["0", "ArrowLeft", "a"],
                ["1", "ArrowRight", "d"],
                ["2"],
                ["3"],
            ]
            assert about["idle"] == 2
            assert about["codes"][3]["text"] == "unclear (right 50 %)"
            facts, frames = unpacked(await ws.receive_bytes())
            assert facts["frames"] == 1
            assert np.array_equal(frames, world.context_frames(0)[-1:])
            for request in ({"do": "reset"}, {"do": "choose", "clip": 2}, {"do": "next"}):
                facts, frames = await asked(ws, request)
                session.reset(world.context_frames(facts["clip"]))
                for number, code in enumerate((3, 1, 1, 0, 2), 1):
                    facts, frames = await asked(ws, {"do": "step", "code": code})
                    assert np.array_equal(frames, session.step(code))
                    assert facts["new_frames"] == number
            assert facts["clip_text"] == "clip 1 of 3: held-out episode 0, from frame 0"
            assert facts["latency_ms"]["p99"] >= facts["latency_ms"]["p50"] > 0
            assert (await asked(ws, {"do": "random"}))[0]["clip"] in (1, 2)

    run(test)


@pytest.mark.parametrize(
    "request_text",
    [
        "",
        "x",
        "3",
        "[]",
        "null",
        '{"do": 3}',
        '{"do": ["reset"]}',
        '{"do": "close"}',
        '{"do": "step"}',
        '{"do": "step", "code": "1"}',
        '{"do": "step", "code": 1.5}',
        '{"do": "step", "code": true}',
        '{"do": "step", "code": 4}',
        '{"do": "step", "code": -1}',
        '{"do": "step", "code": 1e400}',
        '{"do": "choose", "clip": 99}',
        '{"do": "record", "on": "yes", "fps": 3}',
        '{"do": "record", "on": true}',
        "[" * 1500,
    ],
)
def test_a_bad_request_gets_a_sentence_and_changes_nothing(request_text: str) -> None:
    async def test(_: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        async with driving(client, url) as ws:
            await ws.receive_json()
            await ws.receive_bytes()
            await ws.send_str(request_text)
            problem = await ws.receive_json()
            assert problem["type"] == "problem"
            assert problem["sentence"].startswith(("unknown request", "action code", "clip 100"))
            facts, _frames = await asked(ws, {"do": "step", "code": 1})
            assert facts["new_frames"] == 1

    run(test)


def test_a_request_that_is_too_long_or_not_text_ends_the_connection_and_the_next_page_drives() -> None:
    async def test(_: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        for request in ("x" * 100_000, b"step"):
            async with driving(client, url) as ws:
                assert (await ws.receive_json())["type"] == "about"
                await ws.receive_bytes()
                await (ws.send_str(request) if isinstance(request, str) else ws.send_bytes(request))
                assert (await ws.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        async with driving(client, url) as ws:
            assert (await ws.receive_json())["type"] == "about"

    run(test)


def test_a_second_window_gets_a_sentence_until_the_first_is_closed() -> None:
    async def test(_: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        async with driving(client, url) as first:
            await first.receive_json()
            await first.receive_bytes()
            async with driving(client, url) as second:
                assert await second.receive_json() == {"type": "busy", "sentence": BUSY}
                assert (await second.receive()).type is aiohttp.WSMsgType.CLOSE
            assert (await asked(first, {"do": "step", "code": 0}))[0]["new_frames"] == 1
        async with driving(client, url) as third:
            assert (await third.receive_json())["type"] == "about"
            assert unpacked(await third.receive_bytes())[0]["new_frames"] == 0

    run(test)


def test_a_recording_is_a_video_of_the_frames_since_its_start() -> None:
    async def test(_: PlayServer, client: aiohttp.ClientSession, url: str) -> None:
        async with client.get(url + "/recording.mp4") as answer:
            assert answer.status == 404
            assert "nothing is recorded yet" in await answer.text()
        async with driving(client, url) as ws:
            await ws.receive_json()
            await ws.receive_bytes()
            await asked(ws, {"do": "step", "code": 0})
            facts, _frames = await asked(ws, {"do": "record", "on": True, "fps": 5})
            assert facts["recorded"] == 0
            shown = [(await asked(ws, {"do": "step", "code": code}))[1] for code in (0, 1, 2, 3)]
            facts, _frames = await asked(ws, {"do": "record", "on": False, "fps": 5})
            await asked(ws, {"do": "step", "code": 0})
            assert facts["recorded"] == 4
            async with client.get(url + "/recording.mp4") as answer:
                assert answer.status == 200
                assert answer.content_type == "video/mp4"
                assert "attachment" in answer.headers["Content-Disposition"]
                video = await answer.read()
        with av.open(io.BytesIO(video), "r") as container:
            stream = container.streams.video[0]
            assert (stream.average_rate, stream.height, stream.width) == (5, 256, 256)
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 4
        large = np.concatenate(shown).repeat(16, axis=1).repeat(16, axis=2)
        assert np.abs(np.stack(frames).astype(float) - large).mean() < 40

    run(test)


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--port {port}: cannot listen there .*, or 0 for a free one"):
            serve(Driver(play_world()), "127.0.0.1", port)


def test_an_address_that_is_not_of_this_machine_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"--host 203\.0\.113\.1 --port 0: cannot listen there"):
        serve(Driver(play_world()), "203.0.113.1", 0)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_and_the_address_was_printed_once(
    sent: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_module.secrets, "token_urlsafe", lambda _: "the-only-token")

    class Ends(Driver):
        def close(self) -> None:
            super().close()
            print("closed")

    driver = Ends(play_world())
    original = access_module.Access.url

    def url(self: access_module.Access) -> str:
        asyncio.get_running_loop().call_later(0.2, signal.raise_signal, sent)
        return original(self)

    monkeypatch.setattr(access_module.Access, "url", url)
    serve(driver, "0.0.0.0", 0)
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("the-only-token") == 1
    assert "Anybody who has this address can drive the model" in shown.out
    assert "closed" in shown.out
    assert shown.err.strip() == "Play ended."
