"""Hand-written journals for the tests of the findings: events of a good run, with a test's changes."""

from __future__ import annotations

import re
from typing import Any

from tinyworlds_gate.findings.base import Finding

Event = dict[str, Any]
STAGES = ("video_tokenizer", "latent_actions", "dynamics")
GATES = dict(zip(STAGES, ("S1", "S2", "S3"), strict=True))


def journal(*events: Event) -> list[Event]:
    """Return the events, numbered as in a journal."""
    return [{"seq": number, **event} for number, event in enumerate(events)]


def event(name: str, **fields: Any) -> Event:
    return {"event": name, **fields}


def started(chunk: int, stage: str, start: int = 0, end: int = 10, **changes: Any) -> Event:
    fields: Event = {
        "chunk": chunk,
        "stage": stage,
        "start_update": start,
        "end_update": end,
        "target_updates": end,
        "params": {
            "batch_size_per_gpu": 8,
            "gradient_accumulation_steps": 2,
            "learning_rate": 1e-3,
            "log_interval": 5,
        },
        "param_sources": dict.fromkeys(
            ("batch_size_per_gpu", "gradient_accumulation_steps", "learning_rate", "log_interval"), "profile smoke"
        ),
        "nproc_per_node": 2,
        "effective_batch": 32,
        "resumed_from": f"{stage}_step_{start - 1}" if start else None,
    }
    return event("chunk_started", **{**fields, **changes})


def finished(chunk: int, stage: str, end: int = 10, **changes: Any) -> Event:
    fields: Event = {
        "chunk": chunk,
        "stage": stage,
        "exit_code": 0,
        "cause": "ok",
        "launcher_pid": 100 + chunk,
        "dual_gpu_ok": None,
        "dual_gpu_reason": "no GPU",
        "device_samples": f"devices/chunk_{chunk}.jsonl",
        "extra_launchers": [],
        "checkpoint": {"path": f"{stage}_step_{end - 1}", "step": end - 1, "sha256": "a" * 64, "parameters": 5},
        "final_loss": 0.01,
        "visualization": f"{stage}_{end}.png",
        "channels": {id: {"verdict": "PASS", "reason": f"{id} moved"} for id in ("M1", "M2", "M3")},
        "problems": [],
        "failure": None,
    }
    return event("chunk_finished", **{**fields, **changes})


def failed(cause: str = "runtime_error", *, continue_at: int = 0) -> Event:
    """Return the changes of a finished chunk that is not valid; the next one starts at the update ``continue_at``."""
    start = {"step": continue_at - 1} if continue_at else None
    return {"failure": {"cause": cause, "reason": "it failed"}, "continue_from": start}


def gated(chunk: int, stage: str, decision: str = "continue", **changes: Any) -> Event:
    fields: Event = {"reason": "the loss is low", "id": GATES[stage], "thresholds": {"continue_loss": 0.01}}
    return event("stage_gate", chunk=chunk, stage=stage, decision=decision, **{**fields, **changes})


def ended(stage: str, verdict: str = "PASS", **changes: Any) -> Event:
    return event("stage_finished", stage=stage, verdict=verdict, **{"reason": "done", "degraded": False, **changes})


def good_chunk(chunk: int, stage: str, start: int = 0, end: int = 10) -> list[Event]:
    return [started(chunk, stage, start, end), finished(chunk, stage, end), gated(chunk, stage)]


def good_training() -> list[Event]:
    """Return the events of three stages in four chunks, numbered from 0, with ``run_started`` first."""
    return journal(
        event("run_started", options={}),
        *good_chunk(1, "video_tokenizer", 0, 5),
        *good_chunk(2, "video_tokenizer", 5, 10),
        ended("video_tokenizer"),
        *good_chunk(3, "latent_actions"),
        ended("latent_actions"),
        *good_chunk(4, "dynamics"),
        ended("dynamics"),
    )


def by_id(findings: list[Finding]) -> dict[str, Finding]:
    """Return findings by requirement; each may occur once."""
    found = {one.id: one for one in findings}
    assert len(found) == len(findings)
    return found


def holds(found: Finding, verdict: str, said: str) -> None:
    """Assert that the finding has this verdict and that its reason matches."""
    assert found.verdict == verdict, found
    assert re.search(said, found.reason), found.reason


NOTHING = journal(event("run_started", options={}))
"""A run in which nothing happened."""
