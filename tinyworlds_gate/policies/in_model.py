"""Policies in a model: they see the frames that it generates, and each of their actions becomes a code.

Axes: C policies, B starts, T frames.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyworlds_gate.horizon.driven import Driven
from tinyworlds_gate.policies.scripted import PolicyGame
from tinyworlds_gate.reference.rollout.errors_by_step import in_batches


def model_returns(
    driven: Driven,
    game: PolicyGame,
    context_BPHWC: np.ndarray,
    code_of_action: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    say: Callable[[str], None] = lambda _: None,
) -> np.ndarray:
    """Return the return that is read from generated frames, float64 [C, B].

    Args:
        driven: the model.
        game: with policies and reader.
        context_BPHWC: true frames before each start, uint8.
        code_of_action: int [A], the code of each action.
        steps: of a policy.
        batch_size: clips at once.
        say: called with a line for each policy.
    """
    table = np.empty((len(game.policies), len(context_BPHWC)))
    for number, (name, policy) in enumerate(game.policies.items()):
        say(f"policy {number + 1} of {len(game.policies)} in the model: {name}")
        for batch in in_batches(len(context_BPHWC), batch_size):
            context = context_BPHWC[batch]
            driven.reset(context)
            frames = [context[:, -1]]
            for step in range(steps):
                seen = np.stack(frames[-2:] if len(frames) > 1 else frames * 2, axis=1)
                actions = [policy(one, step) for one in seen]
                frames.append(driven.step(code_of_action[actions]))
            table[number, batch] = [game.read_return(one) for one in np.stack(frames, axis=1)]
    return table
