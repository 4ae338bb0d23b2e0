"""The command `tinyworlds-gate bench`: how fast this machine trains (`train`), scores (`gate`) and audits (`audit`),
and what the harness itself costs (`loop`).

    make bench
    tinyworlds-gate bench gate --clips 64 --steps 12
    tinyworlds-gate bench audit --commits 10000

`train`: one process, random frames, new weights: forward, backward, clipping, AdamW; no data, no checkpoints, no other
workers. `gate`: `tinyworlds_gate/gate/speed.py`. `audit`: `tinyworlds_gate/evidence/audit_speed.py`.
`loop`: `tinyworlds_gate/loop_speed.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from tinyworlds_gate.config.load import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be measured."""
    from tinyworlds_gate import loop_speed
    from tinyworlds_gate.evidence import audit_speed
    from tinyworlds_gate.gate import speed

    kinds = parser.add_subparsers(dest="what", required=True, metavar="train|gate|audit|loop")
    loop_speed.add_arguments(kinds.add_parser("loop", help="what the harness itself costs"))
    train = kinds.add_parser("train", help="updates per second of each stage")
    speed.add_arguments(kinds.add_parser("gate", help="seconds to score clips"))
    audit_speed.add_arguments(kinds.add_parser("audit", help="seconds to audit a generated git history"))
    train.add_argument("--profile", default="smoke", help="sizes and batch sizes (default: %(default)s)")
    train.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    train.add_argument(
        "--threads", type=_positive, default=1, help="CPU threads, as a worker has (default: %(default)s)"
    )
    train.add_argument(
        "--rounds", type=_positive, default=7, help="timed rounds, of which the median (default: %(default)s)"
    )
    train.add_argument("--updates", type=_positive, default=10, help="updates of a round (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure, print a table and then one line of JSON with everything that was measured.

    Raises:
        GateError: the profile is wrong, or there is no CUDA device.
    """
    if args.what == "audit":
        from tinyworlds_gate.evidence import audit_speed

        return audit_speed.run(args)
    if args.what == "loop":
        from tinyworlds_gate import loop_speed

        return loop_speed.run(args)
    if args.what == "gate":
        from tinyworlds_gate.gate import speed

        return speed.run(args)
    import torch
    from rich.console import Console
    from rich.table import Table

    from tinyworlds_gate.config.load import resolve_settings
    from tinyworlds_gate.reference.training.distributed import choose_device

    settings = resolve_settings(args.profile, {}, project_root=Path.cwd())
    device = choose_device(args.device, 0)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    results = [measure_stage(stage, settings, device, args.rounds, args.updates) for stage in settings.stages]
    torch.set_num_threads(threads_before)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {args.threads} thread(s)"
    table = Table(title=f"training, eager, profile {args.profile}, {where}")
    for heading in ("stage", "weights", "batch", "updates/s", "slowest–fastest", "rounds"):
        table.add_column(heading, justify="left" if heading == "stage" else "right", no_wrap=True)
    for row in results:
        rates = (f"{row['updates_per_s']:.2f}", f"{row['slowest']:.2f}–{row['fastest']:.2f}")
        table.add_row(row["stage"], str(row["parameters"]), str(row["batch"]), *rates, str(row["rounds"]))
    Console().print(table)
    record = {"bench": "train", "torch": torch.__version__, "device": where, "profile": args.profile, "stages": results}
    print(json.dumps(record))
    return 0


def measure_stage(stage: str, settings: Settings, device: torch.device, rounds: int, updates: int) -> dict[str, Any]:
    """Updates per second of a stage: the median over ``rounds``, after one more round of warm-up."""
    import torch

    from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
    from tinyworlds_gate.reference.models.param_groups import parameter_groups
    from tinyworlds_gate.reference.models.sizes import ModelSizes
    from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
    from tinyworlds_gate.reference.training import objectives as kinds

    training, config = settings.training, settings.stages[stage]
    sizes = ModelSizes.from_mapping(training.model_dump())
    if stage == "dynamics":
        frozen = VideoTokenizer(sizes).eval(), LatentActionModel(sizes).eval()
        objective: kinds.Objective = kinds.DynamicsObjective(sizes, *frozen).to_device(device)
    else:
        objective = kinds.build_objective(stage, sizes).to(device)
    optimizer = torch.optim.AdamW(parameter_groups(objective.model), lr=config.learning_rate)
    side = training.frame_size
    frames = torch.rand(config.batch_size_per_gpu, training.context_length, 3, side, side, device=device) * 2 - 1

    def one_round() -> float:
        began = time.perf_counter()
        for _ in range(updates):
            with torch.autocast(device.type, torch.bfloat16, enabled=training.amp and device.type == "cuda"):
                loss, _ = objective(*objective.prepare(frames))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(objective.parameters(), config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    one_round()
    rates = [updates / one_round() for _ in range(rounds)]
    return {
        "stage": stage,
        "parameters": sum(parameter.numel() for parameter in objective.parameters()),
        "batch": config.batch_size_per_gpu,
        "updates_per_s": round(statistics.median(rates), 3),
        "slowest": round(min(rates), 3),
        "fastest": round(max(rates), 3),
        "rounds": rounds,
        "updates_per_round": updates,
    }


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)
