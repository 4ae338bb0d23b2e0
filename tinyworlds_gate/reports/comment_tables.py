"""Rows of the tables in a comment on a pull request, from a run's record (pure functions).

The comparison with the baseline is data of the event `baseline_compared`, which may be of another version: what is no
number is shown as a dash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.names import PASS
from tinyworlds_gate.reference.rollout.mode import mode_text
from tinyworlds_gate.reports.advice import BETTER, NOT_COMPARABLE, SAME, WORSE
from tinyworlds_gate.reports.gate_views import binding_rows
from tinyworlds_gate.reports.markdown import MISSING, Safe, number
from tinyworlds_gate.reports.model import WORST_FIRST, RunRecord
from tinyworlds_gate.reports.verdict_picture.captions import mse_text

SCHEMA = 1
"""Of the event `baseline_compared`."""
MOST_EFFECTS, MOST_SETTINGS = 12, 20
SIGNS = {BETTER: "▲ better", SAME: "= no difference seen", WORSE: "▼ worse", NOT_COMPARABLE: "? not comparable"}
NOT_MEASURED = "– not measured"
QUESTIONS = {
    "recipes": "another seed of the same recipe counts as no difference",
    "models": "the two models are compared, not their recipes",
}
MAIN_BINDING = ("digest of the clips", "SHA-256 of the frames file", "SHA-256 of the evaluation set")


@dataclass(frozen=True)
class EffectRow:
    """One measured effect: baseline, this run, the change with its interval, and what it means."""

    label: str
    baseline: str
    run: str
    change: str
    sign: str


@dataclass(frozen=True)
class NumberRow:
    """One error of the run beside those of predictions without a model."""

    label: str | Safe
    mse: str
    note: str


@dataclass(frozen=True)
class OpenRow:
    """Requirements with the same verdict and reason."""

    ids: str
    verdict: str
    reason: str


def effect_rows(compared: Mapping[str, Any] | None) -> list[EffectRow]:
    """Return a row for each effect of the comparison; empty without one."""
    if compared is None or compared.get("schema") != SCHEMA:
        return []
    effects = [one for one in compared.get("effects") or [] if isinstance(one, dict)]
    return [_effect(one) for one in effects[:MOST_EFFECTS]]


def comparison_note(compared: Mapping[str, Any] | None) -> str | None:
    """Return how the comparison was made, in one line; None without one."""
    if compared is None:
        return None
    if compared.get("schema") != SCHEMA:
        return f"The comparison has the schema {compared.get('schema')}, and this version reads {SCHEMA}."
    name = str((compared.get("a") or {}).get("name") or "the baseline")
    path = str((compared.get("baseline") or {}).get("path") or "a file")
    parts = [f"Baseline {name} of {path}"]
    if _finite(compared.get("clips")) and _finite(compared.get("episodes")):
        parts.append(f"{number(compared['clips'])} clips of {number(compared['episodes'])} episodes, the same for both")
    if (question := QUESTIONS.get(str(compared.get("question")))) is not None:
        parts.append(question)
    return "; ".join(parts) + "."


def _effect(one: Mapping[str, Any]) -> EffectRow:
    sign = SIGNS.get(str(one.get("verdict")), NOT_MEASURED)
    low, high = one.get("low"), one.get("high")
    in_doubt = one.get("verdict") == SAME and _finite(low) and _finite(high) and float(low or 0) * float(high or 0) > 0
    note = f" ({one['note']})" if one.get("note") and (in_doubt or one.get("verdict") not in SIGNS) else ""
    label = str(one.get("label") or one.get("key") or MISSING)
    return EffectRow(label, _value(one, one.get("a")), _value(one, one.get("b")), _change(one), f"{sign}{note}")


def _value(one: Mapping[str, Any], value: Any) -> str:
    """Return a value with its unit: an error with four decimals, a share in percent."""
    if not _finite(value):
        return MISSING
    if one.get("key") == "error":
        return mse_text(value)
    if one.get("unit") == "share":
        return f"{100 * value:.1f} %"
    unit = _unit(one)
    return f"{value:.2f}{f' {unit}' if unit else ''}"


def _change(one: Mapping[str, Any]) -> str:
    """Return the change with its 95 % interval: relative for the error and the speed, else a difference."""
    values = [one.get(key) for key in ("change", "low", "high")]
    if not _finite(values[0]):
        return MISSING
    relative, share = one.get("key") in ("error", "speed"), one.get("unit") == "share"
    shown = [_signed(value, relative or share) if _finite(value) else "?" for value in values]
    unit = " %" if relative else " points" if share else f" {_unit(one)}".rstrip()
    interval = f" ({shown[1]} to {shown[2]})" if any(map(_finite, values[1:])) else ""
    return f"{shown[0]}{unit}{interval}"


def _unit(one: Mapping[str, Any]) -> str:
    return str(one.get("unit") or "").partition(" ")[0][:12]


def _signed(value: Any, hundredths: bool) -> str:
    text = f"{100 * value:+.1f}" if hundredths else f"{value:+.2f}"
    return text.replace("-", "−")


def number_rows(record: RunRecord) -> list[NumberRow]:
    """Return the run's error beside its limit and the errors of predictions without a model; empty without measures."""
    m = record.measures
    if not m:
        return []
    rows = [NumberRow(Safe("**this run**"), mse_text(m.get("mse")), _interval(m, "mse", mse_text, "95 % interval "))]
    strongest = m.get("strongest_baseline")
    if strongest is not None:
        skill = f"skill {_two(m.get('skill_strongest'))} against it{_interval(m, 'skill_strongest', _two, ', from ')}"
        mse = mse_text(m.get("strongest_baseline_mse"))
        rows.append(NumberRow(f"the strongest prediction without a model: {strongest}", mse, skill))
    if strongest != "last frame":
        skill = f"skill {_two(m.get('skill'))} against it{_interval(m, 'skill', _two, ', from ')}"
        rows.append(NumberRow("copying the last frame", mse_text(m.get("copy_last_mse")), skill))
    if record.max_mse is not None:
        rows.append(NumberRow("the limit", number(record.max_mse), "the error must be at most this"))
    return rows


def measured_on(record: RunRecord) -> str:
    """Return on which clips the last verdict was taken, and how."""
    m, last = record.measures, record.last_attempt
    if not m or last is None:
        return "Nothing was measured."
    which = "clips of the evaluation set," if last.on_evaluation_set else "held-out clips of"
    parts = f"{number(m.get('clips'))} {which} {number(m.get('episodes'))} episodes"
    how = mode_text(m)
    return f"{parts}, {number(m.get('generation_steps'))} generated frames each{f'; {how}' if how else ''}."


def _interval(m: Mapping[str, Any], key: str, shown: Any, before: str) -> str:
    low, high = m.get(f"{key}_low"), m.get(f"{key}_high")
    return f"{before}{shown(low)} to {shown(high)}" if _finite(low) and _finite(high) else ""


def _two(value: Any) -> str:
    return f"{value:.2f}".replace("-", "−") if _finite(value) else MISSING


def open_rows(record: RunRecord) -> list[OpenRow]:
    """Return what did not pass, worst first; requirements with one reason share a row."""
    grouped: dict[tuple[str, str], list[str]] = {}
    rows = [row for row in record.requirements() if row.verdict != PASS]
    for row in sorted(rows, key=lambda row: WORST_FIRST.index(row.verdict)):
        grouped.setdefault((row.verdict, row.reason), []).append(row.id)
    return [OpenRow(" ".join(ids), verdict, reason) for (verdict, reason), ids in grouped.items()]


def weight_rows(record: RunRecord) -> list[tuple[str, str]]:
    """Return (stage, SHA-256) of the weights that the last verdict is about."""
    last = record.last_attempt
    bound = ((last.verdict or {}).get("binding") or {}).get("checkpoints") if last else None
    loaded = ((last.finished or {}).get("checkpoints") or {}) if last else {}
    found = bound or {stage: one.get("sha256") for stage, one in loaded.items() if isinstance(one, dict)}
    return [(str(stage), str(digest)) for stage, digest in found.items() if digest]


def bound_rows(record: RunRecord) -> list[tuple[str, Any]]:
    """Return (label, value) of the data that the last verdict is bound to."""
    return [row for row in binding_rows(record) if row[0] in MAIN_BINDING]


def changed_settings(record: RunRecord) -> list[tuple[str, Any, str]]:
    """Return (setting, value, source) of what was set by an option."""
    settings = (record.settings or {}).get("settings") or {}
    rows = [
        (str(key), one.get("value"), str(one.get("source")))
        for key, one in settings.items()
        if isinstance(one, dict) and str(one.get("source")).startswith("option ")
    ]
    return rows[:MOST_SETTINGS]


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
