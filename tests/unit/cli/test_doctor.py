"""The doctor's checks: each fault is found, graded, and comes with its fix.

python -m pytest tests/unit/cli/test_doctor.py
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shlex
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import git
import numpy as np
import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.config_files import copy_profile, set_values
from tests.helpers.data_files import write_h5
from tinyworlds_gate.cli import doctor, doctor_folders, doctor_machine
from tinyworlds_gate.cli.doctor_folders import Check, folders, project_lock
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.launch.devices.nvml import GpuInfo
from tinyworlds_gate.run.cgroup_limits import CgroupLimits

BOUNDS = ["numpy>=2.0", "torch>=2.11", 'mypy>=1.14; extra == "dev"', 'winonly>=1; sys_platform == "win32"']


def _name_committer(repo: git.Repo) -> None:
    with repo.config_writer() as config:
        config.set_value("user", "name", "t").set_value("user", "email", "t@t.invalid")


def _statuses(checks: list[Check]) -> list[tuple[str, str]]:
    return [(check.status, check.name) for check in checks]


def test_an_old_python_fails_with_a_newer_one_to_try() -> None:
    check = doctor.python_version((3, 10, 4))
    assert check.status == "FAIL"
    assert "3.10.4, but 3.11 is the oldest" in check.found
    assert "PYTHON=" in check.fix
    assert doctor.python_version((3, 12, 0)).status == "OK"


def test_packages_within_their_bounds_are_one_line() -> None:
    installed = {"numpy": "2.4.6", "torch": "2.13.0+cpu", "mypy": "2.0"}
    checks = list(doctor.packages(BOUNDS, installed.get))
    assert _statuses(checks) == [("OK", "packages")]
    assert checks[0].found.startswith("3 of 3 ")


def test_a_missing_and_an_old_package_fail_and_a_missing_development_tool_warns() -> None:
    checks = list(doctor.packages(BOUNDS, {"torch": "2.4.0"}.get))
    found = {check.found.split()[0]: check for check in checks}
    assert found["numpy"].status == "FAIL"
    assert found["torch"].found == "torch is 2.4.0, but >=2.11 is needed"
    assert found["mypy"].status == "WARN"
    assert {check.fix for check in checks if check.status != "OK"} == {doctor.install_command()}


def test_torch_without_bytecode_warns_and_the_fix_removes_the_warning(tmp_path: Path) -> None:
    source = tmp_path / "site packages" / "torch" / "__init__.py"
    source.parent.mkdir(parents=True)
    source.write_text("")
    (check,) = doctor.bytecode(source)
    assert (check.status, check.name) == ("WARN", "bytecode")
    subprocess.run(shlex.split(check.fix), check=True)
    assert list(doctor.bytecode(source)) == []
    assert list(doctor.bytecode(None)) == []


def test_a_checkout_that_was_never_installed_fails() -> None:
    checks = list(doctor.packages(None, lambda name: None))
    assert _statuses(checks) == [("FAIL", "packages")]
    assert "tinyworlds_gate is not installed" in checks[0].found


def test_the_deprecated_nvml_package_warns() -> None:
    installed = {"numpy": "2.4", "torch": "2.13", "mypy": "2.0", "pynvml": "11.5"}
    assert ("WARN", "packages") in _statuses(list(doctor.packages(BOUNDS, installed.get)))


@pytest.mark.requirement("L4")
def test_a_folder_without_history_fails_until_it_has_a_commit(tmp_path: Path) -> None:
    (tmp_path / "run_inference.py").touch()
    check = next(doctor.repository(tmp_path, shutil.which))
    assert (check.status, "not in a git repository" in check.found) == ("FAIL", True)
    start, add, commit = (shlex.split(command) for command in check.fix.split(" && "))
    subprocess.run(start, check=True)
    _name_committer(git.Repo(tmp_path))
    check = next(doctor.repository(tmp_path, shutil.which))
    assert "no commit" in check.found
    assert [shlex.split(command) for command in check.fix.split(" && ")] == [add, commit]
    for command in (add, commit):
        subprocess.run(command, check=True)
    assert next(doctor.repository(tmp_path, shutil.which)).status == "OK"


@pytest.mark.requirement("L4")
def test_a_shallow_clone_warns_with_the_command_that_completes_it(tmp_path: Path) -> None:
    source = git.Repo.init(tmp_path / "source")
    _name_committer(source)
    for subject in ("first", "second"):
        source.git.commit("--allow-empty", "-m", subject)
    git.Repo.clone_from((tmp_path / "source").as_uri(), tmp_path / "clone", depth=1)
    check = next(doctor.repository(tmp_path / "clone", shutil.which))
    assert (check.status, check.fix) == ("WARN", f"git -C {tmp_path / 'clone'} fetch --unshallow")
    subprocess.run(shlex.split(check.fix), check=True)
    assert next(doctor.repository(tmp_path / "clone", shutil.which)).status == "OK"


def test_a_machine_without_git_fails(tmp_path: Path) -> None:
    (tmp_path / "run_inference.py").touch()
    check = next(doctor.repository(tmp_path, lambda name: None))
    assert (check.status, check.fix) == ("FAIL", "install git")


@pytest.mark.requirement("L4")
def test_a_folder_with_nothing_to_audit_warns_that_a_long_run_needs_a_history(tmp_path: Path) -> None:
    for which in (shutil.which, lambda name: None):
        check = next(doctor.repository(tmp_path, which))
        assert (check.status, "L4 is NOT-RUN, which only smoke allows" in check.found) == ("WARN", True)
        assert next(doctor.repository(tmp_path, which, "longrun")).status == "FAIL"


def test_a_file_where_an_output_folder_belongs_fails(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("in the way")
    checks = list(folders(tmp_path))
    assert _statuses(checks) == [("FAIL", "folders")]
    assert checks[0].found.startswith("results/ cannot be written")


def test_checking_the_output_folders_leaves_no_file(tmp_path: Path) -> None:
    assert _statuses(list(folders(tmp_path))) == [("OK", "folders")]


@pytest.mark.parametrize(
    ("number", "local", "found"),
    [
        (None, True, ("OK", "flock works in results/")),
        (None, False, ("WARN", "whose flock may not reach other machines")),
        (errno.ENOLCK, False, ("WARN", "which has no flock")),
        (errno.ENOSYS, False, ("WARN", "which has no flock")),
        (errno.EOPNOTSUPP, True, ("WARN", "which has no flock")),
        (errno.EIO, True, ("FAIL", "results/ takes no lock: Input/output error")),
    ],
)
def test_the_lock_of_the_results_folder_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None, local: bool, found: tuple[str, str]
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        if number is not None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(doctor_folders, "is_local", lambda path: local)
    check = project_lock(tmp_path)
    assert (check.status, check.name) == (found[0], "lock")
    assert found[1] in check.found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free_gib", "status"), [(0.5, "FAIL"), (5.0, "WARN"), (50.0, "OK")])
def test_a_full_disk_fails_and_a_nearly_full_one_warns(free_gib: float, status: str) -> None:
    check = doctor.disk_space(free_gib)
    assert check.status == status
    assert bool(check.fix) == (status != "OK")


@pytest.mark.parametrize(("count", "load", "status"), [(1, 0.0, "WARN"), (2, 1.9, "WARN"), (2, 0.3, "OK")])
def test_one_or_busy_processors_warn(count: int, load: float, status: str) -> None:
    assert doctor_machine.cpus(count, load).status == status


def test_the_limits_of_a_cgroup_are_in_the_lines_of_processors_and_memory() -> None:
    limits = CgroupLimits(cpus=2.5, cpu_set=4, memory_bytes=3 * 2**30, memory_left_bytes=2**30)
    busy_host = doctor_machine.cpus(2, 30.0, limits, machine=64)
    assert busy_host.status == "OK", "63 other processors do that work"
    assert "2 for this process (a quota of 2.5 and a cpuset of 4 of 64 by its cgroup)" in busy_host.found
    assert "cgroup" not in doctor_machine.cpus(2, 0.1, CgroupLimits(cpu_set=2), machine=2).found
    found = doctor_machine.memory(limits).found
    assert found.endswith("(its cgroup allows 3.0 GiB)")


def test_a_machine_whose_own_name_does_not_resolve_warns() -> None:
    def unknown(name: str) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    check = doctor_machine.own_name("box", unknown)
    assert (check.status, check.name) == ("WARN", "host name")
    assert "box does not resolve (Name or service not known): workers of one machine meet at 127.0.0.1" in check.found
    assert "/etc/hosts" in check.fix
    silent = threading.Event()
    assert "no answer within 0.05 s" in doctor_machine.own_name("box", lambda _: silent.wait(5), wait_s=0.05).found
    silent.set()
    assert doctor_machine.own_name("localhost") == Check("OK", "host name", "localhost resolves")


def test_no_gpu_is_fine_and_one_warns_and_an_unreadable_driver_warns() -> None:
    one = GpuInfo(0, "NVIDIA H200", "GPU-0", 139.8)
    two = GpuInfo(1, "NVIDIA H200", "GPU-1", None)
    assert doctor.gpus([], "NVML is not available: NVML Shared Library Not Found").status == "OK"
    assert "L3 and H6 need two" in doctor.gpus([one], None).found
    assert doctor.gpus([one, two], None) == Check("OK", "gpus", "0: NVIDIA H200 (139.8 GiB), 1: NVIDIA H200")
    assert doctor.gpus([], "NVML is not available: Driver/library version mismatch").status == "WARN"


@pytest.mark.requirement("H6")
def test_a_long_run_needs_two_gpus_and_says_what_to_do_without_them() -> None:
    one, two = (GpuInfo(index, "NVIDIA H200", f"GPU-{index}", 139.8) for index in (0, 1))
    none = doctor.gpus([], "NVML is not available: NVML Shared Library Not Found", "longrun")
    assert (none.status, none.found) == ("FAIL", "none: a long run needs two NVIDIA GPUs (L3, H6)")
    assert "--allow-cpu-longrun true" in none.fix
    assert doctor.gpus([one], None, "longrun").status == "FAIL"
    assert "--nproc-per-node 1" in doctor.gpus([one], None, "longrun").fix
    assert doctor.gpus([one, two], None, "longrun").status == "OK"


def test_torch_that_cannot_reach_the_gpus_of_the_machine_fails() -> None:
    import torch

    assert doctor.torch_devices(0).status == "OK"
    if torch.cuda.is_available():
        pytest.skip("this torch reaches the GPUs of this machine")
    check = doctor.torch_devices(2)
    assert check.status == "FAIL"
    assert "NVML shows 2 GPU(s), but torch can use none" in check.found
    assert "CUDA_VISIBLE_DEVICES" in check.fix


def test_frames_that_are_absent_are_generated_and_broken_ones_fail(tmp_path: Path) -> None:
    settings = resolve_settings(REPOSITORY / "configs" / "profiles" / "smoke", {}, project_root=tmp_path)
    assert "the first run generates it" in doctor.dataset(settings, tmp_path).found
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "crafter_72px_frames.h5").write_bytes(b"not HDF5")
    check = doctor.dataset(settings, tmp_path)
    assert check.status == "FAIL"
    assert "crafter_72px_frames.h5" in check.found


def test_the_evaluation_set_of_a_profile_is_checked(tmp_path: Path) -> None:
    profile = REPOSITORY / "configs" / "profiles" / "smoke"
    settings = resolve_settings(profile, {"evaluation_file": "e.h5"}, project_root=tmp_path)
    check = doctor.evaluation_set(settings)
    assert (check.status, check.name) == ("FAIL", "evaluation set")
    assert "e.h5: there is no such file" in check.found
    frames = np.zeros((20, 72, 72, 3), np.uint8)
    write_h5(tmp_path / "e.h5", frames=frames, episode=np.arange(2).repeat(10), clip_starts=np.array([0, 11]))
    assert doctor.evaluation_set(settings).found == "e.h5: 2 clips of 2 episodes"


def test_misaligned_settings_fail_with_the_rule(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "profiles" / "mine"
    shutil.copytree(REPOSITORY / "configs" / "profiles" / "smoke", folder)
    with (folder / "dynamics.yaml").open("a") as file:
        file.write("embed_dim: 32\n")
    checks = list(doctor.settings_and_data("mine", tmp_path))
    assert checks[0].status == "FAIL"
    assert "embed_dim" in checks[0].found


@pytest.mark.requirement("C2", "C3")
def test_configs_of_the_project_are_checked_as_a_run_checks_them(tmp_path: Path) -> None:
    """Also where configs/ has no profile.yaml, as in a TinyWorlds checkout."""
    copy_profile("baseline", tmp_path / "configs")
    (tmp_path / "configs" / "profile.yaml").unlink()
    assert next(iter(doctor.settings_and_data("smoke", tmp_path))).status == "OK"
    set_values(tmp_path / "configs/dynamics.yaml", embed_dim=999, latent_actions_path="results/old/latent_actions")
    wrong = [check.found for check in doctor.settings_and_data("smoke", tmp_path) if check.name == "settings"]
    assert [sentence[:3] for sentence in wrong] == ["C2:", "C3:"]
    assert "999" in wrong[0]
    assert "results/old/latent_actions" in wrong[1]


def test_the_exit_code_is_1_with_a_failed_check_and_0_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run_inference.py").touch()
    assert main(["doctor", "--project-root", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "FAIL  git" in output
    assert "fix: " in output
    repo = git.Repo.init(tmp_path)
    _name_committer(repo)
    repo.git.commit("--allow-empty", "-m", "first")
    code = main(["doctor", "--project-root", str(tmp_path)])
    output = capsys.readouterr().out
    assert "OK    git" in output
    assert ("; ready for `" in output) == (code == 0) == ("FAIL  " not in output)


def test_a_machine_without_gpus_is_not_ready_for_a_long_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["doctor", "--profile", "longrun", "--project-root", str(tmp_path)]) == 1
    assert "; not ready for `" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("profile", "command"),
    [
        ("smoke", "make smoke"),
        ("longrun", "make longrun"),
        ("baseline", "make longrun 'ARGS=--profile baseline'"),
    ],
)
def test_the_command_that_the_doctor_prints_for_this_checkout(
    profile: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    printed = doctor.run_command(profile, REPOSITORY)
    assert printed == command
    dry = subprocess.run([*shlex.split(printed), "-n"], capture_output=True, text=True, timeout=60)
    assert dry.returncode == 0, dry.stderr
    assert f"-m {'smoke' if profile == 'smoke' else 'longrun'}" in dry.stdout


def test_the_command_that_the_doctor_prints_for_another_project_runs(tmp_path: Path) -> None:
    printed = doctor.run_command("smoke", tmp_path)
    collected = subprocess.run(
        [*shlex.split(printed), "--collect-only", "-q"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert collected.returncode == 0, collected.stdout + collected.stderr
    assert "test_the_rollout_passes_the_inference_gate" in collected.stdout


def test_the_harness_own_commands_are_printed_as_they_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    typed = re.search(r"`(.*)`", doctor.as_typed("fix: run `tinyworlds-gate data --help`"))
    assert typed is not None
    subprocess.run(shlex.split(typed[1]), check=True, capture_output=True, timeout=60)
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/true")
    assert doctor.as_typed("`tinyworlds-gate data --help`") == "`tinyworlds-gate data --help`"


def test_a_project_that_does_not_exist_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--project-root", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err
