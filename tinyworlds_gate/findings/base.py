"""A finding: the verdict on one requirement, with its reason and the path of its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinyworlds_gate.names import FAIL, INVALID, NOT_RUN, PASS

Events = Sequence[dict[str, Any]]

NO_OCCASION = "no occasion: "
"""How the reason of a NOT-RUN begins when the run had nothing that the requirement applies to."""

BY_CHOICE = "by choice"
"""How the reason of a NOT-RUN begins when an option of the person who ran this leaves the requirement out."""

NOT_SELECTED = "its test was not selected (a file, a node id or --lf was given)"
DESELECTED = "its test was deselected by the person who ran this"
ELSEWHERE = "its test was left out by something else than the command line"
UNREACHED = "the session ended before its test ran"
UNSTATED = "no test of this session reported it"
LEFT_OUT = (NOT_SELECTED, DESELECTED, ELSEWHERE, UNREACHED, UNSTATED, "its test was not among those asked for")
"""How the reason of a NOT-RUN begins when its test did not run; the last one is of older journals."""


@dataclass(frozen=True)
class Finding:
    """The verdict on one requirement; ``evidence`` is a path inside the project, or None."""

    id: str
    verdict: str
    reason: str
    evidence: str | None = None
    follows_from: str | None = None
    """The requirement whose failure caused this one, so that one cause is one failed test."""

    @property
    def is_broken(self) -> bool:
        """Whether the verdict is FAIL or INVALID."""
        return self.verdict in (FAIL, INVALID)

    @property
    def had_no_occasion(self) -> bool:
        """Whether nothing happened that the requirement applies to; such a NOT-RUN fails no run."""
        return self.verdict == NOT_RUN and self.reason.startswith(NO_OCCASION)

    @property
    def was_left_out(self) -> bool:
        """Whether a person left the requirement out, by an option or by deselecting its test; this fails no run."""
        return self.verdict == NOT_RUN and self.reason.startswith((BY_CHOICE, DESELECTED, NOT_SELECTED))

    @property
    def is_missing(self) -> bool:
        """Whether it was not run although nobody left it out and the run had an occasion for it."""
        return self.verdict == NOT_RUN and not (self.was_left_out or self.had_no_occasion)


class MissingFactError(Exception):
    """The journal was written by an older version and lacks a fact that a row needs; the message names it."""


def finding(id: str, problems: Iterable[str], pass_reason: str, evidence: str | None = None) -> Finding:
    """Return FAIL with all problems as the reason, or PASS with ``pass_reason`` when there are none."""
    found = [problem for problem in problems if problem]
    return Finding(id, FAIL, "; ".join(found), evidence) if found else Finding(id, PASS, pass_reason, evidence)


def not_run(id: str, reason: str) -> Finding:
    """Return NOT-RUN: nothing was evaluated for this requirement."""
    return Finding(id, NOT_RUN, reason)


def no_occasion(id: str, what: str) -> Finding:
    """Return NOT-RUN for a requirement that applies to nothing in this run; ``what`` says what did not happen."""
    return Finding(id, NOT_RUN, NO_OCCASION + what)


def by_choice(one: Finding, left_out: Mapping[str, str]) -> Finding:
    """Return the finding with the option (`left_out`: requirement → option) that makes it NOT-RUN as its reason."""
    if not one.is_missing or one.id not in left_out:
        return one
    return replace(one, reason=f"{BY_CHOICE} ({left_out[one.id]}): {one.reason}")


def follows(id: str, cause: Finding, reason: str | None = None, evidence: str | None = None) -> Finding:
    """Return a finding that is broken because another one is, with its cause named first."""
    return Finding(
        id, cause.verdict, f"follows from {cause.id}: {reason or cause.reason}", evidence, follows_from=cause.id
    )


def chunk_name(event: dict[str, Any]) -> str:
    """Return `chunk 2 (dynamics)`."""
    return f"chunk {event.get('chunk')} ({event.get('stage')})"


NOTHING_TRAINED = "no chunk was trained in this run"
