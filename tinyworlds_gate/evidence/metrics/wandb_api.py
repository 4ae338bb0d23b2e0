"""Reads the history of W&B runs through wandb's public API. Only the child process of `wandb_child.py` calls this."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun, RunAnswer, rows_between

PAGE = 1000
"""Updates in one request, wandb's default."""
CONNECT_S = 3.0


class NoWandbServerError(Exception):
    """The server cannot be used; the message is the end of a sentence."""


def open_api(timeout_s: float) -> Any:
    """`wandb.Api` on the user's server with the user's key, which the server has accepted.

    Raises:
        NoWandbServerError: no key, a wrong key, no server there, or no answer within `timeout_s`.
    """
    import wandb
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    server = wandb_setup.singleton().settings.base_url
    try:
        if wbauth.authenticate_session(host=server, source="the analysis", prompt=False, update_session=False) is None:
            raise NoWandbServerError(f"there is no key for {server}: set WANDB_API_KEY, or `wandb login`")
        _require_listener(server)
        return wandb.Api(timeout=max(1, round(timeout_s)))
    except NoWandbServerError:
        raise
    except Exception as error:
        raise NoWandbServerError(error_text(error, timeout_s)) from error


def scan(api: Any, run: LoggedRun, beat: Callable[[], None], timeout_s: float) -> RunAnswer:
    """The rows of one run between its updates; a run that is not there, or breaks off, comes back with its problem.

    `beat` is called whenever data arrives.
    """
    name = run.id
    try:
        entity = run.entity or api.default_entity
        name = "/".join(part for part in (entity, run.project, run.id) if part)
        found = api.run(name)
        beat()
        raw = list(_raw_rows(found, run.start, run.end, beat))
    except Exception as error:  # noqa: BLE001 - whatever wandb's client raises is why this run has no rows
        return RunAnswer(name, {}, error_text(error, timeout_s))
    rows = rows_between(raw, run.start, run.end)
    return RunAnswer(name, rows, None if rows else "holds no row of these updates")


def _raw_rows(found: Any, start: int, end: int, beat: Callable[[], None]) -> Iterable[Mapping[str, Any]]:
    empty = True
    for number_of_row, raw in enumerate(
        found.scan_history(page_size=PAGE, min_step=start, max_step=end, use_cache=False)
    ):
        empty = False
        if number_of_row % 100 == 0:
            beat()
        yield raw
    if empty:
        # `scan_history` requests `historyKeys` first and returns nothing while the server has none. The rows exist
        # all the same, in parquet files or live, and the range of updates is known.
        from wandb.apis.public import HistoryScan

        yield from HistoryScan(
            found, service_api=found._service_api, min_step=start, max_step=end, page_size=PAGE, use_cache=False
        )


def error_text(error: BaseException, timeout_s: float) -> str:
    """Return an error of wandb's client as the end of a sentence, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "did not respond in time" in text:
        return f"no answer came within {timeout_s:g} s"
    return f"wandb says: {text if len(text) <= 300 else text[:300] + '…'}"


def _require_listener(server: str) -> None:
    """Fail at once when the server is not reachable; wandb's client would retry until its timeout without a reason."""
    address = urlsplit(server)
    host = address.hostname or ""
    if address.scheme in getproxies() and not proxy_bypass(host):
        return  # only the proxy knows
    try:
        socket.create_connection((host, address.port or (443 if address.scheme == "https" else 80)), CONNECT_S).close()
    except OSError as error:
        raise NoWandbServerError(f"{server} cannot be reached: {error.strerror or error}") from error
