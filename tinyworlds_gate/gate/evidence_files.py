"""What the files of an inference run say, at the time of the attempt and when its verdict is looked at again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.gate.claims import claim_conditions
from tinyworlds_gate.gate.clip_facts import ClipFacts, clip_facts
from tinyworlds_gate.gate.condition import Condition
from tinyworlds_gate.gate.measures import GateMeasures, MeasuresError, read_raw, summarise
from tinyworlds_gate.gate.recomputed import Recomputed, recomputed
from tinyworlds_gate.names import EVALUATION, INVALID
from tinyworlds_gate.reference.rollout.generated_frames import read_generated
from tinyworlds_gate.run.journal import Event, last_event


@dataclass(frozen=True)
class Measured:
    """What a measures file is worth: its summary, the first frames of its clips, and how its statements held.

    Without a summary it is no evidence at all, and ``problem`` says why.
    """

    measures: GateMeasures | None
    starts: tuple[int, ...] = ()
    problem: str = ""
    claims: tuple[Condition, ...] = ()


def measured(
    path: Path,
    root: Path,
    frames: Path | None = None,
    *,
    asked: Mapping[str, Any] | None = None,
    weights: Mapping[str, str] | None = None,
) -> Measured:
    """Read what the process wrote, held to what the harness finds itself (`claims.py`).

    Args:
        path: the measures file; the generated frames lie beside it.
        root: the folder that a relative path of the frames file starts from.
        frames: the frames file of the run, whatever the process says that it read; None believes the process.
        asked: setting → value that the run was to be measured with; None does not look.
        weights: stage → SHA-256 of the weights that were to be measured; None does not look.
    """
    try:
        raw = read_raw(path)
        if frames is not None and raw.get("data_path") is not None:
            raw["data_path"] = str(frames)
        facts = clip_facts(raw, root)
        measures = summarise(raw, facts)
    except MeasuresError as error:
        return Measured(None, problem=str(error))
    starts = tuple(int(clip["start"]) for clip in raw["clips"])
    made, problem = _generated(path, raw, facts)
    claims = [*claim_conditions(raw, facts, made, asked, weights)]
    if problem:
        claims.append(Condition("G5.recomputed", INVALID, problem))
    return Measured(measures, starts, claims=tuple(claims))


def _generated(path: Path, raw: Mapping[str, Any], facts: ClipFacts) -> tuple[Recomputed | None, str]:
    name = raw.get("generated_frames")
    if not isinstance(name, str) or Path(name).name != name:
        return (
            None,
            "the inference run names no file with the frames that it generated, so its errors cannot be checked",
        )
    try:
        return recomputed(read_generated(path.parent / name), facts.true_BSHWC), ""
    except (DataError, MeasuresError) as error:
        return None, f"its errors cannot be checked: {error}"


def dataset_sha256(events: Iterable[Event]) -> str | None:
    """SHA-256 of the frames file that the run was prepared on; None when it was not."""
    ready = last_event(list(events), "dataset_ready")
    return None if ready is None else str(ready["sha256"])


def evaluation_sha256(events: Iterable[Event], draw: int) -> str | None:
    """SHA-256 of the evaluation set that a draw's clips lie in; None for clips of the frames file."""
    ready = last_event(list(events), "dataset_ready") if draw == EVALUATION else None
    evaluation = (ready or {}).get("evaluation")
    return None if evaluation is None else str(evaluation["sha256"])
