"""The command line shared by the three stage scripts (docs/external-checkouts.md)."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinyworlds_gate.config.stage_config import StageRunConfig, load_stage_config
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.disk import DISK_FULL_ERRNOS

if TYPE_CHECKING:
    from tinyworlds_gate.reference.training.distributed import Worker

EXIT_STAGE_ERROR = 3


def main(stage: str, argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and train; exit with 0 after ``n_updates``, with 3 and one error line for a GateError."""
    parser = argparse.ArgumentParser(prog=f"train_{stage}.py", description=f"Train the stage {stage}.")
    parser.add_argument("--config", type=Path, default=Path(f"configs/{stage}.yaml"), help="the stage's YAML file")
    parser.add_argument(
        "--training_config", type=Path, default=Path("configs/training.yaml"), help="the YAML file all stages share"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that win over both files")
    args = parser.parse_args(argv)
    try:
        config = load_stage_config(stage, args.config, args.training_config, args.overrides)
        # Off until training begins: objects of imports and compilation are permanent, and scanning them repeatedly
        # takes a quarter of a start (docs/performance.md).
        gc.disable()
        # Imported after the arguments are checked, so that a typo fails at once.
        from torch.distributed.elastic.multiprocessing.errors import record

        # `record` writes a rank's exception to torchrun's error file.
        record(_train)(stage, config)
    except GateError as error:
        _print_error(stage, str(error))
        sys.exit(EXIT_STAGE_ERROR)
    except OSError as error:
        if error.errno not in DISK_FULL_ERRNOS:
            raise
        problem = f"cannot write {error.filename or 'an output file'}: {error.strerror}"
        _print_error(stage, f"{problem}. Earlier checkpoints are untouched; free disk space, then resume")
        sys.exit(EXIT_STAGE_ERROR)
    finally:
        gc.enable()


def _print_error(stage: str, sentence: str) -> None:
    with contextlib.suppress(OSError):  # the log may be on the full disk
        print(f"[{stage}] error: {sentence}", file=sys.stderr, flush=True)


def _train(stage: str, config: StageRunConfig) -> None:
    from tinyworlds_gate.reference.training.distributed import worker_session
    from tinyworlds_gate.reference.training.heap import keep_freed_memory

    faulthandler.enable()
    distributed = config.training.distributed
    # FSDP needs the process group too; a single process does not shard.
    grouped = distributed.use_ddp or (distributed.use_fsdp and "RANK" in os.environ)
    with worker_session(use_ddp=grouped, device_setting=config.training.device) as worker:
        if worker.device.type == "cpu":
            keep_freed_memory()
        # A separate function, so that nothing references model and group when the session ends.
        _train_as(worker, stage, config)


def _train_as(worker: Worker, stage: str, config: StageRunConfig) -> None:
    from tinyworlds_gate.reference.training.job import StageJob
    from tinyworlds_gate.reference.training.trainer import Trainer

    trainer = Trainer(StageJob(stage, config.training, config.stage), worker, Path.cwd())
    gc.enable()
    if worker.is_main:
        parameters = sum(p.numel() for p in trainer.model.parameters())
        print(f"{stage} training on {worker.device.type} with {worker.world_size} worker(s)", flush=True)
        place, here = Path(os.path.abspath(trainer.run_root / stage)), Path.cwd()
        shown = place.relative_to(here) if place.is_relative_to(here) else place
        print(f"Results will be saved in {shown}", flush=True)
        print(f"{type(trainer.model).__name__} parameters: {parameters / 1e6:.2f}M ({parameters})", flush=True)
        if trainer.sharded:
            from tinyworlds_gate.reference.training.sharding import local_weight_count

            local = local_weight_count(trainer.model)
            print(f"sharded by FSDP2, without CUDA graphs: rank 0 holds {local} of {parameters} weights", flush=True)
        print(f"ready after {trainer.startup}", flush=True)
        print(f"updates {trainer.start_update} to {config.stage.n_updates}, schedule {trainer.schedule}", flush=True)
    trainer.train()
