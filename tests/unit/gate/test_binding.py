"""A verdict is bound to weights, clips, settings, frames, code and versions: another of any turns it INVALID (pure)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.commands import REPOSITORY
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.schema import InferenceConfig
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.binding import OLDER, Binding, bind, changed_evidence, changed_since
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.names import ATTEMPTS, FINAL, STAGES
from tinyworlds_gate.run.source_state import SourceState

WEIGHTS = {stage: str(number) * 64 for number, stage in enumerate(STAGES, start=1)}
PACKAGES = ("python", "tinyworlds_gate", "torch", "numpy", "h5py", "safetensors", "torchmetrics", "pillow")
VERSIONS = dict.fromkeys(PACKAGES, "1.0")
EVIDENCE = {"m.json": "6" * 64, "m_frames.h5": "7" * 64, "p.png": None}


def settings() -> Settings:
    return resolve_settings("longrun", {}, project_root=REPOSITORY)


def bound(found: Settings | None = None, draw: int = ATTEMPTS, **changes: Any) -> Binding:
    source = SourceState("c" * 40, False, {**VERSIONS, "wandb": "9", **changes.pop("versions", {})}, "8" * 64)
    facts: dict[str, Any] = {"checkpoints": WEIGHTS, "clip_digest": "a" * 64, "dataset_sha256": "b" * 64}
    facts |= {"checkpoint_files": {"d/state.pt": "5" * 64}, "evidence": EVIDENCE, **changes}
    checkpoints = facts.pop("checkpoints")
    return bind(found or settings(), draw, checkpoints, source=facts.pop("source", source), **facts)


def journalled(binding: Binding) -> dict[str, Any]:
    """As it comes back from the journal."""
    event: dict[str, Any] = json.loads(json.dumps(binding.as_event()))
    return event


def with_inference(**changes: Any) -> Settings:
    found = settings()
    return replace(found, inference=found.inference.model_copy(update=changes))


def with_thresholds(**changes: Any) -> Settings:
    found = settings()
    thresholds = found.profile.thresholds.model_copy(update=changes)
    return replace(found, profile=found.profile.model_copy(update={"thresholds": thresholds}))


def with_training(**changes: Any) -> Settings:
    found = settings()
    return replace(found, training=found.training.model_copy(update=changes))


CHANGES: list[tuple[Binding, str]] = [
    *(
        (
            bound(checkpoints={**WEIGHTS, stage: "f" * 64}),
            f"the {stage} weights had SHA-256 {str(number) * 12}…, now {'f' * 12}…",
        )
        for number, stage in enumerate(STAGES, start=1)
    ),
    (bound(checkpoints={**WEIGHTS, "dynamics": None}), f"the dynamics weights had SHA-256 {'3' * 12}…, now none"),
    (bound(clip_digest="f" * 64), f"the clips had SHA-256 {'a' * 12}…, now {'f' * 12}…"),
    (bound(clip_digest=None), f"the clips had SHA-256 {'a' * 12}…, now none"),
    (bound(dataset_sha256="f" * 64), f"the frames file had SHA-256 {'b' * 12}…, now {'f' * 12}…"),
    (bound(draw=FINAL), "inference.clip_draw was 1 and is now 2"),
    (bound(with_inference(generation_steps=4)), "inference.generation_steps was 12 and is now 4"),
    (bound(with_inference(clips=64)), "inference.clips was 256 and is now 64"),
    (bound(with_inference(clip_seed=1)), "inference.clip_seed was 0 and is now 1"),
    (bound(with_inference(teacher_forced=True)), "inference.teacher_forced was False and is now True"),
    (bound(with_inference(temperature=1.0)), "inference.temperature was 0.0 and is now 1.0"),
    (bound(with_inference(rollout="pixels")), "inference.rollout was tokens and is now pixels"),
    (bound(with_inference(context_window=1)), "inference.context_window was 3 and is now 1"),
    (bound(with_thresholds(max_mse=0.05)), "thresholds.max_mse was 0.03 and is now 0.05"),
    (bound(with_thresholds(require_skill=False)), "thresholds.require_skill was True and is now False"),
    (bound(with_thresholds(min_delta_psnr_db=None)), "thresholds.min_delta_psnr_db was 0.5 and is now None"),
    (bound(with_training(split_seed=1)), "training.split_seed was 0 and is now 1"),
    (bound(with_training(embed_dim=8)), f"training.embed_dim was {settings().training.embed_dim} and is now 8"),
    (
        bound(source=SourceState("d" * 40, False, VERSIONS, "8" * 64)),
        f"the code was at commit {'c' * 12}… and is now at {'d' * 12}…",
    ),
    (
        bound(source=SourceState("c" * 40, True, VERSIONS, "8" * 64)),
        "the code was as committed and is now changed since its commit",
    ),
    (bound(evaluation_sha256="e" * 64), f"the evaluation set had SHA-256 none, now {'e' * 12}…"),
    *((bound(versions={name: "2.0"}), f"{name} was 1.0 and is now 2.0") for name in PACKAGES),
    (
        bound(source=SourceState("c" * 40, False, VERSIONS, "9" * 64)),
        f"the harness's code had SHA-256 {'8' * 12}…, now {'9' * 12}…",
    ),
    (bound(evidence={**EVIDENCE, "m.json": "9" * 64}), f"m.json had SHA-256 {'6' * 12}…, now {'9' * 12}…"),
    (bound(evidence={**EVIDENCE, "m.json": None}), f"m.json had SHA-256 {'6' * 12}…, now none"),
    (bound(evidence={**EVIDENCE, "p.png": "9" * 64}), f"p.png had SHA-256 none, now {'9' * 12}…"),
    (bound(checkpoint_files={"d/state.pt": "9" * 64}), f"d/state.pt had SHA-256 {'5' * 12}…, now {'9' * 12}…"),
    (bound(checkpoint_files={}), f"d/state.pt had SHA-256 {'5' * 12}…, now none"),
]


@pytest.mark.requirement("H3", "S5")
@pytest.mark.parametrize(("now", "said"), CHANGES, ids=[said[:50] for _, said in CHANGES])
def test_each_change_alone_ends_a_verdict_and_is_named(now: Binding, said: str) -> None:
    assert changed_since(journalled(bound()), now) == [said]


@pytest.mark.requirement("H3")
@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (True, False, "changed since its commit and is now as committed"),
        (False, True, "as committed and is now changed since its commit"),
        (True, None, "changed since its commit and is now in no git repository"),
        (None, False, "in no git repository and is now as committed"),
    ],
)
def test_code_that_was_changed_or_cleaned_ends_a_verdict(was: bool | None, now: bool | None, said: str) -> None:
    before, after = (bound(source=SourceState("c" * 40, dirty, VERSIONS)) for dirty in (was, now))
    assert changed_since(journalled(before), after) == [f"the code was {said}"]


INFERENCE: dict[str, Any] = {
    "dataset": "PONG",
    "fps": 30,
    "teacher_forced": True,
    "context_window": 1,
    "prediction_horizon": 2,
    "generation_steps": 4,
    "decode_steps": 3,
    "temperature": 0.5,
    "rollout": "pixels",
    "memory_window": 2,
    "token_choice": "mean",
    "tf32": False,
    "seed": 9,
    "clips": 64,
    "clip_seed": 1,
    "evaluation_file": "other.h5",
}
"""Every setting of inference that decides what is measured, with another value."""

UNBOUND = {
    *("data_path", "preload_ratio"),  # the frames are bound by their SHA-256
    *("use_latest_checkpoints", "video_tokenizer_path", "latent_actions_path", "dynamics_path"),  # and so the weights
    *("use_actions", "use_gt_actions", "use_interactive_mode", "sample_index"),  # the loop fixes them
    *("device", "batch_size", "measures_path"),
    *("clip_draw", "held_out_fraction", "split_seed"),  # taken from the attempt and from training
    "left_out_clips",  # the clips are bound by their digest
}


@pytest.mark.requirement("H3", "S5")
def test_every_setting_of_inference_is_bound_or_known_not_to_change_the_numbers() -> None:
    assert set(InferenceConfig.model_fields) == INFERENCE.keys() | UNBOUND
    was = journalled(bound())
    for key, value in INFERENCE.items():
        (told,) = changed_since(was, bound(with_inference(**{key: value})))
        assert told.startswith(f"inference.{key} was ")
        assert told.endswith(f" and is now {value}")
    for key in UNBOUND:
        assert changed_since(was, bound(with_inference(**{key: "another"}))) == []


SHARED = (
    *("patch_size", "context_length", "frame_size", "latent_dim", "num_bins", "n_actions"),
    *("embed_dim", "num_heads", "hidden_dim", "num_blocks"),
)


@pytest.mark.requirement("H3", "C1", "C2")
@pytest.mark.parametrize("key", [*SHARED, "held_out_fraction", "split_seed"])
def test_every_size_and_the_split_are_bound(key: str) -> None:
    (told,) = changed_since(journalled(bound()), bound(with_training(**{key: 77})))
    assert told == f"training.{key} was {getattr(settings().training, key)} and is now 77"


@pytest.mark.requirement("H3", "S5")
@pytest.mark.parametrize("name", GateThresholds.model_fields)
def test_every_threshold_of_the_gate_is_bound(name: str) -> None:
    (told,) = changed_since(journalled(bound()), bound(with_thresholds(**{name: "another"})))
    assert told.startswith(f"thresholds.{name} was ")


@pytest.mark.requirement("H3", "C2")
@pytest.mark.parametrize("stage", STAGES)
def test_a_backbone_of_its_own_is_bound(stage: str) -> None:
    own = replace(settings(), backbones={stage: {"embed_dim": 8}})
    assert changed_since(journalled(bound()), bound(own)) == [f"{stage}.embed_dim was not set and is now 8"]


@pytest.mark.requirement("H3", "H7")
def test_the_same_state_holds_through_the_journal() -> None:
    assert changed_since(journalled(bound()), bound()) == []
    nothing = bound(clip_digest=None, dataset_sha256=None, source=SourceState())
    assert changed_since(journalled(nothing), nothing) == []


def test_what_does_not_compute_the_verdict_does_not_end_it() -> None:
    assert changed_since(journalled(bound()), bound(versions={"wandb": "10", "pytest-html": "5"})) == []
    assert changed_since(journalled(bound()), bound(with_inference(batch_size=1, device="cpu"))) == []


DRIFT = ClipMetric("drift", repr, at_most=0.02, unit="dB")
SHOWN = ClipMetric("motion", repr)


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (
            [DRIFT],
            [SHOWN],
            "the condition G5.drift (at most 0.02 dB) is not defined any more: keep it in conftest.py, and name that "
            "file to `tinyworlds-gate verdict` with --conftest",
        ),
        ([], [DRIFT], "custom_conditions.drift was not set and is now at most 0.02 dB"),
        (
            [DRIFT],
            [ClipMetric("drift", repr, at_most=0.05)],
            "custom_conditions.drift was at most 0.02 dB and is now at most 0.05",
        ),
    ],
)
def test_a_condition_of_the_project_that_is_gone_new_or_has_another_limit_ends_a_verdict(
    was: list[ClipMetric], now: list[ClipMetric], said: str
) -> None:
    assert changed_since(journalled(bound(custom=was)), bound(custom=was)) == []
    assert changed_since(journalled(bound(custom=was)), bound(custom=now)) == [said]


def test_a_metric_that_is_only_shown_binds_nothing() -> None:
    assert bound(custom=[SHOWN]) == bound()


def test_settings_that_were_altered_in_the_journal_are_reported() -> None:
    raised = journalled(bound())
    raised["config"]["thresholds.max_mse"] = 0.05
    told = changed_since(raised, bound(with_thresholds(max_mse=0.05)))
    assert told == ["the journal's record of the settings was altered: their SHA-256 is another"]


def test_a_verdict_of_an_older_version_is_not_bound_to_files_and_code() -> None:
    old = journalled(bound())
    for name in ("harness_sha256", "evidence", "checkpoint_files"):
        del old[name]
    assert changed_since(old, bound()) == [OLDER]
    assert changed_evidence(old, EVIDENCE) == []


def test_changed_evidence_is_named_by_itself_too() -> None:
    now = {**EVIDENCE, "m.json": "9" * 64}
    assert changed_evidence(journalled(bound()), now) == [f"m.json had SHA-256 {'6' * 12}…, now {'9' * 12}…"]


def test_a_verdict_of_a_journal_without_a_binding_does_not_hold() -> None:
    (told,) = changed_since(None, bound())
    assert "does not say what this verdict is bound to" in told
