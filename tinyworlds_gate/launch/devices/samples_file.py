"""Read device samples and heartbeats from a JSONL file, to judge a finished chunk again (L3, H6)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.launch.devices.nvml import DeviceSample, GpuSample
from tinyworlds_gate.run.heartbeat import Beat


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
    for number, record in _records(path):
        try:
            if record.get("kind", "sample") == "sample":
                samples.append(_sample(record))
            else:
                beats.append(Beat(**{"host": "", **{key: value for key, value in record.items() if key != "kind"}}))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path}, line {number} is not a device sample ({error!r}); "
                "name a file results/RUN/devices/chunk_….jsonl"
            ) from error
    return RecordedSamples(tuple(samples), tuple(beats))


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}; name a file results/RUN/devices/chunk_….jsonl") from error
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}") from error
        yield number, record


def _sample(record: dict[str, Any]) -> DeviceSample:
    return DeviceSample(
        time=float(record["time"]),
        monotonic=float(record["monotonic"]),
        baseline=bool(record["baseline"]),
        gpus=tuple(_gpu(gpu) for gpu in record["gpus"]),
        tree=tuple(int(pid) for pid in record["tree"]),
        cpu_s=_by_pid(record.get("cpu_s")) or {},
    )


def _gpu(record: dict[str, Any]) -> GpuSample:
    """Samples of older versions have no ``activity``."""
    return GpuSample(
        uuid=str(record["uuid"]),
        util_pct=record["util_pct"],
        memory_used_gib=record["memory_used_gib"],
        processes=_by_pid(record["processes"]),
        activity=_by_pid(record.get("activity")),
        activity_told=record.get("activity_told"),
    )


def _by_pid(record: dict[str, Any] | None) -> dict[int, Any] | None:
    """Convert the keys back to integers (JSON has text keys only)."""
    return None if record is None else {int(pid): value for pid, value in record.items()}
