"""An attempt as the journal of a resumed run tells it, and whether its verdict holds for what stands now."""

from __future__ import annotations

from collections.abc import Mapping

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.gate.attempt import InferenceAttempt
from tinyworlds_gate.gate.binding import SourceState, bind, changed_since
from tinyworlds_gate.gate.evidence_files import dataset_sha256, evaluation_sha256, measured
from tinyworlds_gate.gate.final_draw import attempt_of
from tinyworlds_gate.gate.verdict import Condition, GateThresholds, GateVerdict
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.stages.context import RunContext


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
