"""What a journal says about a run's settings and its machine. ``pytest tests/unit/findings/test_facts.py``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.finding_events import NOTHING, STAGES, Event, event, journal
from tinyworlds_gate.config.profile import RetryPlanConfig
from tinyworlds_gate.findings import facts
from tinyworlds_gate.findings.base import MissingFactError

RETRY = RetryPlanConfig(chunk=100, init_learning_rate=5e-4, lr_decay=0.7, lr_floor=1e-6, max=2)


def resolved(**settings: Any) -> list[Event]:
    """Return a journal with these settings; `__` in a name is a dot, a value may be (value, source)."""
    table = {
        name.replace("__", "."): dict(zip(("value", "source"), value, strict=True))
        if isinstance(value, tuple)
        else {"value": value, "source": "profile smoke"}
        for name, value in settings.items()
    }
    return journal(event("settings_resolved", settings=table))


def test_a_setting_is_its_value_and_its_source() -> None:
    events = resolved(training__seed=(7, "option --seed"), profile__thresholds__max_mse=0.03)
    assert facts.setting(events, "training.seed") == (7, "option --seed")
    assert facts.max_mse(events) == 0.03
    assert facts.setting(resolved(a=None), "a") == (None, "profile smoke")
    newer = [*events, *resolved(training__seed=8)]
    assert facts.setting(newer, "training.seed") == (8, "profile smoke")
    for lacking in (events, NOTHING, [], journal(event("settings_resolved", settings={"training.fps": 15}))):
        with pytest.raises(MissingFactError, match=r"the setting training\.fps"):
            facts.setting(lacking, "training.fps")


def test_the_retry_plan_is_the_profile_s() -> None:
    events = resolved(**{f"profile__retry__{name}": value for name, value in RETRY.model_dump().items()})
    assert facts.retry_plan(events) == RETRY


@pytest.mark.parametrize(("source", "by_option"), [("option --nproc-per-node", True), ("profile smoke", False)])
def test_the_number_of_workers_may_be_a_person_s_choice(source: str, by_option: bool) -> None:
    assert facts.nproc(resolved(training__nproc_per_node=(2, source))) == (2, by_option)


def test_the_thresholds_of_the_stage_gates_are_those_of_the_journal() -> None:
    gates = {"dynamics": {"continue_loss": 2.0}}
    assert facts.stage_gate_thresholds(journal(event("settings_resolved", thresholds={"stage_gates": gates}))) == gates
    for lacking in (NOTHING, journal(event("settings_resolved", thresholds=None))):
        with pytest.raises(MissingFactError, match="the thresholds of the stage gates"):
            facts.stage_gate_thresholds(lacking)


WHOLE, SLICE = {"mig": False}, {"mig": True}


@pytest.mark.parametrize(
    ("gpus", "device", "used"),
    [
        ([], "auto", 0),
        ([WHOLE], "auto", 1),
        ([WHOLE, WHOLE], "auto", 2),
        ([WHOLE, WHOLE], None, 2),
        ([WHOLE, WHOLE], "cpu", 0),
        ([SLICE, SLICE], "cuda", 1),
        ([WHOLE, SLICE, SLICE], "cuda", 1),
    ],
)
def test_each_worker_may_have_a_whole_gpu_or_all_of_them_one_slice(
    gpus: list[dict[str, bool]], device: str | None, used: int
) -> None:
    started = event("run_started", machine={"gpus": gpus})
    settings = [] if device is None else resolved(training__device=device)
    assert facts.gpus_used([started, *settings]) == used


def test_a_journal_without_the_machine_lacks_that_fact() -> None:
    for events in (NOTHING, journal(event("run_started", machine={}))):
        with pytest.raises(MissingFactError, match="the machine's GPUs"):
            facts.gpus_used(events)


def test_the_stages_that_resume_are_those_of_the_target() -> None:
    assert facts.resuming_stages(None) == STAGES
    assert facts.resuming_stages({"can": {"resumes": True}}) == STAGES
    assert facts.resuming_stages({"can": {"resumes": False}}) == ()
    assert facts.resuming_stages({"can": {"resumes": True}, "resuming": ["dynamics"]}) == ["dynamics"]


def test_the_options_are_those_that_the_run_was_started_with() -> None:
    assert facts.options([]) == {}
    assert facts.options(journal(event("run_started", options=None))) == {}
    assert facts.options(journal(event("run_started", options={"seed": 7}))) == {"seed": 7}
