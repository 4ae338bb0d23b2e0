"""The installed plugin in real sessions: unused it changes nothing, `--pyargs tinyworlds_gate.validation` loads it.

pytest tests/unit/plugin/test_autoload.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.tiny_project import environment

pytest_plugins = ["pytester"]

FOREIGN_CONFTEST = """
import sys


def pytest_addoption(parser):
    group = parser.getgroup("foreign")
    for name in ("--seed", "--profile", "--max-mse", "--project-root"):
        group.addoption(name, default="theirs", help="an option of the foreign project")


def pytest_sessionfinish(session):
    session.config.loaded = sorted(name for name in sys.modules if name.startswith("tinyworlds_gate"))


def pytest_unconfigure(config):
    print("loaded:", *getattr(config, "loaded", []))
"""
FOREIGN_TESTS = """
import pytest


@pytest.fixture
def closed_loop():
    return "theirs"


@pytest.mark.smoke
def test_passes(request, closed_loop):
    assert closed_loop == request.config.getoption("--seed") == "theirs"


def test_fails():
    assert [1, 2] == [1, 3]


@pytest.mark.skip(reason="theirs")
def test_skips():
    pass
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A project with options, a marker and a fixture that have the names of ours."""
    (tmp_path / "conftest.py").write_text(FOREIGN_CONFTEST)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = error\nmarkers = smoke: theirs\n"
    )
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "test_foreign.py").write_text(FOREIGN_TESTS)
    return tmp_path


def session(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m pytest …` in a folder, with the plugins that are installed."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def listed_tests(output: str) -> set[str]:
    """The tests that `--collect-only -q` listed, without their folders."""
    return {line.rpartition("/")[2] for line in output.splitlines() if "::" in line}


@pytest.fixture(scope="module")
def closed_loop_tests() -> set[str]:
    """What `pytest validation/ -m smoke` runs in the checkout."""
    found = listed_tests(session(REPOSITORY, "validation", "-m", "smoke", "--co", "-q").stdout)
    assert "test_03_inference_gate.py" in {name.partition("::")[0] for name in found}
    assert not [name for name in found if name.startswith("test_power")]
    return found


def without_times(output: str) -> str:
    """The output without durations and without what names the installed plugins."""
    return re.sub(r"(?m) in [\d.]+s|=+|^plugins: .*$|^loaded:.*$|'tinyworlds_gate': '[\d.]+', ", "", output)


def test_the_plugin_is_installed_under_its_name() -> None:
    found = {one.name: one.value for one in metadata.entry_points(group="pytest11")}
    assert found.get("tinyworlds_gate") == "tinyworlds_gate.autoload", "run make setup: the install is old"


@pytest.mark.parametrize(
    ("words", "status"),
    [(["-v"], 1), (["-v", "-m", "smoke"], 0), (["--help"], 0), (["--markers"], 0), (["-k", "none"], 5)],
)
def test_a_foreign_session_is_the_same_with_and_without_it(foreign: Path, words: list[str], status: int) -> None:
    ours, theirs = session(foreign, *words), session(foreign, "-p", "no:tinyworlds_gate", *words)
    assert (ours.returncode, theirs.returncode) == (status, status), ours.stdout + ours.stderr
    assert without_times(ours.stdout) == without_times(theirs.stdout)
    assert ours.stderr == theirs.stderr
    assert sorted(path.name for path in foreign.iterdir() if path.name != "__pycache__") == [
        "conftest.py",
        "pytest.ini",
        "validation",
    ]


def test_a_foreign_session_imports_one_small_module(foreign: Path) -> None:
    lines = session(foreign, "-q").stdout.splitlines()
    assert [line for line in lines if line.startswith("loaded:")] == [
        "loaded: tinyworlds_gate tinyworlds_gate.autoload"
    ]


CONFTEST = 'pytest_plugins = ["tinyworlds_gate.plugin"]\n'


@pytest.mark.parametrize("conftest", [None, CONFTEST, (REPOSITORY / "conftest.py").read_text(encoding="utf-8")])
def test_the_packaged_tests_are_found_from_a_folder_without_settings(
    tmp_path: Path, conftest: str | None, closed_loop_tests: set[str]
) -> None:
    if conftest is not None:
        (tmp_path / "conftest.py").write_text(conftest)
    for words in ([], ["-m", "smoke"]):
        found = session(
            tmp_path, "--pyargs", "tinyworlds_gate.validation", *words, "--strict-markers", "-W", "error", "--co", "-q"
        )
        assert found.returncode == 0, found.stdout[-3000:] + found.stderr
        assert listed_tests(found.stdout) == closed_loop_tests


def test_testpaths_can_name_the_packaged_tests(tmp_path: Path, closed_loop_tests: set[str]) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --pyargs\ntestpaths = tinyworlds_gate.validation\n")
    found = session(tmp_path, "-m", "smoke", "--max-mse", "0.02", "--co", "-q")
    assert listed_tests(found.stdout) == closed_loop_tests


@pytest.mark.parametrize("module", ["conftest", "other"])
def test_an_option_that_somebody_else_defines_too_is_an_error_with_its_fix(tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text("def pytest_addoption(parser):\n    parser.addoption('--seed')\n")
    words = [] if module == "conftest" else ["-p", module]
    refused = session(tmp_path, *words, "--pyargs", "tinyworlds_gate.validation")
    assert refused.returncode == 4
    assert refused.stderr.startswith("ERROR: argument --seed: conflicting option string: --seed: tinyworlds_gate and")
    assert "--noconftest, or -p no:NAME" in refused.stderr


def test_the_packaged_tests_cannot_be_split_over_processes(tmp_path: Path) -> None:
    refused = session(tmp_path, "--pyargs", "tinyworlds_gate.validation", "-n", "2")
    assert refused.returncode == 4
    assert "the closed loop cannot be split" in refused.stderr


def test_other_tests_of_a_project_with_the_plugin_can_be_split(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_one.py").write_text("def test_one():\n    assert True\n")
    assert session(tmp_path, "-n", "1").returncode == 0


@pytest.mark.parametrize("also_in_conftest", [False, True])
def test_a_failed_gate_is_retried_once_for_each_retraining(pytester: pytest.Pytester, also_in_conftest: bool) -> None:
    """The plugin has the hook that conftest.py of the checkout has; both together act once."""
    stand_in = """
from tinyworlds_gate.plugin.session import GateSession

GateSession.retrain_if_allowed = lambda self: not getattr(self, "trained", False)
GateSession.make_attempt = lambda self: setattr(self, "trained", True)
"""
    hook = (REPOSITORY / "conftest.py").read_text(encoding="utf-8")
    pytester.makeconftest((hook if also_in_conftest else CONFTEST) + stand_in)
    pytester.makepyfile(
        """
import pathlib, pytest


@pytest.mark.retrain_on_failure
def test_gate():
    with pathlib.Path("runs").open("a") as file:
        file.write("run\\n")
    assert False
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    assert "1 retrained" in result.stdout.str()
    assert Path("runs").read_text() == "run\n" * 2
