"""Build run folders with realistic journals, histories and pictures, for the tests of the reports."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyworlds_gate.evidence.git_audit.result import GitEvidence, KeyChange, SelectedCommit
from tinyworlds_gate.evidence.metrics.analysis import WandbAnalysis, analyse
from tinyworlds_gate.evidence.metrics.inputs import StageInput
from tinyworlds_gate.evidence.metrics.local import local_histories
from tinyworlds_gate.run.layout import RunLayout

STAMP = "2026_11_23_04_00_00"
START = 1_795_406_400.0
STAGES = ("video_tokenizer", "latent_actions", "dynamics")
UPDATES = {"video_tokenizer": 400, "latent_actions": 200, "dynamics": 300}
COLUMNS = (
    *("_step", "_timestamp", "train/loss", "learning_rate/group_0", "train/codebook_usage"),
    *("latent_actions/codebook_usage", "action_entropy", "unique_actions", "system/gpu_memory_allocated"),
)
Event = dict[str, Any]


class SampleRun:
    """A run under `root`: each method appends the loop's events to the journal and writes the files that they name."""

    def __init__(self, root: Path, run: str = "smoke_sample", **started: Any) -> None:
        self.root, self.run = root, run
        self.folder = root / "results" / run
        self.folder.mkdir(parents=True)
        self.events: list[Event] = []
        self.chunk = 0
        self.clock = START
        fields: Event = {
            "schema": 1,
            "run": run,
            "timestamp": STAMP,
            "profile": "smoke",
            "kind": "smoke",
            "command": ["pytest", "validation/", "-m", "smoke"],
            "project_root": ".",
            "target": "reference",
            "options": {"--max-mse": 0.03},
            "seed": 7,
            "versions": {"python": "3.12.4", "torch": "2.13.0", "tinyworlds_gate": "0.1.0"},
            "machine": {"hostname_hash": "a1b2c3", "cpus": 2, "memory_gib": 8.0, "gpus": []},
            "commit": "52f9ab9c0ffee",
            "dirty": False,
        }
        self.add("run_started", **{**fields, **started})

    def add(self, event: str, **fields: Any) -> Event:
        """Append one event to the journal file; the clock advances three seconds."""
        record: Event = {"seq": len(self.events), "time": self.clock, "event": event, **fields}
        self.events.append(record)
        self.clock += 3.0
        with (self.folder / "journal.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        return record

    def prepare(self) -> SampleRun:
        """Append the events of the preparation: settings, config checks, stale processes, data."""
        settings = {
            "max_mse": (0.03, "option --max-mse"),
            "patch_size": (8, "configs/profiles/smoke/training.yaml"),
            "dynamics.learning_rate": (0.0005, "profile smoke"),
        }
        self.add(
            "settings_resolved",
            settings={key: {"value": value, "source": source} for key, (value, source) in settings.items()},
            thresholds={"video_tokenizer": {"continue_loss": 0.01}, "max_mse": 0.03},
            notes=["No NVIDIA GPU was found: the stages train on the CPU."],
        )
        checks = [{"id": key, "verdict": "PASS", "reason": "The files agree."} for key in ("C1", "C2", "C3", "C4")]
        self.add("config_checked", checks=checks)
        stale = {
            "pid": 991,
            "age_s": 4000.5,
            "cmdline": "python train_dynamics.py",
            "signal": "SIGTERM",
            "outcome": "ended",
        }
        self.add("stale_processes", ended=[stale], when="before")
        self.add(
            "dataset_ready",
            name="CRAFTER",
            path="data/crafter_frames.h5",
            sha256="d" * 64,
            frames=6000,
            frame_size=[72, 72],
            episodes=40,
            train_episodes=32,
            held_out_episodes=8,
            generated=True,
            seconds=31.5,
            copy_last_mse=[0.0031, 0.0062, 0.0098, 0.0127],
        )
        return self

    def start_chunk(self, stage: str, reason: str = "planned", **params: Any) -> Event:
        """Append `chunk_started` for the stage's next updates."""
        self.chunk += 1
        values = {"batch_size_per_gpu": 8, "gradient_accumulation_steps": 2, "learning_rate": 5e-4, "log_interval": 100}
        values.update(params)
        return self.add(
            "chunk_started",
            chunk=self.chunk,
            stage=stage,
            chunk_of_stage=1,
            reason=reason,
            command=["torchrun", "--standalone", f"scripts/train_{stage}.py"],
            log=f"results/{self.run}/logs/chunk_{self.chunk:03d}_{stage}.log",
            start_update=0,
            end_update=UPDATES[stage],
            target_updates=UPDATES[stage],
            params=values,
            param_sources=dict.fromkeys(values, "profile smoke"),
            nproc_per_node=2,
            effective_batch=values["batch_size_per_gpu"] * values["gradient_accumulation_steps"] * 2,
            resumed_from=None,
        )

    def finish_chunk(self, stage: str, cause: str = "ok", final_loss: float | None = 0.0071, **fields: Any) -> Event:
        """Append `chunk_finished`; if the chunk is valid, also write the stage's history and picture."""
        done = cause == "ok"
        last = UPDATES[stage] - 1
        path = f"results/{self.run}/{stage}/checkpoints/{stage}_step_{last}"
        picture = f"results/{self.run}/{stage}/visualizations/step_{last}.png"
        if done:
            write_history(local_histories(self.root, self.run)[stage], stage, UPDATES[stage], float(final_loss or 0.0))
            write_picture(self.root / picture)
        values: Event = {
            "exit_code": 0 if done else 1,
            "signal": None,
            "wall_s": 42.25,
            "launcher_pid": 4000 + self.chunk,
            "workers": [
                {"rank": rank, "pid": 5000 + rank, "device": "cpu", "steps": 200, "cpu_s": 40.0} for rank in (0, 1)
            ],
            "dual_gpu_ok": None,
            "dual_gpu_reason": "needs 2 NVIDIA GPUs, found 0",
            "device_samples": None,
            "peak_gpu_mem_gib": None,
            "extra_launchers": [],
            "checkpoint": {"path": path, "step": last, "sha256": f"{self.chunk:x}" * 64, "parameters": 1234567}
            if done
            else None,
            "history": f"Logs/{stage}_history_{self.run}.csv",
            "history_rows": UPDATES[stage] if done else 0,
            "first_loss": 0.31 if done else None,
            "final_loss": final_loss if done else None,
            "updates_per_s": 9.5 if done else None,
            "visualization": picture if done else None,
            "channels": {
                key: {"verdict": "PASS" if done else "FAIL", "reason": "moved" if done else "stood still"}
                for key in ("M1", "M2", "M3")
            },
        }
        if not done:
            values["log_tail"] = ["RuntimeError: the last line of the log"]
        return self.add("chunk_finished", chunk=self.chunk, stage=stage, cause=cause, **{**values, **fields})

    def judge_chunk(self, stage: str, decision: str = "continue", reason: str = "The loss is low and flat.") -> Event:
        """Append `stage_gate` for the last chunk."""
        rule = {"video_tokenizer": "S1", "latent_actions": "S2", "dynamics": "S3"}[stage]
        return self.add(
            "stage_gate",
            chunk=self.chunk,
            stage=stage,
            decision=decision,
            id=rule,
            reason=reason,
            measures={"final_loss": 0.0071},
            thresholds={"continue_loss": 0.01},
        )

    def finish_stage(
        self, stage: str, verdict: str = "PASS", reason: str = "Reached its target.", **fields: Any
    ) -> Event:
        """Append `stage_finished` with the newest checkpoint."""
        done = {"updates": UPDATES[stage], "checkpoint": self.checkpoint(stage), "degraded": False, "seconds": 50.0}
        return self.add("stage_finished", stage=stage, verdict=verdict, reason=reason, **{**done, **fields})

    def train(self, *stages: str) -> SampleRun:
        """Train each stage in one good chunk."""
        for stage in stages or STAGES:
            self.start_chunk(stage)
            self.finish_chunk(stage, final_loss=1.92 if stage == "dynamics" else 0.0071)
            self.judge_chunk(stage)
            self.finish_stage(stage)
        return self

    def checkpoint(self, stage: str) -> str:
        return f"results/{self.run}/{stage}/checkpoints/{stage}_step_{UPDATES[stage] - 1}"

    def infer(self, attempt: int, mse: float, verdict: str | None = None, draw: int = 1, **measures: Any) -> SampleRun:
        """Append an inference attempt, or the final one (draw 2), and its verdict; by default PASS at `mse` ≤ 0.03."""
        judged = verdict or ("PASS" if mse <= 0.03 else "FAIL")
        paths = {stage: self.checkpoint(stage) for stage in STAGES}
        log = f"results/{self.run}/logs/inference_{attempt:02d}{'_final' if draw == 2 else ''}.log"
        picture = f"inference_results/inference_results_gt_vs_pred_{STAMP}_{attempt}{'_final' if draw == 2 else ''}.png"
        self.add(
            "inference_started",
            attempt=attempt,
            draw=draw,
            command=["python", "scripts/run_inference.py"],
            log=log,
            checkpoints=paths,
        )
        write_picture(self.root / picture)
        files = {
            stage: {"path": path, "sha256": f"{i + 1:x}" * 64, "step": UPDATES[stage] - 1}
            for i, (stage, path) in enumerate(paths.items())
        }
        self.add(
            "inference_finished",
            attempt=attempt,
            draw=draw,
            exit_code=0,
            wall_s=11.5,
            log=log,
            picture=picture,
            measures_file=None,
            checkpoints=files,
        )
        sign = "<=" if mse <= 0.03 else ">"
        values = {**measures_of(mse), **measures}
        conditions = [{"id": f"G{i}", "verdict": "PASS", "reason": "Seen in the log."} for i in range(1, 5)]
        conditions.append({"id": "G5", "verdict": judged, "reason": f"MSE {mse} {sign} 0.03"})
        self.add(
            "gate_verdict",
            attempt=attempt,
            draw=draw,
            verdict=judged,
            sentence=f"MSE {mse} {sign} 0.03 on {values['clips']} held-out clips.",
            conditions=conditions,
            measures=values,
            thresholds={"max_mse": 0.03},
        )
        return self

    def retrain(self, retry: int, learning_rate: float, final_loss: float = 1.85) -> SampleRun:
        """Retrain dynamics after a failed gate."""
        at = UPDATES["dynamics"]
        self.add(
            "dynamics_retrain",
            retry=retry,
            learning_rate=learning_rate,
            from_update=at,
            to_update=at + 200,
            reason="The inference gate failed: G5.",
        )
        self.start_chunk("dynamics", reason=f"inference retry {retry}", learning_rate=learning_rate)
        self.finish_chunk("dynamics", final_loss=final_loss)
        self.judge_chunk("dynamics")
        return self

    def evidence(self, stages: tuple[str, ...] = STAGES, git: GitEvidence | None = None) -> SampleRun:
        """Append git evidence and stage analysis, with their files."""
        found = git or git_evidence()
        name = f"docs/action/zelda-{found.year}-git-evidence-{STAMP}.json"
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(found.to_json(), encoding="utf-8")
        self.add("git_evidence", **found.event(name))
        self.add(
            "wandb_analysis", **_analysis(self.root, self.run, stages).event(f"docs/action/wandb-analysis-{STAMP}.json")
        )
        return self

    def require(self, skip: tuple[str, ...] = (), **verdicts: tuple[str, str]) -> SampleRun:
        """Append `requirement` events: PASS except for `skip` and for keywords like `H6=("NOT-RUN", "why")`."""
        from tinyworlds_gate.reports.requirements import REQUIREMENTS

        for key in REQUIREMENTS:
            if key not in skip:
                verdict, reason = verdicts.get(key, ("PASS", "Held in this run."))
                self.add(
                    "requirement",
                    id=key,
                    test=f"validation/test_{key[0].lower()}.py::test_{key}",
                    verdict=verdict,
                    reason=reason,
                    evidence=None,
                )
        return self

    def finish(self, status: str = "passed", sentence: str = "The inference gate passed.") -> SampleRun:
        self.add(
            "run_finished", status=status, sentence=sentence, exit_status=0 if status == "passed" else 1, seconds=212.75
        )
        return self


_DRAWN: dict[tuple[str, tuple[str, ...]], tuple[WandbAnalysis, dict[str, bytes]]] = {}


def _analysis(root: Path, run: str, stages: tuple[str, ...]) -> WandbAnalysis:
    """Analyse the run's histories; the plots are drawn once a session (it takes seconds) and copied after that."""
    key = (run, stages)
    if key not in _DRAWN:
        sought = [StageInput(stage, path) for stage, path in local_histories(root, run, stages).items()]
        analysis = analyse(RunLayout(root, run), STAMP, "api_first", sought)
        names = [*analysis.plots, f"docs/action/wandb-analysis-{STAMP}.json"]
        _DRAWN[key] = analysis, {name: (root / name).read_bytes() for name in names}
    analysis, files = _DRAWN[key]
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return analysis


def measures_of(mse: float) -> Event:
    """Return gate measures of 64 clips around an MSE."""
    copy_last = 0.0142
    return {
        "clips": 64,
        "episodes": 8,
        "clip_digest": "c0ffee12",
        "context": 3,
        "generation_steps": 4,
        "mse": mse,
        "mse_low": round(mse * 0.93, 6),
        "mse_high": round(mse * 1.06, 6),
        "mse_by_step": [round(mse * part, 6) for part in (0.7, 0.9, 1.1, 1.3)],
        "copy_last_mse": copy_last,
        "copy_last_mse_by_step": [0.0061, 0.0119, 0.0171, 0.0217],
        "mean_frame_mse": 0.0324,
        "skill": round(1 - mse / copy_last, 6),
        "skill_low": -0.61,
        "skill_high": -0.22,
        "tokenizer_recon_mse": 0.0053,
        "action_codes_used": 4,
        "action_entropy_nats": 1.21,
        "random_action_mse": round(mse * 1.12, 6),
        "delta_psnr_db": 0.49,
        "psnr_db": round(-10 * math.log10(mse), 3),
        "teacher_forced": False,
        "seed": 7,
        "seconds": 9.75,
    }


def git_evidence() -> GitEvidence:
    """Return git evidence with two selected commits in 2025 and one backbone change."""
    shas = ("a" * 40, "b" * 40)
    commits = (
        SelectedCommit(
            shas[0],
            "2025-11-02T10:00:00Z",
            "Align ZELDA backbone",
            ("configs/dynamics.yaml", "notes.md"),
            ("configs/dynamics.yaml",),
        ),
        SelectedCommit(
            shas[1], "2025-10-01T09:00:00Z", "Add ZELDA", ("configs/training.yaml",), ("configs/training.yaml",)
        ),
    )
    return GitEvidence(
        verdict="PASS",
        reason="The whole history was read. 31 commits in 2025, 2 commits are ZELDA evidence in mode strict.",
        year=2025,
        mode="strict",
        head="c" * 40,
        commits_in_year=31,
        merges_in_year=1,
        selected=commits,
        file_touches=3,
        relevant_file_touches=2,
        files={"configs/dynamics.yaml": 1, "configs/training.yaml": 1, "notes.md": 1},
        key_changes=(KeyChange("embed_dim", "configs/dynamics.yaml", "32", "64", shas[0], "2025-11-02T10:00:00Z"),),
        notes=("1 merge commit(s) are counted.",),
    )


def write_history(path: Path, stage: str, updates: int, final_loss: float) -> Path:
    """Write a history CSV whose loss falls from 0.31 (dynamics: 5.1) to about `final_loss`, with seeded noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = random.Random(stage)
    first = 5.1 if stage == "dynamics" else 0.31
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for step in range(updates):
            part = step / max(1, updates - 1)
            loss = final_loss + (first - final_loss) * math.exp(-5 * part) * noise.uniform(0.85, 1.15)
            warm = min(1.0, (step + 1) / max(1, updates // 20))
            row: Event = {"_step": step, "_timestamp": START + step, "train/loss": f"{loss:.6g}"}
            row["learning_rate/group_0"] = f"{5e-4 * warm * (0.505 + 0.495 * math.cos(math.pi * part)):.6g}"
            if stage == "video_tokenizer":
                row["train/codebook_usage"] = f"{0.2 + 0.6 * part:.4f}"
            if stage == "latent_actions":
                row["latent_actions/codebook_usage"] = f"{0.25 + 0.5 * part:.4f}"
                row["action_entropy"] = f"{0.3 + 1.1 * part:.4f}"
                row["unique_actions"] = 2 + round(4 * part)
            writer.writerow(row)
    return path


def write_picture(path: Path) -> Path:
    """Write a small PNG with three rows of tiles, like the picture of truth, prediction and error."""
    import numpy as np
    from matplotlib.image import imsave

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(3).random((12, 16, 3)).repeat(24, axis=0).repeat(24, axis=1)
    imsave(path, pixels)
    return path


NO_GPUS = {key: ("NOT-RUN", "needs 2 NVIDIA GPUs, found 0") for key in ("L3", "H6")}


def passing(root: Path) -> SampleRun:
    run = SampleRun(root).prepare().train().infer(1, 0.0187).evidence().require(**NO_GPUS)
    return run.finish("passed", "MSE 0.0187 <= 0.03 on 64 held-out clips at the first attempt.")


def passing_after_retry(root: Path) -> SampleRun:
    run = SampleRun(root).prepare().train().infer(1, 0.0341).retrain(0, 5e-4).infer(2, 0.0262)
    run.infer(2, 0.0271, draw=2, clip_digest="b2" * 32).evidence()
    return run.require(**NO_GPUS).finish("passed", "MSE 0.0271 <= 0.03 on 64 held-out clips of a second draw.")


def failing(root: Path) -> SampleRun:
    """Fail three attempts with two retrainings, until the budget is spent."""
    run = SampleRun(root).prepare().train().infer(1, 0.0412).retrain(0, 5e-4).infer(2, 0.0371)
    run.retrain(1, 3.5e-4).infer(3, 0.0384).evidence()
    run.require(G5=("FAIL", "MSE 0.0384 > 0.03"), H3=("FAIL", "The gate did not pass."), **NO_GPUS)
    return run.finish("failed", "MSE 0.0384 > 0.03 after 3 attempts: the retry budget of 2 is spent.")


def tokenizer_floor(root: Path) -> SampleRun:
    """Fail because the tokenizer alone is worse than the limit (T7)."""
    run = SampleRun(root).prepare().train().infer(1, 0.0561, tokenizer_recon_mse=0.0387).evidence()
    run.require(G5=("FAIL", "MSE 0.0561 > 0.03"), **NO_GPUS)
    return run.finish("failed", "The tokenizer's own error 0.0387 is above 0.03.")


def degraded(root: Path) -> SampleRun:
    """Pass after the tokenizer ran out of memory at batch 2 and was trained with batch 1."""
    run = SampleRun(root).prepare()
    run.start_chunk("video_tokenizer", batch_size_per_gpu=2)
    run.finish_chunk("video_tokenizer", cause="out_of_memory", log_tail=["torch.OutOfMemoryError: CUDA out of memory"])
    run.add(
        "retune",
        stage="video_tokenizer",
        chunk=run.chunk,
        id="T1",
        cause="out of memory on GPU 0",
        changes={"batch_size_per_gpu": [2, 1]},
        effective_batch=[8, 4],
    )
    run.start_chunk("video_tokenizer", reason="retune", batch_size_per_gpu=1)
    run.finish_chunk("video_tokenizer")
    run.judge_chunk("video_tokenizer")
    run.finish_stage("video_tokenizer", verdict="DEGRADED", reason="out of memory on GPU 0", degraded=True)
    run.train("latent_actions", "dynamics").infer(1, 0.0244).evidence()
    run.require(H8=("DEGRADED", "video_tokenizer fell to a batch of 1: out of memory on GPU 0"), **NO_GPUS)
    return run.finish("degraded", "The gate passed, but video_tokenizer had to fall to a batch of 1.")


def interrupted(root: Path) -> SampleRun:
    """Interrupt the run (Ctrl-C) while dynamics trains."""
    run = SampleRun(root).prepare().train("video_tokenizer", "latent_actions")
    run.start_chunk("dynamics")
    run.add("interrupted", signal="SIGINT", reason="keyboard interrupt")
    return run


def teacher_forced(root: Path) -> SampleRun:
    run = SampleRun(root, options={"--teacher-forced": True}).prepare().train()
    run.infer(1, 0.0126, teacher_forced=True).evidence().require(**NO_GPUS)
    return run.finish("passed", "Teacher-forced MSE 0.0126 <= 0.03.")


def no_training(root: Path) -> SampleRun:
    """Pass with `--train-stage none` and existing checkpoints: no training, so no analysis."""
    run = SampleRun(root, options={"--train-stage": "none"}).prepare().infer(1, 0.0211).evidence(stages=())
    run.require(H4=("FAIL", "A3 is NOT-RUN: no stage was trained in this run."), **NO_GPUS)
    return run.finish("failed", "The gate passed on the given checkpoints, but the stage analysis is missing (H4).")


def single_stage(root: Path, stage: str = "video_tokenizer", **options: Any) -> SampleRun:
    """Pass with `--only-stage`: the inference gate was not requested."""
    run = SampleRun(root, options={"train_stage": stage, **options}).prepare().train(stage).evidence(stages=(stage,))
    run.require(G5=("NOT-RUN", f"by choice (--train-stage {stage}): inference was not run"), **NO_GPUS)
    sentence = f"PASS (stage {stage}): its gate decided continue. The inference gate was not requested."
    return run.finish("passed", sentence)


def failed_stage(root: Path) -> SampleRun:
    """Fail with `--only-stage video_tokenizer`: its gate does not pass, and its history is plotted."""
    run = SampleRun(root, options={"train_stage": "video_tokenizer"}).prepare()
    run.start_chunk("video_tokenizer")
    run.finish_chunk("video_tokenizer", final_loss=0.5)
    run.judge_chunk("video_tokenizer", "retune", "The final loss is too high.")
    run.finish_stage("video_tokenizer", verdict="FAIL", reason="The retune budget is spent.")
    run.evidence(stages=("video_tokenizer",)).require(S1=("FAIL", "video_tokenizer: The retune budget is spent."))
    return run.finish("failed", "FAIL: video_tokenizer: The retune budget is spent.")


SAMPLES: dict[str, Callable[[Path], SampleRun]] = {
    build.__name__: build
    for build in (
        passing,
        passing_after_retry,
        failing,
        tokenizer_floor,
        degraded,
        interrupted,
        teacher_forced,
        no_training,
        single_stage,
        failed_stage,
    )
}
