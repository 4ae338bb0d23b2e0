"""The raw measures of a set of clips, against rollouts that the test makes itself.

pytest tests/unit/reference/rollout/test_measure.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import SMALL, frames, world_models
from tinyworlds_gate.reference.rollout import measure
from tinyworlds_gate.reference.rollout.clip_set import ClipSet
from tinyworlds_gate.reference.rollout.generated_frames import NO_CODE
from tinyworlds_gate.reference.rollout.measure import MeasureSettings, as_bytes, measure_clips, steps_on
from tinyworlds_gate.reference.rollout.rollout import actions_from_codes, inferred_actions, rollout, step_windows
from tinyworlds_gate.reference.rollout.steps import EagerSteps, GraphedSteps, Step

CPU = torch.device("cpu")
SETTINGS = MeasureSettings(generation_steps=2, decode_steps=2, batch_size=2, seed=5)
CLIPS = 3


def clip_set(context: int = 2, length: int = 6) -> ClipSet:
    clips = frames(CLIPS, length)
    return ClipSet(
        frames_BTCHW=clips,
        starts=np.array([4, 40, 80]),
        episodes=np.array([0, 2, 5]),
        context=context,
        digest="d" * 64,
        mean_frame_CHW=clips.mean(dim=(0, 1)),
        data_path=Path("data/x.h5"),
        data_sha256="ab",
        stride=1,
    )


def column(raw: dict[str, Any], key: str) -> Tensor:
    return torch.tensor([clip[key] for clip in raw["clips"]])


def mse(predicted: Tensor, true: Tensor) -> Tensor:
    """Return `[B, S]` on frames in [0, 1]."""
    return ((predicted - true) / 2).square().mean(dim=(2, 3, 4))


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("horizon", [1, 2])
def test_random_actions_are_one_code_per_transition_of_the_clip_drawn_from_the_seed(horizon: int) -> None:
    models, clips = world_models(), clip_set()
    settings = replace(SETTINGS, prediction_horizon=horizon)
    new = settings.new_frames
    assert new == 2 * horizon
    raw = measure_clips(models, clips, settings, CPU).raw
    generator = torch.Generator().manual_seed(settings.seed)
    codes = torch.randint(SMALL.n_actions, (CLIPS, clips.context + new - 1), generator=generator)
    shared: dict[str, Any] = {"context": 2, "generation_steps": 2, "prediction_horizon": horizon, "decode_steps": 2}
    windows = step_windows(2, 2, horizon)
    true = clips.frames_BTCHW[:, 2 : 2 + new]
    random = rollout(
        models, clips.frames_BTCHW, actions=actions_from_codes(models, codes, windows), space="tokens", **shared
    )
    torch.testing.assert_close(column(raw, "random_action_mse"), mse(random.predicted_BTCHW, true))
    inferred = rollout(
        models,
        clips.frames_BTCHW,
        actions=inferred_actions(models, clips.frames_BTCHW, windows),
        space="tokens",
        **shared,
    )
    torch.testing.assert_close(column(raw, "rollout_mse"), mse(inferred.predicted_BTCHW, true))
    assert column(raw, "latent_actions").tolist() == inferred.action_indices.tolist()


@pytest.mark.requirement("G5")
def test_the_baselines_and_the_reconstruction_are_those_of_the_frames() -> None:
    models, clips = world_models(), clip_set()
    raw = measure_clips(models, clips, SETTINGS, CPU).raw
    true = clips.frames_BTCHW[:, 2:4]
    torch.testing.assert_close(column(raw, "copy_last_mse"), mse(clips.frames_BTCHW[:, 1:2].expand_as(true), true))
    torch.testing.assert_close(column(raw, "mean_frame_mse"), mse(clips.mean_frame_CHW.expand_as(true), true))
    seen = clips.frames_BTCHW[:, :3]
    rebuilt = models.tokenizer.decode(models.tokenizer.encode(seen)).clamp(-1, 1)
    torch.testing.assert_close(column(raw, "tokenizer_recon_mse"), mse(rebuilt, seen).mean(dim=1).detach())
    assert sum(raw["token_counts"]) == CLIPS * 3 * SMALL.patches
    assert sum(raw["generated_token_counts"]) == CLIPS * 2 * SMALL.patches
    assert len(raw["token_counts"]) == len(raw["generated_token_counts"]) == SMALL.vocabulary


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("forced", [False, True])
def test_both_kinds_of_errors_are_measured_whichever_is_judged(forced: bool) -> None:
    models, clips = world_models(), clip_set()
    raw = measure_clips(models, clips, replace(SETTINGS, teacher_forced=forced), CPU).raw
    shared: dict[str, Any] = {"context": 2, "generation_steps": 2, "decode_steps": 2, "space": "tokens"}
    for key, choice in (("strict_mse", False), ("teacher_forced_mse", True)):
        made = rollout(models, clips.frames_BTCHW, teacher_forced=choice, **shared)
        torch.testing.assert_close(column(raw, key), mse(made.predicted_BTCHW, clips.frames_BTCHW[:, 2:4]))
    assert torch.equal(column(raw, "rollout_mse"), column(raw, "teacher_forced_mse" if forced else "strict_mse"))
    assert not torch.equal(column(raw, "strict_mse"), column(raw, "teacher_forced_mse"))


def test_the_defaults_of_the_settings_are_those_of_a_strict_greedy_rollout() -> None:
    expected = MeasureSettings(3, 1, 16, 0.0, False, "tokens", None, "likeliest", 16, 0)
    assert MeasureSettings(generation_steps=3) == expected


def test_steps_on_a_gpu_are_graphs_that_choose_tokens_as_the_settings_do() -> None:
    models = world_models()
    assert isinstance(steps_on(models, SETTINGS, torch.device("cuda")), GraphedSteps)
    eager = steps_on(models, replace(SETTINGS, token_choice="mean"), CPU)
    assert isinstance(eager, EagerSteps)
    known, actions = models.tokenizer.encode(frames(length=2)), torch.ones(2, 2, 2)
    found = eager.take(known, actions, 1, 2, 0.0, None).latents_BTPL[:, 2]
    assert not torch.equal(found, models.tokenizer.quantizer.nearest_level(found))


def test_values_that_are_not_finite_are_counted_and_marked_and_drawn_black(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(EagerSteps):
        def take(self, *arguments: Any, **named: Any) -> Step:
            step = super().take(*arguments, **named)
            step.decoded_BHCHW[0, 0, 0, 0, 9] = torch.nan
            return step

    monkeypatch.setattr(measure, "steps_on", lambda models, settings, device: Broken(models))
    found = measure_clips(world_models(), clip_set(), SETTINGS, CPU)
    assert found.raw["non_finite_values"] == 4, "two batches of two steps"
    assert found.generated.non_finite is not None
    bits = np.unpackbits(found.generated.non_finite, axis=-1)
    assert np.argwhere(bits).tolist() == [[0, 0, 9], [0, 1, 9], [2, 0, 9], [2, 1, 9]]
    assert (found.generated.predicted[0, :, 0, 9, 0] == 0).all()


def test_frames_become_bytes_by_rounding() -> None:
    values = torch.tensor([-1.5, -1.0, -0.991, 0.0, 0.99, 1.0, torch.nan])
    found = as_bytes(values.expand(1, 1, 3, 1, 7).clone())
    assert found.shape == (1, 1, 1, 7, 3)
    assert found[0, 0, 0, :, 0].tolist() == [0, 0, 1, 128, 254, 255, 0]


def test_the_raw_measures_name_what_was_run() -> None:
    settings = replace(SETTINGS, temperature=0.5, teacher_forced=True, token_choice="likeliest")
    raw = measure_clips(world_models(), clip_set(), settings, CPU).raw
    assert [(clip["start"], clip["episode"]) for clip in raw["clips"]] == [(4, 0), (40, 2), (80, 5)]
    expected = {
        "schema": 5,
        "context": 2,
        "generation_steps": 2,
        "prediction_horizon": 1,
        "decode_steps": 2,
        "temperature": 0.5,
        "teacher_forced": True,
        "rollout": "tokens",
        "memory_window": 2,
        "token_choice": "likeliest",
        "n_actions": SMALL.n_actions,
        "non_finite_values": 0,
        "seed": 5,
        "device": "cpu",
        "stride": 1,
    }
    assert {key: raw[key] for key in expected} == expected


def test_a_memory_window_is_named_and_used() -> None:
    models, clips = world_models(), clip_set()
    plain, grown = (measure_clips(models, clips, replace(SETTINGS, memory=at), CPU).raw for at in (None, 3))
    assert (plain["memory_window"], grown["memory_window"]) == (2, 3)
    first, second = column(plain, "rollout_mse"), column(grown, "rollout_mse")
    torch.testing.assert_close(first[:, 0], second[:, 0])
    assert not torch.allclose(first[:, 1], second[:, 1])


def test_progress_is_reported_before_each_step_of_the_first_rollout_of_each_batch() -> None:
    seen: list[tuple[int, int, int]] = []
    measure_clips(world_models(), clip_set(), SETTINGS, CPU, lambda *at: seen.append(at))
    assert seen == [(0, 1, 2), (1, 1, 2), (0, 2, 2), (1, 2, 2)]


@pytest.mark.requirement("G5")
def test_the_generated_frames_are_those_measured_and_the_codes_those_followed() -> None:
    models = world_models()
    found = measure_clips(models, clip_set(), replace(SETTINGS, memory=3), CPU)
    generated = found.generated
    assert generated.random is not None
    assert generated.codes is not None
    assert generated.predicted.shape == generated.random.shape == (CLIPS, 2, 16, 16, 3)
    followed = inferred_actions(models, clip_set().frames_BTCHW, step_windows(2, 2, 1, 3))
    first, second = (models.latent_actions.action_indices(one).numpy() for one in followed)
    assert np.array_equal(generated.codes[:, 0], np.pad(first, ((0, 0), (0, 1)), constant_values=NO_CODE))
    assert np.array_equal(generated.codes[:, 1], second)
    true = (clip_set().frames_BTCHW[:, 2:4].permute(0, 1, 3, 4, 2) + 1) / 2
    shown = torch.from_numpy(generated.predicted).float() / 255
    again = (shown - true).square().mean(dim=(2, 3, 4))
    torch.testing.assert_close(again, column(found.raw, "rollout_mse"), atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ["episodes", "starts"])
def test_clips_without_their_episode_or_start_are_refused_and_not_left_out(name: str) -> None:
    clips = clip_set()
    short = replace(clips, **{name: getattr(clips, name)[:2]}, frames_BTCHW=clips.frames_BTCHW)
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is (shorter|longer) than argument 1"):
        measure_clips(world_models(), short, SETTINGS, CPU)
