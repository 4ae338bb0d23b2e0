"""Settings of the embedded reference alone: impossible ones are refused, with the fix, before anything starts."""

from __future__ import annotations

import re

import pytest

from tests.helpers.commands import REPOSITORY
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.config.stage_config import load_inference_config, load_stage_config
from tinyworlds_gate.errors import ConfigError

CONFIGS = REPOSITORY / "configs"


@pytest.mark.parametrize(
    ("stage", "arguments", "message"),
    [
        ("dynamics", ["own_context=0.5"], "own_context 0.5 needs masking: next_frame"),
        ("dynamics", ["context_noise=0.1"], "context_noise 0.1 needs masking: next_frame"),
        ("dynamics", ["pixel_loss=1.0"], "pixel_loss 1.0 needs masking: next_frame"),
        ("dynamics", ["masking=next_frame", "distributed.use_fsdp=true"], "`distributed.use_fsdp` is not supported"),
        ("latent_actions", ["antisymmetric_dims=2"], "antisymmetric_dims 2 needs frame_pairs: true"),
        ("latent_actions", ["frame_pairs=true", "antisymmetric_dims=4"], "8 actions have 3 dims"),
        ("latent_actions", ["translation_weight=0.1", "n_actions=4"], "five translations need three"),
        ("latent_actions", ["code_entropy_floor=2.2"], "the entropy of 8 codes is at most 2.08 nats"),
    ],
)
def test_an_impossible_setting_of_a_stage_is_refused(stage: str, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_stage_config(stage, CONFIGS / f"{stage}.yaml", CONFIGS / "training.yaml", arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["context_window=3", "memory_window=2"], "must be at least context_window (3 frames)"),
        (
            ["token_choice=nearest_mean", "temperature=0.5"],
            "the predicted mean cannot be sampled; set temperature to 0",
        ),
    ],
)
def test_an_impossible_setting_of_inference_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_inference_config(CONFIGS / "inference.yaml", arguments)


def test_the_defaults_are_those_of_tinyworlds() -> None:
    settings = resolve_settings("baseline", {}, project_root=CONFIGS.parent)
    stages, inference = settings.stages, settings.inference
    assert stages["video_tokenizer"].model_dump()["frame_by_frame"] is False
    actions = stages["latent_actions"].model_dump()
    assert (actions["frame_pairs"], actions["antisymmetric_dims"], actions["translation_weight"]) == (False, 0, 0.0)
    assert (actions["film_std"], actions["code_entropy_weight"]) == (1e-3, 0.0)
    dynamics = stages["dynamics"].model_dump()
    assert (dynamics["masking"], dynamics["own_context"], dynamics["context_noise"]) == ("clip", 0.0, 0.0)
    assert {one.model_dump()["adam_beta2"] for one in stages.values()} == {0.999}
    assert (inference.memory_window, inference.token_choice) == (None, "likeliest")
