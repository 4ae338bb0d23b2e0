"""Names and words of another character set: they are written if possible, else reported before anything starts.

pytest tests/unit/run/test_text.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.config_files import copy_profile
from tests.helpers.process_projects import make_project
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.launch.command import LaunchFiles, stage_environment
from tinyworlds_gate.run.journal import Journal, read_journal
from tinyworlds_gate.run.layout import RunLayout

LATIN = os.fsdecode(b"m\xfcller")
"""A folder's name in Latin-1, as Python holds it."""


def test_the_command_line_of_a_process_in_another_character_set_is_recorded_with_escapes(tmp_path: Path) -> None:
    """Anybody's process may be ended and recorded; its words are not ours to choose."""
    path = tmp_path / "journal.jsonl"
    with Journal(path, project_root=tmp_path) as journal:
        journal.append(
            "stale_processes", ended=[{"cmdline": f"python {LATIN}.py"}], when="before", path=tmp_path / LATIN
        )
    (event,) = read_journal(path)
    assert event["ended"] == [{"cmdline": r"python m\udcfcller.py"}]
    assert event["path"] == r"m\udcfcller"
    path.read_text(encoding="utf-8")


def test_a_project_folder_that_is_no_text_is_refused_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / LATIN).mkdir()
    told = r"The project folder b'.*/m\\xfcller' cannot be written as text. Rename the folder."
    with pytest.raises(GateError, match=told):
        RunLayout(tmp_path / LATIN, "run_1")
    copy_profile("smoke", tmp_path / "configs")
    with pytest.raises(GateError, match=told):
        resolve_settings(tmp_path / "configs", {}, project_root=tmp_path / LATIN)


def test_a_project_folder_that_the_terminal_s_character_set_lacks_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "Zürich"
    folder.mkdir()
    code = (
        "import sys; from pathlib import Path; from tinyworlds_gate.run.layout import RunLayout; RunLayout(Path(), 'a')"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **ascii_only},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "This terminal's character set is ascii: set PYTHONUTF8=1, or rename the folder." in done.stderr
    fine = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **ascii_only, "PYTHONUTF8": "1"},
        check=False,
    )
    assert fine.returncode == 0


def test_a_stage_writes_its_log_in_the_character_set_in_which_it_is_read(tmp_path: Path) -> None:
    target = make_project(tmp_path / "Zürich")
    inherited = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    env = stage_environment(target, LaunchFiles(tmp_path), on_cpu=True, inherited=inherited)
    done = subprocess.run([sys.executable, "-c", "print('Zürich →')"], env=env, capture_output=True, check=True)
    assert done.stdout.decode("utf-8") == "Zürich →\n"
