"""What an event of the journal says to a person who watches: one line, without secrets and control characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.run.redact import redact
from tinyworlds_gate.watch.durations import short

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def one_line(text: object) -> str:
    """``text`` as one line that a terminal shows as it is written."""
    return redact(_CONTROL.sub("?", " ".join(str(text).split())))


def number(value: object, form: str = ".4g") -> str:
    """A number of the journal, `?` where it has none."""
    return format(value, form) if isinstance(value, int | float) and not isinstance(value, bool) else "?"


def sentence_of(event: Event) -> str | None:
    """The line for an event, None for one that is told elsewhere."""
    tell = _SENTENCES.get(event["event"])
    told = tell(event) if tell is not None else None
    return one_line(told) if told else None


def _run_started(event: Event) -> str:
    if event.get("resumed"):
        return f"the run is resumed (profile {event.get('profile')})"
    return f"run {event.get('run')} started (profile {event.get('profile')})"


def _stale_processes(event: Event) -> str | None:
    ended = event.get("ended") or []
    return f"{len(ended)} stale training process(es) ended" if ended else None


def _dataset_ready(event: Event) -> str:
    return f"frames ready: {event.get('name')}, {event.get('frames')} frames in {event.get('episodes')} episodes"


def _chunk_started(event: Event) -> str:
    params = event.get("params") or {}
    return (
        f"chunk {event.get('chunk')} of {event.get('stage')} started: updates {event.get('start_update')} to "
        f"{event.get('end_update')} of {event.get('target_updates')} ({event.get('reason')}), learning rate "
        f"{number(params.get('learning_rate'))}, effective batch {event.get('effective_batch')}"
    )


def _chunk_finished(event: Event) -> str:
    name = f"chunk {event.get('chunk')} of {event.get('stage')}"
    failure = event.get("failure")
    if failure:
        return f"{name} does not count: {failure.get('reason')}"
    if event.get("cause") == "interrupted":
        return f"{name} was interrupted"
    took = f" in {short(float(event['wall_s']))}" if event.get("wall_s") is not None else ""
    return (
        f"{name} done{took}: final loss {number(event.get('final_loss'))}, "
        f"{number(event.get('updates_per_s'), '.3g')} updates/s"
    )


def _retune(event: Event) -> str:
    changes = ", ".join(
        f"{key} {number(pair[0])} -> {number(pair[1])}" for key, pair in (event.get("changes") or {}).items()
    )
    return f"{event.get('stage')}: {event.get('id')}: {event.get('reason')}" + (f" ({changes})" if changes else "")


def _verdict(event: Event) -> str:
    sentence = str(event.get("sentence") or "")
    verdict = str(event.get("verdict"))
    return attempt_name(*attempt_of(event)) + ": " + (sentence if verdict in sentence else f"{verdict}: {sentence}")


def _picture(event: Event) -> str:
    of = f"picture of the verdict of {attempt_name(*attempt_of(event))}"
    return f"{of}: {event.get('picture') or 'not drawn: ' + str(event.get('problem'))}"


def _retrain(event: Event) -> str:
    return (
        f"dynamics is retrained from update {event.get('from_update')} to {event.get('to_update')} at learning rate "
        f"{number(event.get('learning_rate'))}"
    )


def _refused(event: Event) -> str:
    used: Mapping[str, Any] = event.get("used") or {}
    then = f"update {used.get('step')} is used instead" if used else "the stage starts anew"
    return f"{event.get('stage')}: a checkpoint was refused; {then}"


_SENTENCES: Mapping[str, Callable[[Event], str | None]] = {
    "run_started": _run_started,
    "settings_edited": lambda event: event.get("sentence"),
    "stale_processes": _stale_processes,
    "dataset_ready": _dataset_ready,
    "chunk_started": _chunk_started,
    "chunk_finished": _chunk_finished,
    "checkpoint_refused": _refused,
    "stage_gate": lambda event: (
        f"{event.get('stage')}: gate {event.get('id')} says {event.get('decision')}: {event.get('reason')}"
    ),
    "retune": _retune,
    "stage_finished": lambda event: f"{event.get('stage')}: {event.get('verdict')}: {event.get('reason')}",
    "target_described": lambda event: f"target: {event.get('told')}",
    "target_preflight": lambda event: (
        f"target: {len(event.get('imported') or [])} packages imported, {len(event.get('missing') or {})} missing"
    ),
    "target_inference_started": lambda event: f"own inference started, {attempt_name(*attempt_of(event))}",
    "inference_started": lambda event: f"inference started, {attempt_name(*attempt_of(event))}",
    "inference_retry": lambda event: f"inference is run again: {event.get('reason')}",
    "gate_verdict": _verdict,
    "verdict_picture": _picture,
    "verdict_expired": lambda event: event.get("sentence"),
    "dynamics_retrain": _retrain,
    "git_evidence": lambda event: f"git audit: {event.get('verdict')}: {event.get('reason')}",
    "wandb_analysis": lambda event: f"metric analysis: {event.get('verdict')}: {event.get('reason')}",
    "interrupted": lambda event: f"interrupted: {event.get('reason')}",
    "run_finished": lambda event: f"the run has ended ({event.get('status')}): {event.get('sentence')}",
}
