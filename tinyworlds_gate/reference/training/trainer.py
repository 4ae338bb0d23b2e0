"""Train one stage to `n_updates` and write checkpoints, history and pictures.

Run through the stage scripts, for example:
    torchrun --standalone --nproc_per_node=2 tinyworlds_gate/reference/scripts/train_dynamics.py \
        --config configs/dynamics.yaml --training_config configs/training.yaml n_updates=600
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tinyworlds_gate.checkpoints.durable import require_room
from tinyworlds_gate.checkpoints.integrity import sha256_of, verify_checkpoint
from tinyworlds_gate.checkpoints.layout import MANIFEST_FILE, list_checkpoints
from tinyworlds_gate.checkpoints.retention import Retention
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.errors import CheckpointError, TrainingError
from tinyworlds_gate.reference.models.kernels import background_builds, build_ahead
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.training.batches import BatchSource
from tinyworlds_gate.reference.training.build_objective import build_objective
from tinyworlds_gate.reference.training.distributed import Worker, rng_state, seed_worker
from tinyworlds_gate.reference.training.graphed_updates import GraphedUpdates
from tinyworlds_gate.reference.training.held_out_loss import HeldOutLoss
from tinyworlds_gate.reference.training.history import HELD_OUT_LOSS, HistoryFile, WandbLog, history_path
from tinyworlds_gate.reference.training.job import StageJob
from tinyworlds_gate.reference.training.objectives import Objective
from tinyworlds_gate.reference.training.optimizer import build_optimizer, portable_state
from tinyworlds_gate.reference.training.pictures import save_comparison
from tinyworlds_gate.reference.training.progress import ProgressLines, StartupTimer
from tinyworlds_gate.reference.training.regional_compile import (
    compile_regions,
    is_compiler_failure,
    start_compiler,
    uncompiled,
)
from tinyworlds_gate.reference.training.resume import restore_training, training_state
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.reference.training.updates import LOSS, EagerUpdates, StartedUpdate, Updates
from tinyworlds_gate.run.heartbeat import Heartbeat, gpu_uuid
from tinyworlds_gate.run.layout import TRAINING_FRAMES

PICTURE_CLIPS = 3


class Trainer:
    """Trains one stage from its first missing update to ``n_updates``, both absolute."""

    def __init__(self, job: StageJob, worker: Worker, project_root: Path) -> None:
        self.job, self.worker, self.root = job, worker, project_root
        self.stage = job.name
        self.run_root = Path(os.environ.get("NG_RUN_ROOT_DIR", project_root / "results" / "unnamed"))
        stage, training = job.stage, job.training
        self.startup = StartupTimer()
        self.sizes = ModelSizes(**job.model_sizes())
        # Every rank initialises the same weights; afterwards each draws its own masks.
        torch.manual_seed(training.seed)
        self.sharded = training.distributed.use_fsdp and worker.world_size > 1
        self.objective = self._build_objective()
        self.model = self.objective.model
        seed_worker(training.seed, worker.rank)
        self.compiled = training.compile and worker.device.type == "cuda"
        if worker.device.type == "cuda":
            torch.set_float32_matmul_precision("high" if training.tf32 else "highest")
        if self.compiled:
            self._build_kernels_ahead()
            start_compiler()
        with self.startup.section("frames"):
            self.batches = BatchSource(job, worker, project_root, clip_frames=self.objective.clip_frames)
        # FSDP communicates between operations, so a sharded update cannot be one CUDA graph.
        graphed = worker.device.type == "cuda" and training.cuda_graphs and not self.sharded
        self.optimizer = build_optimizer(self.model, stage.learning_rate, graphed=graphed, beta2=stage.adam_beta2)
        self.start_update = 0
        if job.resume_path:
            self.start_update = restore_training(
                job.resume_path, self.stage, self.model, self.optimizer, self.batches.sampler, worker, training.seed
            )
        if self.sharded:
            # Imported here, because importing FSDP2 takes half a second.
            from tinyworlds_gate.reference.training.sharding import shard_model, shard_optimizer

            shard_model(self.model, worker, training.distributed)
            self.optimizer = shard_optimizer(self.optimizer, self.model, stage.learning_rate)
        if self.start_update >= stage.n_updates:
            raise TrainingError(
                f"n_updates={stage.n_updates} is already reached: {stage.checkpoint} has {self.start_update} updates; "
                "raise n_updates (it counts all updates of the stage, not those of this chunk)"
            )
        self._require_no_later_checkpoints()
        # Computed before training, so that it describes the files that training reads.
        self.lineage = self._lineage() if worker.is_main else {}
        self.checkpoints = self.run_root / self.stage / "checkpoints"
        self.retention = Retention(self.checkpoints, self.stage, stage.keep_checkpoints)
        self._require_disk_space()
        self.schedule = Schedule(
            stage.learning_rate, stage.schedule_start, stage.schedule_end or stage.n_updates, stage.warmup_fraction
        )
        if self.compiled:
            background_builds.wait_for_probe()
            compile_regions(self.objective.all_models, deterministic=True)
        if self._tokenizes_ahead():
            with self.startup.section("tokens"):
                self.objective.use_tokens(self.batches, autocast=training.amp and worker.device.type == "cuda")
        with self.startup.section("first updates"):
            self.updates = self._build_updates(graphed)
        self.held_out = HeldOutLoss(
            self.objective,
            self.batches,
            worker,
            every=training.held_out_every,
            target=stage.schedule_end or stage.n_updates,
            autocast=training.amp and worker.device.type == "cuda",
            compiled=self.compiled,
            sharded=self.sharded,
        )

    def _build_kernels_ahead(self) -> None:
        frames = self.objective.clip_frames or self.sizes.context_length
        dtype = torch.bfloat16 if self.job.training.amp else torch.float32
        build_ahead.start(self.sizes, frames, dtype, self.worker.device)

    def _require_no_later_checkpoints(self) -> None:
        """Raise TrainingError before training if a checkpoint of a later update exists; none is ever overwritten."""
        for step, path in list_checkpoints(self.run_root / self.stage / "checkpoints", self.stage):
            if step >= self.start_update:
                raise TrainingError(
                    f"{path} exists already, but this chunk would train the updates from {self.start_update} again; "
                    "resume from it (checkpoint=<that folder>), move it away, or set NG_RUN_ROOT_DIR to another run "
                    "folder"
                )

    def _require_disk_space(self) -> None:
        """Raise TrainingError before training if the disk cannot hold one checkpoint."""
        parameters = sum(one.numel() * one.element_size() for one in self.model.parameters())
        moments = 2 * parameters  # AdamW's
        try:
            require_room(self.checkpoints, parameters + moments)
        except OSError as error:
            raise TrainingError(
                f"{self.stage}: nothing was trained, since no checkpoint could be saved: {error.strerror}. Free disk "
                "space, or set NG_RUN_ROOT_DIR to a folder on another disk"
            ) from error

    def _build_objective(self) -> Objective:
        stage = self.job.stage
        paths = {
            name: Path(value) if (value := getattr(stage, setting, None)) else None
            for name, setting in (
                ("tokenizer_path", "video_tokenizer_path"),
                ("latent_actions_path", "latent_actions_path"),
            )
        }
        objective = build_objective(self.stage, self.sizes, stage, **paths)
        if self.sharded:  # `shard_model` moves the trained model block by block
            objective.move_frozen_models(self.worker.device)
            return objective
        return objective.to_device(self.worker.device)

    def _tokenizes_ahead(self) -> bool:
        """Whether the stage draws at least as many frames as the file holds, so that tokenising all ahead saves time.

        The answer is the same for every chunk of a stage, so chunked and uninterrupted training do not differ.
        """
        stage = self.job.stage
        clips = (stage.schedule_end or stage.n_updates) * stage.gradient_accumulation_steps * stage.batch_size_per_gpu
        return clips * self.batches.length >= len(self.batches.data.frames)

    def _build_updates(self, graphed: bool) -> Updates:
        parts = (self.objective, self.optimizer, self.batches, self.job.stage, self.worker)
        autocast = bool(self.job.training.amp) and self.worker.device.type == "cuda"
        try:
            if graphed:
                return GraphedUpdates(*parts, autocast=autocast)
            return EagerUpdates(*parts, autocast=autocast, sharded=self.sharded)
        except RuntimeError as error:
            if not is_compiler_failure(error):
                raise
            raise TrainingError(
                f"compile: true, but torch.compile failed on this machine: {str(error).splitlines()[0]}. Install what "
                "is missing (often a C compiler), or set compile: false in training.yaml"
            ) from error

    def train(self) -> None:
        """Train; rank 0 writes the history every update and a checkpoint every ``log_interval`` updates.

        Raises:
            TrainingError: the loss of an update is not finite; nothing is saved after it.
        """
        main, stage = self.worker.is_main, self.job.stage
        loggers = self._open_loggers() if main else []
        device = self.worker.device
        heartbeat = Heartbeat.from_environment(
            self.worker.rank, gpu_uuid(device.index) if device.type == "cuda" else "cpu"
        )
        progress = ProgressLines(
            self.stage, self.start_update, stage.n_updates, every=self.job.training.log_every, enabled=main
        )
        started: deque[tuple[int, float, StartedUpdate, torch.Tensor | None]] = deque()
        try:
            for update in range(self.start_update, stage.n_updates):
                rate = self.schedule.rate_at(update)
                done = update + 1
                started.append((update, rate, self.updates.take(rate), self.held_out.after(done)))
                saves = done % stage.log_interval == 0 or done == stage.n_updates
                while len(started) > (0 if saves else self.updates.ahead):
                    update_done, its_rate, taken, held_out = started.popleft()
                    metrics = self._metrics(taken.wait(), its_rate)
                    if held_out is not None:
                        metrics[HELD_OUT_LOSS] = float(held_out)
                    if heartbeat is not None:
                        heartbeat.beat(update_done)
                    for logger in loggers:
                        logger.write(update_done, metrics)
                    progress.show(update_done, metrics[LOSS])
                    self._require_finite(update_done, metrics[LOSS], taken)
                if saves:
                    self._save(update, loggers)
        finally:
            progress.close()
            if heartbeat is not None:
                heartbeat.close()
            for logger in loggers:
                logger.close()

    def _open_loggers(self) -> list[HistoryFile | WandbLog]:
        run = self.run_root.name
        loggers: list[HistoryFile | WandbLog] = [
            HistoryFile(history_path(self.root, self.stage, run), self.start_update)
        ]
        if self.job.training.use_wandb:
            loggers.append(
                WandbLog(
                    project=self.job.training.wandb_project,
                    name=f"{self.stage}_{run}",
                    stage=self.stage,
                    config=self.job.flat(),
                    directory=self.root,
                )
            )
        return loggers

    def _metrics(self, numbers: Mapping[str, float], rate: float) -> dict[str, float]:
        """Return one row of the history, with loss and learning rate first."""
        metrics = {LOSS: numbers[LOSS], "learning_rate/group_0": rate, **numbers}
        if "unique_actions" in metrics:
            metrics["unique_actions"] = int(metrics["unique_actions"])
        if self.worker.device.type == "cuda":
            metrics["system/gpu_memory_allocated"] = torch.cuda.max_memory_allocated() / 2**30
        return metrics

    def _require_finite(self, update: int, loss: float, taken: StartedUpdate) -> None:
        if not math.isfinite(loss):
            finite = [math.isfinite(own) for own in self.worker.gather(taken.own_loss)]  # all ranks see the same mean
            alone = f", on rank {finite.index(False)} alone" if len(finite) > 1 and finite.count(False) == 1 else ""
            raise TrainingError(
                f"{self.stage}: the loss of update {update} is {loss}{alone}; nothing was saved after it. Lower the "
                f"learning rate (now {self.job.stage.learning_rate:g}) and resume from the last checkpoint"
            )

    def _save(self, update: int, loggers: list[Any]) -> None:
        rng = self.worker.gather(rng_state(self.worker.device))
        model_state, optim_state = self.model.state_dict(), portable_state(self.optimizer)
        if self.sharded:
            from tinyworlds_gate.reference.training.sharding import whole_state

            model_state, optim_state = whole_state(model_state), whole_state(optim_state)
        if self.worker.is_main:
            for logger in loggers:
                if isinstance(logger, HistoryFile):
                    logger.flush()
            state = training_state(
                update=update,
                schedule=self.schedule.state_dict(),
                config=self.job.flat(),
                sampler=self.batches.sampler.state_dict(),
                rng=rng,
            )
            reference = write_checkpoint(
                self.checkpoints,
                self.stage,
                update,
                model_state=model_state,
                optim_state=optim_state,
                state=state,
                manifest=self.lineage,
            )
            self._prune()
        if self.worker.is_main or self.sharded:  # a sharded model must run on all ranks
            self._save_picture(update)
        if self.worker.is_main:
            print(f"[{self.stage}] checkpoint saved: {reference.path}", flush=True)
        self.worker.barrier()

    def _prune(self) -> None:
        """Remove old checkpoints; a failure is only a warning, since the new checkpoint is saved."""
        try:
            self.retention.prune([self.job.resume_path] if self.job.resume_path else [])
        except CheckpointError as error:
            print(f"[{self.stage}] warning: {error}", flush=True)

    def _lineage(self) -> dict[str, Any]:
        own = self.batches.data_digest
        lineage: dict[str, Any] = {"data_sha256": own, "run": self.run_root.name}
        codes = self.run_root / TRAINING_FRAMES
        if codes.is_file():
            lineage["training_frames_sha256"] = sha256_of(codes)
        if self.job.resume_path:
            manifest = self.job.resume_path / MANIFEST_FILE
            before = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
            if before.get("data_sha256") != own or before.get("other_data"):
                lineage["other_data"] = True  # loop/provenance.py reads it
        for key, setting in (
            ("tokenizer_sha256", "video_tokenizer_path"),
            ("latent_actions_sha256", "latent_actions_path"),
        ):
            path = getattr(self.job.stage, setting, None)
            if path:
                lineage[key] = verify_checkpoint(Path(path)).model_sha256
        return lineage

    def _save_picture(self, update: int) -> None:
        self.model.eval()
        state = torch.get_rng_state()
        with uncompiled() if self.compiled else contextlib.nullcontext():
            true, predicted, what = self.objective.examples(self.batches.fixed_examples(PICTURE_CLIPS))
        torch.set_rng_state(state)
        if self.sharded:
            from tinyworlds_gate.reference.training.sharding import reshard

            reshard(self.model)
        if not self.worker.is_main:
            return
        path = self.run_root / self.stage / "visualizations" / f"{self.stage}_step_{update}.png"
        save_comparison(path, true, predicted, f"{self.stage} after {update + 1} updates: {what}")
