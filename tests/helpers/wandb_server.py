"""A W&B server on 127.0.0.1: it answers the client's GraphQL queries for runs and histories, and can fail.

The client is the real one. The answers have the shape of its queries (`Viewer`, `RunFragment`, `RunHistoryKeys`,
`RunParquetHistory`, `HistoryPage`), and values have W&B's form: whole floats as ints, NaN as the string "NaN". Its
errors contain the login, so that tests can detect a message that shows the key.
"""

from __future__ import annotations

import base64
import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.helpers.wandb_ingest import Ingested, body_of, bucket_answer, files_answer

KEY = "k1ng0fh34rts" * 4
ENTITY = "zelda-lab"
PROJECT = "tinyworlds"
PARQUET = Path(__file__).resolve().parent.parent / "data" / "wandb_exports" / "history_0_40.parquet"
"""40 rows as W&B exports them, written once with pyarrow: updates 0 to 39, `train/loss` 5 − 0.01·update (NaN at update
7, 0.5 at multiples of 4), a constant learning rate, `unique_actions` 3 at odd updates and null at even ones."""


@dataclass
class ServedRun:
    """One run: its live rows, its exported parquet files, and the fault of an answer about it.

    `fault`: "missing" (no such run), "500" or "half" (its rows), "capped" (pages hold fewer rows than asked).
    `history_keys` False: the server has not indexed the keys, so `scan_history` believes that there is nothing.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    parquet: Sequence[Path] = ()
    fault: str | None = None
    history_keys: bool = True
    last_step: int = -1

    def attributes(self, run_id: str) -> dict[str, Any]:
        user = {"name": "Zelda", "username": "zelda"}
        made = {"id": "UnVuOjE=", "projectId": "1", "name": run_id, "displayName": run_id, "state": "finished"}
        bags = dict.fromkeys(("config", "systemMetrics", "summaryMetrics"), "{}")
        return {**made, **bags, "tags": [], "user": user, "historyKeys": self.keys()}

    def keys(self) -> dict[str, Any] | None:
        last = max([self.last_step, *(int(row["_step"]) for row in self.rows)])
        return {"lastStep": last, "keys": {}} if self.history_keys else None


@dataclass
class WandbServer:
    """The server's runs; with `hang` or `broken` it fails from the first request on. `queries` are those received.

    A run that is logged online becomes one of `runs`, row by row; `ingested` holds all that came of it.
    """

    runs: dict[str, ServedRun] = field(default_factory=dict)
    hang: bool = False
    broken: bool = False
    address: str = ""
    queries: list[str] = field(default_factory=list)
    ingested: dict[str, Ingested] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)

    def environment(self, key: str = KEY) -> dict[str, str]:
        """Return the environment variables that point wandb's client to this server."""
        return {"WANDB_BASE_URL": self.address, "WANDB_API_KEY": key}


def values(row: Mapping[str, Any]) -> str:
    """Return a row as W&B sends it."""
    return json.dumps({name: _value(value) for name, value in row.items()})


def _value(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return int(value) if value.is_integer() else value
    return value


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

        def do_GET(self) -> None:
            self._send(200, (PARQUET.parent / Path(self.path).name).read_bytes())

        def do_PUT(self) -> None:
            _, _, run_id, name = self.path.split("/", 3)
            server.ingested[run_id].files[name] = body_of(self)
            self._send(200, b"")

        def do_POST(self) -> None:
            body = body_of(self)
            login = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            if self.path.endswith("/file_stream") and login == f"api:{KEY}":
                run_id = self.path.split("/")[-2]
                server.ingested[run_id].take(json.loads(body))
                server.runs[run_id] = ServedRun(server.ingested[run_id].rows)
                self._send(200, b"{}")
                return
            request = json.loads(body)
            query, asked = request["query"], request.get("variables") or {}
            server.queries.append(query)
            if server.hang:
                server.released.wait(120)
            elif server.broken:
                self._send(500, f"the database is gone, {login}".encode())
            elif login != f"api:{KEY}":
                self._send(401, f"nobody has the login {login}".encode())
            elif "viewer" in query:
                names = {"name": "Zelda", "username": "zelda", "email": "zelda@example.com", "admin": False}
                viewer = {"id": "1", "entity": ENTITY, "flags": "{}", "teams": {"edges": []}, **names}
                self._data({"viewer": viewer})
            elif "upsertBucket" in query:
                server.ingested.setdefault(asked["name"], Ingested(asked))
                self._data(bucket_answer(asked["name"], asked["project"], ENTITY))
            elif "createRunFiles" in query:
                self._data(files_answer(asked["files"], asked["run"], server.address))
            elif not any(asked.get(name) for name in ("name", "runName", "run")):
                self._data({})
            else:
                self._run(query, asked, login)

        def _run(self, query: str, asked: Mapping[str, Any], login: str) -> None:
            run_id = asked.get("name") or asked.get("runName") or asked.get("run") or ""
            run = server.runs.get(run_id)
            here = (asked.get("entity"), asked.get("project")) == (ENTITY, PROJECT)
            if run is None or not here or run.fault == "missing":
                self._data({"project": None})
            elif "RunFragment" in query:
                self._data({"project": {"run": run.attributes(run_id)}})
            elif "parquetHistory" in query:
                urls = [f"{server.address}/files/{path.name}" for path in run.parquet]
                live = [{"_step": row["_step"]} for row in run.rows[:1]]
                self._data({"project": {"run": {"parquetHistory": {"parquetUrls": urls, "liveData": live}}}})
            elif "historyKeys" in query:
                self._data({"project": {"run": {"historyKeys": run.keys()}}})
            elif run.fault == "500":
                self._send(500, f"the rows are gone, {login}".encode())
            else:
                rows = [values(row) for row in run.rows if asked["minStep"] <= row["_step"] < asked["maxStep"]]
                rows = rows[: len(rows) // 2] if run.fault == "capped" else rows
                self._data({"project": {"run": {"history": rows}}}, half=run.fault == "half")

        def _data(self, data: Mapping[str, Any], half: bool = False) -> None:
            self._send(200, json.dumps({"data": data}).encode(), half)

        def _send(self, status: int, body: bytes, half: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if half else body)
            self.close_connection = half

    return Handler


@contextmanager
def serving(server: WandbServer) -> Iterator[WandbServer]:
    """Serve during the block at `server.address`."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.address = f"http://127.0.0.1:{listener.server_address[1]}"
    try:
        yield server
    finally:
        server.released.set()
        listener.shutdown()
        listener.server_close()
        thread.join()
