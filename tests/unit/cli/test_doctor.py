"""The doctor's checks: each fault is found, graded, and comes with its fix.

python -m pytest tests/unit/cli/test_doctor.py
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import git
import numpy as np
import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.data_files import write_h5
from tinyworlds_gate.cli import doctor
from tinyworlds_gate.cli.doctor import Check
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.launch.devices.nvml import GpuInfo

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
    assert all(check.fix == "make setup" for check in checks if check.status != "OK")


def test_torch_without_bytecode_warns_and_the_fix_makes_it_vanish(tmp_path: Path) -> None:
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
    assert "not in a git repository" in next(doctor.repository(tmp_path, shutil.which)).found
    repo = git.Repo.init(tmp_path)
    assert "no commit" in next(doctor.repository(tmp_path, shutil.which)).found
    _name_committer(repo)
    repo.git.commit("--allow-empty", "-m", "first")
    assert next(doctor.repository(tmp_path, shutil.which)).status == "OK"


@pytest.mark.requirement("L4")
def test_a_shallow_clone_warns_with_the_command_that_completes_it(tmp_path: Path) -> None:
    source = git.Repo.init(tmp_path / "source")
    _name_committer(source)
    for subject in ("first", "second"):
        source.git.commit("--allow-empty", "-m", subject)
    git.Repo.clone_from((tmp_path / "source").as_uri(), tmp_path / "clone", depth=1)
    check = next(doctor.repository(tmp_path / "clone", shutil.which))
    assert (check.status, check.fix) == ("WARN", "git fetch --unshallow")


def test_a_machine_without_git_fails(tmp_path: Path) -> None:
    check = next(doctor.repository(tmp_path, lambda name: None))
    assert (check.status, check.fix) == ("FAIL", "install git")


def test_a_file_where_an_output_folder_belongs_fails(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("in the way")
    checks = list(doctor.folders(tmp_path))
    assert _statuses(checks) == [("FAIL", "folders")]
    assert checks[0].found.startswith("results/ cannot be written")


def test_trying_the_output_folders_leaves_nothing_behind(tmp_path: Path) -> None:
    assert _statuses(list(doctor.folders(tmp_path))) == [("OK", "folders")]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free_gib", "status"), [(0.5, "FAIL"), (5.0, "WARN"), (50.0, "OK")])
def test_a_full_disk_fails_and_a_nearly_full_one_warns(free_gib: float, status: str) -> None:
    check = doctor.disk_space(free_gib)
    assert check.status == status
    assert bool(check.fix) == (status != "OK")


@pytest.mark.parametrize(("count", "load", "status"), [(1, 0.0, "WARN"), (2, 1.9, "WARN"), (2, 0.3, "OK")])
def test_one_or_busy_processors_warn(count: int, load: float, status: str) -> None:
    assert doctor.cpus(count, load).status == status


def test_no_gpu_is_fine_and_one_warns_and_an_unreadable_driver_warns() -> None:
    one = GpuInfo(0, "NVIDIA H200", "GPU-0", 139.8)
    two = GpuInfo(1, "NVIDIA H200", "GPU-1", None)
    assert doctor.gpus([], "NVML is not available: NVML Shared Library Not Found").status == "OK"
    assert "L3 and H6 need two" in doctor.gpus([one], None).found
    assert doctor.gpus([one, two], None) == Check("OK", "gpus", "0: NVIDIA H200 (139.8 GiB), 1: NVIDIA H200")
    assert doctor.gpus([], "NVML is not available: Driver/library version mismatch").status == "WARN"


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


def test_an_evaluation_set_that_a_profile_names_is_looked_at(tmp_path: Path) -> None:
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


def test_the_command_says_no_with_exit_code_1_and_yes_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--project-root", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "FAIL  git" in told
    assert "fix: " in told
    repo = git.Repo.init(tmp_path)
    _name_committer(repo)
    repo.git.commit("--allow-empty", "-m", "first")
    code = main(["doctor", "--project-root", str(tmp_path)])
    told = capsys.readouterr().out
    assert "OK    git" in told
    assert ("ready for `make smoke`" in told) == (code == 0) == ("FAIL  " not in told)


def test_a_project_that_does_not_exist_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--project-root", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err
