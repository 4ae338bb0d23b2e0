"""GitHub's REST API by `urllib`: a token goes to one host only, and no redirect is followed."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.plain_json import parse_json
from tinyworlds_gate.run.redact import redact

MOST_BYTES = 32 * 1024**2
TIMEOUT_S = 30.0
TRIES, PAUSE_S, LONGEST_PAUSE_S = 3, 1.0, 20.0
AGAIN = (429, 500, 502, 503, 504)
REPEATABLE = ("GET", "PATCH")
"""A POST that was answered with an error may have taken effect; it is not sent twice."""
LOCAL = ("localhost", "127.0.0.1", "::1")


class ApiError(GateError):
    """The server refused a request, or did not answer. ``status`` is 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


class Api:
    """Requests below ``/repos/OWNER/NAME`` of one server."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        """Raises ``GateError`` for an address that is not encrypted, or without a token."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
            raise GateError(
                f"The API's address {url!r} is not https://, and a token is sent there. Set GITHUB_API_URL."
            )
        if not token:
            raise GateError("There is no token for GitHub's API. Pass `token: ${{ github.token }}` to the action.")
        self._base = f"{url.rstrip('/')}/repos/{repository}"
        self._token = token

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str | int) -> Any:
        """Send a request and return the JSON of its answer.

        Raises:
            ApiError: an answer of 300 or more, or none.
        """
        url = f"{self._base}/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode("utf-8")
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "User-Agent": "tinyworlds_gate",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        for left in range(TRIES - 1, -1, -1):
            try:
                with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
                    content = answer.read(MOST_BYTES)
                return parse_json(content) if content.strip() else None
            except urllib.error.HTTPError as error:
                if left and method in REPEATABLE and error.code in AGAIN:
                    _wait(error.headers.get("Retry-After"))
                    continue
                raise ApiError(f"{method} {path}: {error.code} {_message(error)}", error.code) from None
            except (OSError, http.client.HTTPException) as error:
                if left and method in REPEATABLE:
                    _wait(None)
                    continue
                raise ApiError(f"{method} {path}: no answer ({redact(str(error))})") from None
            except ValueError as error:
                raise ApiError(f"{method} {path}: the answer is no JSON ({error})") from None
        raise AssertionError("the last try returns or raises")


def is_public_png(url: str, *, tries: int = 3) -> bool:
    """Return whether anybody can load a PNG image from an address, without the token; a new file may take seconds."""
    for left in range(tries - 1, -1, -1):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                if answer.read(8) == b"\x89PNG\r\n\x1a\n":
                    return True
        except (OSError, http.client.HTTPException, ValueError):
            pass
        if left:
            _wait(None)
    return False


def _wait(asked: str | None) -> None:
    seconds = float(asked) if asked is not None and asked.isdigit() else PAUSE_S
    time.sleep(min(seconds, LONGEST_PAUSE_S))


def _message(error: urllib.error.HTTPError) -> str:
    """Return what the server says in its answer, in a line."""
    try:
        said = parse_json(error.read(MOST_BYTES))
    except (OSError, ValueError, http.client.HTTPException):
        said = None
    text = str(said.get("message")) if isinstance(said, dict) else error.reason
    return " ".join(redact(text).split())[:300]
