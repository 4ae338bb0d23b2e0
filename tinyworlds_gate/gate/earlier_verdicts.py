"""Earlier verdicts of the project on the same weights: a pass on luckier clips does not replace a failure.

Weights that failed on some clips and now pass on others are the same model. Their failure is replaced only by a pass on
the same clips, which no luck can give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.binding import MEASURING_KEYS
from tinyworlds_gate.gate.conditions import measured_conditions
from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.names import FAIL, INVALID
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.hash_chain import LONGEST_LINE
from tinyworlds_gate.run.journal import Event, events_of, read_journal

NO_RULES = ("tf32", "seed", "clips", "clip_seed")
"""Settings of the measurement that choose clips or change last digits only."""


def earlier_failures(
    results: Path,
    run: str,
    weights: Mapping[str, str],
    clip_digest: str | None,
    config: Mapping[str, Any],
    thresholds: GateThresholds,
) -> list[dict[str, Any]]:
    """Return the verdicts of other runs by which these weights fail on other clips, oldest first.

    Args:
        results: the folder with the runs of the project.
        run: the name of the run that asks, which is left out.
        weights: stage → SHA-256.
        clip_digest: of the clips that are measured now.
        config: the settings that the verdict depends on, as its binding has them.
        thresholds: an earlier verdict counts where its numbers fail by these.
    """
    newest: dict[str, tuple[str, Event]] = {}
    for name, verdict in sorted(_verdicts(results, run, weights), key=lambda one: float(one[1]["time"])):
        bound = verdict["binding"]
        if bound.get("clip_digest") and _same_rules(bound["config"], config):
            newest[str(bound["clip_digest"])] = (name, verdict)
    return [
        {
            "run": f"results/{name}",
            "attempt": attempt_name(*attempt_of(verdict)),
            "clip_digest": digest,
            "sentence": str(verdict["sentence"]),
        }
        for digest, (name, verdict) in newest.items()
        if digest != clip_digest and verdict["verdict"] == FAIL and _fails(verdict.get("measures") or {}, thresholds)
    ]


def _verdicts(results: Path, run: str, weights: Mapping[str, str]) -> Iterator[tuple[str, Event]]:
    """The verdicts of other runs on these weights; a journal that cannot be read says nothing."""
    for journal in results.glob("*/journal.jsonl"):
        name = journal.parent.name
        try:
            if name == run or not _mentions(journal, weights["dynamics"]):
                continue
            events = read_journal(journal)
        except (GateError, OSError):
            continue
        for verdict in events_of(events, "gate_verdict"):
            if ((verdict.get("binding") or {}).get("checkpoints") or {}) == dict(weights):
                yield name, verdict


def _mentions(journal: Path, word: str) -> bool:
    """Whether a line of the journal has the word; of a longer line only its parts are looked at."""
    with journal.open("rb") as file:
        return any(word.encode() in line for line in iter(lambda: file.readline(LONGEST_LINE), b""))


def _same_rules(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    keys = [f"inference.{key}" for key in MEASURING_KEYS if key not in NO_RULES]
    return all(was.get(key) == now.get(key) for key in keys)


def _fails(measures: Mapping[str, Any], thresholds: GateThresholds) -> bool:
    """Whether the recorded numbers fail by these thresholds; incomplete numbers of older versions count as failing."""
    known: dict[str, Any] = {one.name: measures.get(one.name) for one in fields(GateMeasures)}
    try:
        return any(one.verdict in (FAIL, INVALID) for one in measured_conditions(GateMeasures(**known), thresholds))
    except (TypeError, ValueError, KeyError):
        return True
