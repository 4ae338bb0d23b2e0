"""The page's server: static files, one websocket that drives the model, and the recording.

The page sends a request at a time and waits for the answer, so that nothing queues up. The model runs in one thread of
an executor. An answer is one binary message: the length of a JSON object (4 bytes, big-endian), the object, and the
pixels of the frames that it announces.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import webbrowser
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

from aiohttp import WSMsgType, web

from tinyworlds_gate.errors import ConfigError, GateError
from tinyworlds_gate.play.access import CONTENT_POLICY, Access, access_of, is_loopback
from tinyworlds_gate.play.driver import Driver, View

PAGE = {
    "/": ("index.html", "text/html"),
    "/play.js": ("play.js", "text/javascript"),
    "/play.css": ("play.css", "text/css"),
}
LARGEST_REQUEST = 2048
"""Bytes."""
HEARTBEAT_S = 15.0
"""A page that does not answer for so long no longer drives the model."""
BUSY = (
    "Another window drives this model. Close it and load this page again, or start a second `tinyworlds-gate play` "
    "with --port 0."
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PlayServer:
    """Routes and state of one server."""

    def __init__(self, driver: Driver, access: Access) -> None:
        self._driver, self.access = driver, access
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="play-model")
        self._socket: web.WebSocketResponse | None = None
        self.app = web.Application(middlewares=[self._guard], client_max_size=LARGEST_REQUEST)
        self.app.add_routes([web.get(path, self._file) for path in PAGE])
        self.app.add_routes([web.get("/drive", self._drive), web.get("/recording.mp4", self._recording)])
        self.app.on_shutdown.append(self._close_socket)

    def close(self) -> None:
        """Wait for the step in progress, and end the true game."""
        self._executor.shutdown(wait=True)
        self._driver.close()

    @property
    def _cookie(self) -> str:
        return f"play_{self.access.port}"

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self.access.host_allowed(request.headers.get("Host")):
            return _refused(403, "This server does not have that name. Open the address that the command printed.")
        origin = request.headers.get("Origin")
        if (origin is not None or request.path == "/drive") and not self.access.origin_allowed(
            origin, request.headers.get("Host")
        ):
            return _refused(403, "Only the page of this server may send this request.")
        shown = request.query.get("token") or request.cookies.get(self._cookie)
        if not self.access.token_allowed(shown):
            return _refused(403, "The token is missing or wrong. Open the whole address that the command printed.")
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _refused(error.status, f"{error.reason}.")
        if not response.prepared:
            self._add_headers(request, response)
        return response

    def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = CONTENT_POLICY.format(host=request.headers["Host"])
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        if self.access.token is not None and request.query.get("token"):
            response.set_cookie(self._cookie, self.access.token, httponly=True, samesite="Strict")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name, kind = PAGE[request.path]
        text = resources.files("tinyworlds_gate.play").joinpath("page", name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=kind, charset="utf-8")

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        try:
            content = await self._in_thread(self._driver.recording)
        except GateError as error:
            return _refused(404, str(error))
        headers = {"Content-Disposition": 'attachment; filename="play.mp4"'}
        return web.Response(body=content, content_type="video/mp4", headers=headers)

    async def _drive(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=LARGEST_REQUEST)
        await socket.prepare(request)
        if self._socket is not None:
            await socket.send_json({"type": "busy", "sentence": BUSY})
            await socket.close()
            return socket
        self._socket = socket
        try:
            await socket.send_json({"type": "about", **self._driver.about()})
            await socket.send_bytes(packed(await self._in_thread(self._driver.begin)))
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                await self._answer(socket, message.data)
        except ConnectionResetError:
            pass
        finally:
            self._socket = None
        return socket

    async def _answer(self, socket: web.WebSocketResponse, text: str) -> None:
        try:
            answer = await self._in_thread(request_of(self._driver, text))
        except GateError as error:
            await socket.send_json({"type": "problem", "sentence": str(error)})
        except RuntimeError:  # of torch: out of memory, an error of the GPU
            logging.getLogger(__name__).exception("a step of play failed")
            sentence = "The step failed; the terminal in which play runs shows why. Reset, or choose another clip."
            await socket.send_json({"type": "problem", "sentence": sentence})
        else:
            await socket.send_bytes(packed(answer))

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def _close_socket(self, _: web.Application) -> None:
        if self._socket is not None:
            await self._socket.close(message=b"the server ended")


def request_of(driver: Driver, text: str) -> Callable[[], View]:
    """Return what a request of the page calls: `{"do": "step", "code": 3}`, reset, next, random, choose or record.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        request = json.loads(text)
        what, number, on = request.get("do"), request.get("code", request.get("clip")), request.get("on")
        fps = request.get("fps")
    except (ValueError, AttributeError, RecursionError):
        what = None
    simple = {"reset": driver.reset, "next": driver.next, "random": driver.random}
    if what in ("step", "choose") and type(number) is int:
        return lambda: driver.step(number) if what == "step" else driver.choose(number)
    if what == "record" and isinstance(on, bool) and type(fps) is int:
        return lambda: driver.record(on, fps)
    if isinstance(what, str) and what in simple:
        return simple[what]
    raise ConfigError("unknown request; the page and the server differ, load the page again")


def _refused(status: int, sentence: str) -> web.Response:
    return web.Response(status=status, text=f"{sentence}\n")


def packed(view: View) -> bytes:
    """Return a view as one message of the websocket (see the module's docstring)."""
    facts = dict(view.facts) | {"type": "view", "frames": len(view.model_frames), "game": view.game_frames is not None}
    head = json.dumps(facts, allow_nan=False).encode()
    pixels = view.model_frames.tobytes() + (b"" if view.game_frames is None else view.game_frames.tobytes())
    return len(head).to_bytes(4, "big") + head + pixels


def serve(driver: Driver, host: str, port: int, *, open_browser: bool = False) -> None:
    """Serve until Ctrl-C or SIGTERM; print the address once.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    asyncio.run(_serve(driver, host, port, open_browser))


async def _serve(driver: Driver, host: str, port: int, open_browser: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server, runner = await start(driver, host, port)
    try:
        url = server.access.url()
        if not is_loopback(host):
            print("Anybody who has this address can drive the model; the connection is not encrypted.")
        print(f"Play: {url} (Ctrl-C ends it)", flush=True)
        if open_browser and not await asyncio.to_thread(webbrowser.open, url):
            print("No browser could be opened; open the address yourself.", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
        server.close()
    print("\nPlay ended.", file=sys.stderr)


async def start(driver: Driver, host: str, port: int) -> tuple[PlayServer, web.AppRunner]:
    """Return the server, listening, with the runner that cleans up; port 0 takes a free one.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    server = PlayServer(driver, access_of(host, port))
    runner = web.AppRunner(server.app, access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except (OSError, OverflowError) as error:
        await runner.cleanup()
        server.close()
        raise ConfigError(
            f"--host {host} --port {port}: cannot listen there ({getattr(error, 'strerror', None) or error}); "
            "choose another port, or 0 for a free one"
        ) from error
    server.access = Access(host, runner.addresses[0][1], server.access.token)
    return server, runner
