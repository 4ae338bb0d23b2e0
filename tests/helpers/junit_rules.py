"""The rules of junit-10.xsd as data: attributes, children and text of each element.

pytest's own tests validate its family `xunit2` with that schema (testing/example_scripts/junit-10.xsd there). The order
of elements is free, so names, attributes and texts are all that can be wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree


@dataclass(frozen=True)
class Rule:
    """What an element may contain; ``text``: whether it may have characters other than white space."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    children: frozenset[str] = frozenset()
    text: bool = False


def _rule(required: str = "", optional: str = "", children: str = "", *, text: bool = False) -> Rule:
    return Rule(frozenset(required.split()), frozenset(optional.split()), frozenset(children.split()), text)


_OUTPUT = "system-out system-err"
_RERUNS = "rerunFailure rerunError flakyFailure flakyError"
_TOLD = _rule(optional="type message", text=True)
_RERUN = _rule("type", "message", f"stackTrace {_OUTPUT}", text=True)
RULES = {
    "testsuites": _rule(optional="name time tests failures errors", children="testsuite"),
    "testsuite": _rule(
        "name tests failures errors",
        "group time skipped timestamp hostname id package file log url version",
        f"testsuite properties testcase {_OUTPUT}",
    ),
    "testcase": _rule("name", "time classname group", f"skipped error failure {_RERUNS} {_OUTPUT}"),
    "properties": _rule(children="property"),
    "property": _rule("name value"),
    **dict.fromkeys(("skipped", "error", "failure"), _TOLD),
    **dict.fromkeys(_RERUNS.split(), _RERUN),
    **dict.fromkeys((*_OUTPUT.split(), "stackTrace"), _rule(text=True)),
}
SECONDS = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?")


def junit_problems(path: Path) -> list[str]:
    """Return a sentence for every violation in a file."""
    root = ElementTree.parse(path).getroot()
    problems = [] if root.tag in ("testsuites", "testsuite") else [f"the root is <{root.tag}>"]
    for parent in root.iter():
        rule = RULES.get(parent.tag)
        if rule is None:
            continue  # reported at its parent
        names = set(parent.attrib)
        problems += [f"<{parent.tag}> lacks {name}" for name in sorted(rule.required - names)]
        problems += [f"<{parent.tag}> has {name}" for name in sorted(names - rule.required - rule.optional)]
        problems += [f"<{child.tag}> in <{parent.tag}>" for child in parent if child.tag not in rule.children]
        if not rule.text and (parent.text or "").strip():
            problems.append(f"text in <{parent.tag}>")
        if parent.tag in ("testsuites", "testsuite") and not SECONDS.fullmatch(parent.get("time", "")):
            problems.append(f"<{parent.tag}> has the time {parent.get('time')!r}")
    return problems


def suite_properties(path: Path) -> list[tuple[str, str]]:
    """Return (name, value) of the test suites' properties, in order."""
    return [
        (str(one.get("name")), str(one.get("value")))
        for one in ElementTree.parse(path).getroot().findall("./testsuite/properties/property")
    ]
