"""Build run folders for tests of the watch: journal, heartbeats, histories, samples and files with chosen times."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyworlds_gate.reference.training.history import COLUMNS
from tinyworlds_gate.run.layout import RunLayout

START = 1_795_406_400.0
"""The run's first event, Unix seconds."""
GPUS = [
    {"index": index, "name": "NVIDIA H200", "uuid": f"GPU-{index}", "memory_gib": 139.8, "mig": False}
    for index in (0, 1)
]
TARGETS = {"video_tokenizer": 40000, "latent_actions": 10000, "dynamics": 300000}


class WatchedRun:
    """A run under ``root``; times are seconds after its start."""

    def __init__(self, root: Path, run: str = "longrun_sample") -> None:
        self.layout = RunLayout(root, run).create()
        self.seq = 0

    def event(self, event: str, at: float, **fields: Any) -> bytes:
        """Append an event to the journal and return its line."""
        record = {"seq": self.seq, "time": START + at, "event": event, **fields}
        line = json.dumps(record).encode() + b"\n"
        with self.layout.journal.open("ab") as file:
            file.write(line)
        self.seq += 1
        return line

    def begin(self, gpus: Sequence[dict[str, Any]] = (), at: float = 0.0, **fields: Any) -> WatchedRun:
        """The run's first two events."""
        run = {"run": self.layout.run, "profile": "longrun", "machine": {"gpus": list(gpus)}, "resumed": False}
        self.event("run_started", at, **{**run, **fields})
        settings = {f"profile.stages.{stage}.target_updates": {"value": end} for stage, end in TARGETS.items()}
        settings["options.monitor_interval_sec"] = {"value": 5}
        self.event("settings_resolved", at + 0.1, settings=settings)
        return self

    def chunk(self, number: int, stage: str, at: float, *, start: int = 0, end: int = 5000, **fields: Any) -> None:
        """Append `chunk_started`."""
        values: dict[str, Any] = {
            "reason": "planned",
            "log": f"results/{self.layout.run}/logs/chunk_{number:03d}_{stage}.log",
            "target_updates": TARGETS[stage],
            "params": {"learning_rate": 3e-4, "log_interval": 500},
            "effective_batch": 32,
        }
        self.event(
            "chunk_started",
            at,
            **{"chunk": number, "stage": stage, "start_update": start, "end_update": end, **values, **fields},
        )

    def chunk_done(self, number: int, stage: str, at: float, step: int, **fields: Any) -> None:
        """Append `chunk_finished` of a valid chunk."""
        moved = {id: {"verdict": "PASS", "reason": "moved"} for id in ("M1", "M2", "M3")}
        values = {"cause": "ok", "wall_s": 60.0, "final_loss": 0.01, "updates_per_s": 3.0, "failure": None}
        done = {"chunk": number, "stage": stage, "checkpoint": {"step": step}, "channels": moved}
        self.event("chunk_finished", at, **{**values, **done, **fields})

    def beat(self, chunk: int, rank: int, at: float, step: int, device: str = "cpu", pid: int | None = None) -> None:
        """Append a heartbeat; the worker uses 0.9 of a core."""
        folder = self.layout.chunk_heartbeats(chunk)
        folder.mkdir(parents=True, exist_ok=True)
        own = 4000 + rank if pid is None else pid
        record = {"rank": rank, "pid": own, "device": device, "step": step, "time": START + at}
        record |= {"monotonic": 9000.0 + at, "cpu_s": 0.9 * at}
        with (folder / f"rank_{rank}_{own}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def rows(self, stage: str, losses: Sequence[float], *, start: int = 0, at: float | None = None) -> Path:
        """Append rows to the stage's history; ``at``: the file's time."""
        path = self.layout.history(stage)
        text = "" if path.exists() else ",".join(COLUMNS) + "\r\n"
        for step, loss in enumerate(losses, start=start):
            cells = {"_step": step, "train/loss": repr(loss), "_timestamp": "1.000", "learning_rate/group_0": "0.1"}
            text += ",".join(str(cells.get(name, "")) for name in COLUMNS) + "\r\n"
        with path.open("a", newline="") as file:
            file.write(text)
        return _dated(path, at)

    def checkpoint(self, stage: str, step: int, at: float) -> Path:
        """A checkpoint's folder."""
        path = self.layout.checkpoint(stage, step)
        path.mkdir(parents=True)
        return _dated(path, at)

    def picture(self, stage: str, step: int, at: float) -> Path:
        """A picture's file."""
        folder = self.layout.visualizations(stage)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{stage}_step_{step}.png"
        path.touch()
        return _dated(path, at)

    def sample(self, chunk: int, at: float, busy: Sequence[float] = (), pids: Sequence[int] = ()) -> None:
        """A device sample: GPU ``i`` is busy ``busy[i]`` percent, and worker ``pids[i]`` holds memory on it."""
        gpus = [
            {
                "uuid": f"GPU-{index}",
                "util_pct": percent,
                "memory_used_gib": 31.4,
                "processes": {str(pids[index]): 31.0} if pids else {},
            }
            for index, percent in enumerate(busy)
        ]
        record = {"time": START + at, "tree": list(pids), "gpus": gpus}
        with self.layout.chunk_devices(chunk).open("a") as file:
            file.write(json.dumps(record) + "\n")


def _dated(path: Path, at: float | None) -> Path:
    if at is not None:
        os.utime(path, (START + at, START + at))
    return path


def long_run(root: Path, *, stuck: bool = False) -> tuple[WatchedRun, float]:
    """Two GPUs in the tokenizer's second chunk, and the time of the snapshot (Unix seconds).

    With ``stuck`` nothing has moved for the last 14 minutes; checkpoints came every 2 minutes before.
    """
    run = WatchedRun(root).begin(GPUS)
    run.event("dataset_ready", 1.0, name="ZELDA", frames=65000, episodes=41)
    run.chunk(1, "video_tokenizer", 2.0)
    run.chunk_done(1, "video_tokenizer", 1200.0, 4999)
    gate = {
        "stage": "video_tokenizer",
        "id": "S1",
        "decision": "watch",
        "reason": "The loss 0.013 is at most 0.02.",
    }
    run.event("stage_gate", 1201.0, chunk=1, **gate)
    run.chunk(2, "video_tokenizer", 1202.0, start=5000, end=10000)
    run.rows("video_tokenizer", [0.5 / (1 + update / 300) for update in range(6500)], at=1620.0)
    for count in range(3):
        at, step = 1382.0 + 120.0 * count, 5499 + 500 * count
        run.checkpoint("video_tokenizer", step, at)
        run.picture("video_tokenizer", step, at + 0.5)
    last = 1640.0
    for second in range(1220, int(last) + 1):
        for rank in (0, 1):
            run.beat(2, rank, second, 5000 + int((second - 1220) * 4.2), f"GPU-{rank}")
    run.sample(2, last, busy=(97.0, 96.0), pids=(4000, 4001))
    return run, START + (last + 700.0 if stuck else last + 0.6)
