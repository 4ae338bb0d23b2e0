"""Timestamps of file names: ``YYYY_MM_DD_HH_MM_SS`` in local time, sortable as text."""

from __future__ import annotations

import re
from datetime import datetime

from tinyworlds_gate.errors import GateError

FORMAT = "%Y_%m_%d_%H_%M_%S"
_SHAPE = re.compile(r"\d{4}(?:_\d{2}){5}")


def timestamp(unix_s: float | None = None) -> str:
    """The local time of ``unix_s`` (default: now) as ``YYYY_MM_DD_HH_MM_SS``."""
    moment = datetime.now() if unix_s is None else datetime.fromtimestamp(unix_s)
    return moment.strftime(FORMAT)


def parse_timestamp(text: str) -> datetime:
    """The local time that ``text`` names; raises ``GateError`` for any other shape or an impossible date."""
    if _SHAPE.fullmatch(text):
        try:
            return datetime.strptime(text, FORMAT)
        except ValueError:
            pass
    raise GateError(f"{text!r} is not a timestamp: expected YYYY_MM_DD_HH_MM_SS, for example 2025_12_31_23_59_00.")
