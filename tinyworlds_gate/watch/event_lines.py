"""Describe a journal event in one line of text, without secrets and control characters."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.formats import number_text, rounded_duration
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.run.redact import redact

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def one_line(text: object) -> str:
    """Return ``text`` as one line without secrets and control characters."""
    return redact(_CONTROL.sub("?", " ".join(str(text).split())))


def _number(value: object, form: str = ".4g") -> str:
    return number_text(value, form, "?")


def event_sentence(event: Event) -> str | None:
    """Return the line for an event, or None for an event that is not shown."""
    sentence = _SENTENCES.get(event["event"])
    fields = defaultdict(lambda: None, event)
    text = sentence(event) if callable(sentence) else sentence and sentence.format_map(fields)
    return one_line(text) if text else None


def _run_started(event: Event) -> str:
    what = "the run is resumed" if event.get("resumed") else f"run {event.get('run')} started"
    return f"{what} (profile {event.get('profile')})"


def _beyond_the_gate(event: Event) -> str:
    """The first sentence of a measurement, or why there is none."""
    said = event.get("sentences") or [None]
    return f"{event.get('kind')}: {event.get('problem') or said[0]}"


def _stale_processes(event: Event) -> str | None:
    ended = event.get("ended") or []
    return f"{len(ended)} stale training process(es) ended" if ended else None


def _chunk_started(event: Event) -> str:
    params = event.get("params") or {}
    return (
        f"chunk {event.get('chunk')} of {event.get('stage')} started: updates {event.get('start_update')} to "
        f"{event.get('end_update')} of {event.get('target_updates')} ({event.get('reason')}), learning rate "
        f"{_number(params.get('learning_rate'))}, effective batch {event.get('effective_batch')}"
    )


def _chunk_finished(event: Event) -> str:
    name = f"chunk {event.get('chunk')} of {event.get('stage')}"
    failure = event.get("failure")
    if failure:
        return f"{name} does not count: {failure.get('reason')}"
    if event.get("cause") == "interrupted":
        return f"{name} was interrupted"
    took = f" in {rounded_duration(float(event['wall_s']))}" if event.get("wall_s") is not None else ""
    return (
        f"{name} done{took}: final loss {_number(event.get('final_loss'))}, "
        f"{_number(event.get('updates_per_s'), '.3g')} updates/s"
    )


def _retune(event: Event) -> str:
    changes = ", ".join(
        f"{key} {_number(pair[0])} -> {_number(pair[1])}" for key, pair in (event.get("changes") or {}).items()
    )
    return f"{event.get('stage')}: {event.get('id')}: {event.get('reason')}" + (f" ({changes})" if changes else "")


def _verdict(event: Event) -> str:
    sentence = str(event.get("sentence") or "")
    verdict = str(event.get("verdict"))
    return attempt_name(*attempt_of(event)) + ": " + (sentence if verdict in sentence else f"{verdict}: {sentence}")


def _picture(event: Event) -> str:
    label = f"picture of the verdict of {attempt_name(*attempt_of(event))}"
    return f"{label}: {event.get('picture') or 'not drawn: ' + str(event.get('problem'))}"


def _retrain(event: Event) -> str:
    return (
        f"dynamics is retrained from update {event.get('from_update')} to {event.get('to_update')} at learning rate "
        f"{_number(event.get('learning_rate'))}"
    )


def _refused(event: Event) -> str:
    used: Mapping[str, Any] = event.get("used") or {}
    then = f"update {used.get('step')} is used instead" if used else "the stage starts again from new weights"
    return f"{event.get('stage')}: a checkpoint was refused; {then}"


_SENTENCES: Mapping[str, str | Callable[[Event], str | None]] = {
    "run_started": _run_started,
    "settings_edited": lambda event: event.get("sentence"),
    "stale_processes": _stale_processes,
    "dataset_ready": "frames ready: {name}, {frames} frames in {episodes} episodes",
    "chunk_started": _chunk_started,
    "chunk_finished": _chunk_finished,
    "checkpoint_refused": _refused,
    "stage_gate": "{stage}: gate {id} says {decision}: {reason}",
    "device_probe": lambda event: (
        f"{event.get('stage')}: device probe after chunk {event.get('chunk')}: "
        f"{'evidence seen' if event.get('dual_gpu_ok') else 'no evidence'}: {event.get('dual_gpu_reason')}"
    ),
    "retune": _retune,
    "stage_finished": "{stage}: {verdict}: {reason}",
    "target_described": "target: {told}",
    "target_preflight": lambda event: (
        f"target: {len(event.get('imported') or [])} packages imported, {len(event.get('missing') or {})} missing"
    ),
    "target_inference_started": lambda event: f"own inference started, {attempt_name(*attempt_of(event))}",
    "inference_started": lambda event: f"inference started, {attempt_name(*attempt_of(event))}",
    "probe_started": lambda event: f"probe without the true future started, {attempt_name(*attempt_of(event))}",
    "probe_finished": lambda event: event.get("problem"),
    "probe_skipped": "no probe without the true future: {reason}",
    "inference_retry": "inference is run again: {reason}",
    "gate_verdict": _verdict,
    "baseline_compared": "compared with the baseline: {sentence}",
    "beyond_the_gate": _beyond_the_gate,
    "verdict_picture": _picture,
    "verdict_expired": lambda event: event.get("sentence"),
    "dynamics_retrain": _retrain,
    "git_evidence": "git audit: {verdict}: {reason}",
    "wandb_analysis": "metric analysis: {verdict}: {reason}",
    "interrupted": "interrupted: {reason}",
    "run_finished": "the run has ended ({status}): {sentence}",
}
"""Event → its sentence, where ``{name}`` is a field of the event, or the function that writes it."""
