"""The pytest plugin of tinyworlds_gate: its hooks, in the order of their calls.

A `conftest.py` registers it in ``pytest_plugins``; `tinyworlds_gate/autoload/` registers it where `--pyargs` names
the packaged validation tests. What a hook decides is in the modules beside this one.
"""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Generator, Sequence
from html import escape
from typing import Any

import pytest

from tinyworlds_gate.autoload import pytest_addhooks
from tinyworlds_gate.autoload.option_values import OptionValues
from tinyworlds_gate.config.cli_options import option_flag
from tinyworlds_gate.plugin import ending, html_page, options, terminal
from tinyworlds_gate.plugin.console import outlive_the_terminal
from tinyworlds_gate.plugin.defaults import leave_out_power_tests, register_markers
from tinyworlds_gate.plugin.fixtures import (
    closed_loop,
    draft_page,
    findings_of,
    inference,
    reports,
    row_holds,
    trained_stages,
)
from tinyworlds_gate.plugin.interruption import INTERRUPTION, Interruption
from tinyworlds_gate.plugin.junit import JUNIT, JUnitProperties
from tinyworlds_gate.plugin.node_follower import follow_if_asked
from tinyworlds_gate.plugin.other_plugins import add_refused_option, drop_idle_hypothesis, is_parallel, refuse_parallel
from tinyworlds_gate.plugin.report_texts import without_secrets
from tinyworlds_gate.plugin.retrain import RERUN, run_with_retraining
from tinyworlds_gate.plugin.selection import refuse_shown_elsewhere
from tinyworlds_gate.plugin.session import SESSION, GateSession
from tinyworlds_gate.plugin.terminal import append_summary
from tinyworlds_gate.plugin.validation_tests import is_validation, requirement_ids
from tinyworlds_gate.run.redact import redact

__all__ = [
    "closed_loop",
    "draft_page",
    "findings_of",
    "inference",
    "pytest_addhooks",
    "reports",
    "row_holds",
    "trained_stages",
]


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the options of the closed loop (docs/options.md)."""
    options.add_options(parser)
    add_refused_option(parser, pluginmanager)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """On another node than node 0 no test runs: it takes part in node 0's run. `--target-dry-run` prints the commands
    and ends, before anything is collected or written."""
    given = options.explicit_options(config)
    values = OptionValues(config, [f"{option_flag(name)}={value}" for name, value in given.items()])
    values.refuse_loaded()
    refuse_shown_elsewhere(config)
    config.pluginmanager.register(values, "tinyworlds-gate-option-values")
    if (status := follow_if_asked(config)) is not None:
        return status
    if not options.is_dry_run(config) or config.option.help:
        return None
    try:
        text, stops = GateSession(config).dry_run()
    except pytest.UsageError as error:
        print(f"ERROR: {redact(str(error))}", file=sys.stderr)
        return int(pytest.ExitCode.USAGE_ERROR)
    print(redact(text))
    return int(pytest.ExitCode.TESTS_FAILED if stops else pytest.ExitCode.OK)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and make the HTML page part of every run that validates."""
    register_markers(config)
    leave_out_power_tests(config)
    refuse_parallel(config)
    session = GateSession(config)
    options.require_valid(session.explicit)
    config.stash[SESSION] = session
    config.stash[INTERRUPTION] = Interruption()
    config.pluginmanager.register(config.stash[INTERRUPTION], "tinyworlds-gate-interruption")
    config.stash[JUNIT] = JUnitProperties(config)
    config.pluginmanager.register(config.stash[JUNIT], "tinyworlds-gate-junit")
    if not config.option.help and not config.option.collectonly and not is_parallel(config):
        session.page, session.page_is_ours = html_page.enable(config, session.project_root, session.stamp)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the validation tests as smoke or longrun, by the profile that they run on."""
    config.stash[SESSION].mark_validation(items)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Remember what a person deselected: its requirements are NOT-RUN and say so."""
    if items:
        items[0].config.stash[SESSION].note_deselected(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Know which validation tests will run; resolve the settings before the first of them."""
    session.config.stash[SESSION].note_selected(session.items)
    drop_idle_hypothesis(session.config)


def pytest_report_teststatus(report: Any, config: pytest.Config) -> tuple[str, str, Any] | None:
    """An attempt after which dynamics is retrained shows as RETRAINED, neither passed nor failed."""
    if getattr(report, "outcome", None) == RERUN:
        return "retrained", "R", ("RETRAINED", {"yellow": True})
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """From here on a signal ends the run in order; sessions that validate nothing keep pytest's own ways."""
    if session.config.stash[SESSION].validates:
        session.config.stash[INTERRUPTION].signals.install()
        outlive_the_terminal(session.config)


@pytest.hookimpl(wrapper=True, specname="pytest_runtestloop")
def pytest_after_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """The session ends with its verdict, also where its working folder was removed meanwhile."""
    try:
        return (yield)
    finally:
        ending.outlive_the_folder(session.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Retrain dynamics after a failed gate and run its test again; pytest stops at the first hook that ran a test, so
    the same hook in a `conftest.py` adds nothing."""
    return run_with_retraining(item, nextitem)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A stage of a long run may take days: no stack dump on the terminal because of it (pytest's faulthandler_timeout).

    Children that hang have a watchdog of their own, which prints their stacks.
    """
    if is_validation(item) and item.get_closest_marker("longrun") is not None:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Turn each report of a validation test into findings of the requirements that it carries."""
    if call.when == "call":
        item.config.stash[SESSION].note_attempt(item)
    report = yield
    report.requirements = requirement_ids(item)
    if is_validation(item):
        without_secrets(report)
    item.config.stash[SESSION].note_report(item, report)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End the run: verdict, requirement table and reports; the HTML page follows right after this hook."""
    gate = session.config.stash[SESSION]
    ending.finish(gate, session, int(exitstatus))
    ending.note_late_signal(gate, session)
    session.config.stash[JUNIT].fill(gate)


@pytest.hookimpl(wrapper=True, trylast=True, specname="pytest_sessionfinish")
def pytest_after_sessionfinish(session: pytest.Session) -> Generator[None, Any, Any]:
    """After the HTML page was written: a missing report turns the exit status (H4, A1–A8)."""
    gate = session.config.stash[SESSION]
    try:
        result = yield
    except OSError as error:  # a page or a JUnit file that cannot be written must not hide the verdict
        if gate.loop is None and not gate.validates:
            raise
        gate.note_unwritten(session, error)
        gate.page, result = None, None
    ending.check_artifacts(gate, session)
    gate.summary_problem = append_summary(gate)
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The verdict in words, the attempts, the requirements that did not pass, and where the reports lie."""
    terminal.write_summary(terminalreporter, config.stash[SESSION])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Release the project's lock whatever happened."""
    if SESSION in config.stash:
        config.stash[SESSION].close()


@pytest.hookimpl(optionalhook=True)
def pytest_html_report_title(report: Any) -> None:
    """The page's title."""
    report.title = "TinyWorlds validation"


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_header(cells: list[str]) -> None:
    """A column with the requirements that a test carries."""
    cells.insert(html_page.COLUMN, '<th class="sortable" data-column-type="requirements">Requirements</th>')


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_row(report: Any, cells: list[str]) -> None:
    """The requirements of one row; pytest-html leaves other rows without cells alone."""
    if cells:
        ids = escape(" ".join(getattr(report, "requirements", ())))
        cells.insert(html_page.COLUMN, f'<td class="col-requirements">{ids}</td>')


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_summary(prefix: list[str], session: pytest.Session) -> None:
    """The verdict banner, the requirement table, the attempts and the pictures."""
    prefix.extend(session.config.stash[SESSION].page_summary())
