"""The functions that another process executes, read from its memory, and what is not taken for a stage.

pytest tests/unit/launch/processes/test_python_stack.py
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest

from tests.helpers.descriptors import none_left_open
from tests.helpers.process_projects import first_line, make_project, running
from tests.unit.launch.processes.test_guard import found_pids
from tinyworlds_gate.launch.processes import python_stack
from tinyworlds_gate.launch.processes.interpreters import is_interpreter, is_own_interpreter
from tinyworlds_gate.launch.processes.python_stack import Frame, Layout, python_stacks
from tinyworlds_gate.run.identity import identify

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


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or sys.version_info >= (3, 13), reason="not known to be readable"
)
def test_the_layout_of_the_supported_interpreters_is_found() -> None:
    assert python_stack._layout() is not None


@readable
@pytest.mark.parametrize("base", [2**63, 8], ids=["no address", "nothing there"])
def test_a_base_that_does_not_hold_any_more_is_searched_again(base: int, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = identify(os.getpid())
    assert identity is not None
    monkeypatch.setitem(python_stack._bases, identity, base)
    assert "test_a_base_that_does_not_hold_any_more_is_searched_again" in names_of(python_stacks(os.getpid()))
    assert python_stack._bases[identity] not in (base, None)


def names_of(stacks: tuple[python_stack.Stack, ...] | None) -> set[str]:
    return {frame.name for stack in stacks or () for frame in stack}


@readable
def test_bases_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_stack, "_MOST_BASES", 2)
    found = [identify(pid) for pid in (os.getpid(), os.getppid())]
    monkeypatch.setattr(python_stack, "_bases", {})
    for number, identity in enumerate([found[0], found[1], found[0]]):
        assert identity is not None
        python_stack._remember(identity, number)
        assert len(python_stack._bases) == (1, 2, 1)[number]
    assert python_stack._bases == {found[0]: 2}


@readable
def test_nothing_stays_open_and_memory_that_may_not_be_read_has_no_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    with none_left_open():
        assert python_stacks(os.getpid())
    with monkeypatch.context() as context:
        context.setattr(python_stack.os, "open", refused)
        assert python_stacks(os.getpid()) is None
    monkeypatch.setattr(python_stack, "_bases", {})
    monkeypatch.setattr(python_stack, "_base_of", refused)
    assert python_stacks(os.getpid()) is None


def test_the_file_of_an_address_is_the_one_that_is_mapped_there() -> None:
    address = python_stack._runtime_address()
    (device, inode), path = python_stack._mapping_of(address)
    assert (device, inode) == (os.stat(path).st_dev, os.stat(path).st_ino)
    assert python_stack._own_library() == path
    base = python_stack._base_of("self", (device, inode))
    assert base is not None
    assert 0 < base <= address
    assert python_stack._base_of(os.getpid(), (device, inode)) == base
    assert python_stack._base_of("self", (0, 1)) == base, "by its content, where the file is another one"
    with pytest.raises(ValueError, match="nothing is mapped at 0x1"):
        python_stack._mapping_of(1)


ASCII, UTF_16 = 0b00100100, 0b00101000
LAYOUT = Layout(
    library=(0, 0),
    runtime=0,
    interpreters=8,
    threads=16,
    next_thread=8,
    frame=(16, 0),
    code=0,
    previous=8,
    filename=0,
    name=8,
    text=((ASCII, 40), (UTF_16, 56)),
)


class Memory:
    """A file in which the structures of an interpreter lie as `LAYOUT` says; address 0 is no structure."""

    def __init__(self, path: Path) -> None:
        self.file, self.end = path, 4096
        self.file.write_bytes(b"\0" * 65536)

    def put(self, *words: int, text: bytes = b"") -> int:
        at, self.end = self.end, self.end + 1024 + len(text) // 8 * 8
        with self.file.open("r+b") as file:
            file.seek(at)
            file.write(struct.pack(f"={len(words)}Q", *words) + text)
        return at

    def name(self, text: str, length: int | None = None, state: int = ASCII) -> int:
        letters = text.encode()
        return self.put(0, 0, len(letters) if length is None else length, 0, state, text=letters)

    def wide_name(self, text: str) -> int:
        return self.put(0, 0, len(text), 0, UTF_16, 0, 0, text=text.encode(f"utf-16-{sys.byteorder[0]}e"))

    def code(self, file: str, name: str) -> int:
        return self.put(self.name(file), self.name(name))

    def frames(self, *codes: int) -> int:
        """Return the innermost of these frames, of which the first has the first code."""
        outer = 0
        for code in reversed(codes):
            outer = self.put(code, outer)
        return outer

    def thread(self, frame: int, following: int = 0) -> int:
        return self.put(0, following, self.put(frame))

    def stacks(self, thread: int) -> list[python_stack.Stack]:
        runtime = self.put(0, self.put(0, 0, thread))
        descriptor = os.open(self.file, os.O_RDONLY)
        try:
            return list(python_stack._stacks(descriptor, runtime, LAYOUT))
        finally:
            os.close(descriptor)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "memory")


def test_the_interpreter_s_own_frames_are_left_out(memory: Memory) -> None:
    """From Python 3.12 on; one lies between an import and the module that is imported."""
    codes = [memory.code(*one) for one in (("m.py", "<module>"), ("<shim>", "<interpreter trampoline>"), ("i", "f"))]
    assert memory.stacks(memory.thread(memory.frames(*codes))) == [(Frame("m.py", "<module>"), Frame("i", "f"))]


def test_threads_and_their_frames_are_followed_pointer_by_pointer(memory: Memory) -> None:
    inner, outer = memory.code("a.py", "inner"), memory.code("b.py", "x" * 4096)
    last = memory.thread(memory.frames(outer))
    first = memory.thread(memory.frames(inner | 1, inner, outer | 7), memory.thread(0, last))
    a, b = Frame("a.py", "inner"), Frame("b.py", "x" * 4096)
    assert memory.stacks(first) == [(a, a, b), (), (b,)]
    assert memory.stacks(0) == []


def test_a_frame_that_cannot_be_read_is_left_out(memory: Memory) -> None:
    good = memory.code("a.py", "good")
    empty, long, odd = (
        memory.put(memory.name("a.py"), memory.name(*arguments))
        for arguments in (("n", 0), ("n", 4097), ("n", 1, 0b01000100))
    )
    one_letter, wide = memory.code("a.py", "n"), memory.put(memory.name("a.py"), memory.wide_name("ž.n"))
    empty_file = memory.put(memory.name("a.py", 0), memory.name("n"))
    nowhere, gone = memory.put(2**63, memory.name("n")), memory.put(memory.name("n"), 70_000)
    frames = memory.frames(good, 0, empty, long, odd, nowhere, gone, empty_file, one_letter, wide)
    assert memory.stacks(memory.thread(frames)) == [(Frame("a.py", "good"), Frame("a.py", "n"), Frame("a.py", "ž.n"))]


def test_a_name_is_read_whole_or_not_at_all(memory: Memory) -> None:
    file, reserved = memory.name("a.py"), memory.put()
    thread = memory.thread(memory.frames(memory.put(file, 65536 - 48), memory.code("b.py", "good")))
    assert reserved < 65536 - 48
    memory.end = 65536 - 48
    memory.name("n" * 8, length=9)
    memory.end = reserved
    assert memory.stacks(thread) == [(Frame("b.py", "good"),)]


def test_a_broken_chain_of_frames_ends_its_stack_and_a_broken_chain_of_threads_is_an_error(memory: Memory) -> None:
    good = memory.code("a.py", "good")
    following = memory.thread(memory.frames(good))
    for nowhere in (2**63, 70_000):
        broken = memory.put(good, nowhere)
        assert memory.stacks(memory.thread(broken, following)) == [(Frame("a.py", "good"),)] * 2
    with pytest.raises(OSError, match="no memory there"):
        memory.stacks(70_000)
    with pytest.raises(OverflowError):
        memory.stacks(2**63)


def test_endless_chains_end(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_stack, "_MOST_THREADS", 3)
    monkeypatch.setattr(python_stack, "_MOST_FRAMES", 4)
    code = memory.code("a.py", "again")
    pointer = memory.put(memory.put(code, memory.end))
    assert memory.stacks(memory.put(0, memory.end, pointer)) == [(Frame("a.py", "again"),) * 4] * 3


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
