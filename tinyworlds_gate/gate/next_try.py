"""What follows an inference process that ended for a reason which says nothing of the model (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from tinyworlds_gate.launch.cause import KILLED, OUT_OF_MEMORY


@dataclass(frozen=True)
class NextTry:
    """The same attempt once more."""

    batch_size: int
    """Clips that are rolled out at once."""
    kills: int
    """How often somebody has ended the process so far."""
    reason: str


def next_try(cause: str, batch_size: int, kills: int, max_kills: int) -> NextTry | None:
    """Half the batch after running out of memory, the same batch after a signal from outside; None: no further try.

    Fewer clips at once are the same rollouts in smaller portions. Every sequence of causes ends: the batch has a floor
    of 1, and ``max_kills`` signals are answered.
    """
    if cause == OUT_OF_MEMORY and batch_size > 1:
        half = batch_size // 2
        return NextTry(half, kills, f"it ran out of memory and is run again with batch_size {batch_size} → {half}")
    if cause == KILLED and kills < max_kills:
        return NextTry(batch_size, kills + 1, "it was ended from outside and is run again")
    return None
