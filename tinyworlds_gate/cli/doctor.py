"""The command `tinyworlds-gate doctor`: what this machine and project lack for a run, each fault with its fix.

    tinyworlds-gate doctor --profile smoke

Nothing is changed: folders are tried with a file that vanishes at once.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tinyworlds_gate.errors import ConfigError, GateError
from tinyworlds_gate.run.bytecode import has_bytecode, torch_source
from tinyworlds_gate.run.source_state import open_repository

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from tinyworlds_gate.config.load import Settings
    from tinyworlds_gate.launch.devices.nvml import GpuInfo

OLDEST_PYTHON = (3, 11)
GIB = 2**30
DISK_FAIL_GIB, DISK_WARN_GIB = 1.0, 10.0
MEMORY_WARN_GIB = 4.0
OUTPUT_FOLDERS = ("results", "Logs", "inference_results", "docs/action", "data")
NO_DRIVER = re.compile(r"shared library|driver not loaded|lists no GPU|leaves no GPU", re.IGNORECASE)
"""What NVML says on a machine without NVIDIA GPUs; anything else is a GPU that cannot be read."""


@dataclass(frozen=True)
class Check:
    """One line of the report; ``fix`` says what to do, and is empty where nothing is to be done."""

    status: Literal["OK", "WARN", "FAIL"]
    name: str
    found: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--profile", default="smoke", help="the run to prepare for (default: %(default)s)")
    parser.add_argument("--project-root", type=Path, default=Path(), help="the validated project (default: here)")


def run(args: argparse.Namespace) -> int:
    """Print a line for each check; 0 when no check failed, else 1.

    Raises:
        ConfigError: the project's folder does not exist.
    """
    checks: list[Check] = []
    root = args.project_root.resolve()
    if not root.is_dir():
        raise ConfigError(f"--project-root {args.project_root} is not a folder; name the folder of a project")
    for check in all_checks(args.profile, root):
        checks.append(check)
        print(f"{check.status:<4}  {check.name:<12}  {check.found}", flush=True)
        if check.fix:
            print(f"{'':<4}  {'':<12}  fix: {check.fix}", flush=True)
    failed, warned = (sum(check.status == status for check in checks) for status in ("FAIL", "WARN"))
    print(
        f"{len(checks)} checks: {failed} failed, {warned} warned" + ("" if failed else f"; {next_step(args.profile)}")
    )
    return 1 if failed else 0


def next_step(profile: str) -> str:
    """The command that a healthy machine is ready for."""
    return "ready for `make smoke`" if profile == "smoke" else f"ready for `pytest validation/ --profile {profile}`"


def all_checks(profile: str, project_root: Path) -> Iterator[Check]:
    """Every check in the order in which a run would need it; the slow one (torch) comes late."""
    from tinyworlds_gate.launch.devices.nvml import Nvml

    yield python_version(sys.version_info[:3])
    yield from packages(own_requirements(), installed_version)
    yield from repository(project_root, shutil.which)
    yield from folders(project_root)
    yield disk_space(shutil.disk_usage(existing_parent(project_root)).free / GIB)
    yield cpus(cpu_count(), os.getloadavg()[0])
    yield memory()
    with Nvml() as nvml:
        yield gpus(nvml.devices, nvml.problem)
        yield torch_devices(len(nvml.devices))
    yield from bytecode(torch_source())
    yield from settings_and_data(profile, project_root)


def python_version(version: tuple[int, ...]) -> Check:
    """Whether this interpreter is new enough."""
    told = ".".join(str(part) for part in version)
    if version[:2] < OLDEST_PYTHON:
        return Check("FAIL", "python", f"{told}, but 3.11 is the oldest that works", "make setup PYTHON=python3.12")
    return Check("OK", "python", told)


def own_requirements() -> list[str] | None:
    """What this package's metadata asks for; None when it is not installed."""
    try:
        return metadata.requires("tinyworlds_gate") or []
    except metadata.PackageNotFoundError:
        return None


def packages(requires: list[str] | None, installed: Callable[[str], str | None]) -> Iterator[Check]:
    """Hold what is installed to the bounds of pyproject.toml; tools for development only warn.

    Args:
        requires: requirement strings of this package's metadata; None where it is not installed.
        installed: name → version, or None when it is not there.
    """
    from packaging.requirements import Requirement

    if requires is None:
        yield Check("FAIL", "packages", "tinyworlds_gate is not installed in this environment", "make setup")
        return
    parsed = [Requirement(text) for text in requires]
    applying = [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": "dev"})]
    sound = 0
    for one in applying:
        problem = _package_problem(one, installed(one.name))
        if problem is None:
            sound += 1
            continue
        for_development = one.marker is not None and "extra" in str(one.marker)
        yield Check("WARN" if for_development else "FAIL", "packages", problem, "make setup")
    yield Check("OK", "packages", f"{sound} of {len(applying)} are installed within their bounds")
    if (old := installed("pynvml")) is not None:
        yield Check(
            "WARN",
            "packages",
            f"pynvml {old} is deprecated and may hide nvidia-ml-py, whose module it shares",
            "pip uninstall pynvml",
        )


def _package_problem(requirement: Requirement, version: str | None) -> str | None:
    if version is None:
        return f"{requirement.name} is not installed (needs {requirement.specifier})"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} is {version}, but {requirement.specifier} is needed"
    return None


def installed_version(name: str) -> str | None:
    """The version of a distribution of this environment, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def repository(project_root: Path, which: Callable[[str], str | None]) -> Iterator[Check]:
    """The git program and a history to audit (L4)."""
    if which("git") is None:
        yield Check(
            "FAIL", "git", "the program git is not on PATH, and the loop audits the history (L4)", "install git"
        )
        return
    import git

    try:
        repo = open_repository(project_root)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        fix = "run in a clone of the project, or name it with --project-root"
        yield Check("FAIL", "git", f"{project_root} is not in a git repository, so L4 would be INVALID", fix)
        return
    if not repo.head.is_valid():
        yield Check("FAIL", "git", "the repository has no commit, so there is no history to audit (L4)", "git commit")
    elif (Path(repo.common_dir) / "shallow").is_file():
        yield Check("WARN", "git", "a shallow clone; the audit (L4) sees only part of it", "git fetch --unshallow")
    else:
        yield Check("OK", "git", f"repository at commit {repo.head.commit.hexsha[:10]}")


def existing_parent(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def folders(project_root: Path) -> Iterator[Check]:
    """Whether a run could write where it must, by writing there."""
    refused = 0
    for name in OUTPUT_FOLDERS:
        parent = existing_parent(project_root / name)
        try:
            with tempfile.TemporaryFile(dir=parent):
                pass
        except OSError as error:
            refused += 1
            fix = f"make {parent} writable (chmod u+rwx), or free the name if it is a file"
            yield Check("FAIL", "folders", f"{name}/ cannot be written: {error.strerror}", fix)
    if not refused:
        yield Check("OK", "folders", f"writable: {', '.join(f'{name}/' for name in OUTPUT_FOLDERS)}")


def disk_space(free_gib: float) -> Check:
    """Room for checkpoints, logs and frames."""
    told = f"{free_gib:.1f} GiB free"
    if free_gib < DISK_FAIL_GIB:
        return Check("FAIL", "disk", told, f"free at least {DISK_FAIL_GIB:g} GiB; old runs lie in results/")
    if free_gib < DISK_WARN_GIB:
        return Check("WARN", "disk", told, f"enough for smoke; free {DISK_WARN_GIB:g} GiB before a long run")
    return Check("OK", "disk", told)


def cpu_count() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def cpus(count: int, load: float) -> Check:
    """Whether two CPU workers find a core each."""
    told = f"{count} for this process, load of the last minute {load:.1f}"
    if count < 2:
        return Check("WARN", "cpus", told, "smoke's two workers share one core: expect about twice the time")
    if load > count - 1:
        return Check("WARN", "cpus", f"{told}: busy", "wait for the other work to end, or expect longer times")
    return Check("OK", "cpus", told)


def memory() -> Check:
    """Main memory that is free now."""
    import psutil

    available = psutil.virtual_memory().available / GIB
    if available < MEMORY_WARN_GIB:
        fix = f"close programs until {MEMORY_WARN_GIB:g} GiB are free; workers may be killed otherwise"
        return Check("WARN", "memory", f"{available:.1f} GiB available", fix)
    return Check("OK", "memory", f"{available:.1f} GiB available")


def gpus(devices: list[GpuInfo], problem: str | None) -> Check:
    """The GPUs that NVML shows."""
    if devices:
        told = ", ".join(
            f"{one.index}: {one.name}" + (f" ({one.memory_gib} GiB)" if one.memory_gib else "") for one in devices
        )
        if len(devices) < 2:
            return Check("WARN", "gpus", f"{told}; L3 and H6 need two and are NOT-RUN", "give a long run two GPUs")
        return Check("OK", "gpus", told)
    if problem and not NO_DRIVER.search(problem):
        return Check("WARN", "gpus", f"none can be used: {problem}", "check the driver with nvidia-smi")
    return Check("OK", "gpus", "none: smoke trains on the CPU (L3 and H6 are NOT-RUN); a long run needs two")


def torch_devices(gpu_count: int) -> Check:
    """Whether torch starts, and computes where NVML shows GPUs."""
    try:
        import torch
        import torch.distributed as dist
    except (ImportError, OSError) as error:
        return Check("FAIL", "torch", f"cannot be imported: {error}", "make setup")
    build = (
        f"{torch.__version__}, CUDA {torch.version.cuda}" if torch.version.cuda else f"{torch.__version__}, CPU build"
    )
    if not dist.is_available() or not dist.is_gloo_available():
        return Check(
            "FAIL", "torch", f"{build}, without gloo: torchrun cannot train on CPUs", "make setup on Linux or macOS"
        )
    if gpu_count and not torch.cuda.is_available():
        fix = "install a CUDA build of torch for this driver, or set CUDA_VISIBLE_DEVICES= (empty) to train on the CPU"
        return Check("FAIL", "torch", f"{build}: NVML shows {gpu_count} GPU(s), but torch can use none", fix)
    if torch.cuda.is_available() and not dist.is_nccl_available():
        return Check(
            "FAIL", "torch", f"{build}, without NCCL: GPUs cannot train together", "install a CUDA build of torch"
        )
    return Check("OK", "torch", f"{build}, {torch.cuda.device_count()} GPU(s)")


def bytecode(source: Path | None) -> Iterator[Check]:
    """Warns where torch lies without bytecode; ``source`` is the file that its import runs first."""
    if source is None or has_bytecode(source):
        return
    told = "torch was installed without its bytecode: every process of a run compiles torch's sources anew"
    fix = shlex.join([sys.executable, "-m", "compileall", "-q", str(source.parents[1])])
    yield Check("WARN", "bytecode", told, fix)


def settings_and_data(profile: str, project_root: Path) -> Iterator[Check]:
    """The settings files and the frames that a run of this profile would use."""
    from tinyworlds_gate.config.alignment import check_alignment
    from tinyworlds_gate.loop.start import resolve_run

    try:
        settings, _ = resolve_run(profile, {}, project_root)
        checks = check_alignment(settings.config_dir)
    except GateError as error:
        yield Check("FAIL", "settings", f"profile {profile}: {error}", "mend what the sentence names")
        return
    wrong = [f"{check.id}: {check.reason}" for check in checks if check.verdict != "PASS"]
    for sentence in wrong:
        yield Check("FAIL", "settings", sentence, "mend what the sentence names")
    if not wrong:
        yield Check("OK", "settings", f"profile {profile}: C1, C2 and C3 hold")
    yield dataset(settings, project_root)
    if settings.inference.evaluation_file is not None:
        yield evaluation_set(settings)


def evaluation_set(settings: Settings) -> Check:
    """The fixed evaluation set of the final verdict: there, of the right size, with clips that can be measured."""
    from tinyworlds_gate.loop.data import rollout_span
    from tinyworlds_gate.reference.data.evaluation_set import open_evaluation_set

    path = settings.project_root / str(settings.inference.evaluation_file)
    try:
        found = open_evaluation_set(path, frame_size=settings.training.frame_size, length=sum(rollout_span(settings)))
    except GateError as error:
        return Check("FAIL", "evaluation set", str(error), "do what the sentence says (docs/gate.md)")
    clips, episodes = len(found.starts), len(set(found.episodes.tolist()))
    return Check("OK", "evaluation set", f"{path.name}: {clips} clips of {episodes} episodes")


def dataset(settings: Settings, project_root: Path, environment: Mapping[str, str] = os.environ) -> Check:
    """The frames file: there and whole, or generated on first use."""
    from tinyworlds_gate.reference.data.datasets import CRAFTER, dataset_path
    from tinyworlds_gate.reference.data.frames_file import check_frames_file

    training = settings.training
    try:
        path = (
            project_root / training.data_path
            if training.data_path
            else dataset_path(project_root, training.dataset, training.frame_size)
        )
        if not path.exists() and training.data_path is None and training.dataset.upper() == CRAFTER:
            return Check("OK", "data", f"{path.name} is not there yet; the first run generates it")
        info = check_frames_file(path)
    except GateError as error:
        return Check("FAIL", "data", str(error), "do what the sentence says; `tinyworlds-gate data --help`")
    return Check("OK", "data", f"{path.name}: {info.num_frames} frames of {info.height} x {info.width} px")
