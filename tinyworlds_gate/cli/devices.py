"""The command `tinyworlds-gate devices SAMPLES.jsonl`: judge the device samples of a finished chunk again (L3, H6)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tinyworlds_gate.config.cli_values import parse_whole
from tinyworlds_gate.launch.devices.concurrency import judge_dual_gpu
from tinyworlds_gate.launch.devices.samples_file import read_samples
from tinyworlds_gate.run.heartbeat import HeartbeatReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("samples", type=Path, metavar="SAMPLES.jsonl", help="results/RUN/devices/chunk_….jsonl")
    parser.add_argument(
        "--workers", type=parse_whole, default=2, metavar="N", help="workers of the launcher (default: 2)"
    )
    parser.add_argument("--heartbeats", type=Path, metavar="FOLDER", help="the chunk's heartbeats, if any")
    parser.add_argument("--gpu-util-threshold", type=float, default=1.0, metavar="PCT", help="default: %(default)s")
    parser.add_argument("--gpu-required-samples", type=parse_whole, default=2, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print whether all workers were busy at the same time, and why; return 0 if they were, else 1."""
    recorded = read_samples(args.samples)
    beats = HeartbeatReader(args.heartbeats).poll() if args.heartbeats is not None else list(recorded.beats)
    ok, reason = judge_dual_gpu(
        recorded.samples, beats, recorded.tree, args.workers, args.gpu_util_threshold, args.gpu_required_samples
    )
    if args.json:
        print(json.dumps({"dual_gpu_ok": ok, "reason": reason, "samples": len(recorded.samples), "beats": len(beats)}))
    else:
        print(f"dual_gpu_ok {'unknown' if ok is None else ok}: {reason}")
    return 0 if ok else 1
