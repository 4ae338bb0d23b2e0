"""The run folder of every rank but 0, for checkouts of which every rank writes the same checkpoint path.

python -m pytest tests/unit/launch/test_rank_folders.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinyworlds_gate.launch.command import RANK_FOLDERS

SHOW = "import os; print(os.environ.get('NG_RUN_ROOT_DIR'))"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SHOW!r}])"


def printed(program: str, rank: str | None, *paths: Path) -> list[str]:
    """Lines that a Python process of this rank prints."""
    env = {name: value for name, value in os.environ.items() if name not in ("RANK", "PYTHONPATH")}
    env |= {"NG_RUN_ROOT_DIR": "results/run", "PYTHONPATH": os.pathsep.join(map(str, [RANK_FOLDERS, *paths]))}
    if rank is not None:
        env["RANK"] = rank
    return subprocess.run(
        [sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True
    ).stdout.split()


@pytest.mark.parametrize(
    ("rank", "folder"),
    [
        (None, "results/run"),
        ("0", "results/run"),
        ("1", "results/run/other_ranks/rank1"),
        ("13", "results/run/other_ranks/rank13"),
        ("", "results/run"),
        ("../1", "results/run"),
    ],
)
def test_every_rank_but_0_has_a_folder_of_its_own(rank: str | None, folder: str) -> None:
    assert printed(SHOW, rank) == [folder]


def test_a_child_of_a_rank_has_the_folder_of_its_parent() -> None:
    assert printed(CHILD, "1") == ["results/run/other_ranks/rank1"]


def test_the_sitecustomize_of_the_environment_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('own')\n", encoding="utf-8")
    assert printed(SHOW, "1", tmp_path) == ["own", "results/run/other_ranks/rank1"]
