"""The power of the gate: every known defect, one at a time, must not pass, and its named check must be what catches it.

pytest validation/ -m power
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyworlds_gate.power.table import DEFECTS


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run that passed, for the defects that come after a verdict."""
    from tinyworlds_gate.power.trial import finished_scene

    return finished_scene(tmp_path_factory.mktemp("finished") / "project")


@pytest.mark.power
def test_the_healthy_model_passes(tmp_path: Path) -> None:
    from tinyworlds_gate.power.scene import make_scene, try_gate

    assert try_gate(make_scene(tmp_path / "project")).attempt.verdict.verdict == "PASS"


@pytest.mark.power
def test_the_perfect_simulator_passes(tmp_path: Path) -> None:
    from tinyworlds_gate.power.object_world import write_frames
    from tinyworlds_gate.power.trial import judge_frames

    verdict, _ = judge_frames(write_frames(tmp_path / "frames.h5"))
    assert verdict.verdict == "PASS", verdict.sentence


@pytest.mark.power
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.id)
def test_a_defect_does_not_pass_and_only_its_check_tells(
    defect: object, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from tinyworlds_gate.power.defect import Defect
    from tinyworlds_gate.power.trial import caught, caught_without, try_defect

    assert isinstance(defect, Defect)
    after = request.getfixturevalue("finished") if defect.afterwards is not None else None
    outcome = try_defect(defect, tmp_path / "project", after)
    assert caught(defect, outcome), outcome
    assert not caught_without(defect, outcome), outcome
