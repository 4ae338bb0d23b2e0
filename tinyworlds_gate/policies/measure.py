"""Measure how a model ranks scripted policies, against the true game.

Axes: C policies, B starts.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.measures.intervals import mean_interval
from tinyworlds_gate.horizon.action_codes import ActionCodes
from tinyworlds_gate.horizon.driven import Driven, DrivenModel
from tinyworlds_gate.horizon.measure import learned_codes
from tinyworlds_gate.play.true_game import recorded_game
from tinyworlds_gate.play.world import PlayWorld
from tinyworlds_gate.policies.games import policy_games
from tinyworlds_gate.policies.in_game import Start, TrueReturns, true_returns
from tinyworlds_gate.policies.in_model import model_returns
from tinyworlds_gate.policies.ranking import rank_policies, reliability
from tinyworlds_gate.policies.scripted import PolicyGame
from tinyworlds_gate.policies.sentences import sentences
from tinyworlds_gate.reference.data.game_table import GAMES

SCHEMA = 1


@dataclass(frozen=True)
class Returns:
    """Returns of each policy from each start, float64 [C, B]: read in the model, read in the game, its own score."""

    model: np.ndarray
    game: TrueReturns


def require_game(world: PlayWorld) -> PolicyGame:
    """Return the game of a world's frames.

    Raises:
        DataError: no policies are scripted for it, the frames skip some of the game's, or its emulator is missing.
    """
    recorded, games = recorded_game(world.data), policy_games()
    if recorded is None or recorded["name"] not in games:
        named = "frames of no game that runs here" if recorded is None else f"frames of {recorded['name']}"
        raise DataError(
            f"{world.data.path}: {named}; policies are scripted for {' and '.join(games)} "
            "(`tinyworlds-gate data make pong`)"
        )
    if world.data.stride != 1:
        raise DataError(
            f"{world.data.path} is read at stride {world.data.stride}, but a policy acts on every frame of the game; "
            "use --stride 1"
        )
    game = GAMES[str(recorded["name"])]
    if importlib.util.find_spec(game.package) is None:
        raise DataError(f"{game.name} needs the package {game.package}, which is not installed; fix: {game.install}")
    return games[game.name]


def measure_world(
    world: PlayWorld, *, starts: int, steps: int, batch_size: int, seed: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Play every policy in the model and in the true game, and return the record.

    Args:
        world: models and frames of a game with policies.
        starts: states to start from, at most; spread over the held-out episodes.
        steps: of a policy.
        batch_size: clips at once in the model.
        seed: of the bootstrap.
        say: called with a line of progress.

    Raises:
        ConfigError: the model generates several frames a step.
        DataError: no policies for this game, or its emulator cannot be used.
    """
    game = require_game(world)
    recorded = recorded_game(world.data)
    assert recorded is not None
    driven = DrivenModel(world.trained.models, world.settings, world.device)
    count = min(starts, len(world.starts))
    chosen = np.linspace(0, len(world.starts) - 1, count).round().astype(int).tolist()
    episodes = world.data.episode[world.starts[chosen]]
    contexts = np.stack([world.context_frames(one) for one in chosen])
    say(f"{len(game.policies)} policies from {count} states, {steps} steps each, in the true game …")
    begun = [
        Start(int(episode), tuple(int(one) for one in world.past_actions(clip)), context[-1])
        for clip, episode, context in zip(chosen, episodes, contexts, strict=True)
    ]
    true = true_returns(game, recorded, begun, shown_size=world.frame_size, steps=steps)
    codes = learned_codes(world)
    made = model_returns(driven, game, contexts, codes.codes, steps=steps, batch_size=batch_size, say=say)
    record = {
        "schema": SCHEMA,
        "model": world.title,
        "checkpoints": {stage: one.model_sha256 for stage, one in world.trained.references.items()},
        "frames": world.data.path.name,
        "held_out": world.held_out,
        "device": str(world.device),
        "context": world.context,
        "steps": steps,
        "seed": seed,
    }
    return record | compare_returns(game, Returns(made, true), episodes, codes, seed)


def measure_driven(
    driven: Driven,
    game: PolicyGame,
    contexts: np.ndarray,
    true: TrueReturns,
    episodes: np.ndarray,
    codes: ActionCodes,
    *,
    steps: int,
    seed: int,
) -> dict[str, Any]:
    """Return the record of any `Driven` in place of a model; arguments as for `model_returns`."""
    made = model_returns(driven, game, contexts, codes.codes, steps=steps, batch_size=len(contexts))
    return compare_returns(game, Returns(made, true), episodes, codes, seed)


def compare_returns(
    game: PolicyGame, returns: Returns, episodes: np.ndarray, codes: ActionCodes, seed: int
) -> dict[str, Any]:
    """Return what the returns of policies show, as plain data with its sentences."""
    ranking = rank_policies(returns.model, returns.game.score, episodes, seed)
    read = rank_policies(returns.game.read, returns.game.score, episodes, seed)
    rows = []
    for number, name in enumerate(game.policies):
        row: dict[str, Any] = {"policy": name}
        for key, table in (("model", returns.model), ("game", returns.game.score), ("read", returns.game.read)):
            low, high = mean_interval(table[number], episodes)
            known = bool(np.isfinite((low, high)).all())
            row[key] = float(table[number].mean())
            row[f"{key}_interval"] = [float(low), float(high)] if known else None
        rows.append(row)
    record: dict[str, Any] = {
        "game": game.name,
        "starts": int(returns.model.shape[1]),
        "episodes": len(np.unique(episodes)),
        "spearman": ranking.spearman,
        "spearman_interval": None if ranking.low is None else [ranking.low, ranking.high],
        "no_difference": ranking.no_difference,
        "reliability": reliability(returns.game.score, episodes, seed),
        "reader": {
            "meaning": game.read_meaning,
            "score": game.score_meaning,
            "equal": float((returns.game.read == returns.game.score).mean()),
            "spearman": read.spearman,
        },
        "policies": rows,
        "codes": codes.record(),
    }
    return record | {"sentences": sentences(record)}
