"""Registry of the closed loop's command-line options (docs/options.md).

Used by the pytest plugin, `show-config`, the precedence of settings, the rules between options and docs/options.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinyworlds_gate.config.cli_values import (
    parse_bool,
    parse_choice,
    parse_count,
    parse_dataset,
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


_target = partial(Option, of_target=True)


def _setting(key: str, parse: Callable[[str], Any], unit: str, default: str, help: str, **more: Any) -> Option:
    """Return the option that sets one key and is named after the key's last part."""
    return Option(key.rpartition(".")[2], parse, unit, default, help, keys=(key,), **more)


def _retry(name: str, parse: Callable[[str], Any], unit: str, default: str, help: str) -> Option:
    return Option(f"retry_{name}", parse, unit, default, help, keys=(f"profile.retry.{name}",))


def _int(key: str, unit: str, default: str, help: str, **more: Any) -> Option:
    return _setting(key, parse_positive_int, unit, default, help, **more)


def _switch(key: str, default: str, help: str, **more: Any) -> Option:
    return _setting(key, parse_bool, "true|false", default, help, **more)


def _choice(key: str, allowed: str, help: str, **more: Any) -> Option:
    """Return the option whose values are ``allowed`` (``a|b|c``); the first is the default."""
    values = allowed.split("|")
    return _setting(key, parse_choice(*values), allowed, values[0], help, **more)


def _training_options(stage: str | None = None, prefix: str = "") -> tuple[Option, ...]:
    """Training options of one stage (``--video-…``), or of every trained stage."""
    of, default = stage or "each trained stage", "the general form's value" if stage else PROFILE
    own = f"stages.{stage or STAGE}"
    rows = (
        ("target_updates", "updates", "Absolute update at which {} is complete.", "n_updates"),
        ("init_batch_size", "clips per GPU", "Initial batch size of {}.", "batch_size_per_gpu"),
        ("init_grad_accum", "micro-batches", "Initial gradient accumulation of {}.", "gradient_accumulation_steps"),
        ("init_learning_rate", "peak rate", "Initial peak learning rate of {}.", "learning_rate"),
        ("init_log_interval", "updates", "Updates between two checkpoints of {}.", "log_interval"),
    )
    return tuple(
        Option(
            prefix + name,
            parse_rate if key == "learning_rate" else parse_positive_int,
            unit,
            default,
            help.format(of),
            keys=(*([f"profile.{own}.{name}"] if name == "target_updates" else []), f"{own}.{key}"),
            stage=stage,
        )
        for name, unit, help, key in rows
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
    _target("target_repo", parse_text, "path", "none", "A TinyWorlds checkout to validate; its files stay unchanged."),
    _target(
        "target_kind",
        parse_choice("embedded", "tinyworlds", "tinyworlds-fork"),
        "embedded|tinyworlds|tinyworlds-fork",
        "by the checkout's files",
        "The kind of the target, which decides what it can do (docs/external-checkouts.md).",
    ),
    _target(
        "target_python",
        parse_text,
        "path",
        "the checkout's .venv, else ours",
        "The Python interpreter of the checkout's processes.",
    ),
    _target("target_file", parse_text, "path", "none", "A YAML file that describes a fork with other names and paths."),
    *(
        _target(
            f"{short}_config",
            parse_text,
            "file",
            f"{stage}.yaml of the checkout's configs",
            f"The settings file of {stage}, for a checkout that has several: relative to its root, or absolute.",
        )
        for short, stage in SHORT_NAMES.items()
    ),
    _choice(
        "options.align_backbone",
        "strict|inject|report",
        "What to do where the checkout's stages differ in embed_dim, num_heads, hidden_dim or num_blocks (C2): refuse "
        "it, give every stage the values of training.yaml (else of the tokenizer's file), or train each with its own.",
        of_target=True,
    ),
    _target(
        "held_out_data",
        parse_text,
        "path",
        "data/<dataset>_held_out_frames.h5 of the checkout, if present",
        "Frames that the checkout never trains on; without them its run cannot pass.",
    ),
    _target("output_root", parse_text, "path", "the checkout", "The folder for the outputs of a checkout's run."),
    _target(
        "target_dry_run",
        parse_bool,
        "true|false",
        "false",
        "Print the commands that would run on the checkout, in order, without running them.",
        bare=True,
    ),
    Option(
        "dataset",
        parse_dataset,
        "dataset name",
        PROFILE,
        "The game to train and measure on: the frames in data/<name>_frames.h5.",
        keys=("training.dataset", "inference.dataset"),
    ),
    Option(
        "seed",
        parse_seed,
        "number",
        PROFILE,
        "Seed of initial weights, batches, masks and rollout.",
        keys=("profile.seed", "training.seed", "inference.seed"),
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
    _choice(
        "options.checkpoint_policy",
        "fresh|latest",
        "Start from new weights, or from the newest valid checkpoint of earlier runs of the profile; with `latest`, a "
        "stage that is needed and not trained uses its newest one as its model.",
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
    _setting(
        "stages.{stage}.keep_checkpoints",
        parse_positive_int,
        "checkpoints",
        "3",
        "Newest checkpoints of each trained stage to retain besides the gated one; older ones are removed.",
    ),
    *(
        _setting(
            f"options.{short}_checkpoint",
            parse_text,
            "path",
            "none",
            f"A {stage}_step_<n> folder, its checkpoints/ parent for the newest valid one, or a published .pth file. A "
            "trained stage starts from it; a stage that is not trained uses it as its model.",
        )
        for short, stage in SHORT_NAMES.items()
    ),
    _int("training.nproc_per_node", "processes", "2", "Workers per machine; at most the number of GPUs."),
    Option(
        "allow_cpu_longrun",
        parse_bool,
        "true|false",
        "false",
        "Start a long run without the GPUs that it needs; its evidence of two GPUs is then NOT-RUN by choice.",
    ),
    _int("options.nnodes", "machines", "1", "Machines that train together (docs/cluster.md)."),
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
    _switch("options.cleanup_extra_processes", "true", "End stale and extra training processes."),
    _switch("options.enforce_dual_gpu_check", "true", "Require evidence that both GPUs worked."),
    _setting(
        "options.monitor_interval_sec", parse_positive_float, "seconds", "5", "Interval between two device samples."
    ),
    _setting(
        "options.gpu_util_threshold",
        parse_percent,
        "percent",
        "1",
        "Lowest utilisation at which a GPU counts as active.",
    ),
    _int("options.gpu_required_samples", "samples", "2", "Active samples required of each GPU."),
    _setting(
        "profile.thresholds.max_mse",
        parse_positive_float,
        "MSE, frames in [0, 1]",
        "0.03",
        "Largest rollout error that passes the inference gate.",
    ),
    Option(
        "max_inference_retries",
        parse_count,
        "retries",
        "2",
        "How often dynamics is retrained after a failed gate.",
        keys=("profile.retry.max",),
    ),
    _retry("chunk", parse_positive_int, "updates", "2000 (smoke: its own)", "Updates of dynamics that one retry adds."),
    _retry(
        "init_learning_rate",
        parse_rate,
        "peak rate",
        "0.0005 (smoke: its own)",
        "Peak learning rate of the first retry.",
    ),
    _retry("lr_decay", parse_rate, "factor", "0.7", "Multiplies the learning rate from one retry to the next."),
    _retry("lr_floor", parse_rate, "peak rate", "1e-6", "Lower bound of a retry's learning rate."),
    _setting("profile.max_train_retries", parse_count, "retries", "5", "Retunes of one stage before the run fails."),
    _switch(
        "inference.teacher_forced",
        "false",
        "Condition every step on true frames; a pass is then not a strict pass.",
        bare=True,
    ),
    _int("inference.generation_steps", "steps", "12 (smoke: 4)", "Steps of the rollout."),
    _int("inference.context_window", "frames", "context_length - 1", "True frames before the rollout."),
    _int("inference.prediction_horizon", "frames", "1", "Frames generated per step."),
    _int("inference.decode_steps", "steps", "16 (smoke: its own)", "MaskGIT decoding passes per frame."),
    _setting(
        "inference.temperature",
        parse_temperature,
        "number",
        "0",
        "0 takes the most likely token; above 0 tokens are sampled.",
    ),
    _setting(
        "inference.evaluation_file",
        parse_text,
        "path",
        "none",
        "A fixed evaluation set; the final verdict uses the clips that it names (clip_starts).",
    ),
    Option(
        "baseline",
        parse_text,
        "path",
        "none",
        "Compare the run with this baseline (docs/baseline.json) when the gate has ended; relative to the project.",
    ),
    Option(
        "fail_on",
        parse_choice("worse"),
        "worse",
        "nothing",
        "Fail the run where it is worse than the baseline, or cannot be compared with it.",
    ),
    Option(
        "require_better",
        parse_bool,
        "true|false",
        "false",
        "Fail the run unless it is better than the baseline.",
        bare=True,
    ),
    _switch(
        "training.use_wandb",
        "false (true where W&B has a key or a folder)",
        "Log the stages' metrics to W&B too (docs/wandb.md).",
    ),
    _switch(
        "options.enable_wandb_analysis", "true", "Analyse the metric history of the stages; with false, H4 cannot pass."
    ),
    _choice("options.wandb_source", "api_first|api_only|local_only", "Source of the metric history (docs/wandb.md)."),
    _setting(
        "options.history_audit_year", parse_year, "year", "2025", "Committer year that the git audit covers, UTC."
    ),
    _choice(
        "options.history_audit_mode",
        "strict|wide|current_paths",
        "Rule by which the git audit selects commits (docs/git-audit.md).",
    ),
)
"""In the order of the help and of docs/options.md."""

OPTION_NAMED: dict[str, Option] = {option.name: option for option in OPTIONS}
"""Name (``max_mse``) → the option."""
TARGET_OPTIONS: tuple[str, ...] = tuple(option.name for option in OPTIONS if option.of_target)
"""Options that select the checkout to validate, or set how to run it (`loop/checkout.py`)."""
TARGET_PATHS: tuple[str, ...] = tuple(name for name in TARGET_OPTIONS if OPTION_NAMED[name].unit == "path")
PLACES: tuple[str, ...] = tuple(
    option.name
    for option in OPTIONS
    if option.name != "project_root" and option.unit in ("path", "file", "path or name", "name or folder")
)
"""Options whose value can be a path outside the project."""
