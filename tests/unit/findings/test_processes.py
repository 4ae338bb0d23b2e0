"""Findings on stale processes, the one launcher and the devices, from small journals (L1, L2, L3, H5, H6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.finding_events import (
    NOTHING,
    Event,
    by_id,
    ended,
    event,
    finished,
    gated,
    good_training,
    holds,
    journal,
    started,
)
from tinyworlds_gate.findings.processes import devices, single_launcher, stale_processes

DYNAMICS = "dynamics"


def process(pid: int, outcome: str) -> Event:
    return {"pid": pid, "age_s": 5.0, "cmdline": "python train_dynamics.py", "signal": "SIGTERM", "outcome": outcome}


def looked(*ended: Event, **fields: Any) -> Event:
    return event("stale_processes", ended=list(ended), when="before", **fields)


@pytest.mark.requirement("L1")
@pytest.mark.parametrize(
    ("events", "verdict", "said"),
    [
        (journal(looked()), "PASS", "no stale training process was found"),
        (journal(looked(process(7, "ended"))), "PASS", r"1 stale training process\(es\) found and ended \(PID 7\)"),
        (journal(looked(process(7, "still alive after SIGKILL"))), "FAIL", "PID 7 still alive after SIGKILL"),
        (journal(looked(process(7, "not permitted"))), "FAIL", "PID 7 not permitted"),
        (NOTHING, "INVALID", "the journal records no search for stale training processes"),
        (journal(looked(skipped="--cleanup-extra-processes false")), "NOT-RUN", "switched off: --cleanup-extra"),
        (journal(started(1, DYNAMICS), looked()), "FAIL", "a chunk started before the search for stale processes"),
    ],
)
def test_stale_processes_were_looked_for_first(events: list[Event], verdict: str, said: str) -> None:
    holds(stale_processes(events), verdict, said)


@pytest.mark.requirement("L2", "H5")
@pytest.mark.parametrize(
    ("events", "verdict", "said"),
    [
        (
            good_training(),
            "PASS",
            r"PIDs 101, 102, 103, 104|one launcher in each of 4 chunk\(s\); 0 extra",
        ),
        (NOTHING, "NOT-RUN", "no chunk was trained"),
        (journal(started(1, DYNAMICS), finished(1, DYNAMICS, launcher_pid=None)), "FAIL", "has no launcher PID"),
        (
            journal(started(1, DYNAMICS), started(2, DYNAMICS), finished(1, DYNAMICS), finished(2, DYNAMICS)),
            "FAIL",
            r"chunk 2 \(dynamics\) started while chunk 1 \(dynamics\) was still running",
        ),
        (
            journal(started(1, DYNAMICS), finished(1, DYNAMICS, extra_launchers=[process(9, "ended")])),
            "PASS",
            r"1 extra process\(es\) ended|PIDs 101",
        ),
        (
            journal(started(1, DYNAMICS), finished(1, DYNAMICS, extra_launchers=[process(9, "left alone")])),
            "FAIL",
            "a second launcher, PID 9, was left alone",
        ),
    ],
)
def test_each_chunk_had_one_launcher(events: list[Event], verdict: str, said: str) -> None:
    found = by_id(single_launcher(events))
    assert set(found) == {"L2", "H5"}
    for one in found.values():
        holds(one, verdict, said)
    assert found["L2"].follows_from is None
    assert found["H5"].follows_from == ("L2" if verdict == "FAIL" else None)


@pytest.mark.requirement("L2", "H5")
@pytest.mark.parametrize("name", ["inference_finished", "probe_finished", "target_inference_finished"])
def test_an_inference_had_no_second_launcher_either(name: str) -> None:
    chunk = [started(1, DYNAMICS), finished(1, DYNAMICS)]
    for outcome, verdict, said in (
        ("left alone", "FAIL", "inference attempt 2: a second launcher, PID 9, was left alone"),
        ("ended", "PASS", "1 extra process(es) ended"),
    ):
        found = by_id(single_launcher(journal(*chunk, event(name, attempt=2, extra_launchers=[process(9, outcome)]))))
        assert (found["L2"].verdict, found["H5"].verdict) == (verdict, verdict)
        assert said in found["L2"].reason


@pytest.mark.requirement("L2")
def test_one_second_launcher_is_named_once_with_every_place_it_was_seen() -> None:
    left = [process(9, "left alone"), process(9, "left alone"), process(8, "not permitted"), process(7, "ended")]
    chunks = [started(1, DYNAMICS), finished(1, DYNAMICS, extra_launchers=left)]
    later = event("inference_finished", attempt=1, extra_launchers=left[:1])
    reason = by_id(single_launcher(journal(*chunks, later)))["L2"].reason
    assert "chunk 1 (dynamics), inference attempt 1: a second launcher, PID 9, was left alone" in reason
    assert "chunk 1 (dynamics): a second launcher, PID 8, was not permitted" in reason
    assert "PID 7" not in reason


@pytest.mark.requirement("L2", "H5")
def test_a_chunk_that_was_interrupted_needs_no_launcher() -> None:
    interrupted = [started(1, DYNAMICS), finished(1, DYNAMICS, launcher_pid=None, cause="interrupted")]
    assert by_id(single_launcher(journal(*interrupted)))["L2"].verdict == "NOT-RUN"


def gpu_chunk(**changes: Any) -> list[Event]:
    fields = {"dual_gpu_ok": True, "dual_gpu_reason": "both GPUs worked together in 40 samples", **changes}
    return journal(started(1, DYNAMICS), finished(1, DYNAMICS, **fields))


@pytest.mark.requirement("L3", "H6")
@pytest.mark.parametrize(
    ("events", "gpus", "nproc", "given", "expected"),
    [
        (NOTHING, 2, 2, False, {"L3": ("NOT-RUN", "no chunk"), "H6": ("NOT-RUN", "no chunk")}),
        (
            good_training(),
            0,
            2,
            False,
            {
                "L3": ("NOT-RUN", "needs 2 NVIDIA GPUs, found 0"),
                "H6": ("NOT-RUN", "needs 2 NVIDIA GPUs, found 0"),
            },
        ),
        (
            gpu_chunk(dual_gpu_ok=None),
            1,
            1,
            False,
            {
                "L3": ("PASS", r"^monitored in 1 chunk\(s\)"),
                "H6": ("NOT-RUN", "needs 2 NVIDIA GPUs, found 1"),
            },
        ),
        (
            gpu_chunk(),
            2,
            1,
            True,
            {"L3": ("PASS", "^monitored"), "H6": ("NOT-RUN", "does not apply with --nproc-per-node 1")},
        ),
        (
            gpu_chunk(device_samples=None),
            1,
            1,
            False,
            {"L3": ("FAIL", r"chunk 1 \(dynamics\) has no device samples"), "H6": ("NOT-RUN", "found 1")},
        ),
        (
            gpu_chunk(),
            2,
            2,
            False,
            {
                "L3": ("PASS", r"monitored in 1 chunk\(s\)"),
                "H6": ("PASS", "in all 1 chunks: both GPUs worked"),
            },
        ),
        (
            gpu_chunk(dual_gpu_ok=False, dual_gpu_reason="GPU 1 was idle"),
            2,
            2,
            False,
            {"L3": ("PASS", "^monitored"), "H6": ("FAIL", r"chunk 1 \(dynamics\): GPU 1 was idle")},
        ),
        (
            gpu_chunk(dual_gpu_ok=None, dual_gpu_reason="NVML shows no processes"),
            2,
            2,
            False,
            {"L3": ("INVALID", "NVML shows no processes"), "H6": ("INVALID", "NVML shows no processes")},
        ),
    ],
)
def test_the_devices_worked_together(
    events: list[Event], gpus: int, nproc: int, given: bool, expected: dict[str, tuple[str, str]]
) -> None:
    found = by_id(devices(events, gpus, nproc, given))
    assert set(found) == set(expected)
    for id, (verdict, said) in expected.items():
        holds(found[id], verdict, said)


def probed(seen: bool | None) -> Event:
    return event("device_probe", stage=DYNAMICS, chunk=1, dual_gpu_ok=seen, device_samples="devices/probe.jsonl")


@pytest.mark.requirement("L3", "H6")
def test_a_stage_that_stopped_without_device_evidence_is_invalid_with_its_reason() -> None:
    lost = {"failure": {"cause": "guard", "reason": "x"}, "dual_gpu_ok": False}
    stopped = ended(DYNAMICS, "INVALID", reason="a probe found no evidence either: GPU 1 was idle")
    earlier = [
        started(1, "latent_actions"),
        finished(1, "latent_actions", dual_gpu_ok=True, dual_gpu_reason="both"),
        gated(1, "latent_actions"),
    ]
    events = journal(*earlier, started(2, DYNAMICS), {**finished(2, DYNAMICS), **lost}, probed(False), stopped)
    found = by_id(devices(events, 2, 2, False))
    for one in found.values():
        holds(one, "INVALID", "a probe found no evidence either: GPU 1 was idle")
    assert found["L3"].evidence == "devices/probe.jsonl"
    assert found["H6"].follows_from == "L3"
    holds(by_id(devices(events[:3], 2, 2, False))["H6"], "PASS", "both")


@pytest.mark.requirement("L3", "H6")
def test_a_chunk_that_only_a_probe_proved_is_named_beside_the_one_that_counts() -> None:
    lost = {"failure": {"cause": "guard", "reason": "x"}, "dual_gpu_ok": None}
    again = finished(2, DYNAMICS, 20, dual_gpu_ok=True, dual_gpu_reason="both")
    events = journal(
        started(1, DYNAMICS),
        {**finished(1, DYNAMICS), **lost},
        probed(True),
        started(2, DYNAMICS, 10, 20),
        again,
        gated(2, DYNAMICS),
    )
    holds(by_id(devices(events, 2, 2, False))["H6"], "PASS", r"both; chunk 1 \(dynamics\) had no evidence of its own")


@pytest.mark.requirement("L3", "H6")
def test_a_chunk_too_short_to_be_sampled_is_shown_by_its_probe() -> None:
    short = finished(1, DYNAMICS, dual_gpu_ok=None, dual_gpu_reason="unknown: its steps took 1.1 s")
    probe = probed(True) | {"stands_for_chunk": True, "dual_gpu_reason": "2 GPUs busy together in 38 of 109 samples"}
    events = journal(started(1, DYNAMICS), short, probe, gated(1, DYNAMICS))
    holds(
        by_id(devices(events, 2, 2, False))["H6"],
        "PASS",
        "busy together in 38 of 109.*its training was too short to be sampled.*a probe of the same command showed it",
    )
    events = journal(started(1, DYNAMICS), short, probed(True), gated(1, DYNAMICS))
    holds(by_id(devices(events, 2, 2, False))["H6"], "INVALID", "its steps took 1.1 s")
