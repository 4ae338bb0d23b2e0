"""Fixtures shared by the processes of `pytest -n` are built once, and long test files run first.

pytest tests/unit/reference/training/test_workers.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.config_files import REPOSITORY
from tests.helpers.workers import LONGEST_FIRST, longest_first, make_once

SUITE = """
import time, pytest
from tests.helpers.workers import make_once

@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    def make(folder):
        time.sleep(1)
        (folder / "made").touch()
        return folder
    return make_once(tmp_path_factory, "shared", make)

def test_it(shared):
    assert (shared / "made").exists()
"""


def test_two_workers_share_what_one_of_them_made(tmp_path: Path) -> None:
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(SUITE)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "2",
            "--dist",
            "loadfile",
            "--basetemp",
            "base",
            "-p",
            "no:cacheprovider",
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert len(list(tmp_path.glob("base/**/made"))) == 1


def test_what_could_not_be_made_is_made_anew(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    folders: list[Path] = []

    def make(folder: Path) -> str:
        folders.append(folder)
        if len(folders) == 1:
            raise OSError("once")
        return "made"

    name = tmp_path.name
    with pytest.raises(OSError, match="once"):
        make_once(tmp_path_factory, name, make)
    assert [make_once(tmp_path_factory, name, make) for _ in range(2)] == ["made", "made"]
    assert len(set(folders)) == 2


def test_long_files_come_first_and_all_of_them_are_there() -> None:
    assert [name for name in LONGEST_FIRST if not (REPOSITORY / name).is_file()] == []
    assert len(set(LONGEST_FIRST)) == len(LONGEST_FIRST)
    short = [SimpleNamespace(nodeid=f"tests/unit/test_{name}.py::test_it") for name in "ab"]
    long = [SimpleNamespace(nodeid=f"{name}::test_{at}") for name in LONGEST_FIRST[:3] for at in range(2)]
    items: list[Any] = [short[0], *long[4:], *long[:2], short[1], *long[2:4]]
    longest_first(items)
    assert items == [*long, *short], "the longest file first; the order inside a file, and of the short ones, stays"
