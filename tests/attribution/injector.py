"""Serves the workers of one run: holds the plan in its own memory and causes the fault when its moment has come."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.attribution.catalogue import Where
from tests.attribution.plan import Planned
from tests.attribution.project import address_of


class Injector:
    """Listens on the project's socket; a context manager."""

    def __init__(self, root: Path, fault: Planned | None) -> None:
        self.root, self.fault, self.happened = root, fault, False
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(address_of(root))
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Injector:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection, connection.makefile("rw", encoding="utf-8") as lines:
            for line in lines:
                answer = self._answer(json.loads(line))
                print(json.dumps(answer), file=lines, flush=True)

    def _answer(self, said: dict[str, Any]) -> str:
        """Cause what is to be caused from outside, and return the code that the worker executes (often none)."""
        fault = self.fault
        if fault is None:
            return ""
        kind, moment, own = fault.kind, said["moment"], said["rank"] == fault.rank
        if kind.helper and not own and moment == fault.moment - 1:
            return kind.helper
        due = moment == fault.moment or (kind.lasting and moment > fault.moment)
        if not due or not (own or kind.everyone):
            return ""
        self.happened = True
        if kind.outside is not None:
            with suppress(ProcessLookupError):
                kind.outside(Where(self.root, fault.stage, said["pid"], said["parent"]))
        return kind.code
