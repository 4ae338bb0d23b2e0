"""What the code of ``python -c`` runs.

pytest tests/unit/launch/processes/test_python_code.py
"""

from __future__ import annotations

import pytest

from tinyworlds_gate.launch.processes.python_code import CodePrograms, programs_in

SCRIPT = "scripts/train_dynamics.py"


@pytest.mark.requirement("L1")
def test_files_that_are_run_are_found_and_files_that_are_read_are_not() -> None:
    assert programs_in(f"exec(open('{SCRIPT}').read())").executed == {SCRIPT}
    assert programs_in(f"exec(compile(open('{SCRIPT}').read(), 'x', 'exec'))").executed == {SCRIPT}
    assert programs_in(f"from runpy import run_path as r; r('{SCRIPT}')").scripts == {SCRIPT}
    assert programs_in(f"import torch.distributed.run as r; r.main(['--standalone', '{SCRIPT}'])").scripts == {SCRIPT}
    for code in (
        f"print(1)  # {SCRIPT}",
        f"open('{SCRIPT}').read()",
        f"import subprocess; subprocess.run(['vim', '{SCRIPT}'])",
    ):
        found = programs_in(code)
        assert not found.executed | found.scripts


@pytest.mark.requirement("L1")
@pytest.mark.parametrize(
    "code",
    [
        "import scripts.train_dynamics\nscripts.train_dynamics.main()",
        "import scripts.train_dynamics as t; t.main()",
        "from scripts import train_dynamics as t; t.main()",
        "from scripts.train_dynamics import main as go; go()",
        "import torch.multiprocessing as mp\nfrom scripts.train_dynamics import main\nmp.spawn(main, nprocs=2)",
        "from multiprocessing import Process\nimport scripts.train_dynamics as t\nProcess(target=t.main).start()",
    ],
)
def test_functions_that_are_called_or_handed_to_a_launcher_are_found(code: str) -> None:
    assert ("scripts.train_dynamics", "main") in programs_in(code).called


def test_a_module_that_is_only_imported_has_no_function() -> None:
    called = programs_in("from scripts.train_dynamics import sizes").called
    assert {function for module, function in called if module == "scripts.train_dynamics"} == {None}


@pytest.mark.parametrize("code", ["", "def (", "x" * 200_000, "(" * 5000, "\0"])
def test_code_that_cannot_be_parsed_runs_nothing(code: str) -> None:
    assert programs_in(code) == CodePrograms()
