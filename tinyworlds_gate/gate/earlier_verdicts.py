"""Earlier attempts of the project on the same weights: a pass on luckier clips does not replace a failure.

Weights that failed on some clips and now pass on others are the same model. Their failure is replaced only by a pass on
the same clips, which no luck can give. A verdict that is INVALID because a claim did not hold is replaced by none: the
choice of the probe is luck too. An attempt that was measured and not judged has to be judged first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.gate.conditions import measured_conditions
from tinyworlds_gate.gate.measured_settings import measured_settings, same_game
from tinyworlds_gate.gate.measures.raw import MeasuresError, read_raw
from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.gate.near_weights import Sketch, are_same, sketch_of
from tinyworlds_gate.gate.same_pictures import show_one_game
from tinyworlds_gate.names import FAIL, INVALID, PASS
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.hash_chain import LONGEST_LINE
from tinyworlds_gate.run.journal import Event, events_of, inspect_journal, last_event
from tinyworlds_gate.targets.log_lines import inference_lines, read_log

KNOBS = ("decode_steps", "temperature", "rollout", "memory_window", "token_choice")
"""Settings by which the same task may be tried again on the same weights."""
NO_CLAIMS = ("C4", "G2.checkout", "G5.earlier", "G5.trusted", "G5.unseen", "G8")
"""Conditions that are INVALID because something is not known, and not because the inference run claimed it wrongly."""
_DIGEST = re.compile(r"held-out clips .*, digest ([0-9a-f]{16})\b")
"""In the log of an inference run."""


@dataclass(frozen=True)
class Present:
    """The attempt that asks.

    Attributes:
        results: the folder with the runs of the project.
        run: the name of its run.
        weights: stage → SHA-256.
        binding: of its verdict: ``config``, ``clip_digest`` and ``dataset_sha256``.
        thresholds: an earlier verdict counts where its numbers fail by these.
        dynamics: the folder of its dynamics checkpoint; None: weights are compared by SHA-256 only.
        frames: the frames file.
        measures: its measures file, beside which its generated frames lie.
        before: only events before this time count; None: all.
    """

    results: Path
    run: str
    weights: Mapping[str, str | None]
    binding: Mapping[str, Any]
    thresholds: GateThresholds
    dynamics: Path | None = None
    frames: Path | None = None
    measures: Path | None = None
    before: float | None = None

    @cached_property
    def sketch(self) -> Sketch | None:
        """Of the dynamics weights."""
        return None if self.dynamics is None else sketch_of(self.dynamics, self.weights.get("dynamics"))

    @cached_property
    def rules(self) -> dict[str, Any]:
        """What is measured."""
        return measured_settings(self.binding["config"], self.frames)

    @property
    def clip_digest(self) -> str | None:
        """Of the clips that are measured now."""
        return self.binding.get("clip_digest")

    def same_rules(self, other: _Other) -> bool:
        """Whether another attempt measured the same."""
        return measured_settings(other.bound["config"], self.frames) == self.rules and self._same_game(other)

    def _same_game(self, other: _Other) -> bool:
        """Whether another attempt measured the same game, by its file, its name, or what it generated."""
        measures = other.last("inference_finished").get("measures_file")
        if same_game(other.bound, self.binding) or measures is None or self.measures is None:
            return same_game(other.bound, self.binding)
        return show_one_game(self.results / other.run / Path(str(measures)).name, self.measures)

    def turned(self, other: _Other) -> list[str]:
        """Return how the knobs of another attempt differ on the same task; empty: they do not, or the task does."""
        bound = other.bound
        was = measured_settings(bound["config"], self.frames)
        differ = [key for key in {*was, *self.rules} if was.get(key) != self.rules.get(key)]
        if not differ or not set(differ) <= set(KNOBS) or not self._same_game(other):
            return []
        configs = [each["config"] for each in (bound, self.binding)]
        return [
            f"{key} {', now '.join(str(one.get(f'inference.{key}', 'default')) for one in configs)}"
            for key in KNOBS
            if key in differ
        ]


@dataclass
class EarlierVerdicts:
    """What was found.

    Attributes:
        failures: attempts that count against these weights, oldest first.
        gone: runs whose weights are gone.
        unread: runs whose journal cannot be read, or was changed, so that what they say of these weights is not known.
    """

    failures: list[dict[str, Any]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Other:
    """One attempt of a journal: its run, its verdict (or its start, without one), and its journal's events."""

    run: str
    event: Event
    events: Sequence[Event]

    @property
    def bound(self) -> Mapping[str, Any]:
        """The binding of its verdict."""
        return self.event.get("binding") or {}

    def last(self, *names: str) -> Event:
        """The newest of these events of the attempt; before its verdict, where it has one."""
        found = [one for one in events_of(self.events, *names) if attempt_of(one) == attempt_of(self.event)]
        judged = self.event["event"] == "gate_verdict"
        found = [one for one in found if not judged or one["seq"] < self.event["seq"]]
        return found[-1] if found else {}

    def entry(self, sentence: str, digest: str | None, **more: Any) -> dict[str, Any]:
        """As the journal's `earlier_verdicts` holds it."""
        name = attempt_name(*attempt_of(self.event))
        return {"run": f"results/{self.run}", "attempt": name, "clip_digest": digest, "sentence": sentence, **more}


def earlier_verdicts(present: Present) -> EarlierVerdicts:
    """Return which earlier attempts of the project count against these weights."""
    found, newest, timed = EarlierVerdicts(), dict[tuple[str, str], _Other](), list[tuple[float, dict[str, Any]]]()
    own = str(present.weights.get("dynamics"))
    journals = list(_journals(present, found))
    for other in sorted(_judged(journals), key=lambda one: float(one.event["time"])):
        try:
            entry = _count(present, other, found, newest)
        except _MALFORMED:
            _add(found.unread, other.run)
            continue
        timed += [] if entry is None else [(float(other.event["time"]), entry)]
    for (digest, weights), other in newest.items():
        if (digest, weights) != (present.clip_digest, own):
            more: dict[str, Any] = {} if weights == own else {"touched": True}
            if not _fails(other.event, present.thresholds):
                more = {"unjudged": True, "probe": _probe_problem(other)}
            timed.append((float(other.event["time"]), other.entry(_sentence_of(other.event), digest, **more)))
    for other in _unjudged(present, journals):
        if entry := _seen(present, other, found):
            timed.append((float(other.event["time"]), entry))
    found.failures = [entry for _, entry in sorted(timed, key=lambda one: one[0])]
    return found


_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)
"""Raised by events that no version of the harness writes."""


def _count(
    present: Present, other: _Other, found: EarlierVerdicts, newest: dict[tuple[str, str], _Other]
) -> dict[str, Any] | None:
    """Note a verdict in ``newest`` if it counts, or what it replaces; return the entry of one that nothing replaces."""
    verdict, bound, claim = other.event, other.bound, _false_claim(other)
    weights = bound.get("checkpoints") or {}
    clips = str(bound.get("clip_digest") or ""), str(weights.get("dynamics"))
    failed = _is_no_pass(other, present.thresholds)
    counts = claim or (clips[0] and other.run != present.run and failed)
    replaces = clips in newest and verdict["verdict"] == PASS and not failed
    if not bound.get("config"):
        return None
    if turned := present.turned(other) if clips[0] and failed else []:
        if _same_weights(present, other, weights, found):
            elsewhere = _clip_seed(bound) != _clip_seed(present.binding)
            return other.entry(_sentence_of(verdict), clips[0], turned=turned, elsewhere=elsewhere)
        return None
    if not (counts or replaces) or not present.same_rules(other):
        return None
    if not _same_weights(present, other, weights, found):
        return None
    if claim:
        return other.entry(_sentence_of(verdict), clips[0], claim=claim)
    if replaces:
        del newest[clips]
    elif clips not in newest or not _probe_problem(other):
        newest[clips] = other
    return None


def _sentence_of(verdict: Event) -> str:
    """The sentence of a verdict; of a pass whose numbers fail by the present limits, it says so."""
    lenient = "its limits were wider then; by the present ones its numbers fail. " if verdict["verdict"] == PASS else ""
    return f"{lenient}{verdict['sentence']}"


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _clip_seed(binding: Mapping[str, Any]) -> int:
    return int(binding["config"].get("inference.clip_seed") or 0)


_Journals = Sequence[tuple[str, Sequence[Event]]]


def _judged(journals: _Journals) -> Iterator[_Other]:
    for run, events in journals:
        yield from (_Other(run, verdict, events) for verdict in events_of(events, "gate_verdict"))


def _unjudged(present: Present, journals: _Journals) -> Iterator[_Other]:
    """The attempts of other runs of which inference was started, and no verdict taken since."""
    for run, events in journals:
        newest = {attempt_of(one): one for one in events_of(events, "inference_started", "gate_verdict")}
        if run != present.run:
            yield from (_Other(run, one, events) for one in newest.values() if one["event"] == "inference_started")


def _journals(present: Present, found: EarlierVerdicts) -> Iterator[tuple[str, Sequence[Event]]]:
    """The runs of the project; one that cannot be read is noted, and one that was changed is noted and read."""
    for journal in sorted(present.results.glob("*/journal.jsonl")):
        run = journal.parent.name
        try:
            if not _mentions(journal, b'"inference_started"', b'"gate_verdict"'):
                continue
            state = inspect_journal(journal)
            events = [one for one in state.events if present.before is None or float(one["time"]) < present.before]
            broken = state.problem is not None or not all(map(_is_whole, events))
        except (GateError, OSError, *_MALFORMED):
            broken, events = True, []
        if broken and run != present.run:
            _add(found.unread, run)
        yield run, [one for one in events if _is_whole(one)]


def _is_whole(event: Event) -> bool:
    """Whether an event has its time and number, and a verdict also what it says of which attempt."""
    numbers = (event.get("time"), event.get("seq"))
    whole = all(isinstance(one, int | float) and math.isfinite(one) for one in numbers)
    return whole and (event["event"] != "gate_verdict" or {"verdict", "sentence", "attempt"} <= event.keys())


def _mentions(journal: Path, *words: bytes) -> bool:
    """Whether a line of the journal has a word; of a longer line only its parts are looked at."""
    with journal.open("rb") as file:
        return any(word in line for line in iter(lambda: file.readline(LONGEST_LINE), b"") for word in words)


def _same_weights(present: Present, other: _Other, weights: Mapping[str, Any], found: EarlierVerdicts) -> bool:
    """Whether the dynamics weights of an attempt are those of now, or differ by a touch."""
    dynamics = weights.get("dynamics")
    if dynamics is None or present.dynamics is None or dynamics == present.weights.get("dynamics"):
        return dynamics is not None and dynamics == present.weights.get("dynamics")
    recorded: Sketch | None = other.last("earlier_verdicts").get("dynamics_sketch")
    checkpoints = other.last("inference_finished").get("checkpoints") or {}
    path = (checkpoints.get("dynamics") or {}).get("path")
    if recorded is None and path is not None:
        recorded = sketch_of(present.results.parent / str(path), str(dynamics))
    if recorded is None or present.sketch is None:
        _add(found.gone, other.run)
        return False
    return are_same(recorded, present.sketch)


def _false_claim(other: _Other) -> str:
    """The first condition by which a verdict is INVALID because a claim did not hold; empty: there is none.

    A process that failed shows nothing about the claim.
    """
    crashed = _probe_problem(other) or other.last("inference_finished").get("exit_code", 0) != 0
    own = {f"G5.{one.get('name')}" for one in other.event.get("custom_metrics") or []}
    wrong = [str(one["id"]) for one in other.event.get("conditions") or [] if one["verdict"] == INVALID]
    no_claims = {*NO_CLAIMS, *own, *(("G5.blind", "G5.measures") if crashed else ())}
    wrong = [one for one in wrong if one not in no_claims]
    return wrong[0] if wrong and other.event["verdict"] == INVALID else ""


def _probe_problem(other: _Other) -> str:
    """Why the probe of an attempt left no frames that can be compared; empty: it left some."""
    return str(other.last("probe_finished").get("problem") or "")


def _is_no_pass(other: _Other, thresholds: GateThresholds) -> bool:
    """Whether an attempt failed, or was not judged because its probe failed."""
    unjudged = other.event["verdict"] == INVALID and bool(_probe_problem(other))
    return unjudged or _fails(other.event, thresholds)


def _fails(verdict: Event, thresholds: GateThresholds) -> bool:
    """Whether a verdict's numbers fail by these thresholds; incomplete ones of an older FAIL do.

    A verdict that is INVALID, because something was not known, has numbers too. So has a pass by wider limits.
    """
    measures = verdict.get("measures") or {}
    known: dict[str, Any] = {one.name: measures.get(one.name) for one in fields(GateMeasures)}
    counts = (FAIL, INVALID) if verdict["verdict"] == FAIL else (FAIL,)
    try:
        return any(one.verdict in counts for one in measured_conditions(GateMeasures(**known), thresholds))
    except (TypeError, ValueError, KeyError):
        return verdict["verdict"] == FAIL


def _seen(present: Present, other: _Other, found: EarlierVerdicts) -> dict[str, Any] | None:
    """The entry of an attempt whose result somebody could read and nobody judged; None where it does not count."""
    finished, checked = other.last("inference_finished"), other.last("checkpoints_checked")
    finished = finished if finished.get("seq", -1) > other.event["seq"] else {}
    weights = {stage: one.get("sha256") for stage, one in (finished.get("checkpoints") or {}).items()}
    if not _same_weights(present, other, weights or checked.get("checkpoints") or {}, found):
        return None
    log, folder = present.results.parent / str(other.event.get("log")), present.results / other.run
    text = read_log(log) if log.is_file() else None
    if finished.get("exit_code") != 0 and text is not None and inference_lines(text).mse is None:
        return None
    shown = _DIGEST.search(text or "")
    digest = shown[1] if shown else None
    words = [str(word) for word in other.event.get("command") or ()]
    named = [word.partition("=")[2] for word in words if word.startswith("measures_path=")]
    try:
        raw = read_raw(folder / Path(str(finished.get("measures_file") or (named or [""])[-1])).name)
        digest = str(raw["clip_digest"])
        if _settings_of(raw, present) != present.rules:
            return None
    except (MeasuresError, GateError, OSError, KeyError, TypeError, ValueError):
        pass
    if digest and present.clip_digest and present.clip_digest.startswith(digest):
        return None
    return other.entry("its result was never judged.", digest, unjudged=True)


def _settings_of(raw: Mapping[str, Any], present: Present) -> dict[str, Any]:
    """What a measures file says that was measured."""
    names = ("teacher_forced", "prediction_horizon", "decode_steps", "temperature", "rollout", "memory_window")
    config = dict(present.binding["config"])
    config |= {f"inference.{name}": raw[name] for name in (*names, "token_choice") if name in raw}
    config["inference.context_window"] = raw["context"]
    config["inference.generation_steps"] = raw["generation_steps"] // int(raw.get("prediction_horizon") or 1)
    return measured_settings(config, present.frames)


def earlier_event(found: EarlierVerdicts, present: Present) -> dict[str, Any]:
    """Return the fields of the journal's `earlier_verdicts` beside attempt and draw."""
    event: dict[str, Any] = {"failures": found.failures}
    if found.gone:
        event["gone"] = found.gone
    if found.unread:
        event["unread"] = found.unread
    if present.sketch is not None:
        event["dynamics_sketch"] = present.sketch
    return event


def with_earlier_now(events: Sequence[Event], verdict: Event, present: Present) -> list[Event]:
    """Return the events of a run whose attempt lists what the project's runs show now beside what it recorded.

    A run whose folder is gone stays in the list.
    """
    key = dict(zip(("attempt", "draw"), attempt_of(verdict), strict=True))
    recorded = last_event(list(events), "earlier_verdicts", **key)
    now = earlier_verdicts(present).failures
    if recorded is None and not now:
        return list(events)
    known = list((recorded or {}).get("failures") or ())
    new = [one for one in now if _identity(one) not in map(_identity, known)]
    if not new:
        return list(events)
    return [*events, {**(recorded or {}), "event": "earlier_verdicts", **key, "failures": [*known, *new]}]


def _identity(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(entry["attempt"]), str(entry.get("clip_digest")), str(entry["sentence"])
