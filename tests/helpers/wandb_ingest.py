"""The server side of an online `wandb.init` for the loopback server: a run's creation, its rows, its files.

wandb's service (wandb-core 0.31) needs answers to three kinds of request; all are implemented here: `UpsertBucket`
(GraphQL), the file stream (`POST /files/<entity>/<project>/<run>/file_stream`, rows as JSON lines with their offset),
and `CreateRunFiles` (GraphQL) with a PUT to each upload address. Its other requests (the server's features, the
organisation) may fail.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

HISTORY = "wandb-history.jsonl"


@dataclass
class Ingested:
    """An online run as received: its creation request, its rows by offset, the names of its files."""

    created: Mapping[str, Any]
    lines: dict[int, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    complete: bool = False

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of its history, in logging order."""
        return [json.loads(line) for _, line in sorted(self.lines.items())]

    def take(self, streamed: Mapping[str, Any]) -> None:
        """Store a message of the file stream; a repeated part replaces the earlier one."""
        part = (streamed.get("files") or {}).get(HISTORY)
        if part is not None:
            self.lines.update(enumerate(part["content"], int(part["offset"])))
        self.complete = self.complete or bool(streamed.get("complete"))


def bucket_answer(run_id: str, project: str, entity: str) -> dict[str, Any]:
    """Return the answer to `UpsertBucket`: the run was created."""
    owner = {"id": "RW50OjE=", "name": entity}
    bucket: dict[str, Any] = {
        "id": "UnVuOjE=",
        "name": run_id,
        "displayName": run_id,
        "description": None,
        "config": "{}",
    }
    bucket |= {"sweepName": None, "historyLineCount": 0, "project": {"id": "1", "name": project, "entity": owner}}
    return {"upsertBucket": {"bucket": bucket, "inserted": True}}


def files_answer(names: list[str], run_id: str, address: str) -> dict[str, Any]:
    """Return the answer to `CreateRunFiles`: the upload address of each file."""
    files = [{"name": name, "uploadUrl": f"{address}/upload/{run_id}/{name}"} for name in names]
    return {"createRunFiles": {"runID": run_id, "uploadHeaders": [], "files": files}}


def body_of(handler: BaseHTTPRequestHandler) -> bytes:
    """Return the whole body of a request, decompressed."""
    if handler.headers.get("Transfer-Encoding") == "chunked":
        parts = []
        while size := int(handler.rfile.readline(), 16):
            parts.append(handler.rfile.read(size))
            handler.rfile.readline()
        handler.rfile.readline()
        body = b"".join(parts)
    else:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    return gzip.decompress(body) if handler.headers.get("Content-Encoding") == "gzip" else body
