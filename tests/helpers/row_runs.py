"""A whole run on disk in which every requirement has an occasion, made with the loop's own pure parts.

The tokenizer runs out of memory, fails its gate and is killed; latent actions and dynamics fail their gates once; the
inference gate fails once and passes after a retraining. A test breaks one thing and judges the rows again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from tests.helpers.checkpoint_files import FOREIGN_STEPS, foreign_folder
from tests.helpers.config_files import copy_profile
from tests.helpers.gate_evidence import evidence, log, measures
from tests.helpers.journal_samples import STAMP, SampleRun, write_history, write_picture
from tinyworlds_gate.checkpoints.agreement import check_agreement
from tinyworlds_gate.config.alignment import check_folders
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.shipped import shipped_values
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.evidence.metrics.local import local_histories
from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.findings.reporting import RunFiles
from tinyworlds_gate.findings.rows import judge_rows
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.verdict import judge_inference
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.reports.page import summary_html
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.stages.retune import Cause, ChunkParams, Retune, plan_retune
from tinyworlds_gate.stages.verdicts import judge_stage

Event = dict[str, Any]
PAGE = f"docs/action/validation-{STAMP}.html"
GPUS = [{"index": index, "name": "GPU", "uuid": f"GPU-{index}", "memory_gib": 80.0, "mig": False} for index in (0, 1)]
LOW = {"video_tokenizer": [0.004] * 9, "latent_actions": [0.01] * 9, "dynamics": [2.0] * 9}
HIGH = {
    "video_tokenizer": [0.5] * 9,
    "latent_actions": [0.5] * 9,
    "dynamics": [6.0, 6.5, 7.0, 7.5, 8.0, 8.5, 9.0, 9.5, 10.0],
}


@dataclass(frozen=True)
class Breaks:
    """What goes wrong while the run is made; by default nothing."""

    configs: Callable[[Path], None] | None = None
    """Edits the project's configs/ before the checks of the preparation."""
    ladder: Callable[[Retune], Retune] | None = None
    """A retune ladder with an error in it."""
    losses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """The last losses of a stage."""
    inference: Mapping[str, Any] = field(default_factory=dict)
    """What the last inference run left (`tests.helpers.gate_evidence.evidence`)."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Sizes of the configs that the checkpoints must have (C4)."""
    floor: float = 0.001
    """The tokenizer's own reconstruction error."""
    retrain: bool = True
    batch: int | None = None
    """Batch per GPU of the tokenizer, where it is not the profile's."""
    profile: str = "longrun"


NOTHING_BROKEN = Breaks()


class RowRun(SampleRun):
    """The run; `rows()` judges it from its journal and files as they are."""

    def __init__(self, root: Path, breaks: Breaks = NOTHING_BROKEN) -> None:
        copy_profile("baseline", root / "configs")
        copy_profile("longrun", root / "configs/profiles/longrun")
        if breaks.configs is not None:
            breaks.configs(root / "configs")
        machine = {"hostname_hash": "a1", "cpus": 2, "memory_gib": 8.0, "gpus": GPUS}
        profile = breaks.profile
        super().__init__(root, "longrun_sample", profile=profile, kind="longrun", options={}, machine=machine)
        self.breaks = breaks
        self.settings: Settings = resolve_settings(profile, {}, project_root=root)
        self.params = {stage: ChunkParams.of(config) for stage, config in self.settings.stages.items()}
        if breaks.batch is not None:
            self.params["video_tokenizer"] = replace(self.params["video_tokenizer"], batch_size_per_gpu=breaks.batch)
        self.done = dict.fromkeys(self.params, 0)
        self._prepare()
        self._train()
        self._judge_inference()
        self._finish()

    def rows(self) -> dict[str, Finding]:
        """Requirement → its row."""
        return {one.id: one for one in judge_rows(self.events, RunFiles(self.root, self.folder, self.root / PAGE))}

    def last(self, name: str, **fields: Any) -> Event:
        """The newest event of a name, to change what the run recorded."""
        matching = [one for one in self.events if all(one.get(key) == value for key, value in fields.items())]
        return [one for one in matching if one["event"] == name][-1]

    def first(self, name: str, **fields: Any) -> Event:
        """The oldest event of a name."""
        matching = [one for one in self.events if all(one.get(key) == value for key, value in fields.items())]
        return next(one for one in matching if one["event"] == name)

    def drop(self, event: Event) -> None:
        """Take an event out of the journal."""
        self.events.remove(event)

    def report(self, id: str, suffix: str = ".md") -> Path:
        """The file of a report."""
        names = {
            "A1": "train-to-inference-report",
            "A2": "zelda-2025-git-evidence",
            "A3": "wandb-analysis",
            "A5": "train-to-inference-retrospective",
            "A6": "auto-training-loop-report",
        }
        return self.root / f"docs/action/{names[id]}-{STAMP}{suffix}"

    # The run, in order.

    def _prepare(self) -> None:
        copy = self.folder / "configs"
        shutil.copytree(self.settings.config_dir, copy)
        table = self.settings.table()
        for key, value in vars(self.params["video_tokenizer"]).items():
            table[f"stages.video_tokenizer.{key}"] = {**table[f"stages.video_tokenizer.{key}"], "value": value}
        thresholds = self.settings.profile.thresholds.model_dump()
        self.add("settings_resolved", settings=table, files={}, thresholds=thresholds, notes=[])
        self.add("stale_processes", ended=[], when="before")
        checks = check_folders({copy: self.settings.config_dir, self.root / "configs": self.root / "configs"})
        self.add("config_checked", checks=[vars(check) for check in checks], profiles=shipped_values(self.root))
        self.evidence_of_git()
        sizes = {"frames": 6000, "frame_size": [128, 128], "episodes": 25, "train_episodes": 20, "held_out_episodes": 5}
        more = {"path": "data/zelda_frames.h5", "sha256": "d" * 64, "generated": False, "seconds": 1.0}
        self.add("dataset_ready", name="ZELDA", evaluation=None, copy_last_mse=[0.01, 0.02], **sizes, **more)

    def evidence_of_git(self) -> None:
        from tests.helpers.journal_samples import git_evidence

        found = git_evidence()
        path = self.folder / "git_evidence.json"
        path.write_text(found.to_json(), encoding="utf-8")
        self.add("git_evidence", **found.event(f"results/{self.run}/git_evidence.json"))

    def _train(self) -> None:
        for stage, failures in (
            ("video_tokenizer", ("out_of_memory", "stage_gate", "killed")),
            ("latent_actions", ("stage_gate",)),
            ("dynamics", ("stage_gate",)),
        ):
            for number, cause in enumerate(failures):
                self._chunk(stage, "retune" if number else "planned", cause)
            self._chunk(stage, "retune")
            self._conclude(stage)

    def _chunk(self, stage: str, reason: str, cause: str = "ok") -> None:
        """One chunk of two thousand updates; one that fails is followed by its retune."""
        self.chunk += 1
        start, params = self.done[stage], self.params[stage]
        failed = cause not in ("ok", "stage_gate")
        end = start + 2000
        before = self._checkpoint(stage, start) if start else None
        self.add(
            "chunk_started",
            chunk=self.chunk,
            stage=stage,
            reason=reason,
            start_update=start,
            end_update=end,
            target_updates=end,
            params=asdict(params),
            param_sources=dict.fromkeys(asdict(params), "profile longrun"),
            nproc_per_node=2,
            nnodes=1,
            effective_batch=params.batch_size_per_gpu * params.gradient_accumulation_steps * 2,
            resumed_from=before["path"] if before else None,
            command=["torchrun"],
            log=f"results/{self.run}/logs/chunk_{self.chunk:03d}.log",
        )
        losses = HIGH[stage] if cause == "stage_gate" else self.breaks.losses.get(stage, LOW[stage])
        self.add(
            "chunk_finished",
            chunk=self.chunk,
            stage=stage,
            exit_code=1 if failed else 0,
            cause=cause if failed else "ok",
            failure={"cause": cause, "reason": "it failed"} if failed else None,
            launcher_pid=4000 + self.chunk,
            workers=[],
            dual_gpu_ok=True,
            dual_gpu_reason="2 GPUs busy together in 40 of 50 samples",
            device_samples=f"results/{self.run}/devices/chunk_{self.chunk:03d}.jsonl",
            extra_launchers=[],
            checkpoint=None if failed else self._checkpoint(stage, end),
            continue_from=before,
            final_loss=None if failed else losses[-1],
            visualization=None if failed else f"results/{self.run}/{stage}/visualizations/step_{end - 1}.png",
            channels={
                id: {"verdict": "FAIL" if failed else "PASS", "reason": f"{id} grew"} for id in ("M1", "M2", "M3")
            },
            problems=[],
        )
        if not failed:
            self.done[stage] = end
            verdict = judge_stage(stage, losses, self.settings.profile.thresholds.stage_gates, 4.0, 1.2)
            self.add("stage_gate", chunk=self.chunk, stage=stage, **asdict(verdict))
        if cause != "ok":
            self._retune(stage, cause)

    def _checkpoint(self, stage: str, updates: int) -> Event:
        path = f"results/{self.run}/{stage}/checkpoints/{stage}_step_{updates - 1}"
        return {"path": path, "step": updates - 1, "sha256": f"{updates:064x}", "parameters": 5}

    def _retune(self, stage: str, cause: str) -> None:
        plan = plan_retune(
            stage, cast(Cause, cause), self.params[stage], retries_used=0, max_train_retries=5, nproc_per_node=2
        )
        plan = plan if self.breaks.ladder is None else self.breaks.ladder(plan)
        old = self.params[stage]
        pairs = {key: [value, getattr(plan.params, key)] for key, value in vars(old).items()}
        self.add(
            "retune",
            stage=stage,
            chunk=self.chunk,
            id=plan.id,
            cause=f"{cause}: it happened",
            changes={key: pair for key, pair in pairs.items() if pair[0] != pair[1]},
            effective_batch=list(plan.effective_batch),
            proceed=plan.proceed,
            reason=plan.reason,
        )
        self.params[stage] = plan.params

    def _conclude(self, stage: str, verdict: str = "PASS") -> None:
        decision = self.last("stage_gate", stage=stage)["decision"]
        passed = decision in ("continue", "watch")
        done, degraded = self.done[stage], self.params[stage].batch_size_per_gpu == 1
        self.add(
            "stage_finished",
            stage=stage,
            verdict=("DEGRADED" if degraded else "PASS") if passed else "FAIL",
            reason=f"{done} updates taken and the stage gate passed" if passed else "the budget is spent",
            updates=done,
            checkpoint=self._checkpoint(stage, done),
            degraded=degraded,
            seconds=50.0,
        )
        write_history(local_histories(self.root, self.run)[stage], stage, 60, 0.01)

    def _judge_inference(self) -> None:
        self._attempt(1, 0.05, {})
        if not self.breaks.retrain:
            return
        retry, done = self.settings.profile.retry, self.done["dynamics"]
        self.add(
            "dynamics_retrain",
            retry=0,
            learning_rate=retry.init_learning_rate,
            from_update=done,
            to_update=done + retry.chunk,
            reason="the rollout error is above the limit",
        )
        self.params["dynamics"] = replace(self.params["dynamics"], learning_rate=retry.init_learning_rate)
        self._chunk("dynamics", "inference retry 0")
        self._conclude("dynamics")
        self._attempt(2, 0.01, {})
        self._attempt(2, 0.011, self.breaks.inference, draw=2)
        baseline = {"path": "docs/baseline.json", "sha256": "f" * 64}
        compared = {"verdict": "SAME", "sentence": "SAME: error went from 0.0110 to 0.0110", "required": "not worse"}
        self.add("baseline_compared", attempt=2, draw=2, baseline=baseline, **compared)

    def _attempt(self, number: int, mse: float, changes: Mapping[str, Any], draw: int = 1) -> None:
        key = {"attempt": number, "draw": draw}
        video, latent, dynamics = (foreign_folder(stage) for stage in FOREIGN_STEPS)
        agreed = check_agreement(video, latent, dynamics, self.breaks.sizes or None)
        self.add(
            "checkpoints_checked",
            **key,
            checks=[{"id": "C4", "verdict": "PASS" if holds else "FAIL", "reason": text} for _, holds, text in agreed],
            checkpoints={stage: self._checkpoint(stage, done)["sha256"] for stage, done in self.done.items()},
        )
        self.add("inference_started", **key, command=["python"], log=f"results/{self.run}/logs/inference_{number}.log")
        found = replace(measures(mse=mse), tokenizer_recon_mse=self.breaks.floor, clip_digest=f"{draw}" * 64)
        left = evidence(
            **{"measures": found, "draw": draw, "agreement": (Condition("C4", "PASS", "they agree"),), **changes}
        )
        picture = f"inference_results/inference_results_gt_vs_pred_{STAMP}_{number}_{draw}.png"
        write_picture(self.root / picture)
        self.add(
            "inference_finished",
            **key,
            exit_code=left.exit_code,
            log=f"results/{self.run}/logs/inference_{number}.log",
            picture=picture if left.picture else None,
            checkpoints={stage: self._checkpoint(stage, done) for stage, done in self.done.items()},
        )
        thresholds = GateThresholds(
            max_mse=0.03, min_episodes=None, require_skill_strongest=True, min_object_share=0.9, min_past_ratio=1.05
        )
        verdict = judge_inference(left, thresholds)
        self.add("gate_verdict", **key, **verdict.as_event(), measures=asdict(left.measures) if left.measures else None)

    def _finish(self) -> None:
        self.add("wandb_analysis", **self._analysed())
        self._watch_log()
        self.finish("passed" if self.breaks == NOTHING_BROKEN else "failed")
        for id, path in write_reports(self.root, self.folder).items():
            self.add("report_written", id=id, path=path.relative_to(self.root).as_posix())
        page = self.root / PAGE
        fragments = "".join(summary_html(load_record(self.root, self.folder), page.parent))
        page.write_text(f"<html><title>{self.run}</title><body>{fragments}</body></html>", encoding="utf-8")
        self.add("report_written", id="A8", path=PAGE)

    def _analysed(self) -> Event:
        from tests.helpers.journal_samples import STAGES, _analysis

        return _analysis(self.root, self.run, STAGES).event(f"docs/action/wandb-analysis-{STAMP}.json")

    def _watch_log(self) -> None:
        lines = [
            f"2026-11-23 04:00:00  NOTE    watch of run {self.run} for 4h",
            "2026-11-23 04:00:01  STATUS  dynamics trains",
            "2026-11-23 05:00:01  STATUS  dynamics trains",
        ]
        path = self.root / f"Logs/monitor_4h_{STAMP}.log"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


__all__ = ["HIGH", "LOW", "NOTHING_BROKEN", "PAGE", "Breaks", "RowRun", "log", "measures"]
