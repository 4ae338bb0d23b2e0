"""Constructors of the defects, one for each way in, and the expected reasons that several defects share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import yaml

from tinyworlds_gate.power.defect import Defect

Verdict = Literal["FAIL", "INVALID"]
Change = Callable[[Path], None]

TOKENIZER, ACTIONS, DYNAMICS = "video_tokenizer", "latent_actions", "dynamics"

WORSE = "the model predicts worse than no motion at all"
NO_SKILL = "must be above 0"
TOO_FAR = "is above the limit 0.03: the generated frames are too far from the true ones"
NO_CONTROL = "random actions cost .* the actions hardly steer what the model predicts"
NOT_CLIPS = "clips were measured instead of the 64 held-out clips"
NOT_ERRORS = "what it states is not the error of these frames"
NOT_STRICT = "of the generated values change when the true future is withheld"
BY_CHANCE = "of the generated values change from one rollout to the next"
SCALED = "its frames were scaled, cut or mixed up before they were compared"
LINEAGE = "dynamics_step_799 was trained on a .* with SHA-256 .*, but .* has"
OTHER_WEIGHTS = "the weights of dynamics that were measured are not those that this run chose"
NOT_FINITE = "were no finite number before they were clamped"
NO_IMAGE = "does not decode as an image"


def weights(
    id: str, what: str, verdict: Verdict, check: str, expected_reason: str, project: Change, quick: bool = False
) -> Defect:
    return Defect(id, what, "weights", verdict, check, expected_reason, project=project, quick=quick)


def rollout(id: str, what: str, verdict: Verdict, check: str, expected_reason: str, quick: bool = False) -> Defect:
    return Defect(id, what, "rollout", verdict, check, expected_reason, in_child=id, quick=quick)


def data(id: str, what: str, verdict: Verdict, check: str, expected_reason: str, quick: bool = False) -> Defect:
    return Defect(id, what, "data", verdict, check, expected_reason, in_child=id, quick=quick)


def child(id: str, what: str, verdict: Verdict, check: str, expected_reason: str, quick: bool = False) -> Defect:
    return Defect(id, what, "child", verdict, check, expected_reason, in_child=id, quick=quick)


def after(id: str, what: str, check: str, expected_reason: str, afterwards: Change) -> Defect:
    return Defect(id, what, "afterwards", "INVALID", check, expected_reason, afterwards=afterwards)


def setting(file: str, **changes: object) -> Change:
    """Return a function that changes values in a settings file of the scene."""

    def change(root: Path) -> None:
        path = root / "settings" / f"{file}.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes), encoding="utf-8")

    return change
