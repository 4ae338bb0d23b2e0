"""JUnit files carry requirements as properties and stay valid by junit-10.xsd.

pytest tests/unit/plugin/test_junit.py
"""

from __future__ import annotations

from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.helpers.junit_rules import junit_problems, suite_properties

pytest_plugins = ["pytester"]

SUITE = """
    import pytest

    @pytest.mark.requirement("L4", "A2")
    def test_passes(): ...

    @pytest.mark.requirement("L4")
    def test_fails():
        print("said <this> & that")
        assert 1 == 2

    @pytest.fixture
    def broken():
        raise RuntimeError("no fixture")

    @pytest.fixture
    def broken_end():
        yield
        raise RuntimeError("no end")

    @pytest.mark.requirement("C1")
    def test_cannot_start(broken): ...

    @pytest.mark.requirement("C2")
    def test_cannot_end(broken_end): ...

    @pytest.mark.requirement("C3")
    def test_is_skipped():
        pytest.skip("a reason")

    def test_carries_nothing(): ...
"""
MARKS = "[pytest]\nmarkers =\n    requirement(id): an ID\n"
EXPECTED = [
    ("requirement.L4", "passed: tests/test_suite.py::test_passes"),
    ("requirement.A2", "passed: tests/test_suite.py::test_passes"),
    ("requirement.L4", "failed: tests/test_suite.py::test_fails"),
    ("requirement.C1", "failed: tests/test_suite.py::test_cannot_start"),
    ("requirement.C2", "failed: tests/test_suite.py::test_cannot_end"),
    ("requirement.C3", "skipped: tests/test_suite.py::test_is_skipped"),
]


def written(pytester: pytest.Pytester, *words: str) -> Path:
    """The JUnit file of a session with the tests above."""
    pytester.makeini(MARKS)
    pytester.makeconftest('pytest_plugins = ["tinyworlds_gate.plugin"]')
    suite = pytester.makepyfile(test_suite=SUITE)
    suite.rename(pytester.mkdir("tests") / suite.name)
    pytester.runpytest("tests", "--junit-xml=junit.xml", "-p", "no:cacheprovider", *words)
    return pytester.path / "junit.xml"


def test_the_family_of_pytest_itself_has_the_requirements_at_the_suite_and_is_valid(pytester: pytest.Pytester) -> None:
    path = written(pytester)
    assert junit_problems(path) == []
    assert suite_properties(path) == EXPECTED
    assert [case for case in ElementTree.parse(path).iter("testcase") if case.find("properties") is not None] == []


def test_the_older_family_has_them_at_each_test_too(pytester: pytest.Pytester) -> None:
    path = written(pytester, "-o", "junit_family=xunit1")
    assert suite_properties(path) == EXPECTED
    carried = {
        str(case.get("name")): [prop.get("value") for prop in case.iter("property")]
        for case in ElementTree.parse(path).iter("testcase")
    }
    assert carried["test_passes"] == ["L4", "A2"]
    assert carried["test_carries_nothing"] == []
    assert "<properties> in <testcase>" in junit_problems(path), "so the older family is not the default"


def test_requirements_of_tests_in_other_processes_are_there_too(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    path = written(pytester, "-n", "1")
    assert junit_problems(path) == []
    assert sorted(suite_properties(path)) == sorted(EXPECTED)


def test_the_column_of_the_page_has_them_without_properties_of_the_tests(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_html")
    written(pytester, "--html=page.html")
    page = unescape((pytester.path / "page.html").read_text(encoding="utf-8"))
    assert 'col-requirements\\">L4 A2</td>' in page
    assert 'col-requirements\\"></td>' in page


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<testcase name="a"><properties/></testcase>', "<properties> in <testcase>"),
        ('<testcase name="a" file="a.py"/>', "<testcase> has file"),
        ("<testcase/>", "<testcase> lacks name"),
        ('<properties><property name="a"/></properties>', "<property> lacks value"),
        ("words", "text in <testsuite>"),
        ("<requirement/>", "<requirement> in <testsuite>"),
    ],
)
def test_the_rules_find_what_the_schema_refuses(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(f'<testsuite name="s" tests="1" failures="0" errors="0" time="1.5">{text}</testsuite>')
    assert junit_problems(path) == [problem]
