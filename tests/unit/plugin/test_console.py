"""Progress lines: a rate over at least a second, counted from the first update that a try shows.

pytest tests/unit/plugin/test_console.py
"""

from __future__ import annotations

from typing import Any

import pytest

from tinyworlds_gate.plugin import console
from tinyworlds_gate.plugin.console import Voice


class Config:
    """A pytest configuration without plugins, so that lines go to standard output."""

    pluginmanager: Any

    def __init__(self) -> None:
        self.pluginmanager = self

    def getplugin(self, name: str) -> None:
        return None

    def get_verbosity(self) -> int:
        return 0


@pytest.fixture
def voice(monkeypatch: pytest.MonkeyPatch) -> Voice:
    monkeypatch.setattr(console, "PLAIN_INTERVAL_S", 0.0)
    config: Any = Config()
    return Voice(config)


def test_a_rate_counts_from_the_first_update_that_was_seen(voice: Voice, capsys: pytest.CaptureFixture[str]) -> None:
    voice.progress("dynamics", 0, 10, 300, 100.0)
    voice.progress("dynamics", 0, 12, 300, 100.5)
    assert capsys.readouterr().out == "", "half a second shows no rate"
    voice.progress("dynamics", 0, 30, 300, 110.0)
    assert capsys.readouterr().out == "dynamics: 30 of 300, 2.0/s, about 135 s left\n"


def test_a_retry_of_the_same_updates_counts_from_its_own_start(
    voice: Voice, capsys: pytest.CaptureFixture[str]
) -> None:
    voice.progress("dynamics", 0, 10, 300, 170.0)
    voice.progress("dynamics", 0, 2, 300, 5.0)
    assert capsys.readouterr().out == ""
    voice.progress("dynamics", 0, 42, 300, 15.0)
    assert capsys.readouterr().out == "dynamics: 42 of 300, 4.0/s, about 64 s left\n"
