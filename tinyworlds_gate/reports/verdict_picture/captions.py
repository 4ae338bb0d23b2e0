"""The text in the picture of a verdict: reasons, cards and headings, from a `gate_verdict` event (pure functions).

Measures are those of the journal: a number that was not finite, or not measured, is None there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.config.thresholds import STRICT_THRESHOLDS, GateThresholds, recorded_thresholds
from tinyworlds_gate.gate.action_rules import LEAST_INFORMATION, bits_text, meets_true_actions, played_faults
from tinyworlds_gate.gate.conditions import MOST_DIGITS, apart
from tinyworlds_gate.gate.custom_records import interval_text, record_limit, value_text
from tinyworlds_gate.gate.measures.information import used_share
from tinyworlds_gate.gate.object_names import percent
from tinyworlds_gate.gate.object_rule import meets, of_precision
from tinyworlds_gate.gate.past_rule import meets_past
from tinyworlds_gate.gate.verdict_words import without_word
from tinyworlds_gate.names import EVALUATION, FAIL, FINALS, INVALID, NOT_RUN, PASS
from tinyworlds_gate.reference.rollout.mode import mode_text
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.run.redact import redact

HOLDS, FAILS, UNPROVEN, SHOWN, WARNS = "holds", "fails", "unproven", "shown", "warns"
"""State of a card. ``unproven``: it would hold, but the evidence is INVALID. ``shown``: the profile does not require
it, and it meets the strict thresholds; ``warns``: not required, and it does not meet them."""

NO_NUMBER = "no number"
NOT_REQUIRED = "not required"
OF_ACTIONS = ("G5.control", "G5.played", "G5.codes", "G5.true_actions")
NUMBERS = ("G5", "G5.interval", "G5.mean_frame", "G5.skill", "G6", "G7", "G8", *OF_ACTIONS)
"""The conditions on the size of a number; each has its card."""
Measures = Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """One condition in short lines: its name, its value and its limit."""

    name: str
    value: str
    against: tuple[str, ...]
    state: str


def plain(text: object) -> str:
    """The text as one line without secrets and control characters."""
    return redact("".join(one if one.isprintable() else "?" for one in " ".join(str(text).split())))


def mse_text(value: float | None) -> str:
    """An error with four decimals, or with as many that a small one has two digits."""
    if value is None or not math.isfinite(value):
        return NO_NUMBER
    digits = 1 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{min(max(digits, 4), MOST_DIGITS)}f}"


def reasons(event: Event) -> list[str]:
    """The verdict's sentence, a line for each of its reasons, without the verdict itself."""
    sentence = without_word(plain(event.get("sentence") or "no sentence was recorded"))
    return [part[:1].upper() + part[1:] for part in sentence.split(" Also: ")]


def subtitle(event: Event, run: str, profile: str | None) -> str:
    """Which run, attempt, rollout and clips the verdict is about."""
    number, draw = attempt_of(event)
    parts = [run, f"profile {profile}" if profile else "", attempt_name(number, draw)]
    measures: Measures = event.get("measures") or {}
    if measures:
        which = "clips of the evaluation set," if draw == EVALUATION else "held-out clips of"
        unseen = ", which no attempt has seen" if draw in FINALS else ""
        parts += [
            f"{measures['clips']} {which} {measures['episodes']} episodes{unseen}",
            f"{mode_text(measures)} rollout, {measures['generation_steps']} frames from {measures['context']}".strip(),
        ]
    return plain(" · ".join(part for part in parts if part))


def cards(event: Event) -> list[Card]:
    """A card for each number of the gate beside its limit, and one for the evidence; without measures only that one."""
    measures: Measures | None = event.get("measures")
    if not measures:
        return [_evidence(event)] if event.get("conditions") else []
    thresholds = recorded_thresholds(event) or GateThresholds()
    return [
        _error(event, measures, thresholds),
        _interval(event, measures, thresholds),
        _skill(event, measures),
        *_objects(event, measures),
        *_past(event, measures),
        *_strongest(event, measures),
        _control(event, measures, thresholds),
        *_played(event, measures, thresholds),
        _codes(event, measures, thresholds),
        *_true_actions(event, measures, thresholds),
        _evidence(event),
        *(_custom(event, record) for record in event.get("custom_metrics") or []),
    ]


def _custom(event: Event, record: Mapping[str, Any]) -> Card:
    """The card of a condition or metric of the project."""
    state = _state(event, record["value"] is not None, f"G5.{record['name']}")
    known = interval_text(record)
    against = (record_limit(record) or NOT_REQUIRED, plain(record["problem"] or (f"95 % {known}" if known else "")))
    return Card(
        plain(record["name"]),
        NO_NUMBER if record["value"] is None else plain(value_text(record)),
        tuple(one for one in against if one),
        state,
    )


def _state(event: Event, meets: bool | None, *ids: str) -> str:
    """The state of a card; ``meets``: whether its number meets the strict thresholds (None: it is always required)."""
    found = [one["verdict"] for one in event.get("conditions") or [] if one["id"] in ids]
    if not found:
        return SHOWN if meets else WARNS
    if any(verdict != PASS for verdict in found):
        return FAILS
    return UNPROVEN if event.get("verdict") == INVALID else HOLDS


def _error(event: Event, measures: Measures, thresholds: GateThresholds) -> Card:
    mse = measures.get("mse")
    value = NO_NUMBER if mse is None else apart(mse, thresholds.max_mse)
    return Card("rollout error", value, (f"at most {thresholds.max_mse:g}",), _state(event, None, "G5"))


def _interval(event: Event, measures: Measures, thresholds: GateThresholds) -> Card:
    low, high, mean = (measures.get(name) for name in ("mse_low", "mse_high", "mean_frame_mse"))
    meets = high is not None and high <= thresholds.max_mse and (mean is None or high < mean)
    limits = [f"upper end at most {thresholds.max_mse:g}"] if thresholds.require_mse_upper else []
    if thresholds.require_upper_below_mean_frame:
        limits.append(f"below mean frame {mse_text(mean)}")
    return Card(
        "its 95 % interval",
        NO_NUMBER if low is None or high is None else f"{mse_text(low)} to {mse_text(high)}",
        tuple(limits) or (NOT_REQUIRED,),
        _state(event, meets, "G5.interval", "G5.mean_frame"),
    )


def _skill(event: Event, measures: Measures) -> Card:
    low = measures.get("skill_low")
    state = _state(event, low is not None and low > 0, "G5.skill")
    end = "" if low is None else f"from {_signed(low)}"
    limit = (NOT_REQUIRED, end) if state in (SHOWN, WARNS) else (end, "to be above 0")
    copied = f"copying scores {mse_text(measures.get('copy_last_mse'))}"
    against = "; ".join(part for part in limit if part)
    return Card("skill against copying", _signed(measures.get("skill")), (against, copied), state)


def _objects(event: Event, measures: Measures) -> list[Card]:
    """The card of G6; none for a journal of an older version."""
    record = measures.get("objects")
    if record is None:
        return []
    thresholds = recorded_thresholds(event) or GateThresholds()
    least = thresholds.min_object_share
    ends = "" if least is None else f"{percent(least)} and {percent(of_precision(least))}"
    limit = f"lower ends at least {ends}" if ends else NOT_REQUIRED
    if record["no_occasion"]:
        return [Card("objects", "no occasion", ("too few small moving objects", _moving(measures)), SHOWN)]
    ends = f"from {percent(record['recall_low'])} and {percent(record['precision_low'])}"
    state = _state(event, meets(record, STRICT_THRESHOLDS.min_object_share or 0.0), "G6")
    value = f"{percent(record['recall'])} / {percent(record['precision'])}"
    return [Card("objects found / right", value, (f"{ends}; {limit}", _moving(measures)), state)]


def _moving(measures: Measures) -> str:
    motion, sharp = measures.get("motion_ratio"), measures.get("sharpness")
    return f"motion {_signed(motion)}, sharpness {_signed(sharp)} of the true frames"


def _past(event: Event, measures: Measures) -> list[Card]:
    """The card of G7; none for a journal of an older version."""
    record = measures.get("past")
    if record is None:
        return []
    least = (recorded_thresholds(event) or GateThresholds()).min_past_ratio
    limit = NOT_REQUIRED if least is None else f"at least {least:g}"
    if record["no_occasion"]:
        return [Card("foreign context costs", "no occasion", (limit,), SHOWN)]
    state = _state(event, meets_past(record, STRICT_THRESHOLDS.min_past_ratio or 0.0), "G7")
    ends = f"from {_signed(record['ratio_low'])}; {limit}"
    errors = f"{mse_text(record['foreign_mse'])} against {mse_text(record['own_mse'])}"
    return [Card("foreign context costs", f"× {_signed(record['ratio'])}", (ends, errors), state)]


def _strongest(event: Event, measures: Measures) -> list[Card]:
    """The card of G8; none for a journal of an older version."""
    if measures.get("strongest_baseline") is None:
        return []
    low = measures.get("skill_strongest_low")
    state = _state(event, low is not None and low > 0, "G8")
    end = "" if low is None else f"from {_signed(low)}"
    limit = (NOT_REQUIRED, end) if state in (SHOWN, WARNS) else (end, "to be above 0")
    scores = f"{measures['strongest_baseline']} scores {mse_text(measures.get('strongest_baseline_mse'))}"
    against = "; ".join(part for part in limit if part)
    return [Card("skill against no model", _signed(measures.get("skill_strongest")), (against, scores), state)]


def _control(event: Event, measures: Measures, thresholds: GateThresholds) -> Card:
    cost, least = measures.get("delta_psnr_db"), thresholds.min_delta_psnr_db
    state = _state(event, cost is not None and cost >= _least_db(STRICT_THRESHOLDS), "G5.control")
    return Card("random actions cost", _signed(cost, " dB"), (_at_least(least, " dB"),), state)


def _codes(event: Event, measures: Measures, thresholds: GateThresholds) -> Card:
    used, shares = measures["action_codes_used"], measures.get("action_shares")
    least = STRICT_THRESHOLDS.min_action_codes or 0
    state = _state(event, used >= min(least, len(shares) if shares else least), "G5.codes")
    value = f"{used} of {len(shares)}" if shares else f"{used}"
    return Card("action codes in use", value, (_at_least(thresholds.min_action_codes),), state)


def _played(event: Event, measures: Measures, thresholds: GateThresholds) -> list[Card]:
    """The card of G5.played; none for a journal of an older version."""
    record, name = measures.get("played"), "freely chosen codes"
    limit = NOT_REQUIRED if thresholds.min_delta_psnr_db is None else "like frames of the game"
    if record is None or record["no_occasion"]:
        return [] if record is None else [Card(name, "no occasion", (limit,), SHOWN)]
    state = _state(event, not any(played_faults(record)), "G5.played")
    look = f"sharpness {_signed(record['sharpness'])}, motion {_signed(record['motion'])} of the true frames"
    return [Card(name, f"error × {_signed(record['error'])}", (f"of another clip's; {limit}", look), state)]


def _true_actions(event: Event, measures: Measures, thresholds: GateThresholds) -> list[Card]:
    """The card of G5.true_actions; none for a journal of an older version, or without true actions."""
    record = measures.get("actions")
    if record is None or record["no_occasion"]:
        return []
    least = None if thresholds.min_action_codes is None else percent(LEAST_INFORMATION)
    limit = NOT_REQUIRED if least is None else f"at least {least}"
    state = _state(event, meets_true_actions(record), "G5.true_actions")
    above = f"above chance from {percent(record['excess_low'])}; {limit}"
    return [Card("codes say of the actions", percent(record["information"]), (above, bits_text(record)), state)]


def _at_least(least: float | None, unit: str = "") -> str:
    return NOT_REQUIRED if least is None else f"at least {least:g}{unit}"


def _least_db(thresholds: GateThresholds) -> float:
    return thresholds.min_delta_psnr_db or STRICT_THRESHOLDS.min_delta_psnr_db or 0.0


def _evidence(event: Event) -> Card:
    """All conditions that are about evidence, not about the size of a number."""
    custom = [f"G5.{record['name']}" for record in event.get("custom_metrics") or []]
    others = [one for one in event.get("conditions") or [] if one["id"] not in (*NUMBERS, *custom)]
    others = [one for one in others if one["verdict"] != NOT_RUN]
    broken = [str(one["id"]) for one in others if one["verdict"] in (FAIL, INVALID)]
    which = f"not {', '.join(broken)}" if broken else "log, clips, weights, picture"
    value = f"{len(others) - len(broken)} of {len(others)}"
    return Card("checks of the evidence", value, (plain(which),), FAILS if broken else HOLDS)


def _signed(value: float | None, unit: str = "") -> str:
    return NO_NUMBER if value is None else f"{round(value, 2) + 0.0:.2f}{unit}".replace("-", "−")


def chart_heading(event: Event) -> str:
    """What the curves show, against a copied frame; of evidence that is INVALID they show nothing."""
    measures: Measures = event.get("measures") or {}
    mine, copied = measures.get("mse_by_step") or [], measures.get("copy_last_mse_by_step") or []
    if not mine or any(value is None for value in mine):
        return "Error by step: the model's is no finite number"
    if event.get("verdict") == INVALID:
        return "Error by step, as stated: not proven"
    better, steps = sum(one < other for one, other in zip(mine, copied, strict=True)), len(mine)
    if better == 0:
        return "Error by step: no better than copying the last frame at any step"
    where = "every step" if better == steps else f"{better} of {steps} steps"
    return f"Error by step: better than copying the last frame at {where}"


def control_heading(event: Event) -> str:
    """Whether the actions steer what the model generates."""
    cost = (event.get("measures") or {}).get("delta_psnr_db")
    if cost is None:
        return "What actions do: no number"
    if event.get("verdict") == INVALID:
        return "What actions do: not proven"
    if cost >= _least_db(recorded_thresholds(event) or STRICT_THRESHOLDS):
        return "The actions steer the model"
    return "The actions steer nothing" if cost <= 0 else "The actions hardly steer the model"


def control_notes(measures: Measures) -> tuple[str, ...]:
    """The effect of random actions as text, and the interval of ΔPSNR."""
    cost, low, high = (measures.get(f"delta_psnr_{part}db") for part in ("", "low_", "high_"))
    if cost is None:
        return ()
    effect = f"random actions do better, by {-cost:.2f} dB" if cost < 0 else f"random actions cost {cost:.2f} dB"
    return effect, f"ΔPSNR, 95 % interval {_signed(low)} to {_signed(high)} dB"


def codes_heading(measures: Measures) -> str:
    """How many of the action codes occur."""
    return f"{measures.get('action_codes_used')} of {len(measures['action_shares'])} action codes are in use"


def codes_note(codes: int) -> str:
    """From which share on one of that many codes counts as used."""
    return f"share of the transitions; in use from {100 * used_share(codes):.2g} % on"


def memory_note(measures: Measures) -> str | None:
    """Why there are no memory references, or how to read them."""
    references = measures.get("memory_references")
    if references is None:
        return None
    if measures.get("memory_sharp_mse") is None:
        return plain(f"Memory references: {references}")
    return "Memory references (what remembering every tile of the context would score) are no bounds."
