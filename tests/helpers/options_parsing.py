"""Command lines parsed by a real pytest that has the options registered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

CONFTEST = """
from tinyworlds_gate.plugin.options import add_options


def pytest_addoption(parser):
    add_options(parser)
"""


def parsed(pytester: pytest.Pytester, words: Sequence[str]) -> pytest.Config:
    """Return the configuration of a pytest that was started with these arguments in an empty project.

    Raises:
        pytest.UsageError: pytest refuses the words.
    """
    pytester.makeini("[pytest]\nmarkers =\n    smoke: s\n    longrun: l\n")
    pytester.makeconftest(CONFTEST)
    pytester.mkdir("validation")
    return pytester.parseconfig("-p", "no:tinyworlds_gate", *words)  # else the installed plugin adds the options too
