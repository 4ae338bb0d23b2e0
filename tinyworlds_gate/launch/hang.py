"""Which rank keeps a hanging launch from its next step, from the state and the stack of every rank (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tinyworlds_gate.launch.processes.python_stack import Frame, Stack

_WAITS_FOR_PEERS = re.compile(r"(^|/)torch/(distributed/|nn/parallel/distributed\.py)")
_WAITS_FOR_DEVICE = re.compile(r"(^|/)torch/(cuda|xpu|accelerator)/")
_BACKWARD = re.compile(r"(^|/)torch/autograd/")
_TORCH = re.compile(r"(^|/)torch/")
_LIBRARY = re.compile(r"(^|/)(lib/python3\.\d+|site-packages|dist-packages)/|^<frozen ")
_WRAPPERS = ("wrapper", "inner", "_fn", "<lambda>")
_BUSY = 0.5


@dataclass(frozen=True)
class RankState:
    """One rank of a launch that makes no step."""

    rank: int
    pid: int
    alive: bool
    running: float
    """Share of the samples in which its main thread ran or was ready to run."""
    stack: Stack | None
    """Python functions of its main thread, the innermost first; None if they cannot be read."""
    gpu_busy: bool | None = None
    """Whether its GPU computed; None without a GPU, or if unknown."""

    @property
    def in_collective(self) -> bool:
        """Whether it waits for other ranks: in torch's collectives, or in a backward pass that does not compute."""
        file = self.stack[0].file if self.stack else ""
        return bool(_WAITS_FOR_PEERS.search(file) or (_BACKWARD.search(file) and self.running < _BUSY))

    @property
    def waits(self) -> bool:
        """Whether it waits for other ranks or for its device."""
        file = self.stack[0].file if self.stack else ""
        return self.in_collective or bool(_WAITS_FOR_DEVICE.search(file))

    @property
    def call(self) -> str:
        """The collective or the function in which it waits: the outermost of torch's innermost functions."""
        inner: list[Frame] = []
        for frame in self.stack or ():
            if not _TORCH.search(frame.file):
                break
            inner.append(frame)
        names = [frame.name for frame in inner if frame.name not in _WRAPPERS]
        return names[-1] if names else "a call of torch"

    @property
    def doing(self) -> str:
        """`sleeps in load_clip in data/clips.py`: the innermost function outside of libraries."""
        verb = "computes" if self.running >= _BUSY else "sleeps"
        if not self.stack:
            return verb
        frame = next((frame for frame in self.stack if not _LIBRARY.search(frame.file)), self.stack[0])
        return f"{verb} in {frame.name} in {'/'.join(frame.file.split('/')[-2:])}"


def who_hangs(states: Sequence[RankState], *, all_ranks: bool = True) -> str | None:
    """Return `rank 1 sleeps in f in a/b.py, and rank 0 waits`; None if the evidence shows neither rank nor reason.

    ``all_ranks``: there are no ranks on other machines, for which these could wait.
    """
    gone = [state for state in states if not state.alive]
    if len(gone) == 1 and len(states) > 1:
        return f"rank {gone[0].rank} left with exit code 0 before its peers"
    if gone or not states:
        return None
    if any(not state.stack for state in states):
        own = _busy_without_stacks(states)
    else:
        own = [state for state in states if not state.waits]
        if not own:
            return _mismatch(states) if all_ranks else None
    if len(own) > 1:
        own = _idle_among(own)
    if len(own) == 1:
        others = [str(one.rank) for one in states if one is not own[0]]
        waiting = f", and rank {', '.join(others)} waits" if others else ""
        return f"rank {own[0].rank} {own[0].doing}{waiting}"
    return f"every rank {own[0].doing}" if len(own) == len(states) and len({one.doing for one in own}) == 1 else None


def _busy_without_stacks(states: Sequence[RankState]) -> list[RankState]:
    """On CPUs, a rank that waits for others is idle; on GPUs it may spin."""
    busy = [state for state in states if state.running >= _BUSY and state.gpu_busy is None]
    return busy if len(busy) == 1 and len(states) > 1 else []


def _idle_among(states: Sequence[RankState]) -> list[RankState]:
    """Of several ranks outside collectives, the one without GPU work if all others have some: those only spin."""
    idle = [state for state in states if state.gpu_busy is False]
    if len(idle) == 1 and all(state.gpu_busy for state in states if state is not idle[0]):
        return idle
    return list(states)


def _mismatch(states: Sequence[RankState]) -> str | None:
    calls = {state.rank: state.call for state in states if state.in_collective}
    if len(calls) < len(states) or len(set(calls.values())) < 2:
        return None
    listed = ", ".join(f"rank {rank} in {call}" for rank, call in sorted(calls.items()))
    return f"the ranks wait for each other in different calls: {listed}"
