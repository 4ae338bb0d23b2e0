"""Measure long rollouts of held-out clips: errors and objects by step, the usable horizon, drift and the walk back.

Axes: B clips, T = P + S frames, P context frames, S steps, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.measures.baselines import EXACT_SHARE, LAST, NO_MODEL_NEEDED, TrainingFrames, baselines
from tinyworlds_gate.gate.measures.intervals import mean_interval
from tinyworlds_gate.horizon.action_codes import ActionCodes, action_codes
from tinyworlds_gate.horizon.crossing import Curve, best_reference, usable_horizon
from tinyworlds_gate.horizon.drift import drift
from tinyworlds_gate.horizon.driven import DrivenModel
from tinyworlds_gate.horizon.long_clips import LongClips, long_clips
from tinyworlds_gate.horizon.object_curves import object_curves, object_tables
from tinyworlds_gate.horizon.sentences import sentences
from tinyworlds_gate.horizon.walk import Walks, not_walked, walk_of
from tinyworlds_gate.play.observed import observe
from tinyworlds_gate.play.true_game import action_names
from tinyworlds_gate.play.world import PlayWorld
from tinyworlds_gate.reference.data.clips import gather_clips, to_model_range
from tinyworlds_gate.reference.rollout.errors_by_step import in_batches
from tinyworlds_gate.reference.rollout.measure import as_bytes, steps_on
from tinyworlds_gate.reference.rollout.rollout import rollout

SCHEMA = 1
FITTED_CLIPS = 64
"""Training clips that predictions without a model are fitted on, a quarter of G8's: they are five times as long."""
ALMOST = "a thousandth of the last frame's error"


@dataclass(frozen=True)
class LongRollouts:
    """The record as plain data, and the frames behind it, for the picture."""

    record: dict[str, Any]
    context: np.ndarray
    true: np.ndarray
    generated: np.ndarray
    walk: tuple[Walks, np.ndarray] | None


def measure_world(
    world: PlayWorld, *, steps: int, clips: int, batch_size: int, seed: int, say: Callable[[str], None] = lambda _: None
) -> LongRollouts:
    """Roll out held-out clips of a world and measure them.

    Args:
        world: models and frames; ``held_out_episodes`` are the episodes to measure.
        steps: wanted steps; fewer where the episodes are shorter.
        clips: rollouts, and walks, at most.
        batch_size: clips at once; changes speed and memory only, unless the rollout samples.
        seed: of the choice of clips.
        say: called with a line of progress.

    Raises:
        DataError: no held-out episode is long enough.
    """
    horizon = world.settings.prediction_horizon
    wanted = steps - steps % horizon or horizon
    chosen = long_clips(
        world.data.episode, world.held_out_episodes, context=world.context, steps=wanted, count=clips, seed=seed
    )
    taken = chosen.steps - chosen.steps % horizon
    if not taken:
        raise DataError(
            f"a step generates {horizon} frames, but the held-out episodes have only {chosen.steps} after "
            f"{world.context} context frames; make longer episodes"
        )
    frames = gather_clips(world.data.frames, chosen.starts, world.context + taken)
    context, true = frames[:, : world.context], frames[:, world.context :]
    say(f"{len(frames)} rollouts of {taken} steps …")
    generated = _generated(world, frames, taken // horizon, batch_size)
    training = None
    if world.held_out:
        training = TrainingFrames(world.data.path, world.train, world.data.stride, most_clips=FITTED_CLIPS)
    say("predictions without a model, objects and drift …")
    record = measure_frames(context, true, generated, chosen.episodes, training)
    codes = None
    say("the walk and its inverse …")
    walked: Any = None
    if world.data.actions is None:
        record["walk"] = not_walked("the frames file records no actions, so that no code stands for an action")
    elif horizon != 1:
        record["walk"] = not_walked(f"a step generates {horizon} frames, so that no action can be chosen for each")
    else:
        codes = learned_codes(world)
        driven = DrivenModel(world.trained.models, world.settings, world.device)
        record["walk"], walked = walk_of(world, driven, codes, clips)
    record = _about(world, chosen, taken, seed) | record | {"codes": None if codes is None else codes.record()}
    return LongRollouts(record | {"sentences": sentences(record)}, context, true, generated, walked)


def measure_frames(
    context: np.ndarray,
    true: np.ndarray,
    generated: np.ndarray,
    episodes: np.ndarray,
    training: TrainingFrames | None,
) -> dict[str, Any]:
    """Return errors, objects, horizons and drift by step of generated frames, whatever made them.

    Args:
        context: uint8 [B, P, H, W, 3].
        true: uint8 [B, S, H, W, 3].
        generated: uint8 [B, S, H, W, 3].
        episodes: int [B].
        training: where the predictions without a model learn from; None: only from the other clips.
    """
    model = errors_by_step(true, generated)
    found = baselines(context, true, episodes, training)
    references = {name: Curve.mean(table) for name, table in found.mse_BS.items() if name != NO_MODEL_NEEDED}
    least = {ALMOST: Curve.mean(EXACT_SHARE * found.mse_BS[LAST])}
    best, names = best_reference(references, higher=False)
    floor = least[ALMOST].at(np.ones((1, len(true))))[0]
    names = [ALMOST if limit > value else name for limit, value, name in zip(floor, best, names, strict=True)]
    judged = np.ones(true.shape[1], bool)
    # What is nearly exact counts as a thousandth of the last frame's error, as in G8.
    exact = {name: Curve(np.maximum(one.above, least[ALMOST].above), one.below) for name, one in references.items()}
    horizon = usable_horizon(Curve.mean(model), exact, episodes, higher=False, judged=judged)
    ends = [mean_interval(values, episodes) for values in model.T]
    tables = object_tables(context, true, generated)
    return {
        "error": {
            "mse": float(model.mean()),
            "by_step": model.mean(axis=0).tolist(),
            "low_by_step": [float(low) if np.isfinite(low) else None for low, _ in ends],
            "high_by_step": [float(high) if np.isfinite(high) else None for _, high in ends],
            "copy_last_by_step": found.mse_BS[LAST].mean(axis=0).tolist(),
            "strongest_by_step": np.maximum(best, floor).tolist(),
            "strongest": names,
            "fitted_on": found.note,
        },
        "horizon": horizon.as_dict(),
        "objects": object_curves(tables, episodes),
        "drift": drift(context, true, generated, episodes),
    }


def errors_by_step(true: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Return the mean squared error [B, S] of uint8 frames, in [0, 1]."""
    table = np.empty(true.shape[:2])
    for number, (one, other) in enumerate(zip(true, generated, strict=True)):
        difference = one.astype(np.int32) - other
        table[number] = np.square(difference).mean(axis=(1, 2, 3), dtype=np.float64) / 255.0**2
    return table


def learned_codes(world: PlayWorld) -> ActionCodes:
    """Return which code stands for each true action, from training clips."""
    model = world.trained.models.latent_actions
    codes, actions = observe(model, world.data, world.train, world.device)
    return action_codes(codes, actions, action_names(world.data), model.sizes.n_actions)


@torch.no_grad()
def _generated(world: PlayWorld, frames_BTHWC: np.ndarray, steps: int, batch_size: int) -> np.ndarray:
    """Return the strict rollouts with the actions inferred from the true frames, uint8 [B, S, H, W, 3]."""
    models, settings = world.trained.models, world.settings
    taken = steps_on(models, settings, world.device)
    parts = []
    for number, batch in enumerate(in_batches(len(frames_BTHWC), batch_size)):
        output = rollout(
            models,
            to_model_range(torch.from_numpy(frames_BTHWC[batch])).to(world.device),
            context=world.context,
            generation_steps=steps,
            prediction_horizon=settings.prediction_horizon,
            decode_steps=settings.decode_steps,
            temperature=settings.temperature,
            space=settings.space,
            memory=settings.memory,
            generator=torch.Generator(device=world.device).manual_seed(settings.seed + number),
            steps=taken,
        )
        parts.append(as_bytes(output.predicted_BTCHW))
    return np.concatenate(parts)


def _about(world: PlayWorld, chosen: LongClips, steps: int, seed: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "model": world.title,
        "checkpoints": {stage: one.model_sha256 for stage, one in world.trained.references.items()},
        "frames": world.data.path.name,
        "held_out": world.held_out,
        "clips": len(chosen.starts),
        "episodes": len(np.unique(chosen.episodes)),
        "context": world.context,
        "steps": steps,
        "note": chosen.note,
        "seed": seed,
        "device": str(world.device),
    }
