"""MaskGIT decoding: new frames from a handful of parallel passes, the most confident tokens first.

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

STEEPNESS = 5.0  # few tokens in the first passes, most of them in the last
LEAST_SHARE = 16  # every pass reveals at least a sixteenth


def reveal_counts(total: int, decode_steps: int) -> list[int]:
    """Returns how many of `total` tokens each pass reveals; they sum to `total` and none is zero.

    After pass m at least ceil(total * expm1(5 m / K) / expm1(5)) are known, all of them after the last
    (Chang et al. 2022, with the exponential schedule of tinyworlds.md §1).
    """
    counts: list[int] = []
    known = 0
    for step in range(decode_steps):
        if step == decode_steps - 1:
            target = total
        else:
            target = math.ceil(total * math.expm1(STEEPNESS * step / decode_steps) / math.expm1(STEEPNESS))
        count = min(total - known, max(target - known, total // LEAST_SHARE, 1))
        if count == 0:
            break
        counts.append(count)
        known += count
    return counts


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
    """Appends `horizon` frames to context latents `[B, T, P, L]` and returns all `[B, T+H, P, L]`.

    Conditioning is `[B, T+H-1, A]` or None. Temperature 0 takes the likeliest token; above 0 tokens are
    sampled with the generator, while the order stays that of the largest probability. The schedule is known
    beforehand and the context's keys and values are computed once, so nothing waits for the device in the
    loop. `choose` and `reveal` may be given compiled. Raises ConfigError for impossible settings.
    """
    choose, reveal = choose or choose_tokens, reveal or reveal_most_confident
    _check(context_latents, horizon, conditioning, decode_steps, temperature)
    B, T, P, L = context_latents.shape
    before, during = None, None
    if conditioning is not None:
        before = conditioning[:, : T - 1]
        during = dynamics.transformer.modulations(conditioning[:, T - 1 :], horizon)
    past = dynamics.remember(context_latents, before)
    latents = context_latents.new_zeros(B, horizon, P, L)
    hidden = torch.ones(B, horizon * P, dtype=torch.bool, device=latents.device)
    for count in reveal_counts(horizon * P, decode_steps):
        logits, _ = dynamics.extend(latents, during, hidden.view(B, horizon, P), past)
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
    """Writes the ``count`` likeliest hidden tokens into the latents; equal ones go by place, on every device alike.

    `hidden`, `tokens` and `confidence` are `[B, HP]`; the tokens may be latents `[B, HP, L]`. Returns the latents and
    what is still hidden.
    """
    # A stable sort, since many confidences round to 1.
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
    """As `reveal_most_confident`, without a sort: a place's rank is the number of places before it.

    All pairs are compared, which a compiler makes one small kernel of.
    """
    score = confidence.masked_fill(~hidden, -1.0)
    place = torch.arange(score.shape[1], device=score.device)
    mine, other = score[:, :, None], score[:, None, :]
    before = (other > mine) | ((other == mine) & (place[None, None, :] < place[None, :, None]))
    chosen = before.sum(dim=2) < count
    return write_tokens(latents_BHPL, chosen, tokens, quantizer), hidden & ~chosen


def write_tokens(latents_BHPL: Tensor, chosen: Tensor, tokens: Tensor, quantizer: FiniteScalarQuantizer) -> Tensor:
    """Returns the latents with those of the chosen tokens (both `[B, HP]`) in their places."""
    proposed = tokens if tokens.is_floating_point() else quantizer.latents_from_indices(tokens)
    proposed = proposed.view_as(latents_BHPL).to(latents_BHPL.dtype)
    return torch.where(chosen.view(latents_BHPL.shape[:-1])[..., None], proposed, latents_BHPL)


def choose_tokens(logits: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Returns a token per position and the largest probability there, both without the vocabulary axis."""
    logits = logits.float()
    if temperature > 0:
        logits = logits / temperature
    confidence, tokens = logits.softmax(dim=-1).max(dim=-1)
    if temperature > 0:
        device = generator.device if generator is not None else logits.device
        noise = torch.empty(logits.shape, device=device).exponential_(generator=generator).to(logits.device)
        tokens = (logits - noise.log()).argmax(dim=-1)  # Gumbel-max: a draw from the softmax
    return tokens, confidence


def choice_of(token_choice: TokenChoice, quantizer: FiniteScalarQuantizer) -> Choose | None:
    """The choice of this name, for `maskgit_decode`; None is its own, the likeliest token.

    Where several futures are possible, the likeliest token commits to one of them. Whoever wants a small squared error
    answers with what lies between them: the token whose latent is nearest to the predicted mean, or that mean itself,
    which is then fed back as it is. Temperature is not used.
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
