"""Constructors of the defects, one for each way in, and the expected reasons that several defects share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import yaml

from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.weight_changes import Change, changed, swapped

Verdict = Literal["FAIL", "INVALID"]

TOKENIZER, ACTIONS, DYNAMICS = "video_tokenizer", "latent_actions", "dynamics"

WORSE = "the model predicts worse than no motion at all"
NO_SKILL = "must be above 0"
TOO_FAR = "is above the limit 0.03: the generated frames are too far from the true ones"
NO_CONTROL = "random actions cost .* the actions hardly steer what the model predicts"
NOT_CLIPS = "clips were measured instead of the 64 held-out clips"
NOT_ERRORS = "what it states is not the error of these frames"
NOT_STRICT = "of the generated values are others than these weights generate without the true future"
NOT_INFERRED = "of the action codes are others than these weights infer from the true frames"
BY_CHANCE = "of the generated values change from one rollout to the next"
SCALED = "its frames were scaled, cut or mixed up before they were compared"
LINEAGE = "dynamics_step_799 was trained on a .* with SHA-256 .*, but .* has"
OTHER_WEIGHTS = "the weights of dynamics that were measured are not those that this run chose"
NOT_FINITE = "were no finite number before they were clamped"
NO_IMAGE = "does not decode as an image"
NO_PICTURE = "no new inference_results_gt_vs_pred"
NO_ERROR = "no line 'Mean Squared Error"
EXIT_1 = "ended with exit code 1"
OTHER_FRAMES = "another digest"
OTHER_VERDICT = "another verdict"
SOURCES = {"other": "another run", "earlier": "an earlier step"}


def weights(
    id: str, what: str, check: str, expected_reason: str, stage: str, change: Change, verdict: Verdict = "FAIL"
) -> Defect:
    return Defect(id, what, "weights", verdict, check, expected_reason, project=changed(stage, change))


def swap(stage: str, source: str) -> Defect:
    id, what = f"{stage.replace('_', '-')}-of-{source}", f"the {stage} checkpoint of {SOURCES[source]} in place of"
    return Defect(id, f"{what} this run's", "weights", "INVALID", "C4", LINEAGE, project=swapped(stage, source))


def rollout(
    id: str, what: str, verdict: Verdict, check: str, expected_reason: str, *, everywhere: bool | None = None
) -> Defect:
    """Return a defect of the rollout; one that is to FAIL stands for a bad model, which the probe runs too."""
    everywhere = verdict == "FAIL" if everywhere is None else everywhere
    return Defect(id, what, "rollout", verdict, check, expected_reason, in_child=id, everywhere=everywhere)


def data(id: str, what: str, check: str, expected_reason: str) -> Defect:
    return Defect(id, what, "data", "INVALID", check, expected_reason, in_child=id)


def child(id: str, what: str, verdict: Verdict, check: str, expected_reason: str) -> Defect:
    return Defect(id, what, "child", verdict, check, expected_reason, in_child=id)


def stated(id: str, what: str, expected_reason: str) -> Defect:
    return child(id, what, "INVALID", "G5.settings", expected_reason)


def after(id: str, what: str, check: str, expected_reason: str, afterwards: Callable[[Path], None]) -> Defect:
    return Defect(id, what, "afterwards", "INVALID", check, expected_reason, afterwards=afterwards)


def setting(file: str, **changes: object) -> Callable[[Path], None]:
    """Return a function that changes values in a settings file of the scene; a mapping changes those of its section."""

    def change(root: Path) -> None:
        path = root / "settings" / f"{file}.yaml"
        content = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            content[key] = content[key] | value if isinstance(value, dict) else value
        path.write_text(yaml.safe_dump(content), encoding="utf-8")

    return change
