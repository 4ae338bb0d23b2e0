"""Which evidence a chunk is judged by, for the embedded reference and for a checkout.

pytest tests/unit/stages/test_evidence.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest

from tests.helpers.fake_stages import small_picture
from tests.helpers.process_projects import make_project
from tests.helpers.stand_in import write_sources
from tests.unit.stages.test_chunk_launch import CHUNK, SETTINGS
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages import evidence
from tinyworlds_gate.stages.evidence import evidence_of_chunk, pictures_before
from tinyworlds_gate.targets.arguments import interval_on_command_line
from tinyworlds_gate.targets.checkout import checkout_target

CONFIG = SETTINGS.stages["dynamics"]
CHUNK_OF_RETRY = dataclasses.replace(CHUNK, schedule_start=5)
PICTURES = {Path("a.png"): 1}


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    for name in ("gather_evidence", "gather_checkout_evidence"):
        monkeypatch.setattr(evidence, name, lambda *given, _name=name, **named: found.append((_name, given, named)))
    return found


@pytest.mark.requirement("S4", "P1")
def test_the_reference_is_held_to_the_schedule_of_its_chunk(tmp_path: Path, gathered: list[Any]) -> None:
    layout = RunLayout(tmp_path, "a")
    evidence_of_chunk(make_project(tmp_path), layout, SETTINGS, CHUNK_OF_RETRY, PICTURES)
    assert gathered == [
        (
            "gather_evidence",
            (layout, "dynamics"),
            {
                "start_update": 10,
                "end_update": 20,
                "schedule": Schedule(CONFIG.learning_rate, 5, 40, CONFIG.warmup_fraction),
                "pictures_before": PICTURES,
            },
        )
    ]


@pytest.mark.requirement("S4", "P1")
def test_a_checkout_is_held_to_its_command_line(tmp_path: Path, gathered: list[Any]) -> None:
    target, layout = checkout_target(write_sources(tmp_path / "checkout", "tinyworlds-fork")), RunLayout(tmp_path, "a")
    assert target is not None
    evidence_of_chunk(target, layout, SETTINGS, CHUNK_OF_RETRY, PICTURES, "torn file")
    ((name, given, named),) = gathered
    assert (name, given) == ("gather_checkout_evidence", (target, layout, "dynamics"))
    assert named == {
        "start_update": 10,
        "end_update": 20,
        "target_updates": 40,
        "learning_rate": CONFIG.learning_rate,
        "log_interval": interval_on_command_line(target, 10, 20, CONFIG.log_interval),
        "nproc": SETTINGS.training.nproc_per_node,
        "pictures_before": PICTURES,
        "history_problem": "torn file",
    }
    layout.visualizations("dynamics").mkdir(parents=True)
    small_picture(layout.visualizations("dynamics") / "x.png")
    (path, stamp) = next(iter(pictures_before(cast(Any, target), layout, "dynamics").items()))
    assert (path.name, stamp) == ("x.png", path.stat().st_mtime_ns)
