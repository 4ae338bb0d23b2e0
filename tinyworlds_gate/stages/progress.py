"""The state of one training of a stage, folded from its journal events: the same fold live and on `--resume-run`.

A training is cut into chunks. A chunk counts once its evidence is whole (S4) and its gate was applied; until then
its *span* stays open, and a try that failed or was interrupted is followed by another over what is left of the span.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tinyworlds_gate.launch.raised import Raised, same_exception, unmendable
from tinyworlds_gate.run.journal import Event

Step = Literal["settle", "judge", "probe", "retune", "give_up", "run", "finish", "finished"]
"""What a training does next: close a chunk whose harness died, apply the stage gate, look for device evidence in a
short launch, retune, fail, launch a chunk, pass, nothing."""

NO_DEVICE_EVIDENCE = "guard"
"""The cause of a chunk that trained normally and lacks evidence that all GPUs worked at the same time (H6)."""

REPEATABLE = ("runtime_error", "setup_error", "missing_evidence")
"""Causes that stop the stage when two chunks in a row raise the same (T1)."""

MOST_GROWTH = 2.0
"""A try from new weights at a lower learning rate gets at most so many times the updates."""

INTERRUPTED = "interrupted"
"""The cause of a chunk whose harness died: no failure, and no retry is counted."""

RUN_STOPS = ("disk_full",)
"""Causes without a retune: the run stops, and can be resumed once the machine works again."""


@dataclass(frozen=True)
class StageProgress:
    """The state of one training; ``after`` returns the state after one more event of the journal."""

    stage: str
    chunk_size: int
    """Updates of a whole chunk."""
    target: int
    """Absolute updates; a gate that is not met at the target raises it by a chunk."""
    schedule_start: int = 0
    reason: str = "planned"
    """Of the next chunk: planned, retune, or inference retry k."""
    checkpoint: Mapping[str, Any] | None = None
    """Where the next chunk starts, in the journal's form; None for new weights."""
    resumes: bool = True
    """Whether the target goes on at a checkpoint's step; else every try begins at update 0 with new weights."""
    growth: int = 0
    """Updates by which a gate that is not met at the target raises it; 0: by a chunk."""
    retries: int = 0
    degraded: bool = False
    chunks: int = 0
    """Chunks launched by this training."""
    span_start: int | None = None
    """First update of the span that is being tried; None between two chunks."""
    starts: tuple[int, ...] = ()
    """First updates of the spans that have counted."""
    open_chunk: Event | None = None
    """A chunk that started and whose end is not in the journal."""
    last_chunk: int | None = None
    unjudged: bool = False
    """The last chunk counts, and its stage gate was not applied yet."""
    failure: str | None = None
    """The cause of the last failure, which the next retune handles."""
    last_reason: str = ""
    last_end: Event | None = None
    """The ``chunk_finished`` of the newest chunk."""
    raised: tuple[Raised, ...] = ()
    """What the newest chunk raised, if its failure can repeat itself."""
    repeated: Raised | None = None
    """What the two newest chunks both raised."""
    unproven: int = 0
    """Chunks in a row that trained normally without device evidence."""
    trained: Mapping[str, Any] | None = None
    """The checkpoint of the newest of them."""
    probe: Event | None = None
    """The search for device evidence after the first of them (``device_probe``)."""
    gave_up: str | None = None
    gave_up_after: str | None = None
    """The cause of the failure that ended the training."""
    finished: Event | None = None

    @property
    def done(self) -> int:
        """Updates that the valid checkpoint has had."""
        return int(self.checkpoint["step"]) + 1 if self.checkpoint else 0

    @property
    def span(self) -> tuple[int, int]:
        """First and last (exclusive) update of the chunk being tried or planned next."""
        start = self.done if self.span_start is None else self.span_start
        end = start + self.chunk_size
        if end <= self.done:  # trained to its end without device evidence: the span goes on, nothing is trained again
            end = self.done + (self.growth or self.chunk_size)
        return start, min(end, self.target)

    @property
    def next_step(self) -> Step:
        """What is to be done now."""
        if self.finished is not None:
            return "finished"
        if self.open_chunk is not None:
            return "settle"
        if self.unjudged:
            return "judge"
        if self.gave_up is not None:
            return "give_up"
        if self.failure == NO_DEVICE_EVIDENCE and self.probe is None:
            return "probe"
        if self.failure is not None:
            return "retune"
        return "run" if self.done < self.target else "finish"

    def after_all(self, events: Iterable[Event]) -> StageProgress:
        """The state after several events."""
        progress = self
        for event in events:
            progress = progress.after(event)
        return progress

    def after(self, event: Event) -> StageProgress:
        """The state after one event; those of other stages and other kinds change nothing."""
        if event.get("stage") != self.stage:
            return self
        match event["event"]:
            case "chunk_started":
                start = event["start_update"] if self.span_start is None else self.span_start
                return replace(
                    self, chunks=self.chunks + 1, span_start=start, open_chunk=event, last_chunk=event["chunk"]
                )
            case "chunk_finished":
                return self._after_chunk(event)
            case "device_probe":
                return self._after_probe(event)
            case "stage_gate":
                return self._after_gate(event)
            case "retune":
                return self._after_retune(event)
            case "checkpoint_refused":
                return self._after_refusal(event)
            case "stage_finished":
                return replace(self, finished=event)
        return self

    def _after_chunk(self, event: Event) -> StageProgress:
        failure = event.get("failure")
        closed = replace(self, open_chunk=None, last_end=event)
        if failure is None and event["cause"] != INTERRUPTED:
            return replace(
                closed,
                checkpoint=event["checkpoint"],
                unjudged=True,
                raised=(),
                repeated=None,
                unproven=0,
                trained=None,
                probe=None,
            )
        closed = replace(closed, checkpoint=event.get("continue_from"))
        if failure is None:
            return closed
        cause = failure["cause"]
        raised = tuple(Raised(**one) for one in failure.get("raised") or ()) if cause in REPEATABLE else ()
        unproven = cause == NO_DEVICE_EVIDENCE
        return replace(
            closed,
            failure=None if cause in RUN_STOPS else cause,
            last_reason=str(failure["reason"]),
            raised=raised,
            repeated=same_exception(self.raised, raised) or (unmendable(raised) if unmendable(self.raised) else None),
            unproven=self.unproven + 1 if unproven else 0,
            trained=event.get("checkpoint") if unproven else None,
        )

    def _after_probe(self, event: Event) -> StageProgress:
        if not event.get("stands_for_chunk"):
            return replace(self, probe=event)
        return replace(self, checkpoint=self.trained, failure=None, unjudged=True, unproven=0, trained=None)

    def _after_gate(self, event: Event) -> StageProgress:
        judged = replace(
            self,
            unjudged=False,
            span_start=None,
            starts=(*self.starts, self.span[0]),
            last_reason=str(event["reason"]),
        )
        if event["decision"] in ("continue", "watch"):
            return judged
        return replace(judged, failure="stage_gate")

    def _after_refusal(self, event: Event) -> StageProgress:
        """The stage falls back to an older checkpoint; the chunks keep their bounds."""
        back = replace(self, checkpoint=event["used"], unjudged=False, finished=None)
        starts = [start for start in (*self.starts, self.span[0]) if start <= back.done]
        return replace(back, span_start=starts[-1] if starts else None, starts=tuple(starts[:-1]))

    def _after_retune(self, event: Event) -> StageProgress:
        if not event["proceed"]:
            gave_up = f"{self.last_reason} {event['reason']}"
            return replace(self, failure=None, gave_up=gave_up, gave_up_after=self.failure)
        changes = event.get("changes") or {}
        batch = changes.get("batch_size_per_gpu")
        retuned = replace(
            self,
            failure=None,
            reason="retune",
            retries=self.retries + 1,
            degraded=self.degraded or (batch is not None and batch[1] == 1),
        )
        if not self.resumes:
            anew = replace(retuned, checkpoint=None, span_start=None)
            return anew._grown(changes.get("learning_rate")) if self.failure == "stage_gate" else anew
        if self.done < self.target:
            return retuned
        # The gate was not met at the target: the span grows by one chunk with its own schedule.
        return replace(retuned, schedule_start=self.done, target=self.target + (self.growth or self.chunk_size))

    def _grown(self, learning_rate: Sequence[float] | None) -> StageProgress:
        """A try from new weights after a gate that was not met: more updates, so that a lower rate can still help.

        The updates grow as the rate falls, at least by the stage's growth and at most ``MOST_GROWTH`` times.
        """
        factor = min(MOST_GROWTH, learning_rate[0] / learning_rate[1]) if learning_rate else 1.0
        target = max(round(self.target * factor), self.target + min(self.growth or self.chunk_size, self.target))
        return replace(self, target=target, chunk_size=max(self.chunk_size, target))
