"""Command lines and environments of child processes.

pytest tests/unit/launch/test_command.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.process_projects import make_project
from tinyworlds_gate import names
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch import command as command_module
from tinyworlds_gate.launch.command import (
    LaunchFiles,
    inference_command,
    override_arguments,
    stage_command,
    stage_environment,
    trusted_environment,
)
from tinyworlds_gate.targets.base import Target


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return make_project(tmp_path)


def test_two_workers_are_started_by_torchrun(target: Target) -> None:
    command = stage_command(target, "dynamics", nproc_per_node=2, overrides={"n_updates": 100})
    assert command == [
        sys.executable,
        *("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--local-addr=127.0.0.1"),
        str(target.root / "scripts" / "train_dynamics.py"),
        *("--config", str(target.root / "configs" / "dynamics.yaml")),
        *("--training_config", str(target.root / "configs" / "training.yaml")),
        *("distributed.use_ddp=true", "nproc_per_node=2", "n_updates=100"),
    ]


def test_one_worker_is_plain_python(target: Target) -> None:
    command = stage_command(target, "dynamics", nproc_per_node=1)
    assert command[:2] == [sys.executable, str(target.stage_script("dynamics"))]
    assert command[-2:] == ["distributed.use_ddp=false", "nproc_per_node=1"]


def test_an_override_wins_over_what_the_launcher_adds(target: Target) -> None:
    command = stage_command(target, "dynamics", nproc_per_node=2, overrides={"distributed.use_ddp": False})
    assert "distributed.use_ddp=false" in command
    assert "distributed.use_ddp=true" not in command


@pytest.mark.requirement("L6")
def test_inference_overrides_follow_their_own_dashes(target: Target) -> None:
    command = inference_command(target, {"dynamics_path": Path("results/a"), "teacher_forced": False})
    assert command[1:] == [
        str(target.inference_script),
        *("--config", str(target.inference_config)),
        *("--", "dynamics_path=results/a", "teacher_forced=false"),
    ]


def test_values_are_written_as_yaml_reads_them() -> None:
    arguments = override_arguments(
        {"a": 5e-4, "b": 1e-6, "c": None, "d": True, "e": 3, "f": "ZELDA", "g.h": Path("x y")}
    )
    assert arguments == ["a=0.0005", "b=1e-06", "c=null", "d=true", "e=3", "f=ZELDA", "g.h=x y"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"learning rate": 1}, "'learning rate' is not a dotted name"),
        ({"--config": "x"}, "'--config' is not a dotted name"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: the value must be a finite number"),
        ({"x": [1]}, "x has a value of type list"),
        ({"x": "a\nb"}, "control characters"),
    ],
)
def test_values_that_a_command_line_cannot_express_are_refused(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(LaunchError, match=message):
        override_arguments(overrides)


def test_no_worker_is_refused(target: Target) -> None:
    with pytest.raises(LaunchError, match="nproc_per_node=0"):
        stage_command(target, "dynamics", nproc_per_node=0)


def test_the_environment_holds_the_contract(target: Target, tmp_path: Path) -> None:
    files = LaunchFiles(tmp_path / "run", tmp_path / "beats", tmp_path / "error.json")
    env = stage_environment(target, files, on_cpu=True, inherited={"PYTHONPATH": "/old", "OMP_NUM_THREADS": "8"})
    assert env["NG_RUN_ROOT_DIR"] == str(tmp_path / "run")
    assert env["PYTHONPATH"].split(":") == [str(target.root), "/old"]
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["PYTHONUNBUFFERED"] == "1"
    assert env["TINYWORLDS_GATE_HEARTBEATS"] == str(tmp_path / "beats")
    assert env["TORCHELASTIC_ERROR_FILE"] == str(tmp_path / "error.json")


def test_the_users_nccl_and_thread_variables_stay_on_gpus(target: Target, tmp_path: Path) -> None:
    users = {"NCCL_DEBUG": "INFO", "NVSHMEM_X": "1", "TORCH_SYMM_MEM": "0", "OMP_NUM_THREADS": "8"}
    env = stage_environment(target, LaunchFiles(tmp_path), on_cpu=False, inherited=users)
    assert {name: env[name] for name in users} == users


def test_a_cpu_quota_limits_the_threads_of_a_process_on_a_gpu(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def threads(**inherited: str) -> str | None:
        return stage_environment(target, LaunchFiles(tmp_path), on_cpu=False, inherited=inherited).get(
            "OMP_NUM_THREADS"
        )

    assert threads() is None
    monkeypatch.setattr(command_module, "affinity_cpus", lambda: 64)
    monkeypatch.setattr(command_module, "usable_cpus", lambda: 3)
    assert threads() == "3"
    assert threads(OMP_NUM_THREADS="8") == "8"


def test_a_notebooks_backend_and_style_do_not_reach_a_process(target: Target, tmp_path: Path) -> None:
    inherited = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": "styles/mine"}
    for environment in (stage_environment, trusted_environment):
        env = environment(target, LaunchFiles(tmp_path), on_cpu=False, inherited=inherited)
        assert env["MPLBACKEND"] == "Agg"
        assert "MATPLOTLIBRC" not in env


def test_the_ranks_of_a_foreign_launcher_do_not_reach_our_workers(target: Target, tmp_path: Path) -> None:
    foreign = {
        "RANK": "3",
        "LOCAL_RANK": "3",
        "WORLD_SIZE": "8",
        "MASTER_ADDR": "node1",
        "MASTER_PORT": "29500",
        "TORCHELASTIC_RUN_ID": "x",
        "TINYWORLDS_GATE_HEARTBEATS": "/old",
        "SLURM_JOB_ID": "5",
    }
    env = stage_environment(target, LaunchFiles(tmp_path), on_cpu=False, inherited=foreign)
    assert foreign.keys() & env.keys() == {"SLURM_JOB_ID"}


PLANTED = ("sitecustomize", "usercustomize", "random", "h5py", "tinyworlds_gate")


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("inherited", ["", "{root}", "{root}/lib", ".", "{root}:.", "{elsewhere}"])
def test_a_process_of_the_gate_imports_nothing_from_a_project(target: Target, tmp_path: Path, inherited: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    for folder in (target.root, target.root / "lib", elsewhere):
        folder.mkdir(exist_ok=True)
        for name in PLANTED:
            (folder / f"{name}.py").write_text(f"raise SystemExit('planted {name} was run')\n")
    source = dict(os.environ)
    path = inherited.format(root=target.root, elsewhere=elsewhere)
    source |= {"PYTHONPATH": path, "PYTHONUSERBASE": str(target.root), "PYTHONHOME": "", "PYTHONSTARTUP": "x.py"}
    source |= {"PYTHONPLATLIBDIR": "lib", "PYTHONPYCACHEPREFIX": str(target.root), "MPLBACKEND": "module://random"}
    env = trusted_environment(target, LaunchFiles(tmp_path), on_cpu=True, inherited=source)
    program = "import sys, random, h5py, tinyworlds_gate.names as n; print(n.__file__, *sys.path, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=target.root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, *searched = done.stdout.splitlines()
    assert found == names.__file__
    assert not [one for one in searched if one == "" or Path(one).is_relative_to(tmp_path)]
    assert env["MPLBACKEND"] == "Agg"
    assert {name for name in env if name.startswith("PYTHON")} <= {
        *("PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONFAULTHANDLER"),
        *("PYTHONHASHSEED", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE", "PYTHONMALLOC"),
    }


def test_a_library_that_this_process_imports_from_pythonpath_stays_importable(target: Target, tmp_path: Path) -> None:
    import yaml

    folder = str(Path(yaml.__file__).parents[1])
    inherited = {"PYTHONPATH": f"{tmp_path / 'other'}:{folder}:{target.root}"}
    env = trusted_environment(target, LaunchFiles(tmp_path), on_cpu=True, inherited=inherited)
    assert folder in env["PYTHONPATH"].split(":")
    assert str(tmp_path / "other") not in env["PYTHONPATH"]
    assert str(target.root) not in env["PYTHONPATH"].split(":")
