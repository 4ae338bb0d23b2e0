"""What was checked before training: C1–C3, L4, and the numbers of the shipped profiles (P3, P4)."""

from __future__ import annotations

from collections.abc import Mapping

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.findings.base import Events, Finding, finding, not_run, of

SOURCE_NUMBERS: Mapping[str, Mapping[str, tuple[int, int, float, int, int, int | None]]] = {
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
"""Stage → batch, accumulation, learning rate, log interval, updates, chunk (closed-loop.md, Parameter policy)."""


def config_alignment(events: Events) -> list[Finding]:
    """C1, C2, C3 as they were checked before anything started."""
    checked = of(events, "config_checked")
    if not checked:
        return [not_run(id, "the configs were not checked: the run stopped earlier") for id in ("C1", "C2", "C3")]
    return [Finding(check["id"], check["verdict"], check["reason"]) for check in checked[0]["checks"]]


def git_history(events: Events) -> Finding:
    """L4: the audit was made, whatever it found."""
    audited = of(events, "git_evidence")
    if not audited:
        return not_run("L4", "the history was not audited: the run stopped earlier")
    return Finding("L4", audited[-1]["verdict"], audited[-1]["reason"], audited[-1].get("json"))


def profile_numbers(id: str, settings: Settings) -> Finding:
    """P3 or P4: the profile's parameters are the ones that the source states."""
    problems = []
    for stage, expected in SOURCE_NUMBERS[id].items():
        config, plan = settings.stages[stage], settings.plan(stage)
        found = (
            config.batch_size_per_gpu,
            config.gradient_accumulation_steps,
            config.learning_rate,
            config.log_interval,
            plan.target_updates,
            plan.chunk if expected[5] is not None else None,
        )
        if found != expected:
            problems.append(f"{stage} of profile {settings.profile.name} has {found}, the source states {expected}")
    return finding(id, problems, f"profile {settings.profile.name} holds the source's numbers for the three stages")
