"""The values of the shipped profiles, one by one, and the recorded checks.

pytest tests/unit/findings/test_preparation.py
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.helpers.finding_events import NOTHING, Event, event, journal
from tinyworlds_gate.findings.base import Finding, MissingFactError
from tinyworlds_gate.findings.preparation import (
    PROFILE_OF,
    SPECIFIED_VALUES,
    VALUES,
    config_alignment,
    git_history,
    profile_values,
)

SPECIFIED: dict[str, dict[str, tuple[int | float | None, ...]]] = {
    "P3": {
        "video_tokenizer": (16, 2, 0.001, 2500, 40000, None),
        "latent_actions": (16, 1, 0.0001, 500, 10000, None),
        "dynamics": (8, 2, 0.0005, 1000, 300000, None),
    },
    "P4": {
        "video_tokenizer": (8, 2, 0.0003, 500, 40000, 5000),
        "latent_actions": (8, 1, 0.0001, 500, 10000, 2000),
        "dynamics": (4, 2, 0.0005, 1000, 300000, 4000),
    },
}
TEXTS = {
    "P3": "video_tokenizer 16 / 2 / 0.001 / 2500 / 40000; latent_actions 16 / 1 / 0.0001 / 500 / 10000; dynamics 8 "
    "/ 2 / "
    "0.0005 / 1000 / 300000",
    "P4": "video_tokenizer 8 / 2 / 0.0003 / 500 / 40000; latent_actions 8 / 1 / 0.0001 / 500 / 10000; dynamics 4 / 2 / "
    "0.0005 / 1000 / 300000",
}


def recorded(id: str) -> dict[str, Any]:
    return {stage: dict(zip((*VALUES, "chunk"), values, strict=True)) for stage, values in SPECIFIED_VALUES[id].items()}


def run(id: str, stages: dict[str, Any], *more: Event, profile: str | None = None) -> list[Event]:
    profiles = {PROFILE_OF[id]: {"stages": stages}}
    started = event("run_started", profile=profile or PROFILE_OF[id])
    return journal(started, event("config_checked", checks=[], profiles=profiles), *more)


@pytest.mark.requirement("P3", "P4")
@pytest.mark.parametrize("id", ["P3", "P4"])
def test_each_value_of_a_profile_is_the_specified_one(id: str) -> None:
    assert SPECIFIED_VALUES[id] == SPECIFIED[id]
    name = PROFILE_OF[id]
    unit = "(batch / accumulation / learning rate / log / updates)"
    assert profile_values(run(id, recorded(id)), id) == Finding(
        id, "PASS", f"profile {name} and this run: {TEXTS[id]} {unit}"
    )
    for stage, values in SPECIFIED[id].items():
        for key, value in zip((*VALUES, "chunk"), values, strict=True):
            wrong = copy.deepcopy(recorded(id))
            wrong[stage][key] = 77
            found = profile_values(run(id, wrong), id)
            said = f"{key} of {stage} is 77 in profile {name}; the specification has {value}"
            assert (found.verdict, found.reason) == (("FAIL", said) if value is not None else ("PASS", found.reason))
    other = profile_values(run(id, recorded(id), profile="smoke"), id)
    assert other.reason == f"no occasion: this run has the profile smoke, not {name}"
    target = profile_values(run(id, recorded(id), event("target_described")), id)
    assert target.reason == "no occasion: the stages of a checkout are trained with its own settings"
    wrong = recorded(id) | {"dynamics": {}}
    assert profile_values(run(id, wrong, event("target_described"), profile="smoke"), id).verdict == "FAIL"


@pytest.mark.requirement("P4")
@pytest.mark.parametrize(
    ("settings", "problems"),
    [
        ({"stages.dynamics.batch_size_per_gpu": (5, "profile longrun")}, ["batch_size_per_gpu of dynamics is 5"]),
        ({"stages.dynamics.batch_size_per_gpu": (5, "option --init-batch-size")}, []),
        ({"stages.dynamics.batch_size_per_gpu": (5, "checkpoint x")}, []),
        ({"stages.dynamics.batch_size_per_gpu": (5, "no option")}, ["batch_size_per_gpu of dynamics is 5"]),
        ({"stages.dynamics.batch_size_per_gpu": (4, "profile longrun")}, []),
        ({"profile.stages.dynamics.chunk": (5, "a"), "profile.stages.latent_actions.chunk": (6, "a")},
         ["chunk of latent_actions is 6", "chunk of dynamics is 5"]),
        ({"profile.stages.dynamics.target_updates": (5, "a")}, ["target_updates of dynamics is 5"]),
        ({"stages.dynamics.learning_rate": (0.1, "a"), "profile.stages.dynamics.learning_rate": (5e-4, "a")},
         ["learning_rate of dynamics is 0.1"]),
    ],
)  # fmt: skip
def test_a_value_of_the_run_that_no_option_set_is_the_specified_one(
    settings: dict[str, tuple[Any, str]], problems: list[str]
) -> None:
    table = {key: {"value": value, "source": source} for key, (value, source) in settings.items()}
    found = profile_values(run("P4", recorded("P4"), event("settings_resolved", settings=table)), "P4")
    assert found.verdict == ("FAIL" if problems else "PASS")
    if problems:
        assert [text for text in problems if f"{text} in this run; the specification has" not in found.reason] == []
        assert found.reason.count("in this run") == len(problems)
    of_baseline = profile_values(
        run("P3", recorded("P3"), event("settings_resolved", settings={"profile.stages.dynamics.chunk": {"value": 9}})),
        "P3",
    )
    assert of_baseline.verdict == "PASS", "the specification has no chunk for the baseline"


@pytest.mark.requirement("P3", "C1", "L4")
def test_what_an_older_or_shorter_journal_lacks() -> None:
    assert profile_values(NOTHING, "P3").reason == "the profiles were not read: the run stopped earlier"
    with pytest.raises(MissingFactError, match="the values of the shipped profiles"):
        profile_values(journal(event("config_checked", checks=[])), "P3")
    unread = journal(event("config_checked", checks=[], profiles={"longrun": {"problem": "broken"}}))
    assert profile_values(unread, "P3").reason == "profile baseline cannot be read: it is not in the journal"
    assert profile_values(unread, "P4").reason == "profile longrun cannot be read: broken"
    stopped = "the configs were not checked: the run stopped earlier"
    assert config_alignment(NOTHING) == [Finding(id, "NOT-RUN", stopped) for id in ("C1", "C2", "C3")]
    checks = [
        {"id": id, "verdict": verdict, "reason": "a."}
        for id, verdict in (("C1", "PASS"), ("C2", "FAIL"), ("X", "PASS"))
    ]
    assert config_alignment(journal(event("config_checked", checks=checks, folders=["a", "b"]))) == [
        Finding("C1", "PASS", "a. Checked: a, b."),
        Finding("C2", "FAIL", "a."),
    ]
    audits = [event("git_evidence", verdict=verdict, reason="r") for verdict in ("FAIL", "PASS")]
    assert git_history(journal(*audits)) == Finding("L4", "PASS", "r")
