"""The conditions and metrics that the project's `conftest.py` adds to the gate (docs/extending.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.gate.custom_records import record_text
from tinyworlds_gate.gate.extension import CONDITIONS_HOOK, METRICS_HOOK, ClipMetric, Hook, call_hooks
from tinyworlds_gate.run.journal import last_event

if TYPE_CHECKING:
    from tinyworlds_gate.loop.closed_loop import ClosedLoop


def custom_metrics(config: pytest.Config) -> tuple[ClipMetric, ...]:
    """Return what every implementation of the two hooks defines.

    Raises:
        pytest.UsageError: a hook raised, or a definition is wrong.
    """
    try:
        return call_hooks(_hooks(config))
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from error


def _hooks(config: pytest.Config) -> Iterator[Hook]:
    for name in (CONDITIONS_HOOK, METRICS_HOOK):
        # One by one: pluggy drops a None, which is a forgotten `return`.
        for one in getattr(config.hook, name).get_hookimpls():
            where = one.plugin_name
            yield Hook(name, os.path.relpath(where) if os.path.isabs(where) else where, one.function)


def announcement(metrics: tuple[ClipMetric, ...]) -> str:
    """Return the line that names the conditions and metrics at the start of a run."""
    shown = [f"{one.name} ({one.limit_text or 'only shown'})" for one in metrics]
    return f"conftest.py adds to the gate: {', '.join(shown)}"


def custom_texts(loop: ClosedLoop) -> dict[str, str]:
    """Return name → text of the custom conditions and metrics of the last verdict; empty without any."""
    verdict = last_event(loop.context.journal.events(), "gate_verdict") or {}
    return {str(record["name"]): record_text(record) for record in verdict.get("custom_metrics") or []}
