"""Measure the CPU time of `tinyworlds-gate watch` on a growing run.

    python -m tests.helpers.watch_cost --seconds 75 [--plain]

The run is a long one on two GPUs in its second chunk: a heartbeat a second from each worker, 4 updates a second in the
history (40,000 rows are there before), a device sample every 5 s, a checkpoint and a picture every 15 s. The page is
drawn on a pseudo-terminal of 120 columns and 50 rows. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

import psutil

from tests.helpers.tiny_project import environment
from tests.helpers.watched_runs import GPUS, START, WatchedRun

COLUMNS, ROWS = 120, 50
UPDATES_PER_S = 4
ROWS_BEFORE = 40_000
SETTLED_S = 5.0
"""Python startup and the first read are measured separately."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=75.0)
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = start_run(Path(folder))
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        words = ["watch", str(run.layout.root), "--for", "4h", *(["--plain"] if args.plain else [])]
        command = [sys.executable, "-m", "tinyworlds_gate", *words]
        env = environment() | {"TERM": "xterm-256color"}
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=env)
        os.close(slave)
        threading.Thread(target=_drain, args=(master,), daemon=True).start()
        try:
            print(json.dumps({"plain": args.plain, **measure(run, psutil.Process(process.pid), args.seconds)}))
        finally:
            process.terminate()
            process.wait(timeout=10)


def start_run(root: Path) -> WatchedRun:
    """Create the run at the start of the watch."""
    run = WatchedRun(root)
    run.begin(GPUS, at=_now() - 600.0)
    run.chunk(1, "dynamics", _now() - 590.0, end=ROWS_BEFORE)
    run.chunk_done(1, "dynamics", _now() - 20.0, ROWS_BEFORE - 1)
    run.rows("dynamics", [5.0 / (1 + step / 4000) for step in range(ROWS_BEFORE)])
    run.chunk(2, "dynamics", _now() - 10.0, start=ROWS_BEFORE, end=2 * ROWS_BEFORE)
    return run


def measure(run: WatchedRun, watch: psutil.Process, seconds: float) -> dict[str, float]:
    """Extend the run every second and return the CPU time of the watch after 5 s and at the end."""
    began, settled = time.monotonic(), None
    for second in range(int(seconds)):
        step = ROWS_BEFORE + UPDATES_PER_S * second
        for rank in (0, 1):
            run.beat(2, rank, _now(), step, f"GPU-{rank}")
        run.rows("dynamics", [0.4] * UPDATES_PER_S, start=step)
        if second % 5 == 0:
            run.sample(2, _now(), busy=(97.0, 96.0), pids=(4000, 4001))
        if second % 15 == 14:
            run.checkpoint("dynamics", step, _now())
            run.picture("dynamics", step, _now())
        time.sleep(max(0.0, began + second + 1 - time.monotonic()))
        if settled is None and time.monotonic() - began >= SETTLED_S:
            settled = (time.monotonic(), _cpu_s(watch))
    assert settled is not None, "give more than 5 seconds"
    end_s, cpu_s = time.monotonic(), _cpu_s(watch)
    return {
        "seconds": round(end_s - began, 1),
        "cpu_s_with_start": round(cpu_s, 3),
        "percent_of_a_core_with_start": round(100 * cpu_s / (end_s - began), 3),
        "percent_of_a_core": round(100 * (cpu_s - settled[1]) / (end_s - settled[0]), 3),
        "memory_mib": round(watch.memory_info().rss / 2**20, 1),
    }


def _now() -> float:
    """Seconds after the sample run's start."""
    return time.time() - START


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _drain(terminal: int) -> None:
    while True:
        try:
            if not os.read(terminal, 65536):
                return
        except OSError:
            return


if __name__ == "__main__":
    main()
