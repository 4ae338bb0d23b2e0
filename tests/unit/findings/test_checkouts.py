"""What a journal of a checkout's run says of H7 and P1, and how a target that cannot resume is trained.

pytest tests/unit/findings/test_checkouts.py
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.process_evidence import GPU0, GPU1, TREE, WORKER0, WORKER1, gpu, repeated
from tinyworlds_gate.findings.processes import devices
from tinyworlds_gate.findings.training import absolute_steps, parameters
from tinyworlds_gate.launch.devices.concurrency import judge_dual_gpu
from tinyworlds_gate.stages.progress import StageProgress

Event = dict[str, Any]


def chunk(number: int, start: int, end: int, target: int, **more: Any) -> Event:
    return {
        "seq": number,
        "event": "chunk_started",
        "stage": "dynamics",
        "chunk": number,
        "start_update": start,
        "end_update": end,
        "target_updates": target,
        "param_sources": {},
        "params": {"batch_size_per_gpu": 4, "gradient_accumulation_steps": 1},
        "nproc_per_node": 1,
        "effective_batch": 4,
        **more,
    }


def finished(number: int, step: int, **more: Any) -> Event:
    checkpoint = {"step": step, "path": f"dynamics_step_{step}"}
    return {
        "event": "chunk_finished",
        "stage": "dynamics",
        "chunk": number,
        "cause": "ok",
        "checkpoint": checkpoint,
        **more,
    }


def gate(number: int, decision: str = "continue") -> Event:
    return {"event": "stage_gate", "stage": "dynamics", "chunk": number, "decision": decision, "reason": "said so"}


def described(*, resumes: bool) -> Event:
    return {"event": "target_described", "kind": "tinyworlds", "can": {"resumes": resumes}}


@pytest.mark.requirement("H7")
def test_whole_trainings_of_a_target_that_restarts_are_reported_as_emulated() -> None:
    events = [described(resumes=False), chunk(1, 0, 40, 40), finished(1, 39), gate(1), chunk(2, 0, 60, 60), gate(2)]
    found = absolute_steps(events)
    assert found.verdict == "PASS"
    assert found.reason.startswith("emulated: a tinyworlds checkout restores weights only")
    assert "none resumed" in found.reason


@pytest.mark.requirement("H7")
@pytest.mark.parametrize(
    "events",
    [
        [chunk(1, 0, 20, 40), finished(1, 19), gate(1)],
        [chunk(1, 0, 40, 40, resumed_from="x"), finished(1, 39), gate(1)],
        [chunk(1, 0, 40, 40), finished(1, 39)],
    ],
    ids=["a part of a training", "a resumed one", "none that counts"],
)
def test_where_the_emulation_does_not_hold_h7_is_not_run_with_the_reason(events: list[Event]) -> None:
    found = absolute_steps([described(resumes=False), *events])
    assert found.verdict == "NOT-RUN"
    assert "restarts at step 0, so absolute resuming cannot be shown" in found.reason


@pytest.mark.requirement("H7")
def test_a_target_that_resumes_is_held_to_absolute_steps() -> None:
    restarted = [described(resumes=True), chunk(1, 0, 20, 40), finished(1, 19), gate(1), chunk(2, 0, 40, 40)]
    assert absolute_steps(restarted).verdict == "FAIL"


@pytest.mark.requirement("P1")
def test_a_learning_rate_that_the_checkout_did_not_keep_fails_p1() -> None:
    note = "the learning rate of update 0 on rose to 0.001, but 0.0003 was asked for"
    sources = {
        key: "x" for key in ("batch_size_per_gpu", "gradient_accumulation_steps", "learning_rate", "log_interval")
    }
    events = [chunk(1, 0, 40, 40, param_sources=sources), finished(1, 39, notes=[note])]
    (p1, *_) = parameters(events)
    assert (p1.verdict, p1.reason) == ("FAIL", f"chunk 1 (dynamics): {note}")


def retune(**more: Any) -> Event:
    return {"event": "retune", "stage": "dynamics", "proceed": True, "changes": {}, "reason": "again", **more}


@pytest.mark.requirement("H7")
def test_every_try_of_a_target_that_cannot_resume_begins_at_update_0() -> None:
    progress = StageProgress("dynamics", chunk_size=40, target=40, resumes=False)
    failed = finished(1, 39, failure={"cause": "runtime_error", "reason": "x"}, continue_from=None)
    again = progress.after_all([chunk(1, 0, 40, 40), failed, retune()])
    assert (again.next_step, again.span) == ("run", (0, 40))
    for growth, end in ((0, 80), (10, 50)):
        resuming = StageProgress("dynamics", chunk_size=40, target=40, growth=growth)
        grown = resuming.after_all([chunk(1, 0, 40, 40), finished(1, 39), gate(1, "retune"), retune()])
        assert (grown.span, grown.target) == ((40, end), end)


@pytest.mark.requirement("H6", "L3")
def test_gpus_that_nvml_cannot_tie_to_workers_without_heartbeats_are_unknown_and_hence_invalid() -> None:
    samples = repeated(gpu(GPU0, 90, [WORKER0], supported=False), gpu(GPU1, 90, [WORKER1], supported=False))
    ok, reason = judge_dual_gpu(samples, [], TREE, 2, 1.0, 2)
    assert ok is None
    events = [finished(1, 39, dual_gpu_ok=ok, dual_gpu_reason=reason, device_samples="devices.jsonl"), gate(1)]
    l3, h6 = devices(events, gpus=2, nproc=2, nproc_given=False)
    assert (l3.verdict, h6.verdict) == ("INVALID", "INVALID")
    assert "unknown" in h6.reason


@pytest.mark.requirement("H7")
def test_a_checkout_whose_dynamics_alone_resumes_is_held_to_both_rules() -> None:
    target = {**described(resumes=False), "resuming": ["dynamics"]}
    tokenizer = [{**event, "stage": "video_tokenizer"} for event in (chunk(1, 0, 40, 40), finished(1, 39), gate(1))]
    resumed = {**chunk(3, 60, 80, 80), "resumed_from": "results/r/dynamics/checkpoints/dynamics_step_59"}
    dynamics = [chunk(2, 0, 60, 60), finished(2, 59), gate(2), resumed, finished(3, 79), gate(3)]
    found = absolute_steps([target, *tokenizer, *dynamics])
    assert found.verdict == "PASS", found.reason
    assert "dynamics: 2 chunk(s); continued at the absolute update" in found.reason
    assert "the other stages: emulated" in found.reason
    restarted = [*dynamics[:3], chunk(3, 0, 80, 80), finished(3, 79), gate(3)]
    assert absolute_steps([target, *tokenizer, *restarted]).verdict == "FAIL"
