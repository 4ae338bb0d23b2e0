"""A W&B server that is down at a chunk's start: the chunk is logged offline, with a note, and trains.

pytest tests/unit/launch/test_wandb_server.py
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.helpers.wandb_server import KEY, WandbServer, serving
from tinyworlds_gate.launch.wandb_run import WandbRun
from tinyworlds_gate.launch.wandb_server import logged_offline, online_or_offline, server_problem
from tinyworlds_gate.reference.training.wandb_mode import PUBLIC_SERVER, server_url

RUN = WandbRun("abc123", "tinyworlds", None, "online")


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that answers every request with this HTTP status."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}"
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


@contextmanager
def speaking(words: bytes | None) -> Iterator[str]:
    """A port that sends these bytes to whoever connects and hangs up; with None it keeps silent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if words is not None:
                connection.sendall(words)
                connection.close()
            kept.append(connection)

    kept: list[socket.socket] = []
    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in kept:
            connection.close()


@pytest.mark.requirement("L9")
def test_a_server_that_answers_keeps_the_run_online_whatever_it_thinks_of_the_request() -> None:
    with serving(WandbServer()) as server:
        assert online_or_offline(RUN, server.environment()) == (RUN, None)
        assert KEY not in "".join(server.queries), "no key is needed to find out whether the server is up"
    for status in (200, 401, 403, 404):
        with answering(status) as url:
            assert server_problem(url) is None, status


@pytest.mark.requirement("L9")
@pytest.mark.parametrize(
    ("status", "problem"), [(500, "answers with HTTP status 500"), (502, "502"), (503, "503"), (407, "407")]
)
def test_a_server_that_is_broken_or_behind_a_closed_proxy_makes_the_run_offline(status: int, problem: str) -> None:
    with answering(status) as url:
        run, note = online_or_offline(RUN, {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY})
    assert run == replace(RUN, mode="offline")
    assert note is not None
    assert problem in note
    assert "so this chunk was logged offline (run abc123); upload it later with: wandb sync" in note


@pytest.mark.requirement("L9")
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:9", "cannot be reached (Connection refused)"),
        ("http://no-such-host.invalid", "cannot be reached ("),
        ("ftp://127.0.0.1", "is no http(s) address"),
        ("127.0.0.1:8080", "is no http(s) address"),
        ("http://127.0.0.1:9/a b", "cannot be reached ("),
        ("http://[::1", "cannot be reached (Invalid IPv6 URL)"),
    ],
)
def test_a_server_that_cannot_be_reached_makes_the_run_offline(url: str, problem: str) -> None:
    found = server_problem(url, 5.0)
    assert found is not None
    assert found.startswith(problem) or "gave no answer" in found


@pytest.mark.parametrize("words", [None, b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_a_server_that_is_silent_or_speaks_something_else_makes_the_run_offline(words: bytes | None) -> None:
    with speaking(words) as url:
        found = server_problem(url, 1.0)
    assert found is not None
    assert found.startswith("gave no answer within 1 s" if words is None else "cannot be reached (")


def test_an_offline_run_and_none_contact_no_server() -> None:
    offline = replace(RUN, mode="offline")
    unreachable = {"WANDB_BASE_URL": "http://127.0.0.1:9"}
    assert online_or_offline(offline, unreachable) == (offline, None)
    assert online_or_offline(None, unreachable) == (None, None)


def test_the_server_is_that_of_the_environment_or_of_the_settings_files(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "WANDB_DIR": str(tmp_path)}
    assert server_url(home) == PUBLIC_SERVER
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\nbase_url = http://box:8080\n")
    assert server_url(home) == "http://box:8080"
    assert server_url({**home, "WANDB_BASE_URL": "http://other"}) == "http://other"


def test_a_stage_that_went_offline_itself_is_noticed_by_its_folder(tmp_path: Path) -> None:
    assert logged_offline(RUN, tmp_path) is None
    (tmp_path / "wandb" / "offline-run-20260101_000000-abc123").mkdir(parents=True)
    note = logged_offline(RUN, tmp_path)
    assert note is not None
    assert note.startswith("W&B's server did not take the run")
    assert logged_offline(replace(RUN, mode="offline"), tmp_path) is None
    assert logged_offline(None, tmp_path) is None
