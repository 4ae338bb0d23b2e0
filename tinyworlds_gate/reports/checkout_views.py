"""Rows about somebody's checkout: what was driven, what it cannot do, and both gates side by side (pure)."""

from __future__ import annotations

from typing import Any

from tinyworlds_gate.reports.model import RunRecord
from tinyworlds_gate.run.journal import events_of, last_event

GATE_WORDS = {
    "target": "the checkout's own inference (one clip of its choice)",
    "trusted": "the trusted gate (held-out clips; it decides about the model)",
}


def checkout_facts(record: RunRecord) -> list[tuple[str, Any]]:
    """(what, value): the checkout of this run; empty where the embedded reference was validated."""
    described = last_event(record.events, "target_described")
    if described is None:
        return []
    asked = last_event(record.events, "target_preflight") or {}
    python = f"{described.get('python')} ({described.get('python_reason')})"
    versions = f"Python {asked.get('python')}, torch {asked.get('torch')}" if asked else None
    data = record.dataset or {}
    return [
        ("Kind", described.get("told")),
        ("Checkout", described.get("root")),
        ("Interpreter", python),
        ("Versions there", versions),
        ("Packages imported there", ", ".join(asked.get("imported") or []) or None),
        ("Frames that it trains on", data.get("training_path")),
        ("Held-out frames", data.get("path") if data.get("held_out_clips") else "none"),
        ("Files of its tree", f"{described.get('tree_files')}, SHA-256 {str(described.get('tree_sha256'))[:12]}…"),
    ]


def checkout_limits(record: RunRecord) -> list[str]:
    """What this checkout cannot do and what was done instead."""
    described = last_event(record.events, "target_described") or {}
    return [str(sentence) for sentence in described.get("limits") or []]


def chunk_notes(record: RunRecord) -> list[str]:
    """What is worth telling of the chunks and made none of them fail."""
    return [
        f"Chunk {event.get('chunk')} ({event.get('stage')}): {note}."
        for event in events_of(record.events, "chunk_finished")
        for note in event.get("notes") or []
    ]


def gate_rows(record: RunRecord) -> list[dict[str, Any]]:
    """One row for each gate of each attempt: attempt, gate, verdict, error, sentence; empty without a checkout."""
    rows: list[dict[str, Any]] = []
    for attempt in record.attempts:
        judged = attempt.verdict or {}
        for gate, said in (judged.get("gates") or {}).items():
            error = said.get("mse") if gate == "target" else attempt.measures.get("mse")
            row = {"attempt": attempt.name, "gate": GATE_WORDS.get(gate, gate), "verdict": said.get("verdict")}
            rows.append({**row, "mse": error, "sentence": said.get("sentence")})
    return rows


def disagreements(record: RunRecord) -> list[str]:
    """The sentence of each attempt whose two gates do not say the same."""
    told = [(one.name, (one.verdict or {}).get("disagreement")) for one in record.attempts]
    return [f"{name.capitalize()}: {sentence}" for name, sentence in told if sentence]
