"""Findings on the retune ladders, from small journals (T1–T4, T6)."""

from __future__ import annotations

import pytest

from tests.helpers.finding_events import NOTHING, Event, by_id, event, holds, journal, started
from tinyworlds_gate.findings.retuning import ladders, walk
from tinyworlds_gate.stages.retune import ChunkParams

DYNAMICS = "dynamics"


START = {
    stage: ChunkParams(batch_size_per_gpu=8, gradient_accumulation_steps=2, learning_rate=1e-3, log_interval=2000)
    for stage in ("video_tokenizer", "latent_actions", "dynamics")
}


def retune(id: str, stage: str, cause: str, **changes: list[float]) -> Event:
    return event("retune", id=id, stage=stage, chunk=1, cause=cause, changes=changes, effective_batch=[32, 32])


@pytest.mark.requirement("T1", "T2", "T3", "T4", "T6")
def test_without_retunes_the_ladders_of_the_run_are_walked_to_their_end() -> None:
    found = by_id(ladders(NOTHING, START, 5, 2))
    assert list(found) == ["T1", "T2", "T3", "T4", "T6"]
    assert {one.verdict for one in found.values()} == {"PASS"}
    holds(
        found["T1"],
        "PASS",
        r"0 retune\(s\) by this rule; the ladder of this run: batch 8 → batch 4 → batch 2 → batch 1",
    )
    holds(found["T4"], "PASS", "rate 0.001 → rate 0.0002 → rate 4e-05")
    assert [step.params.batch_size_per_gpu for step in walk("dynamics", "out_of_memory", START["dynamics"], 5, 2)] == [
        4,
        2,
        1,
    ]


@pytest.mark.requirement("T1", "T2", "T3", "T4", "T6")
@pytest.mark.parametrize(
    ("happened", "verdict", "said"),
    [
        (retune("T1", "dynamics", "out_of_memory: x", batch_size_per_gpu=[8, 4]), "PASS", r"1 retune\(s\)"),
        (retune("T1", "dynamics", "runtime_error: x", batch_size_per_gpu=[8, 4]), "PASS", r"1 retune\(s\)"),
        (retune("T1", "dynamics", "out_of_memory: x", batch_size_per_gpu=[8, 6]), "FAIL", "the ladder says .*4"),
        (
            retune(
                "T2",
                "video_tokenizer",
                "stage_gate: high",
                learning_rate=[1e-3, 5e-4],
                gradient_accumulation_steps=[2, 3],
                log_interval=[2000, 1000],
            ),
            "PASS",
            r"1 retune\(s\)",
        ),
        (
            retune("T2", "video_tokenizer", "stage_gate: high", learning_rate=[1e-3, 5e-4]),
            "FAIL",
            "the retune after chunk 1 set .* the ladder says",
        ),
        (retune("T3", "latent_actions", "stage_gate: x", learning_rate=[1e-3, 5e-4]), "FAIL", "the ladder says"),
        (
            retune("T4", "dynamics", "stage_gate: x", batch_size_per_gpu=[8, 4]),
            "FAIL",
            "batch_size_per_gpu.* the ladder says",
        ),
        (retune("T6", "dynamics", "guard: idle"), "PASS", r"1 retune\(s\)"),
        (retune("T6", "dynamics", "guard: idle", learning_rate=[1e-3, 1e-4]), "FAIL", "the ladder says {}"),
    ],
)
def test_a_retune_that_happened_must_be_the_ladders_next_step(happened: Event, verdict: str, said: str) -> None:
    found = by_id(ladders(journal(happened), START, 5, 2))
    holds(found.pop(happened["id"]), verdict, said)
    assert {one.verdict for one in found.values()} == {"PASS"}


@pytest.mark.requirement("T4")
def test_a_second_retune_is_compared_with_the_parameters_of_the_chunk_that_failed() -> None:
    """Accumulation reached its floor before: the ladder then only turns the learning rate."""
    params = {"batch_size_per_gpu": 8, "gradient_accumulation_steps": 1, "learning_rate": 2e-4, "log_interval": 500}
    happened = retune("T4", "dynamics", "stage_gate: rising", learning_rate=[2e-4, 4e-5])
    holds(by_id(ladders(journal(started(1, DYNAMICS, params=params), happened), START, 5, 2))["T4"], "PASS", "1 retune")
    holds(by_id(ladders(journal(started(1, DYNAMICS), happened), START, 5, 2))["T4"], "FAIL", "the ladder says")


@pytest.mark.requirement("T1")
def test_a_ladder_that_gave_up_set_nothing_and_is_no_fault() -> None:
    gave_up = {**retune("T1", "dynamics", "out_of_memory: x"), "proceed": False}
    holds(by_id(ladders(journal(gave_up), START, 5, 2))["T1"], "PASS", r"1 retune\(s\)")
