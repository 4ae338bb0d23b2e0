"""Registry of the closed loop's command-line options (closed-loop.md, "Options").

Used by the pytest plugin, `show-config`, the precedence of settings, the rules between options and docs/options.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
STAGE = "{stage}"


@dataclass(frozen=True)
class Option:
    """A command-line option. Without it the parsed value is None, which differs from an explicit default."""

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
    """The value of the flag alone (``--teacher-forced``); None if the option needs a value."""

    keys: tuple[str, ...] = ()
    """Dotted settings that it sets, with ``{stage}`` for each trained stage; empty if it sets none."""
    stage: str | None = None
    """The only stage whose training it changes (``--video-chunk``)."""
    of_target: bool = False
    """Whether it selects the checkout to validate, or sets how to run it."""

    @property
    def flag(self) -> str:
        """``--max-mse``."""
        return option_flag(self.name)

    @property
    def is_general(self) -> bool:
        """Whether it sets the same key in every trained stage."""
        return any(STAGE in key for key in self.keys)

    def keys_of(self, stages: Sequence[str]) -> tuple[str, ...]:
        """Dotted settings that it sets if these stages are trained."""
        if not self.is_general:
            return self.keys
        return tuple(key.replace(STAGE, stage) for stage in stages for key in self.keys)


def option_flag(name: str) -> str:
    """``max_mse`` → ``--max-mse``."""
    return "--" + name.replace("_", "-")


def _training_options(stage: str | None = None, prefix: str = "") -> tuple[Option, ...]:
    """Training options of one stage (``--video-…``), or of every trained stage."""
    subject, default = stage or "each trained stage", "the general form's value" if stage else PROFILE

    def option(name: str, parse: Callable[[str], Any], unit: str, help: str, *keys: str) -> Option:
        own = tuple(key.replace(STAGE, stage) for key in keys) if stage else keys
        return Option(prefix + name, parse, unit, default, help.format(subject), keys=own, stage=stage)

    return (
        option(
            "target_updates",
            parse_positive_int,
            "updates",
            "Absolute update at which {} is complete.",
            "profile.stages.{stage}.target_updates",
            "stages.{stage}.n_updates",
        ),
        option(
            "init_batch_size",
            parse_positive_int,
            "clips per GPU",
            "Initial batch size of {}.",
            "stages.{stage}.batch_size_per_gpu",
        ),
        option(
            "init_grad_accum",
            parse_positive_int,
            "micro-batches",
            "Initial gradient accumulation of {}.",
            "stages.{stage}.gradient_accumulation_steps",
        ),
        option(
            "init_learning_rate",
            parse_rate,
            "peak rate",
            "Initial peak learning rate of {}.",
            "stages.{stage}.learning_rate",
        ),
        option(
            "init_log_interval",
            parse_positive_int,
            "updates",
            "Updates between two checkpoints of {}.",
            "stages.{stage}.log_interval",
        ),
    )


OPTIONS: tuple[Option, ...] = (
    Option(
        "profile",
        parse_text,
        "name or folder",
        "smoke, or longrun under -m longrun",
        "The profile: settings, training budgets and thresholds.",
    ),
    Option("project_root", parse_text, "path", "pytest's rootdir", "The project to validate."),
    Option(
        "resume_run",
        parse_text,
        "path or name",
        "none",
        "Resume results/<run> with its own options after it was killed or interrupted. `unfinished` resumes the newest "
        "run of this kind and these options if it is unfinished, and starts a new run otherwise.",
    ),
    Option(
        "target_repo",
        parse_text,
        "path",
        "none",
        "A TinyWorlds checkout to validate; its files stay unchanged.",
        of_target=True,
    ),
    Option(
        "target_kind",
        parse_choice("embedded", "tinyworlds", "tinyworlds-fork"),
        "embedded|tinyworlds|tinyworlds-fork",
        "by the checkout's files",
        "The kind of the target, which decides what it can do (docs/external-checkouts.md).",
        of_target=True,
    ),
    Option(
        "target_python",
        parse_text,
        "path",
        "the checkout's .venv, else ours",
        "The Python interpreter of the checkout's processes.",
        of_target=True,
    ),
    Option(
        "target_file",
        parse_text,
        "path",
        "none",
        "A YAML file that describes a fork with other names and paths.",
        of_target=True,
    ),
    *(
        Option(
            f"{short}_config",
            parse_text,
            "file",
            f"{stage}.yaml of the checkout's configs",
            f"The settings file of {stage}, for a checkout that has several: relative to its root, or absolute.",
            of_target=True,
        )
        for short, stage in SHORT_NAMES.items()
    ),
    Option(
        "align_backbone",
        parse_choice("strict", "inject", "report"),
        "strict|inject|report",
        "strict",
        "What to do where the checkout's stages differ in embed_dim, num_heads, hidden_dim or num_blocks (C2): refuse "
        "it, give every stage the values of training.yaml (else of the tokenizer's file), or train each with its own.",
        keys=("options.align_backbone",),
        of_target=True,
    ),
    Option(
        "held_out_data",
        parse_text,
        "path",
        "data/<dataset>_held_out_frames.h5 of the checkout, if present",
        "Frames that the checkout never trains on; without them its run cannot pass.",
        of_target=True,
    ),
    Option(
        "output_root",
        parse_text,
        "path",
        "the checkout",
        "The folder for the outputs of a checkout's run.",
        of_target=True,
    ),
    Option(
        "target_dry_run",
        parse_bool,
        "true|false",
        "false",
        "Print the commands that would run on the checkout, in order, without running them.",
        bare=True,
        of_target=True,
    ),
    Option(
        "seed",
        parse_seed,
        "number",
        PROFILE,
        "Seed of initial weights, batches, masks and rollout.",
        keys=(
            "profile.seed",
            "training.seed",
            "inference.seed",
        ),
    ),
    Option(
        "train_stage",
        parse_choice("all", "none", *SHORT_NAMES.values()),
        "all|none|<stage>",
        "all",
        "The stages to train. `none` disables training, including retraining after a failed gate.",
        ("--only-stage",),
        keys=("options.train_stage",),
    ),
    Option(
        "checkpoint_policy",
        parse_choice("fresh", "latest"),
        "fresh|latest",
        "fresh",
        "Start from new weights, or from the newest valid checkpoint.",
        keys=("options.checkpoint_policy",),
    ),
    *(
        Option(
            f"{short}_chunk",
            parse_positive_int,
            "updates",
            PROFILE,
            f"Updates per chunk of {stage}.",
            keys=(f"profile.stages.{stage}.chunk",),
            stage=stage,
        )
        for short, stage in SHORT_NAMES.items()
    ),
    *_training_options(),
    *(option for short, stage in SHORT_NAMES.items() for option in _training_options(stage, f"{short}_")),
    Option(
        "keep_checkpoints",
        parse_positive_int,
        "checkpoints",
        "3",
        "Newest checkpoints of each trained stage to retain besides the gated one; older ones are removed.",
        keys=("stages.{stage}.keep_checkpoints",),
    ),
    *(
        Option(
            f"{short}_checkpoint",
            parse_text,
            "path",
            "none",
            f"A {stage}_step_<n> folder, its checkpoints/ parent for the newest valid one, or a published .pth file. A "
            "trained stage starts from it; a stage that is not trained uses it as its model.",
            keys=(f"options.{short}_checkpoint",),
        )
        for short, stage in SHORT_NAMES.items()
    ),
    Option(
        "nproc_per_node",
        parse_positive_int,
        "processes",
        "2",
        "Workers per machine; at most the number of GPUs.",
        keys=("training.nproc_per_node",),
    ),
    Option(
        "allow_cpu_longrun",
        parse_bool,
        "true|false",
        "false",
        "Start a long run without the GPUs that it needs; its evidence of two GPUs is then NOT-RUN by choice.",
    ),
    Option(
        "nnodes",
        parse_positive_int,
        "machines",
        "1",
        "Machines that train together (docs/cluster.md).",
        keys=("options.nnodes",),
    ),
    Option(
        "node_rank", parse_count, "rank", "0", "Rank of this machine; node 0 judges and writes, the others follow it."
    ),
    Option(
        "rdzv_endpoint",
        parse_endpoint,
        "host:port",
        "none",
        "Address at which node 0's torchrun listens; the same on all nodes.",
    ),
    Option(
        "rdzv_id",
        parse_rendezvous_id,
        "name",
        "none",
        "Name of the rendezvous, such as the job's name; the same on all nodes.",
    ),
    Option(
        "cleanup_extra_processes",
        parse_bool,
        "true|false",
        "true",
        "End stale and extra training processes.",
        keys=("options.cleanup_extra_processes",),
    ),
    Option(
        "enforce_dual_gpu_check",
        parse_bool,
        "true|false",
        "true",
        "Require evidence that both GPUs worked.",
        keys=("options.enforce_dual_gpu_check",),
    ),
    Option(
        "monitor_interval_sec",
        parse_positive_float,
        "seconds",
        "5",
        "Interval between two device samples.",
        keys=("options.monitor_interval_sec",),
    ),
    Option(
        "gpu_util_threshold",
        parse_percent,
        "percent",
        "1",
        "Lowest utilisation at which a GPU counts as active.",
        keys=("options.gpu_util_threshold",),
    ),
    Option(
        "gpu_required_samples",
        parse_positive_int,
        "samples",
        "2",
        "Active samples required of each GPU.",
        keys=("options.gpu_required_samples",),
    ),
    Option(
        "max_mse",
        parse_positive_float,
        "MSE, frames in [0, 1]",
        "0.03",
        "Largest rollout error that passes the inference gate.",
        keys=("profile.thresholds.max_mse",),
    ),
    Option(
        "max_inference_retries",
        parse_count,
        "retries",
        "2",
        "How often dynamics is retrained after a failed gate.",
        keys=("profile.retry.max",),
    ),
    Option(
        "retry_chunk",
        parse_positive_int,
        "updates",
        "2000 (smoke: its own)",
        "Updates of dynamics that one retry adds.",
        keys=("profile.retry.chunk",),
    ),
    Option(
        "retry_init_learning_rate",
        parse_rate,
        "peak rate",
        "0.0005 (smoke: its own)",
        "Peak learning rate of the first retry.",
        keys=("profile.retry.init_learning_rate",),
    ),
    Option(
        "retry_lr_decay",
        parse_rate,
        "factor",
        "0.7",
        "Multiplies the learning rate from one retry to the next.",
        keys=("profile.retry.lr_decay",),
    ),
    Option(
        "retry_lr_floor",
        parse_rate,
        "peak rate",
        "1e-6",
        "Lower bound of a retry's learning rate.",
        keys=("profile.retry.lr_floor",),
    ),
    Option(
        "max_train_retries",
        parse_count,
        "retries",
        "5",
        "Retunes of one stage before the run fails.",
        keys=("profile.max_train_retries",),
    ),
    Option(
        "teacher_forced",
        parse_bool,
        "true|false",
        "false",
        "Condition every step on true frames; a pass is then not a strict pass.",
        bare=True,
        keys=("inference.teacher_forced",),
    ),
    Option(
        "generation_steps",
        parse_positive_int,
        "steps",
        "12 (smoke: 4)",
        "Steps of the rollout.",
        keys=("inference.generation_steps",),
    ),
    Option(
        "context_window",
        parse_positive_int,
        "frames",
        "context_length - 1",
        "True frames before the rollout.",
        keys=("inference.context_window",),
    ),
    Option(
        "prediction_horizon",
        parse_positive_int,
        "frames",
        "1",
        "Frames generated per step.",
        keys=("inference.prediction_horizon",),
    ),
    Option(
        "decode_steps",
        parse_positive_int,
        "steps",
        "16 (smoke: its own)",
        "MaskGIT decoding passes per frame.",
        keys=("inference.decode_steps",),
    ),
    Option(
        "temperature",
        parse_temperature,
        "number",
        "0",
        "0 takes the most likely token; above 0 tokens are sampled.",
        keys=("inference.temperature",),
    ),
    Option(
        "evaluation_file",
        parse_text,
        "path",
        "none",
        "A fixed evaluation set; the final verdict uses the clips that it names (clip_starts).",
        keys=("inference.evaluation_file",),
    ),
    Option(
        "use_wandb",
        parse_bool,
        "true|false",
        "false (true where W&B has a key or a folder)",
        "Log the stages' metrics to W&B too (docs/wandb.md).",
        keys=("training.use_wandb",),
    ),
    Option(
        "enable_wandb_analysis",
        parse_bool,
        "true|false",
        "true",
        "Analyse the metric history of the stages; with false, H4 cannot pass.",
        keys=("options.enable_wandb_analysis",),
    ),
    Option(
        "wandb_source",
        parse_choice("api_first", "api_only", "local_only"),
        "api_first|api_only|local_only",
        "api_first",
        "Source of the metric history (docs/wandb.md).",
        keys=("options.wandb_source",),
    ),
    Option(
        "history_audit_year",
        parse_year,
        "year",
        "2025",
        "Committer year that the git audit covers, UTC.",
        keys=("options.history_audit_year",),
    ),
    Option(
        "history_audit_mode",
        parse_choice("strict", "wide", "current_paths"),
        "strict|wide|current_paths",
        "strict",
        "Rule by which the git audit selects commits (docs/git-audit.md).",
        keys=("options.history_audit_mode",),
    ),
)
"""In the order of the help and of docs/options.md."""

OPTION_NAMED: dict[str, Option] = {option.name: option for option in OPTIONS}
"""Name (``max_mse``) → the option."""
TARGET_OPTIONS: tuple[str, ...] = tuple(option.name for option in OPTIONS if option.of_target)
"""Options that select the checkout to validate, or set how to run it (`loop/checkout.py`)."""
TARGET_PATHS: tuple[str, ...] = tuple(name for name in TARGET_OPTIONS if OPTION_NAMED[name].unit == "path")
