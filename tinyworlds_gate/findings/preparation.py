"""Findings on the checks before training: C1–C3, L4, and the values of the shipped profiles (P3, P4)."""

from __future__ import annotations

from collections.abc import Mapping

from tinyworlds_gate.findings.base import Events, Finding, MissingFactError, finding, no_occasion, not_run
from tinyworlds_gate.findings.facts import settings_table
from tinyworlds_gate.names import FAIL, PASS
from tinyworlds_gate.run.journal import events_of, last_event

VALUES = ("batch_size_per_gpu", "gradient_accumulation_steps", "learning_rate", "log_interval", "target_updates")

SPECIFIED_VALUES: Mapping[str, Mapping[str, tuple[int, int, float, int, int, int | None]]] = {
    "P3": {
        "video_tokenizer": (16, 2, 1e-3, 2500, 40000, None),
        "latent_actions": (16, 1, 1e-4, 500, 10000, None),
        "dynamics": (8, 2, 5e-4, 1000, 300000, None),
    },
    "P4": {
        "video_tokenizer": (8, 2, 3e-4, 500, 40000, 5000),
        "latent_actions": (8, 1, 1e-4, 500, 10000, 2000),
        "dynamics": (4, 2, 5e-4, 1000, 300000, 4000),
    },
}
"""Stage → batch, accumulation, learning rate, log interval, updates, chunk (docs/requirements.md)."""

PROFILE_OF = {"P3": "baseline", "P4": "longrun"}


def config_alignment(events: Events) -> list[Finding]:
    """C1, C2, C3: the recorded results of the config checks."""
    checked = last_event(list(events), "config_checked")
    ids = ("C1", "C2", "C3")
    if checked is None:
        return [not_run(id, "the configs were not checked: the run stopped earlier") for id in ids]
    where = f" Checked: {', '.join(checked['folders'])}." if checked.get("folders") else ""
    checks = [check for check in checked["checks"] if check["id"] in ids]
    return [
        Finding(check["id"], check["verdict"], check["reason"] + (where if check["verdict"] == PASS else ""))
        for check in checks
    ]


def git_history(events: Events) -> Finding:
    """L4: the recorded result of the git audit."""
    audited = list(events_of(events, "git_evidence"))
    if not audited:
        return not_run("L4", "the history was not audited: the run stopped earlier")
    return Finding("L4", audited[-1]["verdict"], audited[-1]["reason"], audited[-1].get("json"))


def profile_values(events: Events, id: str) -> Finding:
    """P3 or P4: the shipped profile has the specified parameter values, and so has a run of that profile.

    NOT-RUN for a run of another profile or on a checkout's own settings, unless the shipped values are wrong.

    Raises:
        MissingFactError: the journal does not record the profiles' values.
    """
    checked = last_event(list(events), "config_checked")
    if checked is None:
        return not_run(id, "the profiles were not read: the run stopped earlier")
    if "profiles" not in checked:
        raise MissingFactError("the values of the shipped profiles")
    name = PROFILE_OF[id]
    recorded = checked["profiles"].get(name) or {"problem": "it is not in the journal"}
    if "problem" in recorded:
        return Finding(id, FAIL, f"profile {name} cannot be read: {recorded['problem']}")
    problems = []
    for stage, expected in SPECIFIED_VALUES[id].items():
        keys = VALUES if expected[5] is None else (*VALUES, "chunk")
        problems += [
            f"{key} of {stage} is {recorded['stages'][stage].get(key)} in profile {name}; the specification has {value}"
            for key, value in zip(keys, expected, strict=False)
            if recorded["stages"][stage].get(key) != value
        ]
    run = last_event(list(events), "run_started") or {}
    if not problems and run.get("profile") != name:
        return no_occasion(id, f"this run has the profile {run.get('profile')}, not {name}")
    if not problems and last_event(list(events), "target_described") is not None:
        return no_occasion(id, "the stages of a checkout are trained with its own settings")
    problems += _other_values(events, id)
    shown = "; ".join(
        f"{stage} {batch} / {accumulation} / {rate:g} / {interval} / {updates}"
        for stage, (batch, accumulation, rate, interval, updates, _) in SPECIFIED_VALUES[id].items()
    )
    return finding(
        id, problems, f"profile {name} and this run: {shown} (batch / accumulation / learning rate / log / updates)"
    )


BY_OPTION = ("option", "checkpoint")
"""How the origin of a value begins that a person set for this run."""


def _other_values(events: Events, id: str) -> list[str]:
    """Return a problem for each value of this run that is not the specified one and that no option set."""
    table, problems = settings_table(events), []
    for stage, expected in SPECIFIED_VALUES[id].items():
        for key, value in zip((*VALUES, "chunk"), expected, strict=True):
            own = table.get(f"stages.{stage}.{key}") or table.get(f"profile.stages.{stage}.{key}") or {}
            set_by_option = str(own.get("source")).startswith(BY_OPTION)
            if value is not None and own and own["value"] != value and not set_by_option:
                problems.append(f"{key} of {stage} is {own['value']} in this run; the specification has {value}")
    return problems
