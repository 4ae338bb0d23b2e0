"""Signals for the children of the tests as a terminal leaves them, however the tests themselves were started; and the
one whole loop that many tests look at."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.workers import longest_first, make_once

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.tiny_project import Session


# Before anything imports torch: the models of the tests are so small that a second thread makes them ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is slow, and that is no defect of the function under test.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def _ignore(*_: object) -> None:
    """An ignored signal is inherited by children; a handler that does nothing is not."""


# Under `nohup` or a shell's `&` SIGHUP or SIGINT are ignored, and so would every process that the tests send them to.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _ignore)


def pytest_configure(config: pytest.Config) -> None:
    """`-n` takes the files in the order of :func:`pytest_collection_modifyitems`, not by their number of tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first, where several workers share them."""
    if hasattr(config, "workerinput"):
        longest_first(items)


HOSTILE = "<script>alert('tiny')</script>"
"""Part of the passing session's command line, which the journal, the reports and the page show."""


@pytest.fixture(scope="session")
def passing(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The whole loop in one process a stage; the model passes 0.03 at the first attempt."""
    from tests.helpers.tiny_project import STEP_SUMMARY, make_project, run_pytest

    def run(folder: Path) -> Session:
        project = make_project(folder / "project")
        job = {"GITHUB_STEP_SUMMARY": str(project / STEP_SUMMARY)}
        return run_pytest(project, "validation", "-m", "smoke", "-o", f"junit_suite_name={HOSTILE}", variables=job)

    return make_once(tmp_path_factory, "passing", run)
