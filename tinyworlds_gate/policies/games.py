"""The games whose policies can be ranked."""

from __future__ import annotations

from tinyworlds_gate.policies.pong import PONG
from tinyworlds_gate.policies.scripted import PolicyGame
from tinyworlds_gate.policies.take_cover import TAKE_COVER


def policy_games() -> dict[str, PolicyGame]:
    """Return the games by the name that their frames files record."""
    return {game.name: game for game in (PONG, TAKE_COVER)}
