"""Read device samples and heartbeats from a JSONL file, to judge a finished chunk again (L3, H6)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.launch.devices.nvml import DeviceSample
from tinyworlds_gate.run.heartbeat import Beat
from tinyworlds_gate.run.plain_json import load_json

_SAMPLE, _BEAT = TypeAdapter(DeviceSample), TypeAdapter(Beat)
LONGEST_PROBLEM = 300


@dataclass(frozen=True)
class RecordedSamples:
    """Device samples and heartbeats of a chunk (no heartbeats if the file holds samples only)."""

    samples: tuple[DeviceSample, ...]
    beats: tuple[Beat, ...]

    @property
    def tree(self) -> frozenset[int]:
        """All PIDs of the launcher's process tree."""
        return frozenset(pid for sample in self.samples for pid in sample.tree)


def read_samples(path: Path) -> RecordedSamples:
    """Return the samples, and the heartbeats in the same file (``kind: beat``); an incomplete last line is skipped.

    Raises:
        DataError: the file cannot be read, or a line is not a sample.
    """
    samples: list[DeviceSample] = []
    beats: list[Beat] = []
    fix = "name a file results/RUN/devices/chunk_….jsonl"
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}; {fix}") from error
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = load_json(line)
            if record.get("kind", "sample") == "sample":
                samples.append(_SAMPLE.validate_python(record))
            else:
                beats.append(_BEAT.validate_python({"host": "", **record}))
        except (ValueError, AttributeError) as error:
            why = " ".join(str(error).split())[:LONGEST_PROBLEM]
            raise DataError(f"{path}, line {number} is not a device sample ({why}); {fix}") from error
    return RecordedSamples(tuple(samples), tuple(beats))
