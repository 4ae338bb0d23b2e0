"""Values that nobody types on purpose: one sentence and exit code 2, no traceback.

pytest tests/unit/cli/test_hostile_values.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.made_up_secrets import draw
from tinyworlds_gate.cli.main import main

LONG = "n" * 300
DIGITS = "9" * 6000


def status(*words: str) -> int:
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data", "make", "crafter", "--num-frames", DIGITS), "(6,000 characters)' is not a whole number"),
        (("data", "make", "crafter", "--seed", "9" * 40), "is not allowed; give a whole number"),
        (("data", "make", "crafter", "--frame-size", "100000"), "is not allowed for crafter; 18 to 10000 px are"),
        (("data", "make", "crafter", "--frame-size", "10000"), "GiB of memory; this machine has"),
        (("data", "import", "x.mp4", "--name", "a", "--frame-size", "1000000"), "GiB of memory; this machine has"),
        (("show-config", "--generation-steps", DIGITS), "(6,000 characters)' is not a whole number"),
        (("show-config", "--generation-steps", "9" * 30), "give a whole number from 1 to 1000000000000"),
        (("show-config", "--profile", LONG), "is too long; a name may have 255 bytes"),
        (("show-config", "--profile", "a\0b"), "has a NUL character"),
        (("show-config", "--max-mse", "9" * 6000), "is not allowed; give a number above 0"),
        (("runs", "--project-root", LONG), "File name too long. Name a file or folder with at most 255 bytes."),
        (("verdict", LONG), "File name too long"),
        (("doctor", "--project-root", LONG), "File name too long"),
        (("devices", "x", "--workers", DIGITS), "(6,000 characters)' is not a whole number"),
    ],
)
def test_a_value_is_refused_in_a_sentence(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
    assert len(shown) < 4000


def test_a_secret_on_the_command_line_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    key = draw(24)
    assert status("runs", f"--api-key={key}") == 2
    assert key not in capsys.readouterr().err


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )


def test_a_working_folder_that_was_removed_is_named(tmp_path: Path) -> None:
    code = "import os, sys; os.rmdir(os.getcwd()); from tinyworlds_gate.cli.main import main; sys.exit(main(['runs']))"
    (tmp_path / "gone").mkdir()
    done = python(code, tmp_path / "gone", PYTHONPATH=str(Path(__file__).parents[3]))
    assert done.returncode == 2
    assert done.stderr == "tinyworlds-gate: The working folder was removed. Change to a folder that exists (`cd`).\n"


def test_a_name_that_is_not_utf_8_is_printed_with_escapes(tmp_path: Path) -> None:
    code = "import sys; from tinyworlds_gate.cli.main import main; sys.exit(main(['report', 'caf\\udce9']))"
    done = python(code, tmp_path, PYTHONPATH=str(Path(__file__).parents[3]))
    assert done.returncode == 2
    assert "caf\\udce9 is not a run's folder" in done.stderr


@pytest.mark.parametrize("command", [["runs"], ["show-config", "profile.kind"], ["report", "results/x"]])
def test_twenty_open_files_and_removed_asserts_are_enough(command: list[str], tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (20, {hard}))\n"
        f"from tinyworlds_gate.cli.main import main; sys.exit(main({command}))"
    )
    done = python(code, tmp_path, PYTHONOPTIMIZE="1", PYTHONPATH=str(Path(__file__).parents[3]))
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2)
