"""What an online `wandb.init` sends, taken in by the loopback server: a run's creation, its rows, its files.

wandb's service (wandb-core 0.31) asks three things of a server before and while a run goes on; all are answered here:
`UpsertBucket` (GraphQL), the file stream (`POST /files/<entity>/<project>/<run>/file_stream`, rows as JSON lines with
their offset), and `CreateRunFiles` (GraphQL) with a PUT to each upload address. What it asks beside that (the server's
features, the organisation) may stay without an answer.
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
    """One online run as it came in: what it was created with, its rows by offset, the names of its files."""

    created: Mapping[str, Any]
    lines: dict[int, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    complete: bool = False

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of its history, in the order in which they were logged."""
        return [json.loads(line) for _, line in sorted(self.lines.items())]

    def take(self, streamed: Mapping[str, Any]) -> None:
        """One message of the file stream; a part that is sent again replaces what came first."""
        part = (streamed.get("files") or {}).get(HISTORY)
        if part is not None:
            self.lines.update(enumerate(part["content"], int(part["offset"])))
        self.complete = self.complete or bool(streamed.get("complete"))


def bucket_answer(run_id: str, project: str, entity: str) -> dict[str, Any]:
    """`UpsertBucket`'s answer: the run was made."""
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
    """`CreateRunFiles`' answer: where each file is to be put."""
    files = [{"name": name, "uploadUrl": f"{address}/upload/{run_id}/{name}"} for name in names]
    return {"createRunFiles": {"runID": run_id, "uploadHeaders": [], "files": files}}


def body_of(handler: BaseHTTPRequestHandler) -> bytes:
    """A request's body, in one piece and unpacked."""
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
