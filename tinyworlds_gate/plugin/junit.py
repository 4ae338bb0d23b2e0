"""What a JUnit file (`--junit-xml`) says beside the tests: requirements, attempts, the run's verdict, as properties.

They are properties of the test suite. junit-10.xsd, which pytest's default family `xunit2` follows, allows properties
nowhere else; with `-o junit_family=xunit1` each test case carries its own as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from _pytest.junitxml import xml_key

from tinyworlds_gate.run.redact import redact

if TYPE_CHECKING:
    from tinyworlds_gate.plugin.session import GateSession

Property = tuple[str, str]


class JUnitProperties:
    """A plugin that hears every report, those of xdist's workers too, and fills the suite's properties at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._tested: dict[tuple[str, str], str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember how the tests of each requirement ended; what failed in its setup or teardown failed."""
        for id in getattr(report, "requirements", ()):
            key = (id, report.nodeid)
            if report.failed or (report.when == "call" and self._tested.get(key) != "failed") or report.skipped:
                self._tested[key] = report.outcome

    def fill(self, session: GateSession) -> None:
        """Add the properties to the file, which pytest writes after this; nothing without `--junit-xml`."""
        xml = self._config.stash.get(xml_key, None)
        if xml is not None:
            for name, value in [*of_run(session), *self._of_tests(session)]:
                xml.add_global_property(name, redact(value))

    def _of_tests(self, session: GateSession) -> Iterator[Property]:
        """`requirement.L4` → outcome and test, for the tests of the harness itself."""
        for (id, test), outcome in self._tested.items():
            if test not in session.findings:
                yield f"requirement.{id}", f"{outcome}: {test}"


def of_run(session: GateSession) -> Iterator[Property]:
    """The run, its verdict, its attempts, and `requirement.L4` → verdict, reason and test, for the closed loop."""
    if session.loop is None or session.outcome is None:
        return
    from tinyworlds_gate.plugin.custom_metrics import custom_texts

    yield "tinyworlds_gate.run", session.loop.context.layout.relative(session.loop.context.layout.root)
    yield "tinyworlds_gate.status", session.outcome.status
    yield "tinyworlds_gate.verdict", session.outcome.sentence
    yield from session.attempt_properties()
    for name, text in custom_texts(session.loop).items():
        yield f"tinyworlds_gate.metric.{name}", text
    for test, one in session.outcome.findings:
        yield f"requirement.{one.id}", f"{one.verdict}: {one.reason}{f' [{test}]' if test else ''}"


JUNIT = pytest.StashKey[JUnitProperties]()
