"""Fingerprint of a checkout before and after a run: only the output folders may change.

pytest tests/unit/targets/test_fingerprint.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.stand_in import write_sources
from tinyworlds_gate.targets.checkout import MAY_CHANGE
from tinyworlds_gate.targets.fingerprint import changed_files, describe_changes, fingerprint, fingerprint_digest


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return write_sources(tmp_path / "checkout", "tinyworlds-fork")


def test_output_of_a_run_is_not_a_change(checkout: Path) -> None:
    before = fingerprint(checkout)
    for name in (*MAY_CHANGE, ".git", ".venv"):
        (checkout / name / "deep").mkdir(parents=True, exist_ok=True)
        (checkout / name / "deep/file.bin").write_bytes(b"x")
    (checkout / ".venv/pyvenv.cfg").touch()
    assert changed_files(before, fingerprint(checkout)) == []


def test_a_file_that_is_changed_added_or_removed_is_named(checkout: Path) -> None:
    before = fingerprint(checkout)
    (checkout / "configs/dynamics.yaml").write_text("learning_rate: 1\n")
    (checkout / "utils/new.py").touch()
    (checkout / "stand_in.json").unlink()
    (checkout / "docs").mkdir()
    (checkout / "docs/readme.md").touch()
    after = fingerprint(checkout)
    changes = ["configs/dynamics.yaml was changed", "docs/readme.md was added"]
    assert changed_files(before, after) == [*changes, "stand_in.json was removed", "utils/new.py was added"]
    assert fingerprint_digest(before) != fingerprint_digest(after)


def test_bytecode_between_the_sources_is_a_change(checkout: Path) -> None:
    before = fingerprint(checkout)
    (checkout / "utils/__pycache__").mkdir()
    (checkout / "utils/__pycache__/stage.pyc").touch()
    assert changed_files(before, fingerprint(checkout)) == ["utils/__pycache__/stage.pyc was added"]


def test_a_link_is_compared_by_its_target_path_and_not_followed(checkout: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (checkout / "linked").symlink_to(outside)
    before = fingerprint(checkout)
    (outside / "file").touch()
    assert changed_files(before, fingerprint(checkout)) == []
    (checkout / "linked").unlink()
    (checkout / "linked").symlink_to(tmp_path)
    assert changed_files(before, fingerprint(checkout)) == ["linked was changed"]


def test_only_the_first_changes_are_listed() -> None:
    assert describe_changes([f"{number} was added" for number in range(9)]).endswith("4 was added, and 4 more")
