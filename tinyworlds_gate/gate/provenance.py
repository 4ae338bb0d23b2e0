"""Conditions on the training of the measured models: whose frames they have seen, and what earlier runs found.

Both are read from the journal of the run, at the attempt and when its verdict is judged again (pure).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.names import FAIL, INVALID, NOT_RUN, PASS
from tinyworlds_gate.run.journal import Event, last_event

UNSEEN, EARLIER = "G5.unseen", "G5.earlier"
MOST_TRIES = 2
"""Failures of the same weights with other inference settings, on other clips, that a pass may follow."""


def recorded_conditions(events: Sequence[Event], attempt: int, draw: int) -> tuple[Condition, ...]:
    """The conditions of one attempt; none of what journals of older versions do not have."""
    ready = last_event(list(events), "dataset_ready") or {}
    earlier = last_event(list(events), "earlier_verdicts", attempt=attempt, draw=draw)
    started = last_event(list(events), "run_started") or {}
    found = []
    if ready.get("provenance") is not None:
        found.append(_unseen(ready["provenance"], draw, longrun=started.get("kind") == "longrun"))
    if earlier is not None:
        found.append(_with_unread(_earlier(earlier), earlier, longrun=started.get("kind") == "longrun"))
    return tuple(found)


def unknown_text(unknown: Mapping[str, str], unchecked: str = "") -> str:
    """Why it is not known whether the clips were trained on."""
    stages = "; ".join(f"{stage} ({why})" for stage, why in unknown.items())
    parts = [f"the training frames of these models are not known: {stages}"] if stages else []
    return "; ".join([*parts, unchecked] if unchecked else parts)


def _unseen(provenance: Mapping[str, object], draw: int, *, longrun: bool) -> Condition:
    """No measured clip, or near copy of it, is in the training frames; the preparation left those out."""
    unknown, left_out = provenance["unknown"], provenance["left_out"]
    assert isinstance(unknown, Mapping)
    assert isinstance(left_out, Mapping)
    unchecked = str(provenance["unchecked"])
    if not unknown and not unchecked and not provenance["frames"]:
        unchecked = "no checkpoint was named before the run, so that its training frames are not known"
    if unknown or unchecked:
        return Condition(UNSEEN, INVALID if longrun else NOT_RUN, unknown_text(unknown, unchecked))
    files = provenance["files"]
    assert isinstance(files, Sequence)
    out = len(left_out.get(str(draw), ()))
    reason = (
        f"no measured clip, and no near copy of one, is in the {provenance['frames']} training frames of these models "
        f"({', '.join(map(str, files))})"
    )
    return Condition(UNSEEN, PASS, reason + (f"; {out} of the drawn clips left out" if out else ""))


def _with_unread(condition: Condition, event: Event, *, longrun: bool) -> Condition:
    """Name the runs of the project that say nothing any more; they make a pass of a long run INVALID."""
    unread = event.get("unread")
    if not unread or condition.verdict != PASS:
        return condition
    runs = ", ".join(f"results/{run}" for run in unread)
    reason = (
        f"{condition.reason}; the journal of {runs} cannot be read or was changed, so that what it says of these "
        "weights is not known. Restore it, or remove that run"
    )
    return Condition(condition.id, INVALID if longrun else PASS, reason)


def _earlier(event: Event) -> Condition:
    """These weights have not failed before, or only rarely, with other inference settings and on other clips."""
    failures = event["failures"]
    tries = [one for one in failures if one.get("turned")]
    if tries and len(tries) <= MOST_TRIES and all(one.get("elsewhere") for one in failures):
        where = "; ".join(f"{one['run']} ({one['attempt']}: {'; '.join(one['turned'])})" for one in tries)
        reason = f"the same weights failed with other inference settings on other clips in {where}; this is try"
        return Condition(EARLIER, PASS, f"{reason} {len(tries) + 1}, on clips that no earlier setting was chosen by")
    if not failures:
        reason = "no earlier run of this project failed these weights by the same rules"
        if event.get("gone"):
            reason += (
                f"; the weights that failed in {', '.join(event['gone'])} are gone and have no sketch in the journal: "
                "only their SHA-256 was compared"
            )
        return Condition(EARLIER, PASS, reason)
    unjudged = [one for one in failures if one.get("unjudged")]
    if unjudged:
        run = unjudged[-1]["run"]
        measured = f"the same weights were measured in {run} ({unjudged[-1]['attempt']})"
        reason = (
            f"{measured}, and that attempt has no verdict: the run was ended before it. Finish it with --resume-run "
            f"{run}, or train the model further"
        )
        if unjudged[-1].get("probe"):
            reason = (
                f"{measured} on other clips, and that attempt was not judged: {unjudged[-1]['probe']}. Measure the "
                "clips of that run (its `clip_seed` and draw), or train the model further"
            )
        return Condition(EARLIER, INVALID, reason)
    newest = failures[-1]
    where = f"{newest['run']} ({newest['attempt']})"
    if newest.get("claim"):
        reason = (
            f"the verdict on the same weights in {where} is INVALID by {newest['claim']}: {newest['sentence']} A claim "
            "that did not hold is not replaced by another attempt; train the model further"
        )
    elif newest.get("turned"):
        reason = (
            f"the same weights failed in {where} with other inference settings ({'; '.join(newest['turned'])}): "
            f"{newest['sentence']} This is try {len(tries) + 1}, and the best of several tries is a choice by their "
            f"result. Measure new settings on other clips (another `clip_seed`) after at most {MOST_TRIES} failures, "
            "or train the model further"
        )
    elif newest.get("touched"):
        reason = (
            f"the same weights, but for a touch, failed in {where} by the same rules: {newest['sentence']} Weights "
            "that hardly differ do not replace it; train the model further"
        )
    else:
        reason = (
            f"the same weights failed in {where} by the same rules, on other clips: {newest['sentence']} A pass on "
            "other clips does not replace it; train the model further"
        )
    return Condition(EARLIER, FAIL, reason)
