"""The command line that the three stage scripts share (shared/spec/tinyworlds.md §2)."""

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
    """Parse, train, and exit: 0 when ``n_updates`` were taken, 3 with one sentence when the stage cannot go on."""
    parser = argparse.ArgumentParser(prog=f"train_{stage}.py", description=f"Train the stage {stage}.")
    parser.add_argument("--config", type=Path, default=Path(f"configs/{stage}.yaml"), help="the stage's YAML file")
    parser.add_argument(
        "--training_config", type=Path, default=Path("configs/training.yaml"), help="the YAML file all stages share"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that win over both files")
    args = parser.parse_args(argv)
    try:
        config = load_stage_config(stage, args.config, args.training_config, args.overrides)
        # Until training begins: what imports and compilation make stays, and the collector would walk it again and
        # again, a quarter of a start (docs/performance.md).
        gc.disable()
        # torch is imported after the arguments are known to be good, so that a typo answers at once.
        from torch.distributed.elastic.multiprocessing.errors import record

        # `record` leaves the exception of a rank in torchrun's error file; a GateError has its own sentence.
        record(_train)(stage, config)
    except GateError as error:
        _say_error(stage, str(error))
        sys.exit(EXIT_STAGE_ERROR)
    except OSError as error:
        if error.errno not in DISK_FULL_ERRNOS:
            raise
        told = f"cannot write {error.filename or 'an output file'}: {error.strerror}"
        _say_error(stage, f"{told}. Earlier checkpoints are untouched; free the disk, then resume")
        sys.exit(EXIT_STAGE_ERROR)
    finally:
        gc.enable()


def _say_error(stage: str, sentence: str) -> None:
    with contextlib.suppress(OSError):  # the log may lie on the disk that is full
        print(f"[{stage}] error: {sentence}", file=sys.stderr, flush=True)


def _train(stage: str, config: StageRunConfig) -> None:
    from tinyworlds_gate.reference.training.distributed import worker_session

    faulthandler.enable()
    distributed = config.training.distributed
    # Sharding needs the group too; a single process has nothing to shard.
    grouped = distributed.use_ddp or (distributed.use_fsdp and "RANK" in os.environ)
    with worker_session(use_ddp=grouped, device_setting=config.training.device) as worker:
        # A function of its own, so that model and group are free when the session ends.
        _train_as(worker, stage, config)


def _train_as(worker: Worker, stage: str, config: StageRunConfig) -> None:
    from tinyworlds_gate.reference.training.job import StageJob
    from tinyworlds_gate.reference.training.trainer import Trainer

    trainer = Trainer(StageJob(stage, config.training, config.stage), worker, Path.cwd())
    gc.enable()
    if worker.is_main:
        parameters = sum(p.numel() for p in trainer.model.parameters())
        print(f"{stage} training on {worker.device.type} with {worker.world_size} worker(s)", flush=True)
        print(f"Results will be saved in {os.path.relpath(trainer.run_root / stage)}", flush=True)
        print(f"{type(trainer.model).__name__} parameters: {parameters / 1e6:.2f}M ({parameters})", flush=True)
        if trainer.sharded:
            from tinyworlds_gate.reference.training.sharding import own_weights

            kept = own_weights(trainer.model)
            print(f"sharded by FSDP2, without CUDA graphs: rank 0 keeps {kept} of {parameters} weights", flush=True)
        print(f"ready after {trainer.preparation}", flush=True)
        print(f"updates {trainer.start_update} to {config.stage.n_updates}, schedule {trainer.schedule}", flush=True)
    trainer.train()
