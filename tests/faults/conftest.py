"""Fixtures that check every fault test for leftovers and losses, and the option --record-faults."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.recorder import Recorder
from tests.faults.scene import Scene, left_running, scene_of

BeginScene = Callable[[Path, Path], Scene]
PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option; it exists when pytest gets tests/faults as an argument."""
    parser.addoption(
        "--record-faults",
        type=Path,
        metavar="PATH",
        help="Merge the outcome of every row of the fault matrix into this JSON file (make faults).",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the recorder when --record-faults is set."""
    path = config.getoption("--record-faults", None)
    if path is not None:
        config.pluginmanager.register(Recorder(path), "fault-recorder")


@pytest.fixture(autouse=True)
def nothing_left_running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail a test that leaves processes of a temporary project running, name them and end them.

    A fault test without ``scene`` needs a reason: ``@pytest.mark.fault("id", no_scene="why")``.
    """
    mark = request.node.get_closest_marker("fault")
    if mark is not None and "scene" not in request.fixturenames and not mark.kwargs.get("no_scene"):
        pytest.fail('a row needs the fixture `scene`, or the reason: @pytest.mark.fault("id", no_scene="why")')
    base = tmp_path_factory.getbasetemp().resolve()
    before = {one.partition(" (")[0] for one in left_running(base)}  # of a test elsewhere in this process
    yield
    left = [one for one in left_running(base) if one.partition(" (")[0] not in before]
    assert not left, "left running: " + "; ".join(left)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Store whether a test passed; the checks at its end apply to passed tests only."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture
def scene(request: pytest.FixtureRequest, nothing_left_running: None) -> Iterator[BeginScene]:
    """Return ``scene(root, script)``: it starts a project's bystander and ledger, both checked at the end."""
    begun: list[Scene] = []
    with ExitStack() as stack:

        def begin(root: Path, script: Path) -> Scene:
            begun.append(stack.enter_context(scene_of(root, script)))
            return begun[-1]

        yield begin
        passed = request.node.stash.get(PASSED, False)
        assert begun or not passed, "the test took the fixture `scene` and never began one: scene(root, script)"
