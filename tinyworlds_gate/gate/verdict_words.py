"""The words of a verdict: what a pass is limited to, and each cause of a failure once (pure functions)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.names import DEGRADED, PASS
from tinyworlds_gate.reference.rollout.mode import ONE_STEP, TEACHER_FORCED, mode

if TYPE_CHECKING:
    from tinyworlds_gate.gate.conditions import Condition
    from tinyworlds_gate.gate.measures.summary import GateMeasures

LOOP_ONLY = "loop only"
"""The limit of a pass that makes no statement about the model."""
OLDER_RULE = "before G8"
"""The limit of a pass of an older version, which did not compute G8."""
LIMITS = (LOOP_ONLY, OLDER_RULE)
NO_ERROR_FAILS = 1.0
"""No error of frames in [0, 1] is above it; with such a `max_mse` a gate judges no model."""
NOT_JUDGED = "The quality is shown and not judged: no statement about the model is made."
WORD = re.compile(r"(?:PASS|FAIL|INVALID|DEGRADED|NOT-RUN)(?: \((?P<scope>[^)]*)\))?(?:, [a-z-]+)?: ")

OF_CHANGED_FRAMES = ("G5.recomputed", "G5.random", "G5.floor", "G5.actions", "G5.blind", "G7")
FOLLOWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("G1", ("G3", "G4", "G5.log", "G5.measures")),
    ("G5.frames", ("G5.episodes", "G5.baseline", *OF_CHANGED_FRAMES)),
    ("G5.baseline", OF_CHANGED_FRAMES),
    ("G5.blind", ("G5.floor", "G5.random", "G7")),
    ("G5", ("G5.interval",)),
    ("G5.skill", ("G8",)),
    ("G5.mean_frame", ("G8",)),
    ("G5.codes", ("G5.control", "G5.true_actions")),
)
"""Condition → the conditions that break with it, for the same cause."""
WORSE_THAN_NO_MODEL = ("G5", "G5.skill", "G8")
"""The first of these that is broken names the cause where the model is no better than no model."""
OF_A_POOR_MODEL = ("G5.interval", "G5.mean_frame", "G5.skill", "G7", "G8", "G5.control")


def pass_limit(measures: Mapping[str, Any] | None, thresholds: Mapping[str, Any] | None) -> str | None:
    """Return what a pass with these measures is limited to; None: the model beats every prediction without a model.

    That is G8: the lower end of the skill against the strongest of them is above 0. Both arguments are as in the
    journal; a number that was not finite is None there.
    """
    measures, thresholds = measures or {}, thresholds or {}
    low, skill = measures.get("skill_strongest_low"), measures.get("skill")
    beats = low is not None and low > 0 and (skill is None or skill > 0)
    if beats and (thresholds.get("max_mse") or 0.0) < NO_ERROR_FAILS:
        return None
    return OLDER_RULE if measures and thresholds and "require_skill_strongest" not in thresholds else LOOP_ONLY


def limit_of(sentence: str) -> str | None:
    """Return what a sentence says that its pass is limited to; None: it states no such limit."""
    found = WORD.match(sentence)
    parts = (found["scope"] or "").split(", ") if found is not None else []
    return next((one for one in parts if one in LIMITS), None)


def verdict_word(event: Mapping[str, Any]) -> str:
    """Return the verdict of a `gate_verdict` with what it is limited to: `PASS (loop only)`."""
    verdict = str(event.get("verdict"))
    limit = pass_limit(event.get("measures"), event.get("thresholds")) if verdict == PASS else None
    return f"{verdict} ({limit})" if limit else verdict


def tone(event: Mapping[str, Any]) -> str:
    """Return the verdict whose colour a verdict is shown in.

    A pass with a limit, or one that is not strict, is amber, as DEGRADED is.
    """
    verdict = str(event.get("verdict"))
    not_strict = mode(event.get("measures") or {}) in (TEACHER_FORCED, ONE_STEP)
    return DEGRADED if verdict == PASS and (not_strict or verdict_word(event) != verdict) else verdict


def without_word(sentence: str) -> str:
    """Return the sentence of a verdict without the verdict at its beginning."""
    return WORD.sub("", sentence, count=1) if WORD.match(sentence) else sentence


def causes(problems: Sequence[Condition], measures: GateMeasures | None) -> list[str]:
    """Return a clause for each cause of a failure, with the conditions that break for the same cause."""
    broken = list(dict.fromkeys(one.id for one in problems))
    head_of: dict[str, str] = {}
    for head, consequences in (*_of_the_model(broken, measures), *FOLLOWS):
        if head in broken:
            head = head_of.get(head, head)
            head_of |= {id: head for id in consequences if id in broken and id not in head_of and id != head}
    clauses: dict[str, list[str]] = {}
    for one in problems:
        if one.id not in head_of and one.reason not in (clauses.get(one.id) or []):
            clauses.setdefault(one.id, []).append(one.reason)
    found = []
    for id, reasons in clauses.items():
        after = [_short(other, measures) for other in broken if head_of.get(other) == id]
        found += [*reasons[:-1], reasons[-1] + (f". Follows from it: {', '.join(after)}" if after else "")]
    return list(dict.fromkeys(found))


def _of_the_model(broken: Sequence[str], measures: GateMeasures | None) -> list[tuple[str, tuple[str, ...]]]:
    if measures is None:
        return []
    skills = (measures.skill, measures.skill_strongest)
    poor = not math.isfinite(measures.mse) or any(one is not None and one <= 0 for one in skills)
    head = next((id for id in WORSE_THAN_NO_MODEL if id in broken), None)
    return [(head, OF_A_POOR_MODEL)] if poor and head is not None else []


def _short(id: str, measures: GateMeasures | None) -> str:
    """Return the ID of a condition with its number."""
    if measures is None:
        return id
    numbers = {
        "G5.interval": (measures.mse_high, f"upper end {measures.mse_high:.4f}"),
        "G5.mean_frame": (measures.mean_frame_mse, f"mean frame {measures.mean_frame_mse:.4f}"),
        "G5.skill": (measures.skill, f"skill {measures.skill:.2f} from {measures.skill_low:.2f}"),
        "G8": (measures.skill_strongest, f"{measures.strongest_baseline} {measures.strongest_baseline_mse or 0:.4f}"),
        "G5.control": (measures.delta_psnr_db, f"{measures.delta_psnr_db:.2f} dB"),
    }
    value, text = numbers.get(id, (None, ""))
    return f"{id} ({text})" if value is not None and math.isfinite(value) else id
