"""What a reader meets: the README's first screen and length, the index, the site's navigation, the issue forms.

python -m pytest tests/unit/test_documents.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.commands import REPOSITORY, python

DOCS = REPOSITORY / "docs"
PAGES = [*REPOSITORY.glob("*.md"), *DOCS.glob("*.md"), *DOCS.glob("api/*.md"), *DOCS.glob("results/*.md")]
NAMES = sorted(str(page.relative_to(REPOSITORY)) for page in PAGES)
MAX_README_WORDS, MAX_LINE = 900, 120
FIRST_SCREEN_LINES = 25


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def linked(name: str) -> set[str]:
    """The local pages and files that a page links to, from the repository's root."""
    page = REPOSITORY / name
    links = re.findall(r"(?:\]\(|^\[[^\]]+\]: )([^)#\s]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    there = [(page.parent / link).resolve() for link in links if "://" not in link]
    return {str(path.relative_to(REPOSITORY)) for path in there}


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").split()) <= MAX_README_WORDS


@pytest.mark.parametrize("command", ["make smoke", "make test", "pytest validation/ -m smoke --target-repo ../"])
def test_the_first_screen_of_the_readme_has_the_command(command: str) -> None:
    assert command in "\n".join(text_of("README.md").splitlines()[:FIRST_SCREEN_LINES])


@pytest.mark.parametrize("name", NAMES)
def test_lines_fit_a_terminal(name: str) -> None:
    """Table rows cannot be wrapped."""
    lines = [line for line in text_of(name).splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > MAX_LINE] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_file(name: str) -> None:
    assert [link for link in linked(name) if not (REPOSITORY / link).exists()] == []


def test_the_index_leads_to_every_page() -> None:
    index = linked("docs/README.md")
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} - index - {"docs/README.md"} == set()
    assert {"CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "CITATION.cff", "docs/api/README.md"} <= index


def test_the_site_has_every_page_in_its_navigation() -> None:
    settings = yaml.safe_load(text_of("mkdocs.yml"))
    there = {str(page.relative_to(DOCS)) for page in (*DOCS.glob("*.md"), *DOCS.glob("api/*.md"))}
    assert there - set(_pages(settings["nav"])) == set()
    assert settings["strict"] is True


def _pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in entries for page in _pages(entry)]


@pytest.mark.parametrize("name", ["bug", "checkout", "defect"])
def test_an_issue_form_has_what_the_host_requires(name: str) -> None:
    content = yaml.safe_load(text_of(f".github/ISSUE_TEMPLATE/{name}.yml"))
    assert content["name"]
    assert content["description"]
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    answer = python("-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site"))
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "site" / "repository" / "CONTRIBUTING" / "index.html").is_file()
    assert "judge_measures" in (tmp_path / "site" / "api" / "gate" / "index.html").read_text(encoding="utf-8")
    loaded = re.compile(r"<(?:script|img|link)[^>]+(?:src|href)=[\"']?(?:https?:)?//[^\"'> ]+")
    for page in (tmp_path / "site").rglob("index.html"):
        assert loaded.findall(page.read_text(encoding="utf-8")) == [], page
