"""Entries of the journal's ``custom_metrics`` as text (pure functions)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.gate.extension import limit_text

Record = Mapping[str, Any]
MOST_DIGITS = 17


def value_text(record: Record) -> str:
    """The value of a record with its unit, with as many digits as it takes to tell it from the limit."""
    value = record["value"]
    limit = record["at_least"] if record["at_most"] is None else record["at_most"]
    if value is None:
        return "not measured"
    digits = 4
    while limit not in (None, value) and digits < MOST_DIGITS and f"{value:.{digits}g}" == f"{limit:.{digits}g}":
        digits += 1
    return f"{value:.{digits}g} {record['unit']}".rstrip()


def interval_text(record: Record) -> str:
    """`0.011 to 0.014`; empty where the metric is one number for all clips."""
    return "" if record["low"] is None else f"{record['low']:.4g} to {record['high']:.4g}"


def record_limit(record: Record) -> str:
    """`at most 0.02`; empty for a metric that is only shown."""
    return limit_text(record["at_most"], record["at_least"], record["unit"])


def record_text(record: Record) -> str:
    """One entry of ``custom_metrics`` as a line: name, value, interval, limit, verdict."""
    if record["problem"]:
        return f"{record['name']}: {record['verdict'] or 'only shown'}, not measured: {record['problem']}"
    known = interval_text(record)
    within = f" (95 % interval {known})" if known else ""
    judged = f"{record_limit(record)}: {record['verdict']}" if record["verdict"] else "only shown"
    return f"{record['name']} {value_text(record)}{within}, {judged}"
