"""Build command lines and environments of child processes from the target and overrides (pure)."""

from __future__ import annotations

import importlib.util
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
from tinyworlds_gate.names import LAUNCH_VARIABLE
from tinyworlds_gate.reference.training.wandb_mode import wandb_mode
from tinyworlds_gate.run.drawing import BACKEND, BACKEND_VARIABLE, STYLE_VARIABLE
from tinyworlds_gate.run.heartbeat import ENVIRONMENT_VARIABLE as HEARTBEATS_VARIABLE
from tinyworlds_gate.run.machine import affinity_cpus, usable_cpus
from tinyworlds_gate.targets.base import Target
from tinyworlds_gate.targets.embedded import package_path

RUN_ROOT_VARIABLE = "NG_RUN_ROOT_DIR"
ERROR_FILE_VARIABLE = "TORCHELASTIC_ERROR_FILE"
PROJECT_VARIABLE = "TINYWORLDS_GATE_PROJECT"
RANK_FOLDERS = Path(__file__).with_name("rank_folders")
TERM_AND_KILL_VARIABLE = "TINYWORLDS_GATE_TERM_AND_KILL_ONLY"
"""Set for processes of a checkout: the harness sends them no signal but SIGTERM and SIGKILL."""

LOOPBACK = "127.0.0.1"
"""Where the workers of one machine meet: torchrun would use the machine's name, which need not resolve."""

_KEY = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
# Inherited from another launcher (SLURM, an operator, an outer torchrun), these would make our workers join its group.
_FOREIGN_GROUP = re.compile(
    r"(?:LOCAL_|GROUP_|ROLE_)?RANK|(?:LOCAL_|GROUP_|ROLE_)?WORLD_SIZE|ROLE_NAME|MASTER_(?:ADDR|PORT)|TORCHELASTIC_\w+"
)

# Every other PYTHON* variable names code that the interpreter would run, or another interpreter.
_HARMLESS = re.compile(
    "PYTHON(UNBUFFERED|IOENCODING|FAULTHANDLER|DONTWRITEBYTECODE|HASHSEED|UTF8|MALLOC|NOUSERSITE|SAFEPATH)"
)
_LIBRARIES = ("torch", "numpy", "h5py", "yaml", "pydantic", "matplotlib")


@dataclass(frozen=True)
class LaunchFiles:
    """Files of one launch: the run's root, the workers' heartbeats and torchrun's error file."""

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
    """Return the command line of one chunk: torchrun for several workers, plain Python for one.

    With a ``rendezvous``, this node's torchrun joins those of the other nodes under an ID of this ``chunk``.

    ``overrides`` become ``key=value`` arguments and take precedence over those that this function adds
    (``distributed.use_ddp``, ``nproc_per_node``). Raises ``LaunchError`` for fewer than 1 worker, and for a key or
    value that cannot be written on a command line.
    """
    if nproc_per_node < 1:
        raise LaunchError(f"nproc_per_node={nproc_per_node}: a stage needs at least 1 worker.")
    python = [str(target.python)]
    distributed = nproc_per_node > 1 or rendezvous is not None
    if distributed:
        meeting = ["--standalone"] if rendezvous is None else rendezvous.arguments(chunk)
        python += ["-m", "torch.distributed.run", *meeting, f"--nproc_per_node={nproc_per_node}"]
        python += [f"--local-addr={LOOPBACK}"] if rendezvous is None else []
    configs = ["--config", str(target.stage_config(stage)), "--training_config", str(target.training_config)]
    values = {"distributed.use_ddp": distributed, "nproc_per_node": nproc_per_node, **(overrides or {})}
    return [*python, str(target.stage_script(stage)), *configs, *override_arguments(values)]


def inference_command(target: Target, overrides: Mapping[str, object] | None = None) -> list[str]:
    """Return the standard inference command (L6); the overrides follow a ``--``."""
    command = [str(target.python), str(target.inference_script), "--config", str(target.inference_config)]
    return [*command, "--", *override_arguments(overrides or {})]


def probe_command(target: Target, request: Path, result: Path, true_clips: Path) -> list[str]:
    """Return the command that generates the frames of a request again (`reference/rollout/probe.py`).

    Raises ``LaunchError`` for a target without such a script.
    """
    if target.probe_script is None:
        raise LaunchError(f"The target {target.kind} has no script that generates frames without the true future.")
    command = [str(target.python), str(target.probe_script), str(request), str(result)]
    return [*command, "--true-clips", str(true_clips)]


def override_arguments(overrides: Mapping[str, object]) -> list[str]:
    """Return ``key=value`` arguments in order; raises ``LaunchError`` for a key or value that they cannot express."""
    return [f"{_checked_key(key)}={_value(key, value)}" for key, value in overrides.items()]


def stage_environment(
    target: Target,
    files: LaunchFiles,
    *,
    on_cpu: bool,
    inherited: Mapping[str, str] | None = None,
    rendezvous: Rendezvous | None = None,
) -> dict[str, str]:
    """Return the environment of a child: the inherited one plus the contract's variables.

    All variables of the user (``NCCL_*``, ``NVSHMEM_*``, ``TORCH_SYMM_*``, …) stay unchanged, except the rank variables
    of another launcher and matplotlib's backend and style. With ``on_cpu`` each worker computes on one thread.
    Under a CPU quota of the cgroup, a process on a GPU starts no more threads than the quota allows.
    """
    source = os.environ if inherited is None else inherited
    env = {name: value for name, value in source.items() if not _FOREIGN_GROUP.fullmatch(name)}
    for name in (HEARTBEATS_VARIABLE, LAUNCH_VARIABLE, NODE_VARIABLE):
        env.pop(name, None)
    env[RUN_ROOT_VARIABLE] = str(files.run_root)
    env[PROJECT_VARIABLE] = str(target.root)
    own = [] if target.can.saves_on_one_rank else [RANK_FOLDERS]
    env["PYTHONPATH"] = _joined_path([*own, target.root, *target.import_paths], env.get("PYTHONPATH", ""))
    env["PYTHONUNBUFFERED"] = "1"
    env["PYTHONIOENCODING"] = "utf-8"  # logs are read as UTF-8, whatever the terminal's character set is
    env.setdefault("PYTHONFAULTHANDLER", "1")
    env.pop(STYLE_VARIABLE, None)
    env[BACKEND_VARIABLE] = BACKEND
    if on_cpu:
        env["OMP_NUM_THREADS"] = "1"
    elif (cpus := usable_cpus()) < affinity_cpus():
        env.setdefault("OMP_NUM_THREADS", str(cpus))
    if target.is_checkout:
        env |= checkout_environment(target, files, source)
    if files.heartbeats is not None:
        env[HEARTBEATS_VARIABLE] = str(files.heartbeats)
    if files.error_file is not None:
        env[ERROR_FILE_VARIABLE] = str(files.error_file)
    if rendezvous is not None:
        env[NODE_VARIABLE] = rendezvous.marker
    return env


def trusted_environment(
    target: Target, files: LaunchFiles, *, on_cpu: bool, inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment of a process of the gate itself, which imports nothing from a project's folder.

    As ``stage_environment``, but PYTHONPATH holds only the folder of this package, where it is not installed, and the
    inherited entries that this process's libraries come from. The working directory is not searched
    (PYTHONSAFEPATH), and no other variable of Python has an effect.
    """
    env = stage_environment(target, files, on_cpu=on_cpu, inherited=inherited)
    source = os.environ if inherited is None else inherited
    folders = [*package_path(), *_library_folders(source.get("PYTHONPATH", ""), target.root)]
    env = {name: value for name, value in env.items() if not name.startswith("PYTHON") or _HARMLESS.fullmatch(name)}
    if folders:
        env["PYTHONPATH"] = _joined_path(folders, "")
    return env | {"PYTHONSAFEPATH": "1"}


def _library_folders(inherited: str, root: Path) -> list[Path]:
    """Return the entries of PYTHONPATH outside a project that hold a library which this process imports from there."""
    kept = []
    for entry in map(Path, filter(None, inherited.split(os.pathsep))):
        outside = entry.is_absolute() and not entry.resolve().is_relative_to(root.resolve())
        if outside and any(_is_in(entry, name) for name in _LIBRARIES):
            kept.append(entry)
    return kept


def _is_in(folder: Path, library: str) -> bool:
    try:
        found = importlib.util.find_spec(library)
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin is not None and Path(found.origin).parent.parent == folder


def checkout_environment(target: Target, files: LaunchFiles, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that only a checkout's processes get: W&B offline beside the run, no bytecode files.

    A ``WANDB_MODE`` of the user stays, ``WANDB_DISABLED`` counts before it; the ``--target-file`` takes precedence.
    """
    output_root = files.run_root.parents[1]
    mode = inherited.get("WANDB_MODE") or "offline"
    own = {
        "WANDB_MODE": "disabled" if wandb_mode({**inherited, "WANDB_MODE": mode}) == "disabled" else mode,
        "WANDB_DIR": str(output_root),
        "PYTHONDONTWRITEBYTECODE": "1",
        TERM_AND_KILL_VARIABLE: "1",
    }
    return own | dict(target.arguments.environment)


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
            return _yaml_text(key, str(value))
    raise LaunchError(f"Override {key} has a value of type {type(value).__name__}: allowed are plain values.")


def _yaml_text(key: str, text: str) -> str:
    """Quote the text where YAML needs it: unquoted, ``a #1/b`` would end at the ``#``, and ``12`` would be a number."""
    if any(ord(letter) < 32 for letter in text):
        raise LaunchError(f"Override {key}={text!r}: control characters are not allowed.")
    try:
        if parse_value(text) == text and yaml.safe_load(text) == text:  # a checkout reads YAML 1.1
            return text
    except (yaml.YAMLError, ValueError):
        pass
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf).rstrip("\n")
