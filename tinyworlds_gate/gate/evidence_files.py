"""What the files of an inference run say, at the time of the attempt and when its verdict is looked at again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.gate.clip_facts import clip_facts
from tinyworlds_gate.gate.measures import GateMeasures, MeasuresError, read_raw, summarise
from tinyworlds_gate.run.journal import Event, last_event


@dataclass(frozen=True)
class Measured:
    """The summary of a measures file and the first frames of its clips; or the problem, where it is no evidence."""

    measures: GateMeasures | None
    starts: tuple[int, ...]
    problem: str


def measured(path: Path, root: Path, frames: Path | None = None) -> Measured:
    """Read what the process wrote, held to the clips as the harness itself cuts them from the frames file.

    Args:
        path: the measures file.
        root: the folder that a relative path of the frames file starts from.
        frames: the frames file of the run, whatever the process says that it read; None believes the process.
    """
    try:
        raw = read_raw(path)
        if frames is not None and raw.get("data_path") is not None:
            raw["data_path"] = str(frames)
        measures = summarise(raw, clip_facts(raw, root))
    except MeasuresError as error:
        return Measured(None, (), str(error))
    return Measured(measures, tuple(int(clip["start"]) for clip in raw["clips"]), "")


def dataset_sha256(events: Iterable[Event]) -> str | None:
    """SHA-256 of the frames file that the run was prepared on; None when it was not."""
    ready = last_event(list(events), "dataset_ready")
    return None if ready is None else str(ready["sha256"])
