"""`tinyworlds-gate init`: what it writes works, and nothing of the user's is overwritten without a yes.

pytest tests/unit/cli/test_init.py
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.tiny_project import environment
from tinyworlds_gate import __version__
from tinyworlds_gate.cli.init import SETTINGS, project_files
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.config.profile_files import SETTINGS_FILES

MINE = "# mine\n"


def init(folder: Path, *words: str, answer: str | None = None) -> tuple[int, str]:
    """Run the command in a process of its own, without a terminal or with one on which a person answers."""
    command = [sys.executable, "-m", "tinyworlds_gate", "init", *words]
    ours = theirs = subprocess.DEVNULL
    if answer is not None:
        ours, theirs = pty.openpty()
        os.write(ours, answer.encode())
    done = subprocess.run(
        command, cwd=folder, env=environment(), stdin=theirs, capture_output=True, text=True, timeout=60, check=False
    )
    if answer is not None:
        os.close(ours)
        os.close(theirs)
    return done.returncode, done.stdout + done.stderr


def test_a_new_project_gets_settings_a_conftest_and_a_workflow_and_hears_what_to_type(tmp_path: Path) -> None:
    status, told = init(tmp_path)
    assert status == 0, told
    assert {SETTINGS / name for name in SETTINGS_FILES} < set(project_files())
    for name, text in project_files().items():
        assert (tmp_path / name).read_text(encoding="utf-8") == text
        assert f"wrote      {name}\n" in told
    assert len((tmp_path / "conftest.py").read_text().splitlines()) == 2
    assert f"tinyworlds_gate=={__version__}" in (tmp_path / ".github/workflows/tinyworlds-gate.yml").read_text()
    assert "\n  pytest --pyargs tinyworlds_gate.validation -m smoke  # " in told
    assert "\n  git init  # " in told


def test_the_settings_that_it_writes_are_the_ones_that_a_run_takes(tmp_path: Path) -> None:
    init(tmp_path)
    profile = tmp_path / SETTINGS / "profile.yaml"
    profile.write_text(profile.read_text().replace("seed: 0", "seed: 7", 1))
    settings = resolve_settings("smoke", {}, project_root=tmp_path)
    assert settings.profile_path == profile
    assert settings.profile.seed == 7


def test_what_a_run_writes_is_ignored_by_git_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.pyc")
    assert init(tmp_path)[0] == 0
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    written = ["results/a/journal.jsonl", "docs/action/a.md", "data/crafter_72px_frames.h5", "Logs/a.csv", "a.pyc"]
    theirs = ["data/mine.h5", "docs/guide.md", "src/results/a.py"]
    done = subprocess.run(
        ["git", "check-ignore", *written, *theirs], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == written


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    init(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    status, told = init(tmp_path, "--force")
    assert status == 0
    assert "wrote" not in told
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "answer", "kept", "status"),
    [
        ([], None, True, 1),
        ([], "n\n", True, 0),
        ([], "\n", True, 0),
        ([], "y\n", False, 0),
        (["--force"], None, False, 0),
    ],
)
def test_a_file_of_the_users_is_overwritten_only_after_a_yes(
    tmp_path: Path, words: list[str], answer: str | None, kept: bool, status: int
) -> None:
    theirs = tmp_path / "conftest.py"
    theirs.write_text(MINE)
    code, told = init(tmp_path, *words, answer=answer)
    assert code == status, told
    assert (theirs.read_text() == MINE) == kept
    assert ("exists and differs. Overwrite it? [y/N]" in told) == (answer is not None)
    assert ('add to conftest.py: pytest_plugins = ["tinyworlds_gate.plugin"]' in told) == kept
    assert ("Not overwritten" in told) == (status == 1)
    assert (tmp_path / SETTINGS / "profile.yaml").is_file(), "the other files are written whatever the answer is"


def test_a_conftest_that_registers_the_plugin_is_left_alone(tmp_path: Path) -> None:
    theirs = (REPOSITORY / "conftest.py").read_text(encoding="utf-8")
    (tmp_path / "conftest.py").write_text(theirs)
    status, told = init(tmp_path)
    assert (status, "unchanged  conftest.py" in told) == (0, True)
    assert (tmp_path / "conftest.py").read_text() == theirs


def test_a_folder_that_cannot_be_written_is_a_mistake_with_its_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "configs").write_text("a file")
    assert main(["init", str(tmp_path)]) == 2
    assert "configs/profiles/smoke cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["conftest.py", ".gitignore", "configs", ".github"])
def test_no_file_is_written_through_a_link(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.mkdir()
    (outside / "file").write_text("theirs\n")
    (project / name).symlink_to(outside / "file" if "." in name[1:] or name == ".gitignore" else outside)
    assert main(["init", str(project), "--force"]) == 2
    assert "a symbolic link is on the way" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("file", "theirs\n")]
