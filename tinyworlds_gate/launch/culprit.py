"""Name the rank that failed first and what happened to it; the other ranks only lost their peer (pure)."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from tinyworlds_gate.launch.cause import (
    OUT_OF_MEMORY,
    WorkerEnd,
    closed_by_torchrun,
    lost_its_peer,
    shows_lost_peers,
    waited_too_long,
    worker_ends,
)
from tinyworlds_gate.launch.raised import raised_in
from tinyworlds_gate.launch.rank_errors import RankError, first_line, sentence_of

_ENDED_BY_NCCL = re.compile(r"Rank (\d+)\] Watchdog caught collective operation timeout")


@dataclass(frozen=True)
class RanksAtEnd:
    """How the ranks of a launch ended that ended by itself.

    A rank that raises after a peer closed its connection, that waited too long for a peer, that a communication thread
    aborts or that torchrun closes did not fail by itself.
    """

    ends: Mapping[int, WorkerEnd]
    """Rank → its entry in torchrun's summary."""
    closed: frozenset[int]
    """PIDs that torchrun closed."""
    errors: Mapping[int, RankError]
    """Rank → the exception that ended it."""
    victims: frozenset[int]
    """Ranks that only lost their peer or waited for it."""
    failed: frozenset[int]
    """Ranks that failed by themselves."""
    seen: Mapping[int, int]
    """Rank → PID, of the workers that the harness saw."""
    peers_lost: bool
    """Whether any rank reported that it lost its peer."""

    @property
    def exceptions(self) -> str | None:
        """The tracebacks of the ranks that failed by themselves; None if one of them left none."""
        texts = [self.errors[rank].traceback if rank in self.errors else "" for rank in sorted(self.failed)]
        return "\n".join(texts) if texts and all(texts) else None


def ranks_at_end(log_text: str, errors: Mapping[int, RankError], seen: Mapping[int, int]) -> RanksAtEnd:
    """Sort the ranks of a launch by torchrun's summary in its log and by their exceptions."""
    ends = {end.rank: end for end in worker_ends(log_text) if end.rank is not None}
    closed, peers_lost = closed_by_torchrun(log_text), shows_lost_peers(log_text)
    victims = {rank for rank, error in errors.items() if lost_its_peer(error.text)}
    victims |= {int(rank) for rank in _ENDED_BY_NCCL.findall(log_text)}
    failed = {rank for rank, end in ends.items() if end.exit_code != 0 and not _ended_by_torchrun(end, closed)}
    failed |= set(errors)  # torchrun may close a rank that already failed by itself
    failed -= victims
    aborted = {rank for rank in failed - set(errors) if ends[rank].exit_code == -signal.SIGABRT}
    left = {rank for rank, pid in seen.items() if rank not in failed | victims and pid not in closed}
    if peers_lost and (failed - aborted or left):  # by a thread of gloo or NCCL
        failed, victims = failed - aborted, victims | aborted
    errors = {**errors, **_unmarked_exceptions(log_text, ends, failed - set(errors), errors)}
    return RanksAtEnd(ends, frozenset(closed), errors, frozenset(victims), frozenset(failed), seen, peers_lost)


def _unmarked_exceptions(
    log_text: str, ends: Mapping[int, WorkerEnd], unexplained: set[int], known: Mapping[int, RankError]
) -> dict[int, RankError]:
    """Give ranks that exited with code 1, as after an exception, the only one of the log that has no rank."""
    if not unexplained or any(ends[rank].exit_code != 1 for rank in unexplained):
        return {}
    said = [first_line(f"{one.type}: {one.message}" if one.message else one.type) for one in raised_in(log_text)]
    left = [text for text in said if not lost_its_peer(text) and text not in {error.text for error in known.values()}]
    return dict.fromkeys(unexplained, RankError(left[0])) if len(left) == 1 else {}


def _ended_by_torchrun(end: WorkerEnd, closed: set[int]) -> bool:
    return end.exit_code == -signal.SIGTERM and end.pid in closed


def culprit_of(ranks: RanksAtEnd, cause: str) -> str | None:
    """Return `rank 1 was ended by SIGKILL`, or None if the evidence does not show who failed first.

    ``cause``: the cause of the launch (``cause.py``).
    """
    own = {rank: _what_happened(rank, ranks, cause) for rank in sorted(ranks.failed)}
    if not own:
        return _who_is_missing(ranks)
    if len(own) == 1:
        ((rank, said),) = own.items()
        return f"rank {rank} {said}"
    if ranks.peers_lost and any(rank not in ranks.errors for rank in own):
        return None  # some of them may only have lost their peer
    if len(set(own.values())) == 1:
        return f"every rank {next(iter(own.values()))}" if set(own) >= set(ranks.seen) else None
    return "; ".join(f"rank {rank} {said}" for rank, said in own.items()) + "; which was first is not known"


def _what_happened(rank: int, ranks: RanksAtEnd, cause: str) -> str:
    if (error := ranks.errors.get(rank)) is not None:
        return sentence_of(error.text)  # whatever ended it while it shut down
    end = ranks.ends[rank]
    if end.exit_code >= 0:
        return f"exited with code {end.exit_code}"
    try:
        name = signal.Signals(-end.exit_code).name
    except ValueError:
        name = f"signal {-end.exit_code}"
    by_kernel = cause == OUT_OF_MEMORY and end.exit_code == -signal.SIGKILL
    return f"was ended by {name}" + (" by the kernel, for its memory" if by_kernel else "")


def _who_is_missing(ranks: RanksAtEnd) -> str | None:
    """The only rank that lost no peer, if all others did."""
    missing = [rank for rank in ranks.seen if rank not in ranks.victims]
    if len(missing) != 1 or not ranks.victims:
        return None
    rank = missing[0]
    told = next((one for one in sorted(ranks.victims) if one in ranks.errors), None)
    error = "" if told is None else ranks.errors[told].text
    if rank not in ranks.ends and ranks.seen[rank] not in ranks.closed:
        said = "left with exit code 0 before its peers"
    elif told is None or waited_too_long(error):
        said = "did not come to a collective in which its peers waited"
    else:
        said = "closed its connections first, and how it ended is not known"
    return f"rank {rank} {said}" + ("" if told is None else f"; rank {told} then raised {error}")
