"""No value of our options is a place where pytest looks for tests, `conftest.py` or settings, in real sessions.

pytest tests/unit/plugin/test_option_values.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny_project import environment
from tinyworlds_gate.config.cli_options import OPTIONS, PLACES, option_flag
from tinyworlds_gate.config.cli_values import parse_text

LOADER = 'pytest_plugins = ["tinyworlds_gate.plugin"]\n'
HOSTILE = """
import os
from pathlib import Path

(Path(__file__).parent / "imported").touch()


def pytest_unconfigure(config):
    os._exit(0)
"""
OWN_TEST = "def test_of_the_project():\n    assert False\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose conftest.py loads the plugin, and whose only test fails."""
    folder = tmp_path / "project"
    (folder / "checks").mkdir(parents=True)
    (folder / "conftest.py").write_text(LOADER)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "checks" / "test_own.py").write_text(OWN_TEST)
    return folder


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    return hostile_folder(tmp_path / "hostile")


def hostile_folder(folder: Path) -> Path:
    (folder / "tests").mkdir(parents=True)
    for one in (folder, folder / "tests"):
        (one / "conftest.py").write_text(HOSTILE)
        (one / "test_hostile.py").write_text("def test_hostile():\n    pass\n")
    return folder


def session(project: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:html", *words],
        cwd=project,
        env=environment() | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def imported(folder: Path) -> list[Path]:
    return [*folder.rglob("imported")]


def plain(option: str, value: Path, one_word: bool) -> list[str]:
    return [f"{option}={value}"] if one_word else [option, str(value)]


@pytest.mark.parametrize("one_word", [True, False], ids=["one-word", "two-words"])
@pytest.mark.parametrize("source", ["command", "PYTEST_ADDOPTS", "addopts", "file"])
def test_no_conftest_of_a_named_folder_is_imported_wherever_the_option_comes_from(
    project: Path, hostile: Path, source: str, one_word: bool
) -> None:
    words = plain("--video-checkpoint", hostile, one_word)
    if source == "addopts":
        (project / "pytest.ini").write_text(f"[pytest]\naddopts = {' '.join(words)}\n")
    if source == "file":
        (project / "words").write_text("\n".join(words))
        words = ["@words"]
    more = {"PYTEST_ADDOPTS": " ".join(words)} if source == "PYTEST_ADDOPTS" else {}
    found = session(project, "checks", *(words if source in ("command", "file") else ()), **more)
    assert imported(hostile) == []
    assert found.returncode == 1, found.stdout + found.stderr
    assert "test_of_the_project" in found.stdout
    assert "test_hostile" not in found.stdout


@pytest.mark.parametrize("option", ["--target-repo", "--output-root"])
@pytest.mark.parametrize(
    "words",
    [
        ("--target-dry-run",),
        ("checks", "--target-dry-run"),
        ("--collect-only",),
        (),
        ("--pyargs", "tinyworlds_gate.validation", "--target-dry-run"),
    ],
)
def test_the_outcome_of_a_session_does_not_depend_on_the_conftest_of_a_checkout(
    project: Path, hostile: Path, option: str, words: tuple[str, ...]
) -> None:
    found = session(project, option, str(hostile), *words)
    assert imported(hostile) == []
    assert "test_hostile" not in found.stdout
    assert "unrecognized arguments" not in found.stderr
    if option == "--target-repo":
        assert found.returncode == pytest.ExitCode.USAGE_ERROR, found.stdout + found.stderr
        assert "is no TinyWorlds checkout" in found.stderr


@pytest.mark.parametrize("root", [os.sep, "~", os.sep + "etc"])
def test_outputs_do_not_go_to_a_folder_of_the_system(project: Path, hostile: Path, root: str) -> None:
    for words in (["--output-root", root], [f"--output-root={root}", "--target-dry-run"]):
        found = session(project, "checks", "--target-repo", str(hostile), *words)
        assert found.returncode == pytest.ExitCode.USAGE_ERROR, found.stdout + found.stderr
        assert "is your home folder or a folder of the system" in found.stderr
    assert imported(hostile) == []


@pytest.mark.parametrize("name", ["test_checkout", "checkout"])
def test_a_folder_inside_the_project_that_an_option_names_is_not_collected(project: Path, name: str) -> None:
    inside = hostile_folder(project / name)
    for words in ([f"--video-checkpoint={name}"], [".", "--video-checkpoint", name]):
        found = session(project, *words)
        assert imported(inside) == []
        assert found.returncode == 1, found.stdout + found.stderr
        assert "test_of_the_project" in found.stdout
        assert "test_hostile" not in found.stdout


@pytest.mark.parametrize(
    "settings", ["testpaths = tests", "addopts = {0}/tests", "addopts = --rootdir={0} --confcutdir={0} {0}"]
)
def test_settings_that_only_an_option_leads_to_are_refused_before_a_test_runs(
    project: Path, hostile: Path, settings: str
) -> None:
    (hostile / "pytest.ini").write_text(f"[pytest]\n{settings.format(hostile)}\n")
    found = session(project, "--target-repo", str(hostile), "checks")
    assert found.returncode == pytest.ExitCode.USAGE_ERROR
    assert "Write the option and its value as one word" in found.stderr
    assert imported(hostile) == []


@pytest.mark.parametrize("option", ["--target-repo", "--output-root"])
def test_a_value_in_one_word_leads_to_no_settings(project: Path, hostile: Path, option: str) -> None:
    (hostile / "pytest.ini").write_text("[pytest]\npythonpath = .\naddopts = -p hostile_plugin\n")
    (hostile / "hostile_plugin.py").write_text(HOSTILE)
    for words in ([f"{option}={hostile}", "checks"], [f"{option}={hostile}"]):
        session(project, *words)
        assert imported(hostile) == []


def test_the_rootdir_does_not_depend_on_the_value_of_an_option(project: Path, hostile: Path) -> None:
    (project / "pytest.ini").unlink()
    found = session(project, ".", "--video-checkpoint", str(hostile))
    assert f"rootdir: {project}\n" in found.stdout, found.stdout + found.stderr


def test_without_autoload_a_conftest_that_was_imported_ends_the_session(project: Path, hostile: Path) -> None:
    found = session(project, "checks", "--target-repo", str(hostile), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert found.returncode == pytest.ExitCode.USAGE_ERROR, found.stdout + found.stderr
    assert "pytest imported" in found.stderr


def test_a_test_path_of_the_user_is_collected_although_an_option_names_a_folder_around_it(project: Path) -> None:
    found = session(project, "checks", "--video-checkpoint", ".")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "test_of_the_project" in found.stdout


IN_PROCESS = """
import sys
from _pytest.config import get_config
from pathlib import Path

hostile = sys.argv[1]
for flag in sys.argv[3:]:
    for words in ([flag, hostile], [f"{flag}={hostile}"])[: 2 if flag in sys.argv[2].split() else 1]:
        config = get_config([*words, "checks"])
        sys.modules.pop("conftest", None)
        try:
            config.parse([*words, "checks"])
        except BaseException as error:  # a value that the option's own parser refuses, after the conftest files
            print(flag, type(error).__name__)
        names = [name for name, _ in config.pluginmanager.list_name_plugin() if "conftest.py" in name]
        assert not [name for name in names if name.startswith(hostile)], (words, names)
        assert config.args in (["checks"], []), (words, config.args)
        config._ensure_unconfigure()
"""


def test_no_option_of_ours_is_a_test_path(project: Path, hostile: Path) -> None:
    flags = [flag for option in OPTIONS for flag in (option.flag, *option.aliases)]
    done = subprocess.run(
        [sys.executable, "-c", IN_PROCESS, str(hostile), " ".join(map(option_flag, PLACES)), *flags],
        cwd=project,
        env=environment() | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert imported(hostile) == []


def test_the_places_are_the_options_whose_value_can_be_a_path() -> None:
    names = {option.name for option in OPTIONS if option.parse is parse_text}
    assert {*PLACES} == names - {"project_root"}
