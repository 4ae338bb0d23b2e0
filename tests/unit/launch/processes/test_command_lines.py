"""Parse which program a command line runs.

pytest tests/unit/launch/processes/test_command_lines.py
"""

from __future__ import annotations

import shlex
from argparse import Action

import pytest

from tinyworlds_gate.launch.processes.command_lines import TORCHRUN_FLAGS, Program, program_of

SCRIPT = "scripts/train_dynamics.py"


@pytest.mark.requirement("L1", "L2")
@pytest.mark.parametrize(
    "command",
    [
        f"python {SCRIPT} --config x",
        f"/venv/bin/python3.12 -u -X dev -W ignore {SCRIPT}",
        f"python -Wignore -OO {SCRIPT}",
        f"/usr/bin/python3.12-dbg {SCRIPT}",
        f"python -m pdb {SCRIPT}",
        f"python -m pdb -c continue {SCRIPT}",
        f"python -m cProfile {SCRIPT}",
        f"python -m cProfile -o out.prof -s cumtime {SCRIPT} x=1",
        f"python -m debugpy --listen 5678 --wait-for-client --configure-qt none {SCRIPT}",
        f"python /editor/debugpy --connect 127.0.0.1:9 --configure-qt none --adapter-access-token a {SCRIPT}",
        f"python -m coverage run --source pkg -a {SCRIPT}",
        f"python /venv/bin/coverage run {SCRIPT}",
    ],
)
def test_a_script_is_the_program_of_plain_python(command: str) -> None:
    assert program_of(shlex.split(command)) == Program(script=SCRIPT, module=None, launcher=False)


@pytest.mark.requirement("L1", "L2")
@pytest.mark.parametrize(
    "command",
    [
        f"python -m torch.distributed.run --standalone --nproc_per_node=2 {SCRIPT} n_updates=3",
        f"python /venv/bin/torchrun --standalone --nproc-per-node 2 {SCRIPT}",
        f"torchrun --nnodes 1 --rdzv_backend c10d -r3 -t 3 {SCRIPT}",
        f"python -um torch.distributed.launch --use_env --nproc_per_node 2 {SCRIPT}",
        f"python -mtorch.distributed.run --no-python {SCRIPT}",
    ],
)
def test_torchrun_is_a_launcher_of_its_script(command: str) -> None:
    assert program_of(shlex.split(command)) == Program(script=SCRIPT, module=None, launcher=True)


@pytest.mark.parametrize(
    ("command", "launcher"),
    [
        ("python -m scripts.train_dynamics x=1", False),
        ("python -um scripts.train_dynamics", False),
        ("torchrun --standalone -m scripts.train_dynamics", True),
    ],
)
def test_a_module_is_a_program_too(command: str, launcher: bool) -> None:
    assert program_of(shlex.split(command)) == Program(None, "scripts.train_dynamics", launcher)


@pytest.mark.requirement("L1")
@pytest.mark.parametrize(
    "command",
    [
        f"vim {SCRIPT}",
        f"tail -f {SCRIPT}",
        f"grep {SCRIPT}",
        f"bash -c 'python {SCRIPT}'",
        f"python -c 'print(1)' {SCRIPT}",
        f"python -uc 'run(\"{SCRIPT}\")'",
        f"python - {SCRIPT}",
        f"python -m coverage report {SCRIPT}",
        "python -m coverage",
        "python -m debugpy --listen",
        "python",
        "torchrun --standalone",
        "",
    ],
)
def test_other_commands_run_no_python_program(command: str) -> None:
    assert program_of(shlex.split(command)) is None


@pytest.mark.requirement("L1")
@pytest.mark.parametrize(
    "command", [f"python other.py {SCRIPT}", f"python -m pytest {SCRIPT}", f"torchrun x.py {SCRIPT}"]
)
def test_an_argument_is_not_the_program(command: str) -> None:
    program = program_of(shlex.split(command))
    assert program is not None
    assert program.script != SCRIPT


def test_the_real_executable_counts_and_not_the_name_in_argv() -> None:
    assert program_of(["python", SCRIPT], executable="/usr/bin/vim") is None
    assert program_of(["train", SCRIPT], executable="/usr/bin/python3.11") == Program(SCRIPT, None)


def test_the_flags_of_torchrun_are_those_of_the_installed_torch() -> None:
    from torch.distributed.run import get_args_parser

    def is_flag(action: Action) -> bool:
        return action.nargs == 0

    options = {
        name.replace("_", "-"): is_flag(action)
        for action in get_args_parser()._actions
        for name in action.option_strings
    }
    flags = {name for name, flag in options.items() if flag and name.startswith("--")}
    assert flags <= TORCHRUN_FLAGS
    assert not {name for name in TORCHRUN_FLAGS if options.get(name) is False}
