"""Long rollouts and policies at the end of a run: off by default, one event each, a section in the main report.

python -m pytest tests/unit/loop/test_beyond_the_gate.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import journal_samples as samples
from tinyworlds_gate.config.profile import LongRolloutPlan, PoliciesPlan, ProfileConfig
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.keep.files import files_to_keep
from tinyworlds_gate.loop.beyond_the_gate import _sentences, wanted_by
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.reports.render import write_reports

SAID = ["Error: usable horizon 7.", "Drift at step 64: <b>none</b>."]


def event(kind: str, **changes: Any) -> dict[str, Any]:
    facts = {"json": f"results/r/{kind}.json", "picture": f"results/r/{kind}.png", "sentences": SAID, "problem": None}
    return {"kind": kind, "weights": {}, **facts, **changes}


def report(root: Path, *events: dict[str, Any]) -> str:
    run = samples.passing(root)
    for one in events:
        run.add("beyond_the_gate", **one)
    return write_reports(run.root, run.folder)["A1"].read_text(encoding="utf-8")


def test_the_report_has_a_section_for_each_that_was_measured(tmp_path: Path) -> None:
    text = report(tmp_path, event("horizon"), event("policies", problem="frames of crafter", sentences=[]))
    assert "### Long rollouts" in text
    assert f"- {SAID[0]}" in text
    assert "<b>" not in text
    assert "horizon.png" in text
    assert "Not measured: frames of crafter" in text
    assert "policies.png" not in text


def test_a_run_that_did_not_ask_for_them_has_none(tmp_path: Path) -> None:
    text = report(tmp_path)
    assert "### Long rollouts" not in text
    assert "### Scripted policies" not in text


def test_the_newest_measurement_counts(tmp_path: Path) -> None:
    text = report(tmp_path, event("horizon", problem="no emulator", sentences=[]), event("horizon"))
    assert "no emulator" not in text
    assert SAID[0] in text


def test_keep_takes_picture_and_numbers(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    for one in (event("horizon"), event("policies", problem="no")):
        run.add("beyond_the_gate", **one)
    kept = {one.source for one in files_to_keep(load_record(run.root, run.folder))}
    assert {"results/r/horizon.png", "results/r/horizon.json"} <= kept
    assert "results/r/policies.png" not in kept


def test_the_profile_says_what_is_measured() -> None:
    profile = ProfileConfig.model_construct(
        long_rollout=LongRolloutPlan(steps=64, clips=32), policies=PoliciesPlan(steps=48)
    )
    assert wanted_by(profile) == {
        "horizon": ["--steps", "64", "--clips", "32"],
        "policies": ["--steps", "48", "--starts", "32"],
    }
    nothing = ProfileConfig.model_construct(long_rollout=LongRolloutPlan(), policies=PoliciesPlan())
    assert wanted_by(nothing) == {}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sentences": []}', '{"sentences": [1]}'])
def test_a_result_without_sentences_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "horizon.json").write_text(content, encoding="utf-8")
    with pytest.raises(GateError, match=r"horizon\.json: the result"):
        _sentences(tmp_path, tmp_path / "horizon.json")
    with pytest.raises(GateError, match="cannot be read"):
        _sentences(tmp_path, tmp_path / "absent.json")
