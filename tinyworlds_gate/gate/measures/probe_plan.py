"""Which clips a probe generates again, with which context and actions, drawn after the inference process ended (pure).

Axes: B clips, K chosen clips, P context frames, G steps, N transitions, H height, W width, C colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.information import shares, used_codes
from tinyworlds_gate.gate.measures.raw import MeasuresError
from tinyworlds_gate.gate.measures.recomputed_errors import SAME_LEVELS
from tinyworlds_gate.reference.rollout.generated_frames import NO_CODE, GeneratedFrames
from tinyworlds_gate.reference.rollout.probe_files import ProbeGroup

LEAST_CLIPS, MOST_CLIPS = 16, 64
"""Clips that are generated again: a batch of the inference process, within these bounds. Of sampled rollouts, as many
whole batches as hold the least."""
OTHER_SEED = 1_000_003
"""Difference between the seeds of a rollout and its repetition."""
PREDICTED, REPEATED, RANDOM, FOREIGN, PLAYED = "predicted", "repeated", "random", "foreign", "played"
"""Groups of a probe: as measured, with another seed, with random actions, with the context of another clip, and with
freely chosen codes, of those that are in use."""
MOST_PLAYED = 16
"""Clips that are generated with freely chosen codes."""


@dataclass(frozen=True)
class ProbePlan:
    """The groups to generate, the chosen clips, [clip, clip whose context it gets] pairs, and the clips ``played``."""

    groups: Mapping[str, ProbeGroup]
    clips: tuple[int, ...]
    foreign: tuple[tuple[int, int], ...]
    played: tuple[int, ...] = ()


def plan_probe(
    raw: Mapping[str, Any],
    generated: GeneratedFrames,
    context_BPHWC: np.ndarray,
    episodes_B: np.ndarray,
    settings: Mapping[str, Any],
    rng: np.random.Generator,
) -> ProbePlan:
    """Choose clips at random and build what is generated of them.

    Args:
        raw: the measures, whose codes must be those that the steps followed.
        generated: frames and codes of the inference process.
        context_BPHWC: the context frames, uint8, from the frames file.
        episodes_B: the episode of each clip, from the frames file.
        settings: fields of `MeasureSettings`, as requested.
        rng: of this choice alone.

    Raises:
        MeasuresError: the codes are missing, out of range, or not those that the measures state.
    """
    codes = checked_codes(raw, generated, context_BPHWC.shape[1], settings)
    count, batch_size, seed = len(codes), int(settings["batch_size"]), int(settings["seed"])
    sampled = float(settings["temperature"]) > 0
    if sampled:  # samples depend on the whole batch and on its seed
        rows = _whole_batches(count, batch_size, rng)
    else:
        size = min(count, max(LEAST_CLIPS, min(batch_size, MOST_CLIPS)))
        rows = np.sort(rng.choice(count, size, replace=False))
    own = context_BPHWC[rows]
    groups = {PREDICTED: ProbeGroup(own, codes[rows], rows, seed), RANDOM: ProbeGroup(own, None, rows, seed)}
    if not sampled:
        groups[REPEATED] = ProbeGroup(own, codes[rows], rows, seed + OTHER_SEED)
    pairs = foreign_pairs(context_BPHWC, episodes_B, rng)
    if pairs:
        clips, others = np.array(pairs).T
        groups[FOREIGN] = ProbeGroup(context_BPHWC[others], codes[clips], clips, seed)
    played = np.sort(_spread(episodes_B, rng)[:MOST_PLAYED])
    free = _freely_chosen(codes[played], codes, int(raw["n_actions"]), context_BPHWC.shape[1], settings, rng)
    groups[PLAYED] = ProbeGroup(context_BPHWC[played], free, played, seed)
    return ProbePlan(groups, tuple(rows.tolist()), pairs, tuple(played.tolist()))


def _whole_batches(count: int, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the clips of batches drawn at random until they are at least ``LEAST_CLIPS``, or all; ascending."""
    batches = [np.arange(first, min(first + batch_size, count)) for first in range(0, count, batch_size)]
    rows = np.empty(0, int)
    for number in rng.permutation(len(batches)):
        rows = np.concatenate([rows, batches[number]])
        if len(rows) >= LEAST_CLIPS:
            break
    return np.sort(rows)


def checked_codes(
    raw: Mapping[str, Any], generated: GeneratedFrames, context: int, settings: Mapping[str, Any]
) -> np.ndarray:
    """Return the codes ``[B, G, N]`` that the steps followed.

    Raises:
        MeasuresError: they are missing, out of range, or not those that the measures state.
    """
    codes, steps, followed = generated.codes, int(settings["generation_steps"]), _followed(context, settings)
    expected = (len(raw["clips"]), steps, max(followed))
    if codes is None:
        raise MeasuresError("the inference run left no action codes, so its frames cannot be generated again")
    if codes.shape != expected:
        raise MeasuresError(f"the inference run left action codes of shape {codes.shape} instead of {expected}")
    for step, length in enumerate(followed):
        used, rest = codes[:, step, :length], codes[:, step, length:]
        if (used < 0).any() or (used >= int(raw["n_actions"])).any() or (rest != NO_CODE).any():
            raise MeasuresError(f"the action codes of step {step + 1} are not from 0 to {int(raw['n_actions']) - 1}")
        for number, clip in enumerate(raw["clips"]):
            stated = clip["latent_actions"][step] if step < len(clip["latent_actions"]) else []
            if not stated or used[number, -len(stated) :].tolist() != list(stated):
                raise MeasuresError(
                    f"clip at {clip['start']}, step {step + 1}: the measures state the action codes {stated}, but the "
                    f"step followed {used[number, -max(1, len(stated)) :].tolist()}"
                )
    return codes


def foreign_pairs(
    context_BPHWC: np.ndarray, episodes_B: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[int, int], ...]:
    """Return up to 64 pairs of a clip and one of another episode with another context, spread over the episodes."""
    chosen = _spread(episodes_B, rng)[:MOST_CLIPS]
    chosen = chosen[np.argsort(episodes_B[chosen], kind="stable")]
    # Sorted by episode, a clip further on by the size of the largest episode lies in another one.
    most = int(np.unique(episodes_B[chosen], return_counts=True)[1].max())
    pairs = zip(chosen.tolist(), np.roll(chosen, -most).tolist(), strict=True)
    return tuple(
        (clip, other)
        for clip, other in pairs
        if episodes_B[clip] != episodes_B[other] and _differ(context_BPHWC[clip], context_BPHWC[other])
    )


def _spread(episodes_B: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return all clips in an order in which each episode occurs once before one occurs twice, and so on."""
    order = rng.permutation(len(episodes_B))
    rank, seen = np.empty(len(order), int), dict[int, int]()
    for position, episode in enumerate(episodes_B[order].tolist()):
        rank[position] = seen[episode] = seen.get(episode, -1) + 1
    return order[np.argsort(rank, kind="stable")]


def _followed(context: int, settings: Mapping[str, Any]) -> list[int]:
    """Return how many transitions each step follows."""
    steps, horizon = int(settings["generation_steps"]), int(settings["prediction_horizon"])
    memory = int(settings["memory"] or context)
    return [min(context + step * horizon, memory) + horizon - 1 for step in range(steps)]


def _freely_chosen(
    codes_KGN: np.ndarray,
    all_BGN: np.ndarray,
    n_actions: int,
    context: int,
    settings: Mapping[str, Any],
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the codes of steps in which each transition into a generated frame has a random one of those in use."""
    followed, horizon = _followed(context, settings), int(settings["prediction_horizon"])
    into = [all_BGN[:, step, length - horizon : length].ravel() for step, length in enumerate(followed)]
    used = used_codes(shares(np.concatenate(into), n_actions))
    drawn_KN = rng.choice(used, (len(codes_KGN), context + len(followed) * horizon)).astype(codes_KGN.dtype)
    chosen_KGN = codes_KGN.copy()
    for step, length in enumerate(followed):
        last = context + (step + 1) * horizon - 2  # transition n leads from frame n to the next
        of_step = np.arange(last - length + 1, last + 1)
        free = of_step >= context - 1
        chosen_KGN[:, step, :length][:, free] = drawn_KN[:, of_step[free]]
    return chosen_KGN


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.abs(one.astype(np.int16) - other) > SAME_LEVELS).any())
