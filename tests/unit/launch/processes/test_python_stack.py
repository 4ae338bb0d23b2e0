"""The functions that another process executes, read from its memory, and what is not taken for a stage.

pytest tests/unit/launch/processes/test_python_stack.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.helpers.process_projects import first_line, make_project, running
from tests.unit.launch.processes.test_guard import found_pids
from tinyworlds_gate.launch.processes import python_stack
from tinyworlds_gate.launch.processes.interpreters import is_interpreter, is_own_interpreter
from tinyworlds_gate.launch.processes.python_stack import Frame, python_stacks

WAITS = "import time\n\n\ndef wait():\n    print('ready', flush=True)\n    time.sleep(60)\n\n\nwait()\n"
readable = pytest.mark.skipif(python_stack._layout() is None, reason="the layout of this Python is not known")


@readable
@pytest.mark.requirement("L1")
@pytest.mark.parametrize("name", ["plain", "caf\u00e9", "\u017eivot", "\U0001f600", "x" * 200])
def test_the_stack_of_another_process_is_read_innermost_first(tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.py"
    file.write_text(WAITS, encoding="utf-8")
    with running([sys.executable, file], cwd=tmp_path) as process:
        first_line(process)
        (stack,) = python_stacks(process.pid) or ()
    assert stack == (Frame(str(file), "wait"), Frame(str(file), "<module>"))


@readable
def test_every_thread_has_a_stack(tmp_path: Path) -> None:
    code = (
        "import threading, time\n"
        "def other(): time.sleep(60)\n"
        "threading.Thread(target=other, daemon=True).start()\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    with running([sys.executable, "-c", code], cwd=tmp_path) as process:
        first_line(process)
        stacks = python_stacks(process.pid) or ()
    assert {stack[0].name for stack in stacks} == {"other", "<module>"}


def test_a_process_without_python_and_one_that_is_gone_have_none(tmp_path: Path) -> None:
    with running(["sleep", "60"], cwd=tmp_path) as process:
        assert python_stacks(process.pid) is None
    assert python_stacks(process.pid) is None
    assert python_stacks(2**22 + 1) is None


@readable
def test_a_process_that_became_another_program_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "second.py"
    file.write_text(WAITS)
    becomes = f"os.execv(sys.executable, ['p', {str(file)!r}])"
    code = f"import os, sys, time\nprint('ready', flush=True)\ntime.sleep(1)\n{becomes}"
    with running([sys.executable, "-c", code], cwd=tmp_path) as process:
        first_line(process)
        assert [stack[0].file for stack in python_stacks(process.pid) or ()] == ["<string>"]
        first_line(process)
        assert [stack[0].file for stack in python_stacks(process.pid) or ()] == [str(file)]


def test_an_interpreter_is_known_by_its_content_and_an_editor_is_none(tmp_path: Path) -> None:
    copy, link = tmp_path / "trainer", tmp_path / "job"
    copy.write_bytes(Path(sys.executable).read_bytes())
    link.symlink_to(sys.executable)
    for path in (copy, link):
        assert is_interpreter(str(path))
        assert is_own_interpreter(str(path))
    for other in ("/bin/sh", "/bin/cat", str(tmp_path / "gone"), str(tmp_path)):
        assert not is_interpreter(other)
        assert not is_own_interpreter(other)


STAGE = "import time\ndef {name}():\n    print('ready', flush=True)\n    time.sleep(60)\n{guard}"


@readable
@pytest.mark.requirement("L1")
@pytest.mark.parametrize(
    ("name", "guard", "code", "trains"),
    [
        ("main", "", "import scripts.train_dynamics as t; t.main()", True),
        ("train_one_epoch", "", "import scripts.train_dynamics as t; t.train_one_epoch()", True),
        (
            "load_model",
            "if __name__ == '__main__': load_model()",
            "import scripts.train_dynamics as t; t.load_model()",
            False,
        ),
        (
            "evaluate",
            "if __name__ == '__main__': evaluate()",
            "from scripts.train_dynamics import evaluate; evaluate()",
            False,
        ),
        ("main", "main()\n", "import scripts.train_dynamics", True),
        ("slow_import", "slow_import() if __name__ != '__main__' else 0", "import scripts.train_dynamics", True),
        (
            "_",
            "if __name__ == '__main__': pass\nprint('ready', flush=True); time.sleep(60)",
            "import scripts.train_dynamics",
            False,
        ),
    ],
    ids=[
        "main",
        "a loop",
        "a helper",
        "an evaluation",
        "no guard",
        "a function at import",
        "an import that takes long",
    ],
)
def test_a_function_of_a_stage_script_trains_and_its_helpers_and_its_import_do_not(
    tmp_path: Path, name: str, guard: str, code: str, trains: bool
) -> None:
    target = make_project(tmp_path, STAGE.format(name=name, guard=guard))
    with running([sys.executable, "-c", code], cwd=tmp_path) as process:
        first_line(process)
        assert found_pids(target) == ({process.pid} if trains else set())
