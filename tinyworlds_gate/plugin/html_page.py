"""The bridge to pytest-html (A8): one self-contained page for every run that validates."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    pass

COLUMN = 2
"""Where the requirement column stands: after the result and the test's name."""


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
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise pytest.UsageError(
                f"the reports go to {folder}, which cannot be made ({error.strerror}); make it writable, or name "
                "another project with --project-root"
            ) from error
        # Relative, since pytest-html expands `$NAME` in what it is given, and a folder may be called so.
        config.option.htmlpath = os.path.relpath(folder / f"validation-{stamp}.html")
    config.option.self_contained_html = True
    # As pytest-html reads it.
    page = Path.cwd() / Path(os.path.expandvars(config.option.htmlpath)).expanduser()
    return Path(os.path.normpath(page)), ours


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
