"""Every command-line option of the closed loop as data: names, parser, default, help (closed-loop.md, "Options")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.config.cli_values import (
    parse_bool,
    parse_choice,
    parse_count,
    parse_endpoint,
    parse_percent,
    parse_positive_float,
    parse_positive_int,
    parse_rate,
    parse_rendezvous_id,
    parse_seed,
    parse_temperature,
    parse_text,
    parse_year,
)
from tinyworlds_gate.names import SHORT_NAMES

PROFILE = "the profile's"


@dataclass(frozen=True)
class Option:
    """One option; what a person did not give stays None, so that a given default is told from none."""

    name: str
    """``max_mse`` for ``--max-mse``."""
    parse: Callable[[str], Any]
    unit: str
    """What the value is: ``updates``, ``true|false``, ``path`` …"""
    default: str
    """The default as the help shows it."""
    help: str
    aliases: tuple[str, ...] = ()
    bare: Any = None
    """The value of the option without one (``--teacher-forced``); None where a value is needed."""

    @property
    def flag(self) -> str:
        """``--max-mse``."""
        return "--" + self.name.replace("_", "-")


def _stage_init(short: str, stage: str) -> tuple[Option, ...]:
    general = "the general form's value"
    return (
        Option(
            f"{short}_target_updates",
            parse_positive_int,
            "updates",
            general,
            f"Absolute updates that complete {stage}.",
        ),
        Option(
            f"{short}_init_batch_size", parse_positive_int, "clips per GPU", general, f"First batch size of {stage}."
        ),
        Option(
            f"{short}_init_grad_accum", parse_positive_int, "micro-batches", general, f"First accumulation of {stage}."
        ),
        Option(
            f"{short}_init_learning_rate", parse_rate, "peak rate", general, f"First peak learning rate of {stage}."
        ),
        Option(
            f"{short}_init_log_interval",
            parse_positive_int,
            "updates",
            general,
            f"Updates between two checkpoints of {stage}.",
        ),
    )


OPTIONS: tuple[Option, ...] = (
    Option(
        "profile", parse_text, "name or folder", "smoke, or longrun under -m longrun", "Settings, budgets, thresholds."
    ),
    Option("project_root", parse_text, "path", "pytest's rootdir", "The validated project."),
    Option(
        "resume_run",
        parse_text,
        "path or name",
        "none",
        "Go on with results/<run>, which was killed or interrupted, with its own options. `unfinished`: the newest run "
        "of this kind with these options, when it is; else a new one.",
    ),
    Option("target_repo", parse_text, "path", "none", "A TinyWorlds checkout to run the whole loop on, unchanged."),
    Option(
        "target_kind",
        parse_choice("embedded", "tinyworlds", "tinyworlds-fork"),
        "embedded|tinyworlds|tinyworlds-fork",
        "by the checkout's files",
        "What the checkout can do (docs/external-checkouts.md).",
    ),
    Option("target_python", parse_text, "path", "the checkout's .venv, else ours", "The interpreter of its processes."),
    Option("target_file", parse_text, "path", "none", "A YAML that describes a fork which renamed things."),
    Option(
        "held_out_data",
        parse_text,
        "path",
        "data/<dataset>_held_out_frames.h5 of the checkout, where it is",
        "Frames that the checkout never trains on; without them its run cannot pass.",
    ),
    Option("output_root", parse_text, "path", "the checkout", "Where a checkout's run writes its outputs."),
    Option(
        "target_dry_run",
        parse_bool,
        "true|false",
        "false",
        "Print every command that would be run on the checkout, in order, and run none.",
        bare=True,
    ),
    Option("seed", parse_seed, "number", PROFILE, "Initial weights, batches, masks and rollout."),
    Option(
        "train_stage",
        parse_choice("all", "none", *SHORT_NAMES.values()),
        "all|none|<stage>",
        "all",
        "What to train; none trains nothing, after a failed gate neither.",
        ("--only-stage",),
    ),
    Option(
        "checkpoint_policy",
        parse_choice("fresh", "latest"),
        "fresh|latest",
        "fresh",
        "New weights, or the newest valid.",
    ),
    *(
        Option(f"{short}_chunk", parse_positive_int, "updates", PROFILE, f"Updates of one chunk of {stage}.")
        for short, stage in SHORT_NAMES.items()
    ),
    Option(
        "target_updates", parse_positive_int, "updates", PROFILE, "Absolute updates that complete each trained stage."
    ),
    Option("init_batch_size", parse_positive_int, "clips per GPU", PROFILE, "First batch size of each trained stage."),
    Option(
        "init_grad_accum", parse_positive_int, "micro-batches", PROFILE, "First accumulation of each trained stage."
    ),
    Option("init_learning_rate", parse_rate, "peak rate", PROFILE, "First peak learning rate of each trained stage."),
    Option(
        "init_log_interval",
        parse_positive_int,
        "updates",
        PROFILE,
        "Updates between checkpoints of each trained stage.",
    ),
    *(option for short, stage in SHORT_NAMES.items() for option in _stage_init(short, stage)),
    Option(
        "keep_checkpoints",
        parse_positive_int,
        "checkpoints",
        "3",
        "Newest checkpoints of each trained stage that stay beside the gated one; older ones are removed.",
    ),
    *(
        Option(
            f"{short}_checkpoint",
            parse_text,
            "path",
            "none",
            f"A {stage}_step_n folder or its checkpoints/ parent (newest valid): where a trained stage starts, or the "
            "model of one that is not trained.",
        )
        for short, stage in SHORT_NAMES.items()
    ),
    Option(
        "nproc_per_node", parse_positive_int, "processes", "2", "Workers on this machine; at most the GPUs present."
    ),
    Option("nnodes", parse_positive_int, "machines", "1", "Machines that train together (docs/cluster.md)."),
    Option("node_rank", parse_count, "rank", "0", "Which of them this is; 0 judges and writes, the others follow it."),
    Option(
        "rdzv_endpoint", parse_endpoint, "host:port", "none", "Where node 0's torchrun listens; the same on all nodes."
    ),
    Option(
        "rdzv_id",
        parse_rendezvous_id,
        "name",
        "none",
        "Name of this rendezvous, e.g. the job's; the same on all nodes.",
    ),
    Option("cleanup_extra_processes", parse_bool, "true|false", "true", "End stale and extra training processes."),
    Option("enforce_dual_gpu_check", parse_bool, "true|false", "true", "Require evidence that both GPUs worked."),
    Option("monitor_interval_sec", parse_positive_float, "seconds", "5", "Between two device samples."),
    Option("gpu_util_threshold", parse_percent, "percent", "1", "Utilisation from which a GPU counts as active."),
    Option("gpu_required_samples", parse_positive_int, "samples", "2", "Active samples needed of each GPU."),
    Option("max_mse", parse_positive_float, "MSE, frames in [0, 1]", "0.03", "The inference gate's largest error."),
    Option("max_inference_retries", parse_count, "retries", "2", "Retrainings of dynamics after a failed gate."),
    Option("retry_chunk", parse_positive_int, "updates", "2000 (smoke: its own)", "Added by a retry."),
    Option("retry_init_learning_rate", parse_rate, "peak rate", "0.0005 (smoke: its own)", "Of the first retry."),
    Option("retry_lr_decay", parse_rate, "factor", "0.7", "From one retry's learning rate to the next."),
    Option("retry_lr_floor", parse_rate, "peak rate", "1e-6", "Never below this."),
    Option("max_train_retries", parse_count, "retries", "5", "Retunes of one stage before the run fails."),
    Option(
        "teacher_forced", parse_bool, "true|false", "false", "Show every step true frames: no strict pass.", bare=True
    ),
    Option("generation_steps", parse_positive_int, "steps", "12 (smoke: 4)", "Of the rollout."),
    Option("context_window", parse_positive_int, "frames", "context_length - 1", "True frames before the rollout."),
    Option("prediction_horizon", parse_positive_int, "frames", "1", "Generated a step."),
    Option("decode_steps", parse_positive_int, "steps", "16 (smoke: its own)", "MaskGIT decoding of a frame."),
    Option(
        "temperature", parse_temperature, "number", "0", "0 takes the likeliest token, above it tokens are sampled."
    ),
    Option(
        "evaluation_file",
        parse_text,
        "path",
        "none",
        "A fixed evaluation set: the final verdict is taken on the clips that it names (clip_starts).",
    ),
    Option(
        "enable_wandb_analysis", parse_bool, "true|false", "true", "Analyse the stages' history; false cannot pass H4."
    ),
    Option(
        "wandb_source",
        parse_choice("api_first", "api_only", "local_only"),
        "api_first|api_only|local_only",
        "api_first",
        "Where the history comes from.",
    ),
    Option("history_audit_year", parse_year, "year", "2025", "Committer year of the git audit, UTC."),
    Option(
        "history_audit_mode",
        parse_choice("strict", "wide", "current_paths"),
        "strict|wide|current_paths",
        "strict",
        "Which commits the git audit selects.",
    ),
)
"""In the order of the help and of docs/options.md."""
