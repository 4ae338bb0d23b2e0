"""The bridge to pytest-html (A8): one self-contained page for every run that validates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.owned import owned_folder

COLUMN = 2
"""The place of the requirement column: after the result and the test's name."""


def enable(config: pytest.Config, project_root: Path, stamp: str) -> tuple[Path | None, bool]:
    """Ask pytest-html for its page under docs/action/, unless the user chose a path or switched the plugin off.

    Returns:
        Where the page will be, or None where pytest-html is off; and whether the path is ours, not the user's.

    Raises:
        pytest.UsageError: the folder cannot be written.
    """
    if not config.pluginmanager.hasplugin("html"):
        return None, False
    ours = config.option.htmlpath is None
    if ours:
        folder = project_root / "docs" / "action"
        try:
            owned_folder(project_root, folder)
        except OSError as error:
            raise pytest.UsageError(
                f"the reports go to {folder}, which cannot be made ({error.strerror}); make it writable, or name "
                "another project with --project-root"
            ) from error
        page = Path(os.path.abspath(folder / f"validation-{stamp}.html"))
        if page.is_symlink():
            raise pytest.UsageError(f"the page {page} is a symbolic link to {os.readlink(page)}; remove it")
        # Relative where a folder is named like `$NAME`, because pytest-html expands that.
        short = page.is_relative_to(Path.cwd()) or "$" in str(page)
        config.option.htmlpath = os.path.relpath(page) if short else str(page)
    config.option.self_contained_html = True
    # As pytest-html reads it.
    expanded = Path.cwd() / Path(os.path.expandvars(config.option.htmlpath)).expanduser()
    return Path(os.path.normpath(expanded)), ours


def drop(config: pytest.Config) -> None:
    """No validation test was selected: a page that nobody asked for is not written."""
    if (plugin := report_of(config)) is not None:
        config.pluginmanager.unregister(plugin)


def report_of(config: pytest.Config) -> Any:
    """pytest-html's report of this session; None where the plugin is off."""
    from pytest_html.basereport import BaseReport

    return next((plugin for plugin in config.pluginmanager.get_plugins() if isinstance(plugin, BaseReport)), None)


def write_draft(config: pytest.Config, fragments: list[str]) -> None:
    """Write the page with the tests so far; pytest-html writes it again when the session ends."""
    report = report_of(config)
    if report is None:
        return
    prefix = report._report.additional_summary["prefix"]
    prefix += fragments
    try:
        report._generate_report()
    except OSError:
        return  # the page is then missing, which A8 reports
    finally:
        del prefix[len(prefix) - len(fragments) :]


def replace_row(config: pytest.Config, old: pytest.TestReport, new: pytest.TestReport) -> None:
    """Show the last row of a test with another outcome."""
    from pytest_html.basereport import _process_outcome

    report = report_of(config)
    if report is None:
        return
    rows, outcomes = report._report.data["tests"][old.nodeid], report._report.outcomes
    if rows:
        rows.pop()
        outcomes[_process_outcome(old).lower()]["value"] -= 1
    report._process_report(new, new.duration, [])


def summary(layout: RunLayout, page: Path | None) -> list[str]:
    """The fragments above the table of tests.

    A journal that cannot be read costs the fragments, never the page: the table of tests is written anyway.
    """
    from tinyworlds_gate.reports.model import load_record
    from tinyworlds_gate.reports.page import no_record_html, summary_html

    try:
        return summary_html(load_record(layout.project_root, layout.root), page.parent if page else None)
    except (GateError, OSError) as error:
        return [no_record_html(str(error))]
