"""Rollouts: inputs and actions of each step, baselines and refused settings."""

from __future__ import annotations

import math
from inspect import signature
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import SMALL, frames, sizes, world_models
from tinyworlds_gate.errors import CheckpointError, ConfigError
from tinyworlds_gate.reference.models.fsq import FiniteScalarQuantizer
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.maskgit import maskgit_decode, token_chooser
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.rollout.rollout import (
    Space,
    actions_from_codes,
    copy_last,
    inferred_actions,
    rollout,
    step_windows,
)
from tinyworlds_gate.reference.rollout.steps import EagerSteps, Step
from tinyworlds_gate.reference.rollout.world_models import WorldModels, load_world_models

STAGES = ("video_tokenizer", "latent_actions", "dynamics")
DEFAULTS = {"prediction_horizon": 1, "decode_steps": 16, "temperature": 0.0, "teacher_forced": False, "memory": None}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("horizon", [1, 2])
def test_only_generated_frames_come_back_clamped(horizon: int) -> None:
    output = rollout(world_models(), frames(length=7), context=3, generation_steps=2, prediction_horizon=horizon)
    assert output.predicted_BTCHW.shape == (2, 2 * horizon, 3, 16, 16)
    assert output.action_indices.shape == (2, 2, 2 + horizon)
    assert output.predicted_BTCHW.abs().max() <= 1


@pytest.mark.requirement("G5")
def test_a_strict_rollout_never_sees_true_frames_after_the_context() -> None:
    models, clip = world_models(), frames(length=7)
    other = torch.cat((clip[:, :3], -clip[:, 3:]), dim=1)
    first, second = (
        rollout(models, x, context=3, generation_steps=4, actions="random", generator=seeded(0)) for x in (clip, other)
    )
    assert torch.equal(first.predicted_BTCHW, second.predicted_BTCHW)


@pytest.mark.requirement("G5")
def test_a_teacher_forced_step_is_a_strict_first_step_from_its_true_frames() -> None:
    models, clip = world_models(), frames(length=7)
    forced = rollout(models, clip, context=3, generation_steps=4, teacher_forced=True)
    for step in range(4):
        fresh = rollout(models, clip[:, step:], context=3, generation_steps=1)
        assert torch.equal(forced.predicted_BTCHW[:, step : step + 1], fresh.predicted_BTCHW)


def test_strict_and_teacher_forced_share_actions_and_the_first_frame_and_differ_after() -> None:
    models, clip = world_models(), frames(length=7)
    strict, forced = (
        rollout(models, clip, context=3, generation_steps=4, teacher_forced=choice) for choice in (False, True)
    )
    assert torch.equal(strict.action_indices, forced.action_indices)
    assert torch.equal(strict.predicted_BTCHW[:, 0], forced.predicted_BTCHW[:, 0])
    assert not torch.allclose(strict.predicted_BTCHW[:, 1:], forced.predicted_BTCHW[:, 1:], atol=1e-2)


def test_a_strict_second_step_continues_from_the_clamped_first() -> None:
    models, clip = world_models(), frames(length=5)
    output = rollout(models, clip, context=3, generation_steps=2, decode_steps=4)
    shown = torch.cat((clip[:, 1:3], output.predicted_BTCHW[:, :1]), dim=1)
    actions = models.latent_actions.encode(clip[:, 1:5])
    context = models.tokenizer.encode(shown)
    latents = maskgit_decode(models.dynamics, models.tokenizer.quantizer, context, 1, actions, 4)
    expected = models.tokenizer.decode(latents)[:, -1].clamp(-1, 1)
    assert torch.equal(output.predicted_BTCHW[:, 1], expected)


def test_in_token_space_a_second_step_continues_from_the_tokens_of_the_first() -> None:
    models, clip = world_models(), frames(length=5)
    output = rollout(models, clip, context=3, generation_steps=2, decode_steps=4, space="tokens")
    quantizer = models.tokenizer.quantizer
    first = quantizer.latents_from_indices(output.token_indices[:, :1])
    known = torch.cat((models.tokenizer.encode(clip[:, :3])[:, 1:], first), dim=1)
    latents = maskgit_decode(models.dynamics, quantizer, known, 1, models.latent_actions.encode(clip[:, 1:5]), 4)
    assert torch.equal(output.predicted_BTCHW[:, 1], models.tokenizer.decode(latents)[:, -1].clamp(-1, 1))
    assert torch.equal(output.token_indices[:, 1], quantizer.indices_from_latents(latents)[:, -1])


@pytest.mark.parametrize("horizon", [1, 2])
def test_both_spaces_begin_alike_and_part_where_generated_frames_are_tokenised_again(horizon: int) -> None:
    models, clip = world_models(), frames(length=9)
    settings: dict[str, Any] = {"context": 3, "generation_steps": 3, "prediction_horizon": horizon, "decode_steps": 4}
    pixels, tokens = (rollout(models, clip, space=space, **settings) for space in ("pixels", "tokens"))
    assert torch.equal(pixels.predicted_BTCHW[:, :horizon], tokens.predicted_BTCHW[:, :horizon])
    assert not torch.equal(pixels.predicted_BTCHW[:, horizon:], tokens.predicted_BTCHW[:, horizon:])
    assert torch.equal(pixels.action_indices, tokens.action_indices)


@pytest.mark.requirement("G5")
def test_teacher_forcing_is_the_same_in_both_spaces() -> None:
    models, clip = world_models(), frames(length=7)
    pixels, tokens = (
        rollout(models, clip, context=3, generation_steps=4, teacher_forced=True, space=space)
        for space in ("pixels", "tokens")
    )
    assert torch.equal(pixels.predicted_BTCHW, tokens.predicted_BTCHW)


@pytest.mark.requirement("G5")
def test_a_strict_rollout_in_token_space_never_sees_true_frames_after_the_context() -> None:
    models, clip = world_models(), frames(length=7)
    actions = inferred_actions(models, clip, step_windows(3, 4))
    other = torch.cat((clip[:, :3], -clip[:, 3:]), dim=1)
    first, second = (
        rollout(models, x, context=3, generation_steps=4, actions=actions, space="tokens") for x in (clip, other)
    )
    assert torch.equal(first.predicted_BTCHW, second.predicted_BTCHW)


def test_chosen_actions_stay_with_their_transition_and_reach_every_step_that_sees_it() -> None:
    models, codes = world_models(), torch.tensor([[0, 1, 2, 3, 0, 1]])

    def followed(windows: list[range]) -> list[list[int]]:
        return [
            models.latent_actions.action_indices(one)[0].tolist() for one in actions_from_codes(models, codes, windows)
        ]

    assert followed(step_windows(2, 5)) == [[0, 1], [1, 2], [2, 3], [3, 0], [0, 1]]
    assert followed(step_windows(1, 3, prediction_horizon=2)) == [[0, 1], [2, 3], [0, 1]]
    assert followed(step_windows(2, 5, memory=4)) == [[0, 1], [0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1]]


@pytest.mark.requirement("G5")
def test_a_memory_grows_with_the_generated_frames_and_keeps_the_first_ones_while_it_has_room() -> None:
    models, clip = world_models(), frames(length=8)
    for parameter in models.dynamics.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=seeded(3))
    seen: list[Tensor] = []

    class Watched(EagerSteps):
        def take(self, known_BTPL: Tensor, *arguments: Any, **named: Any) -> Step:
            seen.append(known_BTPL)
            return super().take(known_BTPL, *arguments, **named)

    grown = rollout(models, clip, context=3, generation_steps=5, memory=5, space="tokens", steps=Watched(models))
    assert [one.shape[1] for one in seen] == [3, 4, 5, 5, 5]
    assert torch.equal(seen[2][:, :4], seen[1])
    assert torch.equal(seen[3][:, :4], seen[2][:, 1:])
    assert grown.action_indices.shape == (2, 5, 3)
    plain = rollout(models, clip, context=3, generation_steps=5, space="tokens")
    assert torch.equal(grown.predicted_BTCHW[:, :1], plain.predicted_BTCHW[:, :1])
    assert not torch.equal(grown.token_indices, plain.token_indices)
    with pytest.raises(ConfigError, match="memory is 2 frames; it must be at least the context of 3 frames"):
        rollout(models, clip, context=3, generation_steps=5, memory=2)


def test_the_token_nearest_to_the_mean_lies_between_two_that_are_equally_likely() -> None:
    quantizer = FiniteScalarQuantizer(2, 3)
    logits = torch.full((1, 9), -30.0)
    low, high = (quantizer.indices_from_latents(torch.tensor(one)) for one in ([-1.0, 1.0], [1.0, 1.0]))
    logits[0, [low, high]] = 0.0
    nearest = token_chooser("nearest_mean", quantizer)
    assert nearest is not None
    tokens, confidence = nearest(logits, 0.0, None)
    assert quantizer.latents_from_indices(tokens).tolist() == [[0.0, 1.0]]
    torch.testing.assert_close(confidence, torch.tensor([0.5]))


def test_the_mean_is_fed_back_as_it_is_and_counts_as_the_token_nearest_to_it() -> None:
    models, clip = world_models(), frames(length=5)
    quantizer = models.tokenizer.quantizer
    mean = token_chooser("mean", quantizer)
    assert mean is not None
    seen: list[Tensor] = []

    class Watched(EagerSteps):
        def take(self, known_BTPL: Tensor, *rest: Any) -> Step:
            seen.append(known_BTPL)
            return super().take(known_BTPL, *rest)

    output = rollout(
        models,
        clip,
        context=3,
        generation_steps=2,
        decode_steps=2,
        space="tokens",
        memory=4,
        steps=Watched(models, mean),
    )
    fed_back = seen[1][:, 3]
    assert not torch.equal(fed_back, quantizer.nearest_level(fed_back))
    nearest = quantizer.indices_from_latents(quantizer.nearest_level(fed_back))
    assert torch.equal(output.token_indices[:, 0], nearest)


def test_the_tokens_of_the_generated_frames_come_back_in_either_space() -> None:
    models, clip = world_models(), frames(length=7)
    spaces: tuple[Space, ...] = ("pixels", "tokens")
    for space in spaces:
        output = rollout(models, clip, context=3, generation_steps=2, prediction_horizon=2, space=space)
        assert output.token_indices.shape == (2, 4, 16)
        assert output.token_indices.dtype == torch.int64


def test_what_is_alike_in_every_window_is_computed_once_and_comes_out_the_same() -> None:
    clip, windows = frames(length=6), step_windows(2, 4, memory=3)
    models = WorldModels(
        VideoTokenizer(SMALL, frame_by_frame=True).eval(),
        LatentActionModel(SMALL, frame_pairs=True).eval(),
        world_models().dynamics,
    )
    for actions, window in zip(inferred_actions(models, clip, windows), windows, strict=True):
        torch.testing.assert_close(actions, models.latent_actions.encode(clip[:, window.start : window.stop]))
    for tokenizer in (models.tokenizer, VideoTokenizer(SMALL).eval()):
        latents = tokenizer.encode(clip)
        torch.testing.assert_close(tokenizer.decode_last(latents, 2), tokenizer.decode(latents)[:, -2:])


def test_the_defaults_are_those_of_one_greedy_strict_step() -> None:
    defaults = {name: one.default for name, one in signature(rollout).parameters.items() if name in DEFAULTS}
    assert defaults == DEFAULTS
    assert [signature(one).parameters["prediction_horizon"].default for one in (step_windows, copy_last)] == [1, 1]


def test_actions_by_step_may_be_one_tensor_and_random_ones_need_no_generator() -> None:
    models, clip = world_models(), frames(length=6)
    by_step = inferred_actions(models, clip, step_windows(3, 3))
    ways: tuple[Any, ...] = (by_step, torch.stack(by_step, dim=1), "inferred")
    first, *others = (rollout(models, clip, context=3, generation_steps=3, actions=one) for one in ways)
    assert all(torch.equal(first.predicted_BTCHW, one.predicted_BTCHW) for one in others)
    drawn = rollout(models, clip[:, :3], context=3, generation_steps=3, actions="random", memory=3)
    assert drawn.action_indices.shape == (2, 3, 3)


@pytest.mark.parametrize("space", ["pixels", "tokens"])
@pytest.mark.parametrize("teacher_forced", [False, True])
def test_each_step_encodes_what_it_reads_and_no_more(
    monkeypatch: pytest.MonkeyPatch, space: Space, teacher_forced: bool
) -> None:
    models, clip = world_models(), frames(length=6)
    seen: list[Tensor] = []
    encode = VideoTokenizer.encode

    def noted(tokenizer: VideoTokenizer, shown: Tensor) -> Tensor:
        seen.append(shown)
        return encode(tokenizer, shown)

    monkeypatch.setattr(VideoTokenizer, "encode", noted)
    output = rollout(models, clip, context=3, generation_steps=3, space=space, memory=4, teacher_forced=teacher_forced)
    everything = clip if teacher_forced else torch.cat((clip[:, :3], output.predicted_BTCHW), dim=1)
    expected = [everything[:, first:last] for first, last in ((0, 3), (0, 4), (1, 5))]
    expected = expected if teacher_forced or space == "pixels" else expected[:1]
    assert len(seen) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(seen, expected, strict=True))


def test_values_that_are_not_finite_are_marked_before_they_are_clamped() -> None:
    class Broken(EagerSteps):
        def take(self, *arguments: Any, **named: Any) -> Step:
            step = super().take(*arguments, **named)
            step.decoded_BHCHW[0, 0, 1, 2, 3] = math.inf
            step.decoded_BHCHW[1, 0, 0, 0, 5] = math.nan
            return step

    models = world_models()
    output = rollout(models, frames(length=5), context=3, generation_steps=2, space="tokens", steps=Broken(models))
    found = output.non_finite_BTCHW.nonzero().tolist()
    assert found == [[0, 0, 1, 2, 3], [0, 1, 1, 2, 3], [1, 0, 0, 0, 5], [1, 1, 0, 0, 5]]
    assert output.predicted_BTCHW[0, 0, 1, 2, 3] == 1


def test_an_unknown_space_is_refused() -> None:
    with pytest.raises(ConfigError, match="rollout space is 'dreams'; it must be 'pixels' or 'tokens'"):
        rollout(world_models(), frames(), context=3, generation_steps=1, space=cast(Any, "dreams"))


def test_inferred_actions_are_those_of_the_true_frames_in_each_window() -> None:
    models, clip = world_models(), frames(length=6)
    codes = rollout(models, clip, context=3, generation_steps=3).action_indices
    for step in range(3):
        expected = models.latent_actions.action_indices(models.latent_actions.encode(clip[:, step : step + 4]))
        assert torch.equal(codes[:, step], expected)


@pytest.mark.requirement("G5")
def test_random_actions_are_drawn_once_per_transition_and_stay() -> None:
    output = rollout(
        world_models(), frames(batch=40, length=3), context=3, generation_steps=4, actions="random", generator=seeded(1)
    )
    codes = output.action_indices
    assert torch.equal(codes[:, 1:, :-1], codes[:, :-1, 1:])
    shares = torch.bincount(codes[:, 0].flatten(), minlength=SMALL.n_actions) / codes[:, 0].numel()
    assert shares.min() > 0.1


def test_random_actions_repeat_with_the_seed() -> None:
    models, clip = world_models(), frames(length=3)
    first, again, other = (
        rollout(models, clip, context=3, generation_steps=3, actions="random", generator=seeded(seed)).action_indices
        for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_clips_do_not_touch_one_another() -> None:
    models, clip = world_models(), frames(batch=3, length=5)
    together = rollout(models, clip, context=3, generation_steps=2).predicted_BTCHW
    alone = rollout(models, clip[1:2], context=3, generation_steps=2).predicted_BTCHW
    assert torch.allclose(together[1:2], alone, atol=1e-5)


@pytest.mark.requirement("G5")
def test_copy_last_repeats_the_last_context_frame() -> None:
    clip = frames(length=7)
    copied = copy_last(clip, context=3, generation_steps=2, prediction_horizon=2)
    assert copied.shape == (2, 4, 3, 16, 16)
    assert all(torch.equal(copied[:, step], clip[:, 2]) for step in range(4))
    assert torch.equal(copy_last(clip[:, :3], 3, 4), copied), "the future is not needed"
    with pytest.raises(ConfigError, match=r"The clips have 2 frames; 3 context frames need 3\.$"):
        copy_last(clip[:, :2], 3, 1)


def test_a_clip_too_short_for_its_actions_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"have 6 frames; 3 context frames and 4 generated ones .* need 7"):
        rollout(world_models(), frames(length=6), context=3, generation_steps=4)


@pytest.mark.parametrize("name", ["context", "generation_steps", "prediction_horizon"])
def test_a_setting_below_one_is_refused_by_name(name: str) -> None:
    settings: dict[str, Any] = {"context": 3, "generation_steps": 1, "prediction_horizon": 1, name: 0}
    with pytest.raises(ConfigError, match=f"{name} is 0; it must be at least 1"):
        rollout(world_models(), frames(length=7), **settings)


def test_an_unknown_way_of_acting_is_refused() -> None:
    with pytest.raises(ConfigError, match="actions is 'guessed'; it must be 'inferred' or 'random'"):
        rollout(world_models(), frames(), context=3, generation_steps=1, actions=cast(Any, "guessed"))


def state_dicts() -> dict[str, dict[str, torch.Tensor]]:
    models = world_models(seed=4)
    found = (models.tokenizer, models.latent_actions, models.dynamics)
    return {stage: dict(model.state_dict()) for stage, model in zip(STAGES, found, strict=True)}


def test_loaded_models_compute_what_the_saved_ones_did() -> None:
    loaded = load_world_models(dict.fromkeys(STAGES, SMALL), state_dicts())
    clip = frames(length=5)
    first, second = (rollout(m, clip, context=3, generation_steps=2) for m in (loaded, world_models(seed=4)))
    assert torch.equal(first.predicted_BTCHW, second.predicted_BTCHW)
    assert not loaded.latent_actions.training


@pytest.mark.requirement("C4")
def test_weights_of_other_sizes_are_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"weights of video_tokenizer .* of another shape \(.* instead of"):
        load_world_models(dict.fromkeys(STAGES, sizes(embed_dim=48)), state_dicts())


@pytest.mark.requirement("C4")
def test_weights_with_more_blocks_are_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"missing \(.*blocks\.2.*, …\)"):
        load_world_models(dict.fromkeys(STAGES, sizes(num_blocks=3)), state_dicts())


@pytest.mark.requirement("C4")
@pytest.mark.parametrize(
    ("stage", "key", "value"),
    [
        ("latent_actions", "n_actions", 8),
        ("video_tokenizer", "num_bins", 5),
        ("video_tokenizer", "patch_size", 8),
        ("video_tokenizer", "latent_dim", 4),
        ("video_tokenizer", "frame_size", 32),
        ("latent_actions", "frame_size", 32),
    ],
)
def test_models_that_do_not_fit_one_another_are_refused(stage: str, key: str, value: int) -> None:
    per_stage = {**dict.fromkeys(STAGES, SMALL), stage: sizes(**{key: value})}
    said = f"{key} is {getattr(SMALL, key)} in the .* checkpoint and {value} in the {stage} checkpoint; use checkpoints"
    with pytest.raises(CheckpointError, match=said):
        load_world_models(per_stage, state_dicts())
