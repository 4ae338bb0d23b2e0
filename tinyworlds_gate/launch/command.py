"""Command lines and environments of the children: pure functions of the target and the overrides (tinyworlds.md §2)."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tinyworlds_gate.config.rendezvous import NODE_VARIABLE, Rendezvous
from tinyworlds_gate.config.yaml_io import parse_value
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.run.heartbeat import ENVIRONMENT_VARIABLE as HEARTBEATS_VARIABLE
from tinyworlds_gate.targets.base import Target

RUN_ROOT_VARIABLE = "NG_RUN_ROOT_DIR"
ERROR_FILE_VARIABLE = "TORCHELASTIC_ERROR_FILE"
PROJECT_VARIABLE = "TINYWORLDS_GATE_PROJECT"
LAUNCH_VARIABLE = "TINYWORLDS_GATE_LAUNCH"
TERM_AND_KILL_VARIABLE = "TINYWORLDS_GATE_TERM_AND_KILL_ONLY"
"""In the environment of a checkout's processes: no signal but SIGTERM and SIGKILL is sent to them."""

_KEY = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
# Left by another launcher (SLURM, a cluster's operator, an outer torchrun) these would make our workers join its group.
_FOREIGN_GROUP = re.compile(
    r"(?:LOCAL_|GROUP_|ROLE_)?RANK|(?:LOCAL_|GROUP_|ROLE_)?WORLD_SIZE|ROLE_NAME|MASTER_(?:ADDR|PORT)|TORCHELASTIC_\w+"
)


@dataclass(frozen=True)
class LaunchFiles:
    """Where one launch leaves its traces: the run's root, the workers' heartbeats and torchrun's error file."""

    run_root: Path
    heartbeats: Path | None = None
    error_file: Path | None = None


def stage_command(
    target: Target,
    stage: str,
    *,
    nproc_per_node: int,
    overrides: Mapping[str, object] | None = None,
    rendezvous: Rendezvous | None = None,
    chunk: int = 0,
) -> list[str]:
    """The command of one chunk: torchrun for several workers, plain Python for one.

    With a ``rendezvous`` this node's torchrun meets those of the other nodes, under a name of this ``chunk``.

    ``overrides`` become ``key=value`` words and win over what this function adds (``distributed.use_ddp``,
    ``nproc_per_node``). Raises ``LaunchError`` for a number of workers below 1 or a key or value that the
    command line cannot carry.
    """
    if nproc_per_node < 1:
        raise LaunchError(f"nproc_per_node={nproc_per_node}: a stage needs at least 1 worker.")
    python = [str(target.python)]
    together = nproc_per_node > 1 or rendezvous is not None
    if together:
        meeting = ["--standalone"] if rendezvous is None else rendezvous.words(chunk)
        python += ["-m", "torch.distributed.run", *meeting, f"--nproc_per_node={nproc_per_node}"]
    configs = ["--config", str(target.stage_config(stage)), "--training_config", str(target.training_config)]
    words = {"distributed.use_ddp": together, "nproc_per_node": nproc_per_node, **(overrides or {})}
    return [*python, str(target.stage_script(stage)), *configs, *override_words(words)]


def inference_command(target: Target, overrides: Mapping[str, object] | None = None) -> list[str]:
    """The standard inference command (L6); the overrides follow a ``--`` of their own."""
    command = [str(target.python), str(target.inference_script), "--config", str(target.inference_config)]
    return [*command, "--", *override_words(overrides or {})]


def override_words(overrides: Mapping[str, object]) -> list[str]:
    """``key=value`` words in the given order; raises ``LaunchError`` for what would be read as something else."""
    return [f"{_checked_key(key)}={_value(key, value)}" for key, value in overrides.items()]


def stage_environment(
    target: Target,
    files: LaunchFiles,
    *,
    on_cpu: bool,
    inherited: Mapping[str, str] | None = None,
    rendezvous: Rendezvous | None = None,
) -> dict[str, str]:
    """The environment of a child: the inherited one plus the contract's variables.

    ``NCCL_*``, ``NVSHMEM_*``, ``TORCH_SYMM_*`` and all else that the user set stay untouched, except the rank
    variables of a foreign launcher. With ``on_cpu`` each worker computes on one thread.
    """
    source = os.environ if inherited is None else inherited
    env = {name: value for name, value in source.items() if not _FOREIGN_GROUP.fullmatch(name)}
    for name in (HEARTBEATS_VARIABLE, LAUNCH_VARIABLE, NODE_VARIABLE):
        env.pop(name, None)
    env[RUN_ROOT_VARIABLE] = str(files.run_root)
    env[PROJECT_VARIABLE] = str(target.root)
    env["PYTHONPATH"] = _joined_path([target.root, *target.import_paths], env.get("PYTHONPATH", ""))
    env["PYTHONUNBUFFERED"] = "1"
    env["PYTHONIOENCODING"] = "utf-8"  # logs are read as UTF-8, whatever the terminal's character set is
    env.setdefault("PYTHONFAULTHANDLER", "1")
    env.setdefault("MPLBACKEND", "Agg")
    if on_cpu:
        env["OMP_NUM_THREADS"] = "1"
    if target.is_checkout:
        env |= checkout_environment(target, files, source)
    if files.heartbeats is not None:
        env[HEARTBEATS_VARIABLE] = str(files.heartbeats)
    if files.error_file is not None:
        env[ERROR_FILE_VARIABLE] = str(files.error_file)
    if rendezvous is not None:
        env[NODE_VARIABLE] = rendezvous.marker
    return env


def checkout_environment(target: Target, files: LaunchFiles, inherited: Mapping[str, str]) -> dict[str, str]:
    """What only a checkout's processes get: W&B offline beside the run, and nothing written between its sources.

    ``WANDB_MODE`` stays as the user set it; what ``--target-file`` says comes last and wins.
    """
    output_root = files.run_root.parents[1]
    own = {
        "WANDB_MODE": inherited.get("WANDB_MODE") or "offline",
        "WANDB_DIR": str(output_root),
        "PYTHONDONTWRITEBYTECODE": "1",
        TERM_AND_KILL_VARIABLE: "1",
    }
    return own | dict(target.words.environment)


def _joined_path(first: Sequence[Path], inherited: str) -> str:
    entries = [*map(str, first), *(entry for entry in inherited.split(os.pathsep) if entry)]
    return os.pathsep.join(dict.fromkeys(entries))


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise LaunchError(f"Override key {key!r} is not a dotted name such as learning_rate or distributed.use_ddp.")
    return key


def _value(key: str, value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            raise LaunchError(f"Override {key}={value}: the value must be a finite number.")
        case float():
            return repr(value)
        case int():
            return str(value)
        case str() | Path():
            return _word(key, str(value))
    raise LaunchError(f"Override {key} has a value of type {type(value).__name__}: allowed are plain values.")


def _word(key: str, text: str) -> str:
    """The text as YAML reads it back: unquoted, ``a #1/b`` would end at the ``#``, and ``12`` would be a number."""
    if any(ord(letter) < 32 for letter in text):
        raise LaunchError(f"Override {key}={text!r}: control characters cannot stand on a command line.")
    try:
        if parse_value(text) == text:
            return text
    except yaml.YAMLError:
        pass
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf).rstrip("\n")
