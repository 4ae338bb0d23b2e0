"""MaskGIT decoding: schedule, unchanged context, sampling and refused settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import SMALL, frames, world_models
from tinyworlds_gate.config.schema import TokenChoice
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.fsq import FiniteScalarQuantizer
from tinyworlds_gate.reference.models.maskgit import (
    choose_tokens,
    maskgit_decode,
    reveal_by_rank,
    reveal_counts,
    reveal_most_confident,
    token_chooser,
)
from tinyworlds_gate.reference.rollout.world_models import WorldModels


def decoded(
    models: WorldModels, horizon: int = 1, decode_steps: int = 4, temperature: float = 0.0, seed: int = 0
) -> Tensor:
    context = models.tokenizer.encode(frames(length=3))
    actions = torch.ones(2, 2 + horizon, 2)
    return maskgit_decode(
        models.dynamics,
        models.tokenizer.quantizer,
        context,
        horizon,
        actions,
        decode_steps,
        temperature,
        torch.Generator().manual_seed(seed),
    )


@pytest.mark.parametrize("total", [1, 5, 16, 81, 1024])
@pytest.mark.parametrize("decode_steps", [1, 2, 8, 16, 40])
def test_the_schedule_reveals_every_token_once(total: int, decode_steps: int) -> None:
    counts = reveal_counts(total, decode_steps)
    assert sum(counts) == total
    assert min(counts) >= 1
    assert len(counts) <= decode_steps


def test_the_schedule_follows_the_exponential_with_a_floor_of_a_sixteenth() -> None:
    known, targets = 0, [math.ceil(640 * math.expm1(5 * m / 8) / math.expm1(5)) for m in range(8)]
    for count, target in zip(reveal_counts(640, 8)[:-1], targets, strict=False):
        known += count
        assert known == max(target, known - count + 40)


@pytest.mark.parametrize(
    ("total", "decode_steps", "counts"),
    [
        (1, 3, [1]),
        (5, 8, [1, 1, 1, 1, 1]),
        (5, 2, [1, 4]),
        (40, 4, [2, 2, 2, 34]),
        (100, 3, [6, 6, 88]),
        (100, 8, [6, 6, 6, 6, 6, 6, 6, 58]),
        (31, 8, [1, 1, 1, 1, 1, 1, 3, 22]),
    ],
)
def test_the_counts_of_small_frames(total: int, decode_steps: int, counts: list[int]) -> None:
    assert reveal_counts(total, decode_steps) == counts


@pytest.mark.parametrize("horizon", [1, 2])
def test_the_context_stays_as_it_was_and_every_new_token_is_a_level(horizon: int) -> None:
    models = world_models()
    latents = decoded(models, horizon)
    assert latents.shape == (2, 3 + horizon, SMALL.patches, SMALL.latent_dim)
    assert torch.equal(latents[:, :3], models.tokenizer.encode(frames(length=3)))
    quantizer = models.tokenizer.quantizer
    again = quantizer.latents_from_indices(quantizer.indices_from_latents(latents))
    assert torch.allclose(latents, again, atol=1e-6)


def test_one_pass_takes_the_likeliest_token_everywhere() -> None:
    models = world_models()
    context = models.tokenizer.encode(frames(length=3))
    hidden = torch.zeros(2, 4, SMALL.patches, dtype=torch.bool)
    hidden[:, 3] = True
    padded = torch.cat((context, torch.zeros_like(context[:, :1])), dim=1)
    likeliest = models.dynamics(padded, torch.ones(2, 3, 2), hidden)[:, 3].argmax(dim=-1)
    new = decoded(models, decode_steps=1)[:, 3]
    assert torch.equal(models.tokenizer.quantizer.indices_from_latents(new), likeliest)


def test_each_frame_follows_the_action_before_it() -> None:
    models, actions = world_models(seed=3), torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(1))
    context = models.tokenizer.encode(frames(length=2))
    hidden = torch.zeros(2, 4, SMALL.patches, dtype=torch.bool)
    hidden[:, 2:] = True
    padded = torch.cat((context, torch.zeros_like(context)), dim=1)
    likeliest = models.dynamics(padded, actions, hidden)[:, 2:].argmax(dim=-1)
    quantizer = models.tokenizer.quantizer
    found = maskgit_decode(models.dynamics, quantizer, context, 2, actions, 1)
    assert torch.equal(quantizer.indices_from_latents(found[:, 2:]), likeliest)


def test_tokens_are_chosen_and_revealed_by_the_given_functions() -> None:
    models = world_models()
    calls: list[tuple[Any, ...]] = []
    context = models.tokenizer.encode(frames(length=3))

    def choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        return torch.full(logits.shape[:2], 5), torch.zeros(logits.shape[:2])

    def reveal(latents: Tensor, hidden: Tensor, tokens: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        calls.append((tokens.unique().tolist(), hidden.sum().item(), rest[1]))
        return reveal_most_confident(latents, hidden, tokens, *rest)

    maskgit_decode(
        models.dynamics, models.tokenizer.quantizer, context, 1, torch.ones(2, 3, 2), 2, choose=choose, reveal=reveal
    )
    assert calls == [([5], 32, 1), ([5], 30, 15)]


def test_later_passes_see_what_earlier_ones_revealed() -> None:
    models = world_models(seed=2)
    assert not torch.equal(decoded(models, decode_steps=1), decoded(models, decode_steps=8))


def test_a_clip_decodes_alike_alone_and_in_a_batch() -> None:
    models = world_models()
    context, actions = models.tokenizer.encode(frames(batch=3, length=3)), torch.ones(3, 3, 2)
    together = maskgit_decode(models.dynamics, models.tokenizer.quantizer, context, 1, actions, 4)
    alone = maskgit_decode(models.dynamics, models.tokenizer.quantizer, context[1:2], 1, actions[1:2], 4)
    assert torch.equal(together[1:2], alone)


def test_temperature_0_ignores_the_generator() -> None:
    models = world_models()
    assert torch.equal(decoded(models, seed=0), decoded(models, seed=1))


def test_sampling_repeats_with_the_seed_and_varies_without() -> None:
    models = world_models()
    first, again, other = (decoded(models, temperature=1.0, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_samples_follow_the_softmax_at_the_temperature() -> None:
    models = world_models()
    torch.nn.init.zeros_(models.dynamics.output_mlp.weight)
    likelier = torch.zeros(SMALL.vocabulary)
    likelier[3] = 2 * math.log(10)  # at temperature 2 ten times as likely as each of the others
    models.dynamics.output_mlp.bias.data = likelier
    context = models.tokenizer.encode(frames(batch=64, length=1))
    latents = maskgit_decode(
        models.dynamics, models.tokenizer.quantizer, context, 1, None, 1, 2.0, torch.Generator().manual_seed(0)
    )
    tokens = models.tokenizer.quantizer.indices_from_latents(latents[:, 1])
    shares = torch.bincount(tokens.flatten(), minlength=SMALL.vocabulary) / tokens.numel()
    whole = SMALL.vocabulary - 1 + 10
    assert shares[3].item() == pytest.approx(10 / whole, abs=0.04)
    others = torch.cat((shares[:3], shares[4:]))
    assert others.max().item() < 5 / whole
    assert (others > 0).float().mean().item() > 0.9


def test_without_a_generator_samples_come_from_torchs_own_and_without_a_temperature_from_neither() -> None:
    logits = torch.zeros(2, 500, 4, dtype=torch.float64)
    logits[..., 1] = math.log(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        tokens, confidence = choose_tokens(logits, 1.0, None)
        other, _ = choose_tokens(logits, 1.0, None)
        torch.manual_seed(7)
        again, _ = choose_tokens(logits, 1.0, None)
        state = torch.get_rng_state()
        likeliest, _ = choose_tokens(logits, 0.0, None)
        seeded, _ = choose_tokens(logits, 1.0, torch.Generator().manual_seed(7))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(tokens, again)
    assert not torch.equal(tokens, other)
    assert torch.equal(tokens, seeded)
    assert (likeliest == 1).all()
    assert (tokens == 1).float().mean().item() == pytest.approx(0.5, abs=0.06)
    torch.testing.assert_close(confidence, torch.full((2, 500), 0.5))
    assert (tokens.shape, tokens.dtype) == ((2, 500), torch.int64)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_confidence_is_that_of_the_likeliest_token_at_the_temperature(temperature: float) -> None:
    logits = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1))
    _, confidence = choose_tokens(logits, temperature, torch.Generator().manual_seed(2))
    torch.testing.assert_close(confidence, (logits / temperature).softmax(dim=-1).amax(dim=-1))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("token_choice", ["nearest_mean", "mean"])
def test_a_mean_is_chosen_for_each_place_whatever_the_temperature(
    token_choice: TokenChoice, temperature: float
) -> None:
    quantizer = FiniteScalarQuantizer(2, 3)
    logits = 4 * torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(1))
    assert token_chooser("likeliest", quantizer) is None
    choose = token_chooser(token_choice, quantizer)
    assert choose is not None
    tokens, confidence = choose(logits, temperature, None)
    torch.testing.assert_close(confidence, logits.softmax(dim=2).amax(dim=2))
    mean = quantizer.expected_latents(logits)
    expected = mean if token_choice == "mean" else quantizer.indices_from_latents(quantizer.nearest_level(mean))
    assert torch.equal(tokens, expected)


def test_a_generator_draws_on_its_own_device_whatever_that_of_the_logits_is() -> None:
    logits = torch.zeros(2, 3, 4, device="meta")
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    tokens, _ = choose_tokens(logits, 1.0, generator)
    assert tokens.is_meta
    assert not torch.equal(generator.get_state(), before)


def test_decoding_without_actions_works() -> None:
    models = world_models()
    context = models.tokenizer.encode(frames(length=3))
    latents = maskgit_decode(models.dynamics, models.tokenizer.quantizer, context, 1, None, 4)
    assert latents.shape[1] == 4


@pytest.mark.parametrize(
    ("horizon", "steps", "decode_steps", "temperature", "message"),
    [
        (0, 2, 4, 0.0, "prediction_horizon is 0"),
        (1, 3, 0, 0.0, "decode_steps is 0"),
        (1, 3, 4, -0.5, "temperature is -0.5"),
        (1, 3, 4, math.nan, "temperature is nan"),
        (1, 2, 4, 0.0, "conditioning has 2 actions; 3 context frames and 1 new ones need 3"),
    ],
)
def test_impossible_settings_are_refused(
    horizon: int, steps: int, decode_steps: int, temperature: float, message: str
) -> None:
    models = world_models()
    context = models.tokenizer.encode(frames(length=3))
    with pytest.raises(ConfigError, match=message):
        maskgit_decode(
            models.dynamics,
            models.tokenizer.quantizer,
            context,
            horizon,
            torch.ones(9, steps, 7),
            decode_steps,
            temperature,
        )


def test_an_empty_context_is_refused() -> None:
    models = world_models()
    with pytest.raises(ConfigError, match="context holds 0 frames"):
        maskgit_decode(
            models.dynamics, models.tokenizer.quantizer, torch.zeros(1, 0, SMALL.patches, SMALL.latent_dim), 1, None, 4
        )


@pytest.mark.parametrize("count", [1, 7, 13, 15, 16, 17, 24])
def test_places_revealed_by_rank_are_those_of_the_stable_sort_ties_included(count: int) -> None:
    torch.manual_seed(0)
    quantizer = FiniteScalarQuantizer(3, 4)
    latents = torch.zeros(5, 2, 12, 3)
    hidden = torch.rand(5, 24) < 0.7
    confidence = (torch.rand(5, 24) * 4).round() / 4  # many equal ones
    tokens = torch.randint(64, (5, 24))
    sorted_latents, sorted_hidden = reveal_most_confident(latents, hidden, tokens, confidence, count, quantizer)
    ranked_latents, ranked_hidden = reveal_by_rank(latents, hidden, tokens, confidence, count, quantizer)
    assert torch.equal(sorted_hidden, ranked_hidden)
    assert torch.equal(sorted_latents, ranked_latents)
    assert (hidden & ~sorted_hidden).any()
