"""Turn the report of a test whose row was judged differently at the session's end: terminal, JUnit file, HTML page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement

import pytest
from _pytest.junitxml import bin_xml_escape, mangle_test_address, xml_key

from tinyworlds_gate.plugin import html_page

if TYPE_CHECKING:
    from tinyworlds_gate.findings.base import Finding

TURNED = "at the session's end, with the whole journal"
CATEGORIES = {"passed": "passed", "failed": "failure", "skipped": "skipped"}
"""Outcome of a report → its category in a JUnit file."""


def turn_report(
    config: pytest.Config, old: pytest.TestReport, broken: Sequence[Finding], tested: Collection[str]
) -> pytest.TestReport:
    """Give a test another outcome everywhere: failed, or skipped where the test of each finding's cause fails.

    Args:
        old: the report that decided the outcome so far; it did not fail.
        broken: the findings that turned it.
        tested: the requirements that have a test in this session.

    Returns:
        The report that replaces it.
    """
    text = "\n".join(f"{one.id} {one.verdict} {TURNED}: {one.reason}" for one in broken)
    new = copy(old)
    new.when = "call"
    if all(one.follows_from in tested for one in broken):
        new.outcome, new.longrepr = "skipped", (old.location[0], old.location[1] or 0, f"Skipped: {text}")
    else:
        new.outcome, new.longrepr = "failed", text
    _turn_terminal(config, old, new)
    _turn_junit(config, old, new, text)
    html_page.replace_row(config, old, new)
    _tell_other_plugins(config, new)
    return new


def _turn_terminal(config: pytest.Config, old: pytest.TestReport, new: pytest.TestReport) -> None:
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    for reports in reporter.stats.values():
        reports[:] = [one for one in reports if one is not old]
    reporter.stats.setdefault(new.outcome, []).append(new)


def _turn_junit(config: pytest.Config, old: pytest.TestReport, new: pytest.TestReport, text: str) -> None:
    xml = config.stash.get(xml_key, None)
    if xml is None:
        return
    *path, name = mangle_test_address(old.nodeid)
    wanted = {"classname": ".".join([*([xml.prefix] if xml.prefix else []), *path]), "name": bin_xml_escape(name)}
    written: list[Element] = [one.to_xml() for one in xml.node_reporters_ordered]
    case = next((one for one in reversed(written) if _is_case(one, wanted)), None)
    if case is None:
        return
    for child in [*case.findall("skipped"), *case.findall("failure")]:
        case.remove(child)
    tag = CATEGORIES[new.outcome]
    message = bin_xml_escape(text)
    SubElement(case, tag, {"message": message} | ({"type": "pytest.skip"} if tag == "skipped" else {})).text = message
    xml.stats[CATEGORIES[old.outcome]] -= 1
    xml.stats[tag] += 1


def _is_case(case: Element, wanted: dict[str, str]) -> bool:
    return all(case.get(key) == value for key, value in wanted.items())


def _tell_other_plugins(config: pytest.Config, new: pytest.TestReport) -> None:
    """Log the report for the plugins that only count or remember outcomes (`--lf`, the session's failed tests)."""
    manager = config.pluginmanager
    own = [manager.get_plugin("terminalreporter"), config.stash.get(xml_key, None), html_page.report_of(config)]
    hook = manager.subset_hook_caller("pytest_runtest_logreport", [plugin for plugin in own if plugin is not None])
    hook(report=new)
