"""Rows about an external checkout: its properties, its limits and the verdicts of both gates (pure functions)."""

from __future__ import annotations

from typing import Any

from tinyworlds_gate.gate.verdict_words import tone, verdict_word
from tinyworlds_gate.reports.model import RunRecord
from tinyworlds_gate.run.journal import events_of, last_event

GATE_LABELS = {
    "target": "the checkout's own inference (one clip of its choice)",
    "trusted": "the trusted gate (held-out clips; it decides about the model)",
}


def checkout_facts(record: RunRecord) -> list[tuple[str, Any]]:
    """Return (label, value) rows about the checkout; empty for the embedded reference."""
    described = last_event(record.events, "target_described")
    if described is None:
        return []
    preflight = last_event(record.events, "target_preflight") or {}
    python = f"{described.get('python')} ({described.get('python_reason')})"
    versions = f"Python {preflight.get('python')}, torch {preflight.get('torch')}" if preflight else None
    data = record.dataset or {}
    return [
        ("Kind", described.get("told")),
        ("Checkout", described.get("root")),
        ("Interpreter", python),
        ("Versions", versions),
        ("Imported packages", ", ".join(preflight.get("imported") or []) or None),
        ("Frames that it trains on", data.get("training_path")),
        ("Held-out frames", data.get("path") if data.get("held_out_clips") else "none"),
        ("Files in the checkout", f"{described.get('tree_files')}, SHA-256 {str(described.get('tree_sha256'))[:12]}…"),
    ]


def checkout_limits(record: RunRecord) -> list[str]:
    """Return a sentence for each thing that the checkout cannot do and how the run handled it."""
    described = last_event(record.events, "target_described") or {}
    return [str(sentence) for sentence in described.get("limits") or []]


def checkout_readings(record: RunRecord) -> list[dict[str, Any]]:
    """Return a row for each thing that the checkout's code shows: name, yes or no, the place and its line."""
    described = last_event(record.events, "target_described") or {}
    return [{**row, "value": "yes" if row.get("value") else "no"} for row in described.get("readings") or []]


def chunk_notes(record: RunRecord) -> list[str]:
    """Return the notes on the chunks that did not make a chunk fail."""
    return [
        f"Chunk {event.get('chunk')} ({event.get('stage')}): {note}."
        for event in events_of(record.events, "chunk_finished")
        for note in event.get("notes") or []
    ]


def gate_rows(record: RunRecord) -> list[dict[str, Any]]:
    """Return a row for each gate of each attempt; empty without a checkout."""
    rows: list[dict[str, Any]] = []
    for attempt in record.attempts:
        judged = attempt.verdict or {}
        for gate, result in (judged.get("gates") or {}).items():
            error = result.get("mse") if gate == "target" else attempt.measures.get("mse")
            own = {**judged, "verdict": result.get("verdict")}
            named = (own["verdict"],) * 2 if gate == "target" else (verdict_word(own), tone(own))
            row = {"attempt": attempt.name, "gate": GATE_LABELS.get(gate, gate), "verdict": own["verdict"]}
            row |= dict(zip(("word", "tone"), named, strict=True))
            rows.append({**row, "mse": error, "sentence": result.get("sentence")})
    return rows


def disagreements(record: RunRecord) -> list[str]:
    """Return a sentence for each attempt whose two gates disagree."""
    found = [(one.name, (one.verdict or {}).get("disagreement")) for one in record.attempts]
    return [f"{name.capitalize()}: {sentence}" for name, sentence in found if sentence]
