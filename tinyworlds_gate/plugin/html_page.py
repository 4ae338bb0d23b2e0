"""The bridge to pytest-html (A8): one self-contained page for every run that validates."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tinyworlds_gate.errors import GateError

if TYPE_CHECKING:
    from tinyworlds_gate.plugin.session import GateSession

COLUMN = 2
"""Where the requirement column stands: after the result and the test's name."""


def enable(config: pytest.Config, session: GateSession) -> None:
    """Ask pytest-html for its page under docs/action/, unless the user chose a path or switched the plugin off.

    Raises:
        pytest.UsageError: the folder cannot be written.
    """
    if not config.pluginmanager.hasplugin("html"):
        return
    if config.option.htmlpath is None:
        folder = session.project_root / "docs" / "action"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise pytest.UsageError(
                f"the reports go to {folder}, which cannot be made ({error.strerror}); make it writable, or name "
                "another project with --project-root"
            ) from error
        # Relative, since pytest-html expands `$NAME` in what it is given, and a folder may be called so.
        config.option.htmlpath = os.path.relpath(folder / f"validation-{session.stamp}.html")
        session.page_is_ours = True
    config.option.self_contained_html = True
    # As pytest-html reads it.
    page = Path.cwd() / Path(os.path.expandvars(config.option.htmlpath)).expanduser()
    session.page = Path(os.path.normpath(page))


def drop(config: pytest.Config) -> None:
    """No validation test was selected: a page that nobody asked for is not written."""
    from pytest_html.basereport import BaseReport

    for plugin in config.pluginmanager.get_plugins():
        if isinstance(plugin, BaseReport):
            config.pluginmanager.unregister(plugin)


def add_header(cells: list[str]) -> None:
    """The heading of the requirement column."""
    cells.insert(COLUMN, '<th class="sortable" data-column-type="requirements">Requirements</th>')


def add_cell(report: Any, cells: list[str]) -> None:
    """The requirement IDs of a row; pytest-html leaves other rows without cells alone."""
    if cells:
        ids = " ".join(getattr(report, "requirements", ()))
        cells.insert(COLUMN, f'<td class="col-requirements">{escape(ids)}</td>')


def summary(session: GateSession) -> list[str]:
    """The fragments above the table of tests; none when no run was started.

    A journal that cannot be read costs the fragments, never the page: the tests and what they said stand below.
    """
    if session.loop is None:
        return []
    from tinyworlds_gate.reports.model import load_record
    from tinyworlds_gate.reports.page import no_record_html, summary_html

    layout = session.loop.context.layout
    page_dir = session.page.parent if session.page else None
    try:
        return summary_html(load_record(layout.project_root, layout.root), page_dir)
    except (GateError, OSError) as error:
        return [no_record_html(str(error))]
