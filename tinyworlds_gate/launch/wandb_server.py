"""Whether the W&B server of an online run answers: a server that is down must not fail a chunk."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from tinyworlds_gate.launch.wandb_run import WandbRun
from tinyworlds_gate.reference.training.wandb_mode import server_url
from tinyworlds_gate.run.redact import redact

ANSWER_S = 10.0
_TRIES = 2
_BETWEEN_S = 0.5
_QUERY = b'{"query": "query { serverInfo { cliVersionInfo } }"}'
_NO_PROXY_ANSWER = 407


def online_or_offline(
    run: WandbRun | None, environment: Mapping[str, str], *folders: Path, answer_s: float = ANSWER_S
) -> tuple[WandbRun | None, str | None]:
    """Return the run, offline if it was to be online and its server is down, and the note for the report (or None).

    Args:
        folders: as for `wandb_mode`.
        answer_s: how long the server may take, in seconds.
    """
    if run is None or run.mode != "online":
        return run, None
    url = server_url(environment, *folders)
    if (problem := server_problem(url, answer_s)) is None:
        return run, None
    return replace(run, mode="offline"), offline_note(f"W&B's server {redact(url)} {redact(problem)}", run)


def logged_offline(run: WandbRun | None, root: Path) -> str | None:
    """Return the note on a run that was to be online and that its stage logged offline; None for any other."""
    if run is None or run.mode != "online" or not any((root / "wandb").glob(f"offline-run-*-{run.id}")):
        return None
    return offline_note("W&B's server did not take the run", run)


def offline_note(problem: str, run: WandbRun) -> str:
    """Return the note: what happened, and how to upload the metrics later."""
    return f"{problem}, so this chunk was logged offline (run {run.id}); upload it later with: wandb sync"


def server_problem(url: str, answer_s: float = ANSWER_S) -> str | None:
    """Return why the server does not answer, as the end of a sentence; None if it answers.

    No key is sent, so a server that refuses the request answers too. Proxies of the environment are used.
    """
    answers: list[str | None] = []

    def ask() -> None:
        while True:
            problem = _answer_problem(url, answer_s)
            answers.append(problem)
            if problem is None or len(answers) == _TRIES:
                return
            time.sleep(_BETWEEN_S)

    asking = threading.Thread(target=ask, daemon=True)  # a name server can take minutes
    asking.start()
    asking.join(answer_s)
    return answers[-1] if answers else f"gave no answer within {answer_s:g} s"


def _answer_problem(url: str, answer_s: float) -> str | None:
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            return "is no http(s) address"
        request = urllib.request.Request(f"{url.rstrip('/')}/graphql", _QUERY, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=answer_s):
            return None
    except urllib.error.HTTPError as error:
        return f"answers with HTTP status {error.code}" if error.code >= 500 or error.code == _NO_PROXY_ANSWER else None
    except urllib.error.URLError as error:
        reason = error.reason
        return f"cannot be reached ({getattr(reason, 'strerror', None) or reason})"
    except TimeoutError:
        return f"gave no answer within {answer_s:g} s"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'strerror', None) or error or type(error).__name__})"
