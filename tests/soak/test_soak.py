"""The soak: a run that is killed at random moments ends as an uninterrupted run.

pytest tests/soak -m "slow or not slow"
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.soak.page import RECORD, soak_section
from tests.soak.projects import SIZES, make_soak_project
from tests.soak.soak import soak

FIGURES = {
    "date": "2026-01-01",
    "machine": "2 CPU cores",
    "load": 2.0,
    "kills": 20,
    "kills_of_the_harness": 7,
    "killed_s": 500,
    "uninterrupted_s": 240,
    "uninterrupted_effective": 0.9512,
    "killed_effective": None,
    "bit_identical": False,
}


@pytest.mark.parametrize("size", SIZES)
def test_a_project_has_its_validation_and_its_settings(tmp_path: Path, size: str) -> None:
    project = make_soak_project(tmp_path / size, size, deadline_s=1234)
    profile = (project / "configs/profiles/smoke/profile.yaml").read_text()
    assert ("chunk_deadline_s: 1234" in profile) == (size == "tiny")
    assert (project / "validation").is_dir()
    assert (project / ".git").is_dir()


def test_the_section_names_a_run_that_differs(tmp_path: Path) -> None:
    record = tmp_path / "soak.json"
    assert soak_section(record) == ""
    record.write_text(json.dumps({"smoke": FIGURES, "tiny": {**FIGURES, "bit_identical": True}}))
    text = soak_section(record)
    assert "| smoke | 20 | 7 | 500 | 240 | - | 95.1 % | 2.0 | **no** |" in text
    assert "| tiny | 20 | 7 | 500 | 240 | - | 95.1 % | 2.0 | yes |" in text
    assert "Measured on 2026-01-01, 2 CPU cores." in text


def test_the_recorded_soaks_are_bit_identical() -> None:
    found = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    assert [name for name, one in found.items() if one["bit_identical"] is False] == []


@pytest.mark.slow
@pytest.mark.requirement("H7", "T6")
def test_a_run_that_was_killed_three_times_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    plain = soak(make_soak_project(tmp_path / "plain", "tiny"), ["--max-train-retries=3"], kills=0, every_s=1.0)
    assert plain.problem is None
    killed = soak(
        make_soak_project(tmp_path / "killed", "tiny"), ["--max-train-retries=3"], kills=3, every_s=plain.seconds / 4
    )
    assert (killed.problem, len(killed.kills)) == (None, 3)
    assert killed.outcome == plain.outcome
    assert killed.effective is not None
    assert plain.effective is not None
    assert 0 < killed.effective.share < plain.effective.share <= 1
