"""The command `tinyworlds-gate doctor`: check this machine and project before a run, and print a fix for each problem.

    tinyworlds-gate doctor --profile smoke

It changes nothing; to check that a folder can be written, it creates a temporary file there.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tinyworlds_gate.cli.doctor_folders import Check, existing_parent, folders, project_lock
from tinyworlds_gate.cli.doctor_machine import cpus, memory, own_name
from tinyworlds_gate.config.cli_values import parse_dataset
from tinyworlds_gate.errors import ConfigError, DataError, GateError
from tinyworlds_gate.evidence.git_audit.paths import has_relevant_file
from tinyworlds_gate.run.bytecode import has_bytecode, torch_source
from tinyworlds_gate.run.cgroup_limits import cgroup_limits
from tinyworlds_gate.run.git import GitError, NoRepository, Repository
from tinyworlds_gate.run.installation import is_checkout, shipped_folder
from tinyworlds_gate.run.machine import GIB, machine_cpus, usable_cpus
from tinyworlds_gate.run.redact import redact

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from tinyworlds_gate.config.load import Settings
    from tinyworlds_gate.launch.devices.nvml import GpuInfo

OLDEST_PYTHON = (3, 11)
DISK_FAIL_GIB, DISK_WARN_GIB = 1.0, 10.0
NO_DRIVER = re.compile(r"shared library|driver not loaded|lists no GPU|leaves no GPU", re.IGNORECASE)
"""Errors of NVML on a machine without NVIDIA GPUs; any other error means that a GPU cannot be read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--profile", default="smoke", help="profile of the planned run (default: %(default)s)")
    parser.add_argument("--dataset", type=parse_dataset, help="dataset of the planned run (default: the profile's)")
    parser.add_argument("--project-root", type=Path, default=Path(), help="the validated project (default: here)")


def run(args: argparse.Namespace) -> int:
    """Print a line for each check; return 0 if no check failed, else 1.

    Raises:
        ConfigError: the project's folder does not exist.
    """
    checks: list[Check] = []
    root = args.project_root.resolve()
    if not root.is_dir():
        raise ConfigError(f"--project-root {args.project_root} is not a folder; name the folder of a project")
    for check in all_checks(args.profile, root, args.dataset):
        checks.append(check)
        print(f"{check.status:<4}  {check.name:<12}  {redact(as_typed(check.found))}", flush=True)
        if check.fix:
            print(f"{'':<4}  {'':<12}  fix: {redact(as_typed(check.fix))}", flush=True)
    failed, warned = (sum(check.status == status for check in checks) for status in ("FAIL", "WARN"))
    ready, command = "not ready" if failed else "ready", run_command(args.profile, root, args.dataset)
    print(f"{len(checks)} checks: {failed} failed, {warned} warned; {ready} for `{command}`")
    return 1 if failed else 0


def run_command(profile: str, project_root: Path, dataset: str | None = None) -> str:
    """Return the command that runs the closed loop of a profile on a project, for a shell in the current folder."""
    kind = kind_of(profile, project_root)
    words = [] if profile == kind else ["--profile", profile]
    words += [] if dataset is None else ["--dataset", dataset]
    words += [] if project_root == Path.cwd().resolve() else ["--project-root", str(project_root)]
    if is_checkout() and Path.cwd().resolve() == checkout_root() and project_root == checkout_root():
        return make_command(kind, *words)
    tests = [str(shipped_folder("validation"))] if is_checkout() else ["--pyargs", "tinyworlds_gate.validation"]
    return shlex.join([sys.executable, "-m", "pytest", *tests, "-m", kind, *words])


def make_command(target: str, *options: str) -> str:
    """Return ``make <target>`` in this package's checkout; ``options`` are those of pytest."""
    elsewhere = [] if Path.cwd().resolve() == checkout_root() else ["-C", str(checkout_root())]
    return shlex.join(["make", *elsewhere, target, *([f"ARGS={shlex.join(options)}"] if options else [])])


def checkout_root() -> Path:
    """Return the root of the checkout that this package runs from."""
    return shipped_folder("validation").parent


def as_typed(text: str) -> str:
    """Return the text with `tinyworlds-gate …` as it can be typed here, where that program is not on PATH."""
    if shutil.which("tinyworlds-gate") is not None:
        return text
    return re.sub(r"tinyworlds-gate(?= [a-z])", shlex.join([sys.executable, "-m", "tinyworlds_gate"]), text)


def kind_of(profile: str, project_root: Path) -> str:
    """Return ``smoke`` or ``longrun``; a profile that cannot be read counts as the kind that its name says."""
    try:
        from tinyworlds_gate.config.load import resolve_settings

        return resolve_settings(profile, {}, project_root=project_root).profile.kind
    except (GateError, ImportError):
        return "smoke" if profile == "smoke" else "longrun"


def install_command() -> str:
    """The command that installs this package and what it needs, also where `make setup` has run before."""
    if is_checkout():
        return make_command("setup").replace("make", "make --always-make", 1)
    return shlex.join([sys.executable, "-m", "pip", "install", "--upgrade", "tinyworlds_gate"])


def all_checks(profile: str, project_root: Path, chosen_dataset: str | None = None) -> Iterator[Check]:
    """Yield every check in the order in which a run needs it."""
    from tinyworlds_gate.launch.devices.nvml import Nvml

    kind = kind_of(profile, project_root)
    yield python_version(sys.version_info[:3])
    yield from packages(own_requirements(), installed_version)
    yield from repository(project_root, shutil.which, kind)
    yield from folders(project_root)
    yield project_lock(project_root)
    yield disk_space(shutil.disk_usage(existing_parent(project_root)).free / GIB)
    limits = cgroup_limits()
    yield cpus(usable_cpus(), os.getloadavg()[0], limits, machine_cpus())
    yield memory(limits)
    yield own_name(socket.gethostname())
    with Nvml() as nvml:
        yield gpus(nvml.devices, nvml.problem, kind)
        yield torch_devices(len(nvml.devices))
    yield from bytecode(torch_source())
    yield from settings_and_data(profile, project_root, chosen_dataset)


def python_version(version: tuple[int, ...]) -> Check:
    """Check that this interpreter is new enough."""
    found = ".".join(str(part) for part in version)
    if version[:2] < OLDEST_PYTHON:
        return Check("FAIL", "python", f"{found}, but 3.11 is the oldest that works", "make setup PYTHON=python3.12")
    return Check("OK", "python", found)


def own_requirements() -> list[str] | None:
    """Return this package's requirements, with the `dev` extra only in a checkout; None if it is not installed."""
    try:
        requires = metadata.requires("tinyworlds_gate") or []
        return [text for text in requires if is_checkout() or "extra ==" not in text]
    except metadata.PackageNotFoundError:
        return None


def packages(requires: list[str] | None, installed: Callable[[str], str | None]) -> Iterator[Check]:
    """Check installed packages against the bounds in pyproject.toml; development tools only warn.

    Args:
        requires: requirement strings of this package's metadata; None if it is not installed.
        installed: name → version, or None if it is not installed.
    """
    from packaging.requirements import Requirement

    if requires is None:
        yield Check("FAIL", "packages", "tinyworlds_gate is not installed in this environment", install_command())
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
        yield Check("WARN" if for_development else "FAIL", "packages", problem, install_command())
    yield Check("OK", "packages", f"{sound} of {len(applying)} are installed within their bounds")
    if (old := installed("pynvml")) is not None:
        found = f"pynvml {old} is deprecated and may hide nvidia-ml-py, whose module it shares"
        yield Check("WARN", "packages", found, "pip uninstall pynvml")


def _package_problem(requirement: Requirement, version: str | None) -> str | None:
    if version is None:
        return f"{requirement.name} is not installed (needs {requirement.specifier})"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} is {version}, but {requirement.specifier} is needed"
    return None


def installed_version(name: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def repository(project_root: Path, which: Callable[[str], str | None], kind: str = "smoke") -> Iterator[Check]:
    """Check for git and a history to audit (L4); smoke needs neither if no file is on an audited path."""
    audited = has_relevant_file(project_root)
    status: Literal["WARN", "FAIL"] = "FAIL" if audited or kind == "longrun" else "WARN"
    audit = "L4 is INVALID" if audited else "L4 is NOT-RUN, which only smoke allows"
    if which("git") is None:
        yield Check(status, "git", f"the program git is not on PATH, so no history is audited: {audit}", "install git")
        return
    try:
        with Repository(project_root) as repo:
            commit, is_shallow = repo.head(), bool(repo.shallow_commits())
    except NoRepository:
        fix = f"{in_project(project_root, 'init')} && {start_commit(project_root)}"
        yield Check(status, "git", f"{project_root} is not in a git repository: {audit}", fix)
        return
    except GitError as error:
        yield Check(
            status, "git", f"git does not read the repository: {' '.join(str(error).split())[:300]}: {audit}", ""
        )
        return
    if commit is None:
        found = f"the repository has no commit, so there is no history: {audit}"
        yield Check(status, "git", found, start_commit(project_root))
    elif is_shallow:
        fix = in_project(project_root, "fetch", "--unshallow")
        yield Check("WARN", "git", "a shallow clone; the audit (L4) sees only part of it", fix)
    else:
        yield Check("OK", "git", f"repository at commit {commit[:10]}")


def in_project(project_root: Path, *words: str) -> str:
    """Return a git command for a shell in the current folder."""
    where = [] if project_root == Path.cwd().resolve() else ["-C", str(project_root)]
    return shlex.join(["git", *where, *words])


def start_commit(project_root: Path) -> str:
    """Return the commands of a first commit."""
    return f"{in_project(project_root, 'add', '.')} && {in_project(project_root, 'commit', '-m', 'Start')}"


def disk_space(free_gib: float) -> Check:
    """Check the free space for checkpoints, logs and frames."""
    found = f"{free_gib:.1f} GiB free"
    if free_gib < DISK_FAIL_GIB:
        return Check("FAIL", "disk", found, f"free at least {DISK_FAIL_GIB:g} GiB; old runs are in results/")
    if free_gib < DISK_WARN_GIB:
        return Check("WARN", "disk", found, f"enough for smoke; free {DISK_WARN_GIB:g} GiB before a long run")
    return Check("OK", "disk", found)


def gpus(devices: list[GpuInfo], problem: str | None, kind: str = "smoke") -> Check:
    """The GPUs that NVML shows; a long run needs two."""
    long_run = kind == "longrun"
    short: Literal["WARN", "FAIL"] = "FAIL" if long_run else "WARN"
    if devices:
        memory = [f" ({one.memory_gib} GiB)" if one.memory_gib else "" for one in devices]
        found = ", ".join(f"{one.index}: {one.name}{gib}" for one, gib in zip(devices, memory, strict=True))
        if len(devices) < 2:
            fix = "give it two GPUs, or run with --nproc-per-node 1, which leaves H6 out"
            fix = fix if long_run else "give a long run two GPUs"
            return Check(short, "gpus", f"{found}; L3 and H6 need two and are NOT-RUN", fix)
        return Check("OK", "gpus", found)
    if problem and not NO_DRIVER.search(problem):
        return Check(short, "gpus", f"none can be used: {problem}", "check the driver with nvidia-smi")
    if long_run:
        fix = "run it on a machine with two NVIDIA GPUs; on the CPU only with --allow-cpu-longrun true"
        return Check("FAIL", "gpus", "none: a long run needs two NVIDIA GPUs (L3, H6)", fix)
    return Check("OK", "gpus", "none: smoke trains on the CPU (L3 and H6 are NOT-RUN); a long run needs two")


def torch_devices(gpu_count: int) -> Check:
    """Check that torch can be imported, and can use the GPUs that NVML lists."""
    try:
        import torch
        import torch.distributed as dist
    except (ImportError, OSError) as error:
        return Check("FAIL", "torch", f"cannot be imported: {error}", install_command())
    build = f"{torch.__version__}, " + (f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build")
    if not dist.is_available() or not dist.is_gloo_available():
        fix = f"{install_command()} on Linux or macOS"
        return Check("FAIL", "torch", f"{build}, without gloo: torchrun cannot train on CPUs", fix)
    if gpu_count and not torch.cuda.is_available():
        fix = "install a CUDA build of torch for this driver, or set CUDA_VISIBLE_DEVICES= (empty) to train on the CPU"
        return Check("FAIL", "torch", f"{build}: NVML shows {gpu_count} GPU(s), but torch can use none", fix)
    if torch.cuda.is_available() and not dist.is_nccl_available():
        fix = "install a CUDA build of torch"
        return Check("FAIL", "torch", f"{build}, without NCCL: GPUs cannot train together", fix)
    return Check("OK", "torch", f"{build}, {torch.cuda.device_count()} GPU(s)")


def bytecode(source: Path | None) -> Iterator[Check]:
    """Warn if torch is installed without .pyc files; ``source`` is the first file that its import runs."""
    if source is None or has_bytecode(source):
        return
    found = "torch was installed without bytecode (.pyc): every process of a run compiles torch's sources again"
    fix = shlex.join([sys.executable, "-m", "compileall", "-q", str(source.parents[1])])
    yield Check("WARN", "bytecode", found, fix)


def settings_and_data(profile: str, project_root: Path, chosen_dataset: str | None = None) -> Iterator[Check]:
    """Check the settings files and the frames of a run of this profile, on its dataset or the chosen one."""
    from tinyworlds_gate.config.alignment import beside, check_folders
    from tinyworlds_gate.loop.start import resolve_run

    try:
        settings, _ = resolve_run(profile, {} if chosen_dataset is None else {"dataset": chosen_dataset}, project_root)
        used = settings.config_dir
        checks = check_folders({folder: folder for folder in (used, *beside(used, project_root))})
    except GateError as error:
        yield Check("FAIL", "settings", f"profile {profile}: {error}", "correct it as the message says")
        return
    wrong = [f"{check.id}: {check.reason}" for check in checks if check.verdict != "PASS"]
    for sentence in wrong:
        yield Check("FAIL", "settings", sentence, "correct it as the message says")
    if not wrong:
        yield Check("OK", "settings", f"profile {profile}: C1, C2 and C3 hold")
    yield dataset(settings, project_root)
    if settings.inference.evaluation_file is not None:
        yield evaluation_set(settings)


def evaluation_set(settings: Settings) -> Check:
    """Check the evaluation set of the final verdict: its file, its frame size and its clips."""
    from tinyworlds_gate.gate.clip_plan import rollout_span
    from tinyworlds_gate.reference.data.evaluation_set import open_evaluation_set

    path = settings.project_root / str(settings.inference.evaluation_file)
    try:
        found = open_evaluation_set(path, frame_size=settings.training.frame_size, length=sum(rollout_span(settings)))
    except GateError as error:
        return Check("FAIL", "evaluation set", str(error), "correct it as the message says (docs/gate.md)")
    clips, episodes = len(found.starts), len(set(found.episodes.tolist()))
    return Check("OK", "evaluation set", f"{path.name}: {clips} clips of {episodes} episodes")


def dataset(settings: Settings, project_root: Path) -> Check:
    """Check the frames file; a missing one of the embedded game is generated by the first run."""
    from tinyworlds_gate.reference.data.datasets import dataset_path, made_by_runs, missing_dataset
    from tinyworlds_gate.reference.data.frames_file import check_frames_file

    training = settings.training
    try:
        own = training.data_path
        path = project_root / own if own else dataset_path(project_root, training.dataset, training.frame_size)
        if not path.exists() and own is None and made_by_runs(training.dataset):
            return Check("OK", "data", f"{path.name} does not exist yet; the first run generates it")
        if settings.chosen_dataset and (problem := missing_dataset(path, settings.chosen_dataset)):
            raise DataError(problem)
        info = check_frames_file(path)
    except GateError as error:
        return Check("FAIL", "data", str(error), "correct it as the message says; `tinyworlds-gate data --help`")
    return Check("OK", "data", f"{path.name}: {info.num_frames} frames of {info.height} x {info.width} px")
