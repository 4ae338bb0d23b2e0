"""What an attempt at the inference gate is about, and what it leaves (L6, L7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.profile import Thresholds
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.gate.binding import bind, changed_since
from tinyworlds_gate.gate.checkout_gate import TargetVerdict
from tinyworlds_gate.gate.evidence import dataset_sha256, evaluation_sha256, measured
from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.gate.verdict import Condition, GateThresholds, GateVerdict, InferenceEvidence
from tinyworlds_gate.names import ATTEMPTS, FINALS
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.run.source_state import SourceState


@dataclass(frozen=True)
class InferenceAttempt:
    """One try of the gate with everything that it left.

    A final verdict has the number of the attempt that passed, and draw 2 or 3 (the evaluation set).
    """

    number: int
    verdict: GateVerdict
    measures: GateMeasures | None
    checkpoints: Mapping[str, CheckpointRef]
    log: Path
    picture: Path | None
    log_tail: tuple[str, ...]
    draw: int = ATTEMPTS
    binding: Mapping[str, Any] | None = None
    """What the verdict is bound to, as the journal holds it; None in journals of older versions."""
    evidence: InferenceEvidence | None = None
    """What was judged; None for an attempt that a resumed run took from its journal."""

    @property
    def is_final(self) -> bool:
        """Whether it is a final verdict: that of a run that retried, or the one on the evaluation set."""
        return self.draw in FINALS

    @property
    def name(self) -> str:
        """`attempt 2`, or `attempt 2, final draw`."""
        return attempt_name(self.number, self.draw)


@dataclass(frozen=True)
class Subject:
    """What is measured: an attempt's number, its draw of clips, the three checkpoints, and the code that runs."""

    number: int
    draw: int
    checkpoints: Mapping[str, CheckpointRef]
    source: SourceState
    own: TargetVerdict | None = None
    """What the checkout's own gate said; None for the embedded reference."""
    no_trusted_gate: str | None = None

    @property
    def name(self) -> str:
        return attempt_name(self.number, self.draw)

    @property
    def suffix(self) -> str:
        """Of the files that it leaves."""
        return f"{self.number:02d}{'_final' if self.draw in FINALS else ''}"


def gate_thresholds(thresholds: Thresholds) -> GateThresholds:
    """The profile's thresholds as the verdict takes them."""
    return GateThresholds(**{name: getattr(thresholds, name) for name in GateThresholds.__dataclass_fields__})


# An attempt as the journal of a resumed run tells it, and whether its verdict holds for what stands now.


def restored_attempt(context: RunContext, finished: Event, verdict: Event) -> InferenceAttempt:
    """The attempt that these events tell of (`inference_finished`, `gate_verdict`); its measures are read again."""
    root = context.layout.project_root
    judged = GateVerdict(
        verdict["verdict"],
        verdict["sentence"],
        [Condition(**condition) for condition in verdict["conditions"]],
        GateThresholds(**verdict["thresholds"]),
    )
    picture, measures_file = finished.get("picture"), finished.get("measures_file")
    draw = attempt_of(finished)[1]
    frames = context.frames_of(draw)
    return InferenceAttempt(
        number=finished["attempt"],
        verdict=judged,
        measures=measured(root / measures_file, root, frames).measures if measures_file else None,
        checkpoints={
            stage: CheckpointRef(stage, one["step"], root / one["path"], one["sha256"], one["parameters"])
            for stage, one in finished["checkpoints"].items()
        },
        log=root / finished["log"],
        picture=root / picture if picture else None,
        log_tail=tuple(finished.get("log_tail") or ()),
        draw=draw,
        binding=verdict.get("binding"),
    )


def changed_since_attempt(
    context: RunContext, attempt: InferenceAttempt, standing: Mapping[str, CheckpointRef], source: SourceState
) -> list[str]:
    """What an attempt's verdict is bound to and what is not so any more; none: it need not be made again."""
    now = bind(
        context.settings,
        attempt.draw,
        {stage: reference.model_sha256 for stage, reference in standing.items()},
        clip_digest=attempt.measures.clip_digest if attempt.measures else None,
        dataset_sha256=dataset_sha256(context.journal.events()),
        evaluation_sha256=evaluation_sha256(context.journal.events(), attempt.draw),
        source=source,
    )
    return changed_since(attempt.binding, now)
