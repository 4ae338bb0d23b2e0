"""Generate docs/gate-power.md from the record: python -m tinyworlds_gate.power.page"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import comb
from pathlib import Path
from textwrap import fill
from typing import Any

from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.verdict_words import verdict_word
from tinyworlds_gate.names import DEGRADED, PASS
from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.record import Record, read_record
from tinyworlds_gate.power.table import GROUPS, LIMITS
from tinyworlds_gate.reports.markdown import escape
from tinyworlds_gate.run.atomic import atomic_write

PAGE = Path("docs/gate-power.md")
RECORD = Path("docs/results/gate-power.json")
WIDTH = 120
SENTENCE_CHARS = 260
RULE = GateThresholds().as_record()

HEAD = """# Power of the gate

Which known defects the gate catches, and by which check.

`tinyworlds-gate power --record docs/results/gate-power.json --page docs/gate-power.md` measures the defects and
generates this page. `python -m tinyworlds_gate.power.page` only generates it, from
[results/gate-power.json](results/gate-power.json).

1. A small, good model of the lamp world (`tinyworlds_gate/power/world.py`) runs through the real inference process and
   passes the rule of the long-run profiles.
2. One defect is added: in weights, files, data, the code of the rollout or the output of the inference process. A
   defect never changes a field that the verdict reads. Nothing moves in the lamp world but its light; defects of
   objects are in frames of a perfect simulator of rolling balls (`tinyworlds_gate/power/object_world.py`), which
   `tinyworlds-gate score --frames` judges.
3. The defect is caught when the verdict, the failed check and its reason are the expected ones.
4. The same evidence is evaluated again without that check. The verdict must then be a different one, or have a
   different reason; otherwise the check is not what catches the defect.

`pytest validation/ -m power` tests every defect; `make test` tests the quick ones.
`tinyworlds-gate power --variants 20` measures what must pass: the healthy model on episodes of other seeds, and perfect
simulations.

`tinyworlds-gate power --trainings N` trains lamp-world models from other seeds. They are no set of healthy models: the
latent-action model of seed 0 uses 3 of 8 codes where the game has 5 actions, and its rollout is not shown to beat the
blend (error 0.0222 against 0.0242, lower end of the skill -0.30). Larger batches, more updates, stronger FiLM weights,
pairs of frames and an entropy floor gave 4 to 6 codes, and no code for each light: the error of seed 0 was 0.0212.
"""
WAYS = {
    "weights": "weights and checkpoint folders",
    "files": "settings and files of the project",
    "data": "the measured clips and frames",
    "rollout": "the code of the rollout",
    "child": "the output of the inference process",
    "frames": "the frames of a perfect simulator",
    "afterwards": "changes after a verdict",
}
"""Way in → description."""


def page(record: Record) -> str:
    """Return the whole page."""
    rows = record["rows"]
    parts = [HEAD, _rates(record), _overview(rows)]
    parts += [_group(title, defects, rows) for title, defects in GROUPS.items()]
    parts += [_limits(record.get("limits") or {}), _trainings(record)]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _rates(record: Record) -> str:
    rows = record["rows"]
    passed = sum(row["verdict"] in (PASS, DEGRADED) for row in rows.values())
    lines = ["## Error rates\n", f"- False passes: {rate_text(passed, len(rows))}, defects that got a PASS."]
    for key, what in (
        ("trainings", "lamp-world trainings from other initial weights (strict rule)"),
        ("smoke_trainings", "smoke trainings from other initial weights"),
        ("variants", "the healthy model on episodes of other seeds (strict rule)"),
        ("simulations", "perfect simulations from other seeds (strict rule)"),
    ):
        trained = record.get(key) or {}
        if trained:
            failed = sum(one["verdict"] != PASS for one in trained.values())
            lines.append(f"- False fails: {rate_text(failed, len(trained))}, {what}.")
    lines.append(
        "\nThe intervals are exact (Clopper and Pearson). The defects are known ones, not a random sample of all\n"
        "possible defects: the first interval does not say how many other defects exist.\n"
    )
    return "\n".join(lines)


def _overview(rows: dict[str, Any]) -> str:
    caught = sum(row["caught"] and not row["caught_without"] for row in rows.values())
    lines = ["## Overview\n", f"{caught} of {len(rows)} defects are caught by their check.\n"]
    lines += ["| Defects of | Defects | Caught | Verdicts |", "| --- | --- | --- | --- |"]
    for title, defects in GROUPS.items():
        found = [rows[one.id] for one in defects]
        caught = sum(row["caught"] and not row["caught_without"] for row in found)
        verdicts = ", ".join(
            f"{count} {verdict}" for verdict, count in sorted(Counter(row["verdict"] for row in found).items())
        )
        lines.append(f"| [{title}](#{title.lower().replace(' ', '-')}) | {len(found)} | {caught} | {verdicts} |")
    places = sorted(
        {f"{row.get('machine', '?')}, {row.get('date', '?')}, commit {row.get('commit', '?')}" for row in rows.values()}
    )
    measured = f"Measured on: {'; '.join(places)}. The reasons below are quoted from these commits."
    lines.append(f"\n{_wrapped(measured)}")
    return "\n".join(lines)


def _group(title: str, defects: tuple[Defect, ...], rows: dict[str, Any]) -> str:
    return "\n".join([f"\n## {title}", *(_entry(one, rows[one.id]) for one in defects)])


def _entry(defect: Defect, row: dict[str, Any]) -> str:
    verdict = f"**{row['verdict']}** by `{row['check']}`" + ("" if row["caught"] else ", **not as expected**")
    without = row["without"] + (", **still caught**" if row["caught_without"] else "")
    lines = [
        f"\n### {defect.id}\n",
        _wrapped(f"{defect.what[0].upper()}{defect.what[1:]}."),
        "",
        _wrapped(f"- Enters by: {WAYS[row['way']]}", indent="  "),
        _wrapped(f"- Verdict: {verdict}; without this check {without}", indent="  "),
        _wrapped(f"- Reason: {escape(_short(row['reason']))}", indent="  "),
    ]
    return "\n".join(lines)


def _limits(limits: dict[str, Any]) -> str:
    if not limits:
        return ""
    lines = ["\n## Known blind spots\n"]
    for defect in LIMITS:
        if defect.id in limits:
            text = f"- {defect.what[0].upper()}{defect.what[1:]}. {_short(limits[defect.id]['sentence'])}"
            lines.append(_wrapped(text, indent="  "))
    lines.append(
        "\nMean squared error favours the average of the possible futures. SSIM and the pictures in the report show\n"
        "blur; the rule does not."
    )
    return "\n".join(lines)


def _trainings(record: Record) -> str:
    lines = []
    for key, title, command in (
        ("trainings", "Trainings of the lamp world", "tinyworlds-gate power --trainings 20"),
        ("smoke_trainings", "Trainings of the smoke profile", "pytest validation/ -m smoke --seed N"),
    ):
        trained = record.get(key) or {}
        if not trained:
            continue
        lines.append(f"\n## {title}\n\n`{command}`\n")
        lines.append(
            "| Seed | Verdict | MSE | 95 % interval | Skill | Skill (G8), lower end | Machine |\n"
            "| --- | --- | --- | --- | --- | --- | --- |"
        )
        for seed, one in trained.items():
            ends = one.get("mse_low"), one.get("mse_high")
            interval_text = "not kept" if None in ends else f"{_number(ends[0])} to {_number(ends[1])}"
            skills = [_number(one.get(name), 2) for name in ("skill", "skill_strongest", "skill_strongest_low")]
            cells = (seed, _word(one), _number(one.get("mse")), interval_text, skills[0], ", ".join(skills[1:]))
            lines.append(f"| {' | '.join(cells)} | {one.get('machine', '')} |")
    return "\n".join(lines)


def _word(one: dict[str, Any]) -> str:
    """Return the verdict on a training; a pass of an older record is judged by its skill against the last frame."""
    low = one.get("skill_strongest_low", one.get("skill"))
    known = {"skill": one.get("skill"), "skill_strongest_low": low}
    return verdict_word({"verdict": one["verdict"], "measures": known, "thresholds": RULE})


def _number(value: object, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "not measured"


def _short(sentence: str) -> str:
    return sentence if len(sentence) <= SENTENCE_CHARS else f"{sentence[:SENTENCE_CHARS].rsplit(' ', 1)[0]} …"


def _wrapped(text: str, indent: str = "") -> str:
    return fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


LEVEL = 0.95
BISECTIONS = 60


def interval(count: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the ends of the exact interval for ``count`` of ``trials``.

    Raises:
        ValueError: no trials, or a count that does not fit them.
    """
    if trials < 1 or not 0 <= count <= trials:
        raise ValueError(
            f"{count} of {trials} is no rate: the trials must be at least 1, and the count from 0 to the trials"
        )
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else _root(lambda p: 1 - _at_most(count - 1, trials, p) - tail)
    high = 1.0 if count == trials else _root(lambda p: tail - _at_most(count, trials, p))
    return low, high


def rate_text(count: int, trials: int) -> str:
    """Return ``0 of 20 (95 % interval 0.0 % to 16.8 %)``."""
    low, high = interval(count, trials)
    return f"{count} of {trials} (95 % interval {100 * low:.1f} % to {100 * high:.1f} %)"


def _at_most(count: int, trials: int, p: float) -> float:
    return sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(count + 1))


def _root(rising: Callable[[float], float]) -> float:
    """Return where a rising function of a probability is 0."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


if __name__ == "__main__":
    atomic_write(PAGE, page(read_record(RECORD)))
