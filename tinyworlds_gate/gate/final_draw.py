"""The final verdict of a run that retried, as its journal tells it: is it there, is it what it must be (L8, H3)."""

from __future__ import annotations

from collections.abc import Sequence

from tinyworlds_gate.names import ATTEMPTS, FINAL, PASS
from tinyworlds_gate.run.journal import Event, events_of


def attempt_of(event: Event) -> tuple[int, int]:
    """Number and draw of clips of an event of the inference gate; journals of older versions know draw 1 only."""
    return int(event["attempt"]), int(event.get("draw") or ATTEMPTS)


def is_final(event: Event) -> bool:
    """Whether an event of the inference gate belongs to the final verdict of a run that retried."""
    return attempt_of(event)[1] == FINAL


def attempt_name(number: int, draw: int) -> str:
    """`attempt 2`, or `attempt 2, final draw`."""
    return f"attempt {number}" + (", final draw" if draw == FINAL else "")


def final_problems(events: Sequence[Event]) -> list[str]:
    """What is wrong with the final verdict; none for a run that did not retry, or whose attempts did not pass.

    A pass after retraining counts only with a second one, on the same weights and other clips, and nothing was
    trained once those clips had been seen.
    """
    verdicts, retrains = list(events_of(events, "gate_verdict")), list(events_of(events, "dynamics_retrain"))
    finals = [verdict for verdict in verdicts if is_final(verdict)]
    problems = [
        f"dynamics was retrained after the final verdict of attempt {final['attempt']}: its clips were seen by then"
        for final in finals
        if any(retrain["seq"] > final["seq"] for retrain in retrains)
    ]
    attempts = [verdict for verdict in verdicts if not is_final(verdict)]
    if not retrains or not attempts or attempts[-1]["verdict"] != PASS:
        return problems
    last = attempts[-1]
    number = last["attempt"]
    final = next((one for one in finals if one["attempt"] == number), None)
    if final is None:
        return [*problems, f"attempt {number} passed after retraining, but no final verdict was taken on a second draw"]
    if _weights(events, last) != _weights(events, final):
        problems.append(f"attempt {number} and its final verdict are not of the same weights")
    digests = [(one.get("measures") or {}).get("clip_digest") for one in (last, final)]
    if digests[0] is not None and digests[0] == digests[1]:
        problems.append(f"the final verdict of attempt {number} was taken on the clips of the attempts")
    return problems


def _weights(events: Sequence[Event], verdict: Event) -> dict[str, object]:
    finished = [one for one in events_of(events, "inference_finished") if attempt_of(one) == attempt_of(verdict)]
    checkpoints = (finished[-1].get("checkpoints") if finished else None) or {}
    return {stage: one.get("sha256") for stage, one in checkpoints.items()}
