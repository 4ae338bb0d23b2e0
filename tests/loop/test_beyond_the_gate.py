"""A run whose profile asks for long rollouts and policies: both are measured at the end, and judge nothing.

pytest tests/loop/test_beyond_the_gate.py -m slow
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.tiny_project import run_pytest

WORDS = ("validation", "-m", "smoke", "-p", "no:cacheprovider")
ASKED = "long_rollout: {steps: 64, clips: 8}\npolicies: {steps: 4, starts: 2}\n"


@pytest.mark.slow
def test_a_run_measures_what_its_profile_asks_for_and_passes_without_it(project: Path) -> None:
    (profile,) = project.glob("configs/profiles/smoke/profile.yaml")
    profile.write_text(profile.read_text(encoding="utf-8") + ASKED, encoding="utf-8")
    session = run_pytest(project, *WORDS)
    assert session.exit_status == 0, session.output
    rollouts, policies = session.events("beyond_the_gate")
    assert (rollouts["kind"], rollouts["problem"], rollouts["exit_code"]) == ("horizon", None, 0)
    record = json.loads((project / rollouts["json"]).read_text(encoding="utf-8"))
    assert record["steps"] == 17, "episodes of 20 frames, 3 of them context"
    assert record["checkpoints"] == rollouts["weights"]
    assert record["walk"]["not_run"].startswith("the frames file records no actions")
    assert (project / rollouts["picture"]).is_file()
    assert (policies["kind"], policies["exit_code"], policies["sentences"]) == ("policies", 2, [])
    assert "frames of no game that runs here" in policies["problem"]
    text = session.report("A1")
    assert "### Long rollouts" in text
    assert f"- {record['sentences'][0]}" in text
    assert "Not measured: " in text
