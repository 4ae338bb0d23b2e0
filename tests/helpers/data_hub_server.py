"""A dataset hub on 127.0.0.1 that serves one file as its client requests it: HEAD with headers, then GET."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILE_PATH = "/datasets/AlmondGod/tinyworlds/resolve/main/zelda_frames.h5"


@dataclass
class Hub:
    """The served file and the faults of the server; ``requests`` collects (method, path, headers)."""

    body: bytes | None
    send_only: int | None = None
    """Body bytes sent where the client expects all of them, with a matching Content-Length."""
    break_first_get_after: int | None = None
    """Close the connection of the first GET after so many bytes."""
    endpoint: str = ""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def gets(self) -> list[dict[str, str]]:
        """Return the headers of every GET, in order."""
        return [headers for method, _, headers in self.requests if method == "GET"]


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

        def do_HEAD(self) -> None:
            body = self._known()
            if body is not None:
                self._headers(200, len(body), body)

        def do_GET(self) -> None:
            body = self._known()
            if body is None:
                return
            if hub.break_first_get_after is not None and len(hub.gets()) == 1:
                self._headers(200, len(body), body)
                self.wfile.write(body[: hub.break_first_get_after])
                self.close_connection = True
                return
            first = int(self.headers.get("Range", "bytes=0-")[len("bytes=") :].split("-")[0])
            part = body[first:] if hub.send_only is None else body[: hub.send_only]
            self._headers(206 if first else 200, len(part), body)
            self.wfile.write(part)

        def _known(self) -> bytes | None:
            hub.requests.append((self.command, self.path, dict(self.headers)))
            if hub.body is not None and self.path == FILE_PATH:
                return hub.body
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

        def _headers(self, status: int, length: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(length))
            if status == 206:
                self.send_header("Content-Range", f"bytes {len(body) - length}-{len(body) - 1}/{len(body)}")
            self.end_headers()

    return Handler


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve ``hub`` during the block; ``hub.endpoint`` is its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
