"""A launch's own processes and those that only inherited its marker, decided without starting any.

pytest tests/unit/launch/processes/test_bystanders.py
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tinyworlds_gate.launch.command import PROJECT_VARIABLE
from tinyworlds_gate.launch.processes import bystanders
from tinyworlds_gate.launch.processes.bystanders import belongs, bystanders_below, on_terminal, session_of

EMPTY: Mapping[str, str] = {}
OWN = os.getpid()
"""A Python process: this one."""


def process(*arguments: str, cwd: str | Path = "/", pid: int = OWN, environment: Mapping[str, str] = EMPTY) -> Any:
    return SimpleNamespace(
        pid=pid,
        ppid=lambda: 1,
        cmdline=lambda: [sys.executable, *arguments],
        cwd=lambda: str(cwd),
        environ=lambda: environment,
    )


def is_marked(environment: Mapping[str, str]) -> bool:
    return "MARKER" in environment


@pytest.mark.requirement("L2")
@pytest.mark.parametrize(
    ("arguments", "ours"),
    [
        (["train.py"], True),
        (["-m", "torch.distributed.run"], True),
        (["-c", "train()"], True),
        (["-m", "tensorboard.main"], False),
        (["-m", "http.server"], False),
        (["-m", "ipykernel_launcher"], False),
        (["/usr/bin/jupyter-lab"], False),
        (["/usr/bin/pip"], False),
        (["pip.py"], False),
        ([], True),
    ],
)
def test_tools_that_people_use_are_no_programs_of_ours(arguments: list[str], ours: bool) -> None:
    assert bystanders._runs_a_program_of_ours(process(*arguments)) is ours


@pytest.mark.requirement("L2")
def test_a_program_that_is_no_python_or_is_gone_is_none_of_ours() -> None:
    def gone() -> list[str]:
        raise psutil.NoSuchProcess(OWN)

    assert not bystanders._runs_a_program_of_ours(SimpleNamespace(pid=OWN, cmdline=gone))  # type: ignore[arg-type]
    assert not bystanders._runs_a_program_of_ours(process("train.py", pid=2**22 + 1))


@pytest.mark.requirement("L2")
def test_a_script_is_near_in_its_project_in_this_package_and_in_a_library(tmp_path: Path) -> None:
    project = {PROJECT_VARIABLE: str(tmp_path / "project")}
    for script, near in (
        ("project/train.py", True),
        ("project/../project/scripts/train.py", True),
        ("elsewhere/train.py", False),
        (str(Path(bystanders.__file__).parents[2] / "cli" / "main.py"), True),
        ("env/lib/python3/site-packages/torch/run.py", True),
        ("env/lib/python3/dist-packages/torch/run.py", True),
    ):
        assert bystanders._is_near(process(cwd=tmp_path, environment=project), script) is near, script
        assert bystanders._runs_a_program_of_ours(process(script, cwd=tmp_path, environment=project)) is near
    assert bystanders._is_near(process(cwd=tmp_path, environment={"HOME": "/"}), "elsewhere/train.py"), (
        "without a project it may be"
    )

    def refused() -> str:
        raise psutil.AccessDenied(OWN)

    unreadable = SimpleNamespace(cwd=refused, environ=lambda: {}, ppid=lambda: 1)
    assert bystanders._is_near(unreadable, "elsewhere/train.py")  # type: ignore[arg-type]


@pytest.mark.requirement("L2")
def test_a_session_is_its_own_without_another_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(status: str, **environment: str) -> None:
        leader = SimpleNamespace(status=lambda: status, environ=lambda: environment, ppid=lambda: 1)
        monkeypatch.setattr(bystanders.psutil, "Process", lambda pid: leader)

    def failing(error: Exception) -> None:
        def process_of(pid: int) -> None:
            raise error

        monkeypatch.setattr(bystanders.psutil, "Process", process_of)

    assert not bystanders._in_own_session(5, None, is_marked)
    failing(AssertionError("not looked at"))
    assert bystanders._in_own_session(5, 5, is_marked)
    found("running", HOME="/")
    assert not bystanders._in_own_session(5, 6, is_marked)
    found("running", MARKER="1")
    assert bystanders._in_own_session(5, 6, is_marked)
    found(psutil.STATUS_ZOMBIE, HOME="/")
    assert bystanders._in_own_session(5, 6, is_marked)
    failing(psutil.NoSuchProcess(6))
    assert bystanders._in_own_session(5, 6, is_marked)
    for error in (psutil.AccessDenied(6), PermissionError()):
        failing(error)
        assert not bystanders._in_own_session(5, 6, is_marked)


@pytest.mark.requirement("L2")
@pytest.mark.parametrize(
    ("terminal", "session", "launch", "arguments", "ours"),
    [
        (True, 7, 7, ["train.py"], False),
        (False, 7, 7, ["-m", "tensorboard.main"], True),
        (False, OWN, 7, ["train.py"], True),
        (False, OWN, None, ["train.py"], True),
        (False, OWN, 7, ["-m", "tensorboard.main"], False),
        (False, None, None, ["train.py"], False),
    ],
    ids=["a terminal", "the launch's session", "its own session", "no launcher", "a tool", "unknown"],
)
def test_a_marked_process_belongs_by_its_session_and_its_program(
    terminal: bool,
    session: int | None,
    launch: int | None,
    arguments: list[str],
    ours: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bystanders, "on_terminal", lambda pid: terminal)
    monkeypatch.setattr(bystanders, "session_of", lambda pid: session)
    assert belongs(process(*arguments), is_marked, launch) is ours


@pytest.mark.requirement("L2")
def test_a_subtree_with_a_session_of_its_own_is_spared_on_a_terminal_or_without_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1 launches 2 and 3 (its session); 10 is an editor with 11; 20 starts 22, and that Python 21; 30 is Python on a
    terminal with 31."""
    members = [(1, 0), (2, 1), (3, 1), (10, 1), (11, 10), (20, 2), (22, 20), (21, 22), (30, 1), (31, 30)]
    sessions = {1: 1, 2: 1, 3: 1, 10: 10, 11: 10, 20: 20, 22: 1, 21: 1, 30: 30, 31: 1}
    monkeypatch.setattr(bystanders, "session_of", sessions.__getitem__)
    monkeypatch.setattr(bystanders, "on_terminal", lambda pid: pid == 30)
    monkeypatch.setattr(bystanders, "_is_python", lambda pid: pid in (1, 2, 21, 30, 31))
    assert bystanders_below(1, members) == {10, 11, 30, 31}
    assert bystanders_below(1, [*members, (10, 11)]) == {10, 11, 30, 31}, "a circle ends"
    assert bystanders_below(1, []) == set()


def test_a_terminal_and_a_session_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert session_of(OWN) == (os.getsid(0) or None)
    assert session_of(2**22 + 1) is None
    monkeypatch.setattr(bystanders.os, "getsid", lambda pid: {OWN: 7}[pid])
    assert session_of(OWN) == 7
    monkeypatch.setattr(bystanders.os, "getsid", lambda pid: 0)
    assert session_of(OWN) is None, "it is in another PID namespace"
    for number, expected in ((0, False), (34816, True)):
        monkeypatch.setattr(bystanders, "process_stat", lambda pid, number=number: SimpleNamespace(terminal=number))
        assert on_terminal(OWN) is expected
    monkeypatch.setattr(bystanders, "process_stat", lambda pid: None)
    for name, expected in (("/dev/pts/1", True), (None, False)):
        answer = SimpleNamespace(terminal=lambda name=name: name)
        monkeypatch.setattr(bystanders.psutil, "Process", lambda pid, answer=answer: answer)
        assert on_terminal(OWN) is expected

    def gone(pid: int) -> None:
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(bystanders.psutil, "Process", gone)
    assert not on_terminal(OWN)


def test_a_python_process_is_known_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bystanders._is_python(OWN)
    answers = {"exe": lambda: sys.executable}
    monkeypatch.setattr(bystanders.psutil, "Process", lambda pid: SimpleNamespace(**answers))

    def refused(path: str) -> str:
        raise PermissionError(path)

    def absent(path: str) -> str:
        raise FileNotFoundError(path)

    with monkeypatch.context() as context:
        context.setattr(bystanders.os, "readlink", lambda path: "/usr/bin/vim (deleted)")
        context.setattr(bystanders, "is_interpreter", lambda name, link=None: name == "/usr/bin/vim")
        assert bystanders._is_python(OWN), "the file's name without the kernel's note"
    with monkeypatch.context() as context:
        context.setattr(bystanders.os, "readlink", refused)
        assert not bystanders._is_python(OWN)
        context.setattr(bystanders.os, "readlink", absent)
        assert bystanders._is_python(OWN), "a system without /proc"
        answers["exe"] = lambda: "/bin/sh"
        assert not bystanders._is_python(OWN)
