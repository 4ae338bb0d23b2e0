"""Build a run's entry in the table from its journal: its numbers and what they depend on (pure).

A number that the journal does not have is null, never 0. Only `train_minutes` and `gpus` are sums, over the chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyworlds_gate.keep.files import draw_text, kept_attempt
from tinyworlds_gate.loop.recheck import JudgedAgain
from tinyworlds_gate.reports.model import Attempt, RunRecord
from tinyworlds_gate.run.journal import events_of
from tinyworlds_gate.run.redact import redact_command

MEASURES = {
    "strict_mse": "strict_mse",
    "copy_last_mse": "copy_last_mse",
    "skill": "skill",
    "skill_low": "skill_low",
    "delta_psnr_db": "delta_psnr_db",
    "action_codes_used": "action_codes_used",
    "action_nmi": "displacement_information",
    "tokenizer_recon_mse": "tokenizer_recon_mse",
    "reference_sharp_mse": "memory_sharp_mse",
}
"""Key of the table → key of `gate_verdict.measures`."""

MORE_MEASURES = (
    *("teacher_forced_mse", "memory_hedged_mse", "mse_by_step", "mse_low", "mse_high", "teacher_forced"),
    *("clips", "episodes", "context", "generation_steps"),
)
NUMBERS = (*MEASURES, "train_minutes", "gpus")
"""The numbers that every entry has, in their order."""

Entry = dict[str, Any]


def entry_of(record: RunRecord, again: JudgedAgain | None = None) -> Entry:
    """The entry of a run with a gate verdict, whose files were judged ``again`` (None: they were not)."""
    again = again or JudgedAgain(not_judged=["they were not read"])
    attempt = kept_attempt(record)
    measures = attempt.measures if attempt is not None else {}
    bound = ((attempt.verdict or {}).get("binding") or {}) if attempt is not None else {}
    verdict, sentence = record.verdict()
    starts = events_of(record.events, "run_started")
    return {
        "run": record.run,
        "profile": record.started.get("profile"),
        "seed": record.started.get("seed"),
        **({"dataset": record.options["dataset"]} if "dataset" in record.options else {}),
        **{key: measures.get(name) for key, name in MEASURES.items()},
        **_trained(record),
        **{key: measures.get(key) for key in MORE_MEASURES},
        "timestamp": record.timestamp,
        "status": record.status,
        "verdict": verdict,
        "sentence": sentence,
        "measured_on": attempt and {"attempt": attempt.number, "draw": attempt.draw, "what": draw_text(attempt)},
        "command": redact_command([str(word) for word in record.started.get("command") or []]),
        "resumed": sum(1 for event in starts if event.get("resumed")),
        "machine": _machine(record.started),
        "commit": bound.get("commit", starts[-1].get("commit")),
        "dirty": bound.get("dirty", starts[-1].get("dirty")),
        "versions": bound.get("versions") or starts[-1].get("versions"),
        "checkpoints": bound.get("checkpoints") or _loaded(attempt),
        "dataset_sha256": bound.get("dataset_sha256", (record.dataset or {}).get("sha256")),
        "evaluation_sha256": bound.get("evaluation_sha256"),
        "clip_digest": bound.get("clip_digest", measures.get("clip_digest")),
        "harness_sha256": bound.get("harness_sha256"),
        "evidence": bound.get("evidence"),
        "judged_again": not again.not_judged,
        "unconfirmed": again.unconfirmed,
        "journal": _journal(record),
    }


def _journal(record: RunRecord) -> Entry | None:
    """Lines and hash chain of the run's own journal at its end; the kept copy, without machine names, has another."""
    state = record.journal
    if state is None:
        return None
    chained = state.chained_from is not None
    return {"lines": state.end, "chain": state.chains[state.end] if chained else None, "note": state.note}


def _trained(record: RunRecord) -> Entry:
    """Sum minutes and count GPUs over all chunks, including failed ones and those before a resume.

    Null where no chunk has them, for example in a run that trained nothing.
    """
    ends = [chunk.finished or {} for chunk in record.chunks]
    walls = [float(end["wall_s"]) for end in ends if isinstance(end.get("wall_s"), int | float)]
    devices = {worker.get("device") for end in ends for worker in end.get("workers") or []} - {None}
    return {
        "train_minutes": sum(walls) / 60 if walls else None,
        "gpus": len(devices - {"cpu"}) if devices else None,
        "chunks": len(ends),
        "chunks_of_unknown_time": len(ends) - len(walls),
    }


def _machine(started: Mapping[str, Any]) -> Entry:
    machine = started.get("machine") or {}
    gpus = machine.get("gpus")
    return {
        **{key: machine.get(key) for key in ("hostname_hash", "system", "cpus", "memory_gib")},
        "gpus": None if gpus is None else [gpu.get("name") for gpu in gpus],
    }


def _loaded(attempt: Attempt | None) -> Entry | None:
    """SHA-256 of the weights that inference loaded, by stage; for journals whose verdicts are not bound."""
    files = ((attempt.finished if attempt is not None else None) or {}).get("checkpoints") or {}
    return {stage: one.get("sha256") for stage, one in files.items()} or None
