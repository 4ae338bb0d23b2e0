"""MaskGIT decoding: generate frames in a few parallel passes, the most confident tokens first (Chang et al. 2022).

Axes: B batch, T context frames, H new frames, P patches, L latent dims, A action dims, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tinyworlds_gate.config.schema import TokenChoice
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.dynamics import DynamicsModel
from tinyworlds_gate.reference.models.fsq import FiniteScalarQuantizer

Choose = Callable[[Tensor, float, torch.Generator | None], tuple[Tensor, Tensor]]
Reveal = Callable[[Tensor, Tensor, Tensor, Tensor, int, FiniteScalarQuantizer], tuple[Tensor, Tensor]]

STEEPNESS = 5.0  # of the exponential schedule: few tokens in the first passes, most in the last ones
LEAST_SHARE = 16  # every pass reveals at least 1/16 of the tokens


def reveal_counts(total: int, decode_steps: int) -> list[int]:
    """Return how many of `total` tokens each pass reveals; the counts are positive and sum to `total`.

    After pass m at least ceil(total * expm1(5 m / K) / expm1(5)) tokens are known, after the last pass all of them
    (docs/architecture.md). Decoding ends early when nothing is masked any more.
    """
    counts: list[int] = []
    known = 0
    for step in range(decode_steps):
        if step == decode_steps - 1:
            target = total
        else:
            target = math.ceil(total * math.expm1(STEEPNESS * step / decode_steps) / math.expm1(STEEPNESS))
        counts.append(min(total - known, max(target - known, total // LEAST_SHARE, 1)))
        known += counts[-1]
    return [count for count in counts if count]


@torch.no_grad()
def maskgit_decode(
    dynamics: DynamicsModel,
    quantizer: FiniteScalarQuantizer,
    context_latents: Tensor,
    horizon: int,
    conditioning: Tensor | None,
    decode_steps: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    *,
    choose: Choose | None = None,
    reveal: Reveal | None = None,
) -> Tensor:
    """Append `horizon` generated frames to context latents `[B, T, P, L]` and return all, `[B, T+H, P, L]`.

    The loop does not synchronise with the device: the schedule is fixed, and the keys and values of the context are
    computed once.

    Args:
        dynamics: the model that predicts the tokens.
        quantizer: the tokenizer's quantiser.
        context_latents: the frames to continue.
        horizon: number of frames to generate, H.
        conditioning: actions `[B, T+H-1, A]`, one per transition, or None.
        decode_steps: number of passes.
        temperature: 0 takes the most likely token; above 0 tokens are sampled, while the order of revealing still
            follows the largest probability.
        generator: source of the samples.
        choose: selects a token and its confidence from logits; default `choose_tokens`.
        reveal: writes the most confident tokens; default `reveal_most_confident`.

    Raises:
        ConfigError: a setting is out of range, or the number of actions does not match the frames.
    """
    choose, reveal = choose or choose_tokens, reveal or reveal_most_confident
    _check(context_latents, horizon, conditioning, decode_steps, temperature)
    B, T, P, L = context_latents.shape
    context_actions, modulations = None, None
    if conditioning is not None:
        context_actions = conditioning[:, : T - 1]
        modulations = dynamics.transformer.modulations(conditioning[:, T - 1 :], horizon)
    kv_cache = dynamics.prefill(context_latents, context_actions)
    latents = context_latents.new_zeros(B, horizon, P, L)
    hidden = torch.ones(B, horizon * P, dtype=torch.bool, device=latents.device)
    for count in reveal_counts(horizon * P, decode_steps):
        logits, _ = dynamics.extend(latents, modulations, hidden.view(B, horizon, P), kv_cache)
        tokens, confidence = choose(logits.flatten(1, 2), temperature, generator)  # [B, HP] each
        latents, hidden = reveal(latents, hidden, tokens, confidence, count, quantizer)
    return torch.cat((context_latents, latents), dim=1)


def reveal_most_confident(
    latents_BHPL: Tensor,
    hidden: Tensor,
    tokens: Tensor,
    confidence: Tensor,
    count: int,
    quantizer: FiniteScalarQuantizer,
) -> tuple[Tensor, Tensor]:
    """Write the ``count`` most confident hidden tokens into the latents; ties go to the lowest position.

    `hidden`, `tokens` and `confidence` are `[B, HP]`; `tokens` may also be latents `[B, HP, L]`. Returns the latents
    and the new `hidden`.
    """
    # Many confidences round to 1; a stable sort gives the same order on every device.
    ranked = confidence.masked_fill(~hidden, -1.0).sort(dim=1, descending=True, stable=True).indices
    chosen = torch.zeros_like(hidden).scatter(1, ranked[:, :count], True)
    return write_tokens(latents_BHPL, chosen, tokens, quantizer), hidden & ~chosen


def reveal_by_rank(
    latents_BHPL: Tensor,
    hidden: Tensor,
    tokens: Tensor,
    confidence: Tensor,
    count: int,
    quantizer: FiniteScalarQuantizer,
) -> tuple[Tensor, Tensor]:
    """Same result as `reveal_most_confident`, without a sort: a position's rank is the number of positions before it.

    It compares all pairs, which torch.compile fuses into one small kernel.
    """
    score = confidence.masked_fill(~hidden, -1.0)
    position = torch.arange(score.shape[1], device=score.device)
    own, other = score[:, :, None], score[:, None, :]
    before = (other > own) | ((other == own) & (position[None, None, :] < position[None, :, None]))
    chosen = before.sum(dim=2) < count
    return write_tokens(latents_BHPL, chosen, tokens, quantizer), hidden & ~chosen


def write_tokens(latents_BHPL: Tensor, chosen: Tensor, tokens: Tensor, quantizer: FiniteScalarQuantizer) -> Tensor:
    """Return the latents, replaced by those of ``tokens`` where ``chosen`` is True (both `[B, HP]`)."""
    proposed = tokens if tokens.is_floating_point() else quantizer.latents_from_indices(tokens)
    proposed = proposed.view_as(latents_BHPL).to(latents_BHPL.dtype)
    return torch.where(chosen.view(latents_BHPL.shape[:-1])[..., None], proposed, latents_BHPL)


def choose_tokens(logits: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Return a token and the largest probability per position, both without the vocabulary axis of the logits."""
    logits = logits.float()
    if temperature > 0:
        logits = logits / temperature
    confidence, tokens = logits.softmax(dim=-1).max(dim=-1)
    if temperature > 0:
        device = generator.device if generator is not None else logits.device
        noise = torch.empty(logits.shape, device=device).exponential_(generator=generator).to(logits.device)
        tokens = (logits - noise.log()).argmax(dim=-1)  # Gumbel-max trick: a sample from the softmax
    return tokens, confidence


def token_chooser(token_choice: TokenChoice, quantizer: FiniteScalarQuantizer) -> Choose | None:
    """Return the ``choose`` function of `maskgit_decode` for a ``token_choice`` setting; None is its default.

    `likeliest` commits to one of several possible futures. `nearest_mean` and `mean` minimise the squared error
    instead: the token whose latent is nearest to the expected latent, or the expected latent itself, unquantised.
    Neither uses the temperature.
    """
    if token_choice == "likeliest":
        return None

    def choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        mean = quantizer.expected_latents(logits)
        confidence = logits.float().softmax(dim=-1).amax(dim=-1)
        if token_choice == "mean":
            return mean, confidence
        return quantizer.indices_from_latents(quantizer.nearest_level(mean)), confidence

    return choose


def _check(context: Tensor, horizon: int, conditioning: Tensor | None, decode_steps: int, temperature: float) -> None:
    if horizon < 1:
        raise ConfigError(f"prediction_horizon is {horizon}; at least 1 frame must be predicted.")
    if decode_steps < 1:
        raise ConfigError(f"decode_steps is {decode_steps}; decoding needs at least 1 pass.")
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ConfigError(f"temperature is {temperature}; it must be 0 (the likeliest token) or a positive number.")
    if context.shape[1] < 1:
        raise ConfigError("The context holds 0 frames; prediction needs at least 1.")
    steps = context.shape[1] + horizon - 1
    if conditioning is not None and conditioning.shape[1] != steps:
        raise ConfigError(
            f"The conditioning has {conditioning.shape[1]} actions; {context.shape[1]} context frames and "
            f"{horizon} new ones need {steps}, one per transition."
        )
