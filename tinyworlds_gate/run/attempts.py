"""Read from the journal whether a run needs a final verdict, and check the one it has (L8, H3)."""

from __future__ import annotations

from collections.abc import Sequence

from tinyworlds_gate.names import ATTEMPTS, EVALUATION, FINAL, FINALS, PASS
from tinyworlds_gate.run.journal import Event, events_of, last_event

FINAL_NAMES = {FINAL: ", final draw", EVALUATION: ", evaluation set"}


def attempt_of(event: Event) -> tuple[int, int]:
    """Number and draw of clips of an event of the inference gate; journals of older versions know draw 1 only."""
    return int(event["attempt"]), int(event.get("draw") or ATTEMPTS)


def is_final(event: Event) -> bool:
    """Whether an event of the inference gate belongs to a final verdict."""
    return attempt_of(event)[1] in FINALS


def attempt_name(number: int, draw: int) -> str:
    """`attempt 2`, `attempt 2, final draw`, or `attempt 2, evaluation set`."""
    return f"attempt {number}" + FINAL_NAMES.get(draw, "")


def final_draw(events: Sequence[Event]) -> int | None:
    """The draw that the run's final verdict must be of; None where its last attempt is its verdict.

    A run with an evaluation set takes its verdict there, whether it retried or not; without one, a second draw is
    needed after a retry only.
    """
    ready = last_event(list(events), "dataset_ready") or {}
    if ready.get("evaluation") is not None:
        return EVALUATION
    return FINAL if any(True for _ in events_of(events, "dynamics_retrain")) else None


def final_problems(events: Sequence[Event]) -> list[str]:
    """Return what is wrong with the final verdict; empty for a run that needs none, or whose attempts did not pass.

    A pass after retraining, or in a run with an evaluation set, counts only with a second one, on the same weights and
    other clips, and nothing was trained once those clips had been seen.
    """
    verdicts, retrains = list(events_of(events, "gate_verdict")), list(events_of(events, "dynamics_retrain"))
    finals = [verdict for verdict in verdicts if is_final(verdict)]
    problems = [
        f"dynamics was retrained after the final verdict of attempt {final['attempt']}: its clips were seen by then"
        for final in finals
        if any(retrain["seq"] > final["seq"] for retrain in retrains)
    ]
    attempts = [verdict for verdict in verdicts if not is_final(verdict)]
    draw = final_draw(events)
    if draw is None or not attempts or attempts[-1]["verdict"] != PASS:
        return problems
    last = attempts[-1]
    number = last["attempt"]
    final = next((one for one in finals if attempt_of(one) == (number, draw)), None)
    if final is None:
        where = "on the evaluation set" if draw == EVALUATION else "on a second draw"
        after = " after retraining" if retrains else ""
        return [*problems, f"attempt {number} passed{after}, but no final verdict was taken {where}"]
    if _weights(events, last) != _weights(events, final):
        problems.append(f"attempt {number} and its final verdict are not of the same weights")
    clips, final_clips = ((one.get("measures") or {}).get("clip_digest") for one in (last, final))
    if clips is not None and clips == final_clips:
        problems.append(f"the final verdict of attempt {number} was taken on the clips of the attempts")
    return problems


def _weights(events: Sequence[Event], verdict: Event) -> dict[str, object]:
    finished = [one for one in events_of(events, "inference_finished") if attempt_of(one) == attempt_of(verdict)]
    checkpoints = (finished[-1].get("checkpoints") if finished else None) or {}
    return {stage: one.get("sha256") for stage, one in checkpoints.items()}
