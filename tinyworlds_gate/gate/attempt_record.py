"""What an attempt at the inference gate leaves: its evidence, its binding, and the attempt itself (L6, L7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.layout import MANIFEST_FILE, STATE_FILE, CheckpointRef
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.binding import Binding, bind, changed_since
from tinyworlds_gate.gate.clip_plan import ClipPlan
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.evidence import (
    Measured,
    PictureCheck,
    agreement_conditions,
    dataset_sha256,
    evaluation_sha256,
    measured,
)
from tinyworlds_gate.gate.inference_job import InferenceJob, weights_of
from tinyworlds_gate.gate.measures.baselines import TrainingFrames
from tinyworlds_gate.gate.measures.raw import MeasuresError, read_raw
from tinyworlds_gate.gate.measures.summary import GateMeasures
from tinyworlds_gate.gate.scorecard import Scorecard, scorecard_path
from tinyworlds_gate.gate.verdict import GateVerdict, InferenceEvidence
from tinyworlds_gate.launch.failure_text import shown_error
from tinyworlds_gate.names import ATTEMPTS, FINALS
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.journal import Event, last_event
from tinyworlds_gate.run.source_state import SourceState
from tinyworlds_gate.targets.log_lines import inference_lines, read_log

LAST_OF_LOG = 10_000
"""Characters in which the error of a failed process is searched for."""


@dataclass(frozen=True)
class InferenceAttempt:
    """One attempt at the gate with everything that it left.

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


def inference_evidence(
    *,
    exit_code: int | None,
    log: Path,
    expected_checkpoints: Mapping[str, str],
    checkpoints: Mapping[str, CheckpointRef | Path],
    picture: PictureCheck,
    found: Measured,
    draw: int,
    drawn_starts: tuple[int, ...] | None,
    backbones: Mapping[str, Mapping[str, int]] | None = None,
    recorded: Sequence[Condition] = (),
) -> InferenceEvidence:
    """What an inference run left, as the verdict takes it: at the attempt, and when its files are read again.

    Args:
        expected_checkpoints: stage → the path that the log must name.
        drawn_starts: the first frames of that draw's clips; None where the harness drew none.
        backbones: stage → its own backbone, where the stages of a checkout may differ (C2).
        recorded: conditions on the training of the models (`provenance.py`).
    """
    text = read_log(log)
    return InferenceEvidence(
        exit_code=exit_code,
        error="" if exit_code == 0 else shown_error(text[-LAST_OF_LOG:]) or "",
        log=inference_lines(text),
        expected_checkpoints=expected_checkpoints,
        picture=picture.path.name if picture.path else None,
        picture_problem=picture.problem,
        measures=found.measures,
        measures_problem=found.problem,
        draw=draw,
        measured_starts=found.starts,
        drawn_starts=drawn_starts,
        claims=(*found.claims, *recorded),
        agreement=agreement_conditions(checkpoints, backbones),
        custom=found.custom,
    )


def bind_attempt(
    job: InferenceJob,
    number: int,
    draw: int,
    checkpoints: Mapping[str, CheckpointRef],
    measures: GateMeasures | None,
    source: SourceState,
) -> Binding:
    """What a verdict on these checkpoints and measures depends on, by the journal as it is now."""
    events = job.journal.events()
    return bind(
        job.settings,
        draw,
        weights_of(checkpoints),
        clip_digest=measures.clip_digest if measures else None,
        dataset_sha256=dataset_sha256(events),
        evaluation_sha256=evaluation_sha256(events, draw),
        source=source,
        custom=job.custom,
        checkpoint_files=checkpoint_digests([one.path for one in checkpoints.values()]),
        evidence=file_digests(job.layout.project_root, evidence_paths(job.layout.project_root, events, number, draw)),
    )


EVIDENCE = {
    "inference_finished": ("measures_file", "log", "picture"),
    "probe_finished": ("request", "frames", "log"),
    "target_inference_finished": ("log", "picture"),
}
"""Event of an attempt → fields that name its evidence files."""


def evidence_paths(root: Path, events: Sequence[Event], attempt: int, draw: int) -> set[str]:
    """The files that a verdict on an attempt is taken from, as the journal and its measures file name them."""
    found = {name: last_event(events, name, attempt=attempt, draw=draw) or {} for name in EVIDENCE}
    paths = {str(found[name][field]) for name, fields in EVIDENCE.items() for field in fields if found[name].get(field)}
    measures = found["inference_finished"].get("measures_file")
    if not measures:
        return paths
    card = str(scorecard_path(Path(measures)))
    more = {card} if (root / card).is_file() else set()  # attempts of older versions have none
    return paths | more | {str(Path(measures).with_name(_frames_of(root / measures)))}


def named_scorecard(
    card: Scorecard,
    events: Sequence[Event],
    run: str,
    attempt: int,
    draw: int,
    *,
    weights: Mapping[str, str],
    commit: str | None,
) -> Scorecard:
    """The scorecard of an attempt with its name, weights, speed and who trained it, by the journal."""
    started: Event = next((event for event in events if event["event"] == "run_started"), {})
    wall = (last_event(events, "inference_finished", attempt=attempt, draw=draw) or {}).get("wall_s")
    frames = len(card.clips) * int(card.settings.get("generation_steps") or 0)
    trained = {"seed": started.get("seed"), "profile": started.get("profile"), "commit": commit}
    return replace(
        card,
        name=f"{run}, {attempt_name(attempt, draw)}",
        source=f"run {run} {attempt}.{draw}",
        weights=dict(weights),
        trained=trained,
        frames_per_s=round(frames / wall, 2) if isinstance(wall, int | float) and wall > 0 else None,
    )


def _frames_of(measures_file: Path) -> str:
    """The name of the generated frames beside a measures file."""
    usual = f"{measures_file.stem}_frames.h5"
    try:
        return Path(str(read_raw(measures_file)["generated_frames"])).name or usual
    except (MeasuresError, KeyError, OSError):
        return usual


def file_digests(root: Path, paths: Iterable[str]) -> dict[str, str | None]:
    """Path (relative to ``root`` where it lies inside) → SHA-256 of the file; None where there is none."""
    return {path: sha256_of(root / path) if (root / path).is_file() else None for path in sorted(paths)}


def checkpoint_digests(folders: Iterable[Path]) -> dict[str, str | None]:
    """The same of state and manifest in these checkpoint folders, as `dynamics_step_119/state.pt`.

    The digests of the weights are bound by stage. No path: a moved project has the same checkpoints.
    """
    names = (STATE_FILE, MANIFEST_FILE)
    return {
        f"{folder.name}/{name}": digest for folder in folders for name, digest in file_digests(folder, names).items()
    }


# Rebuild an attempt from the journal on resume, and check that its verdict still holds.


def attempt_from_journal(
    root: Path, clips: ClipPlan, finished: Event, verdict: Event, training: TrainingFrames | None = None
) -> InferenceAttempt:
    """The attempt of its ``inference_finished`` and ``gate_verdict``; its measures file is read again."""
    judged = GateVerdict(
        verdict["verdict"],
        verdict["sentence"],
        [Condition(**condition) for condition in verdict["conditions"]],
        GateThresholds.from_record(verdict["thresholds"]),
    )
    picture, measures_file = finished.get("picture"), finished.get("measures_file")
    draw = attempt_of(finished)[1]
    found = None
    if measures_file:
        found = measured(root / measures_file, root, clips.frames_of(draw), training=training).measures
    return InferenceAttempt(
        number=finished["attempt"],
        verdict=judged,
        measures=found,
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
    job: InferenceJob, attempt: InferenceAttempt, checkpoints: Mapping[str, CheckpointRef], source: SourceState
) -> list[str]:
    """What has changed since an attempt's verdict, by what it depends on; empty: the verdict still holds.

    ``checkpoints`` and ``source`` are the current ones.
    """
    now = bind_attempt(job, attempt.number, attempt.draw, checkpoints, attempt.measures, source)
    return changed_since(attempt.binding, now)
