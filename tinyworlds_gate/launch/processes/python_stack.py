"""Read from outside which Python functions another process executes now, whatever its command line says.

The memory layout is not documented and differs between Python versions. It is measured in this process and used only
for processes that run the same interpreter file. Nothing is written to the other process, and it is not stopped.
Linux only. Without the right to read its memory (Yama, another user) nothing is found.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tinyworlds_gate.run.identity import ProcessIdentity, identify

_WORD = 8
_TEXT_BYTES = 512
_INTERPRETERS = re.compile(rb"(?m)^\S+ \S+ 0+ \S+ (?P<inode>\d+) +(?P<name>/.*)$")
"""The lines of ``/proc/<pid>/maps`` on which a file's first bytes are mapped."""
_RUNTIME_BYTES, _INTERPRETER_BYTES, _THREAD_BYTES, _FRAME_BYTES, _CODE_BYTES = 16384, 65536, 1024, 128, 512
_MOST_THREADS, _MOST_FRAMES, _LONGEST_NAME = 256, 400, 4096
_LENGTH_AT, _STATE_AT = 16, 32
_SAMPLES = ("plain/name.py", "caf\u00e9/name.py", "\u017eivot/name.py", "\U0001f600/name.py")
_CODECS = {1: "latin-1", 2: f"utf-16-{sys.byteorder[0]}e", 4: f"utf-32-{sys.byteorder[0]}e"}


@dataclass(frozen=True)
class Layout:
    """Offsets in bytes between the interpreter's structures, and the file that holds its runtime state."""

    library: tuple[int, int]
    """Device and inode of the interpreter or its shared library."""
    runtime: int
    """From the library's lowest address to ``_PyRuntime``."""
    interpreters: int
    threads: int
    next_thread: int
    frame: tuple[int, ...]
    """From a thread to its current frame, pointer by pointer."""
    code: int
    previous: int
    filename: int
    name: int
    text: tuple[tuple[int, int], ...]
    """How a string stores its letters (see ``_state``) → their offset."""


class Frame(NamedTuple):
    """A function on a stack: its file as the code has it, maybe relative, and its name (``<module>``: a file's own
    code)."""

    file: str
    name: str


Stack = tuple[Frame, ...]
"""The functions that a thread executes, the innermost first."""


def python_stacks(pid: int) -> tuple[Stack, ...] | None:
    """Return the stacks of all threads of a Python process; None if they cannot be read."""
    layout, identity = _layout(), identify(pid)
    if layout is None or identity is None:
        return None
    for known in (True, False):  # another program in the same process (execve) has another base
        if known and identity not in _bases:
            continue
        try:
            base = _bases[identity] if known else _base_of(pid, layout.library)
            if base is None:
                return None
            memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        except OSError:
            return None
        try:
            found = tuple(_stacks(memory, base + layout.runtime, layout))
        except (OSError, OverflowError):
            continue
        finally:
            os.close(memory)
        if found:
            _remember(identity, base)
            return found
    return None


_OWN_FRAME = "<shim>"
"""From Python 3.12 on, the interpreter's own frame between a function in C and the Python code that it calls."""

_bases: dict[ProcessIdentity, int] = {}
_MOST_BASES = 1000


def _remember(identity: ProcessIdentity, base: int) -> None:
    if len(_bases) >= _MOST_BASES:
        _bases.clear()
    _bases[identity] = base


def _stacks(memory: int, runtime: int, layout: Layout) -> Iterator[Stack]:
    known: dict[int, Frame | None] = {}
    interpreter = _word(memory, runtime + layout.interpreters)
    thread = _word(memory, interpreter + layout.threads)
    for _ in range(_MOST_THREADS):
        if not thread:
            return
        stack: list[Frame] = []
        with suppress(OSError, OverflowError):  # a frame that was left meanwhile
            frame = thread
            for offset in layout.frame:
                frame = _word(memory, frame + offset)
            for _ in range(_MOST_FRAMES):
                data = os.pread(memory, _FRAME_BYTES, frame)
                code = _word_in(data, layout.code) & ~7
                if code not in known:
                    known[code] = _frame(memory, code, layout)
                if (one := known[code]) is not None:
                    stack.append(one)
                frame = _word_in(data, layout.previous)
        yield tuple(stack)
        thread = _word(memory, thread + layout.next_thread)


def _frame(memory: int, code: int, layout: Layout) -> Frame | None:
    texts = dict(layout.text)
    with suppress(OSError, OverflowError, UnicodeDecodeError):
        data = os.pread(memory, _CODE_BYTES, code)
        file, name = (_text(memory, _word_in(data, at), texts) for at in (layout.filename, layout.name))
        return None if file is None or name is None or file == _OWN_FRAME else Frame(file, name)
    return None


def _text(memory: int, address: int, offsets: dict[int, int]) -> str | None:
    data = os.pread(memory, _TEXT_BYTES, address)
    length, state = _word_in(data, _LENGTH_AT), _state(_word_in(data, _STATE_AT))
    if state not in offsets or not 0 < length <= _LONGEST_NAME:
        return None
    width, start = (state >> 2) & 7, offsets[state]
    letters = data[start : start + length * width]
    if len(letters) < length * width:
        letters = os.pread(memory, length * width, address + start)
    return letters.decode(_CODECS[width]) if len(letters) == length * width else None


def _state(word: int) -> int:
    """The bits of a string's state that say how its letters are stored (kind, compact, ASCII)."""
    return word & 0b01111100


def _word(memory: int, address: int) -> int:
    return _word_in(os.pread(memory, _WORD, address), 0)


def _word_in(data: bytes, at: int) -> int:
    if len(data) < at + _WORD:
        raise OSError("no memory there")
    return int.from_bytes(data[at : at + _WORD], sys.byteorder)


def _base_of(pid: int | str, library: tuple[int, int]) -> int | None:
    """The lowest address at which a process has mapped this file, or a copy of it."""
    maps = Path(f"/proc/{pid}/maps").read_bytes()
    device, inode = library
    ours = maps.find(b" %02x:%02x %d " % (os.major(device), os.minor(device), inode))
    if ours < 0:
        for found in _INTERPRETERS.finditer(maps):
            name = os.fsdecode(found["name"]).removesuffix(" (deleted)")
            if _same_content(name, int(found["inode"])):
                ours = found.end()
                break
        else:
            return None
    return int(maps[:ours].rpartition(b"\n")[2].partition(b"-")[0], 16)


@cache
def _same_content(name: str, inode: int) -> bool:
    """Whether another file holds the same interpreter; ``inode`` distinguishes two files of one name."""
    ours = _own_library()
    with suppress(OSError):
        if ours is not None and os.stat(name).st_ino == inode and os.stat(name).st_size == os.stat(ours).st_size:
            return Path(name).read_bytes() == Path(ours).read_bytes()
    return False


@cache
def _own_library() -> str | None:
    """The file that holds our ``_PyRuntime``."""
    with suppress(OSError, ValueError, AttributeError):
        return _mapping_of(_runtime_address())[1]
    return None


def _mapping_of(address: int) -> tuple[tuple[int, int], str]:
    """Device and inode, and path, of the file that is mapped at an address of this process.

    ``_PyRuntime`` may be in the pages that follow the file's (zeroed data): the file mapped before them counts.
    """
    found: tuple[tuple[int, int], str] | None = None
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            fields = line.split(maxsplit=5)
            start, end = (int(part, 16) for part in fields[0].split("-"))
            if len(fields) == 6 and fields[5].startswith("/"):
                device = os.makedev(*(int(part, 16) for part in fields[3].split(":")))
                found = (device, int(fields[4])), fields[5].rstrip("\n")
            if start <= address < end and found is not None:
                return found
    raise ValueError(f"nothing is mapped at {address:#x}")


def _runtime_address() -> int:
    return ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))


@cache
def _layout() -> Layout | None:
    """Measure the layout on a thread that waits at a known place; None if something is not found where expected."""
    if not sys.platform.startswith("linux") or sys.implementation.name != "cpython" or sys.maxsize < 2**32:
        return None
    lock, ready, thread_state = threading.Lock(), threading.Event(), list[int]()
    lock.acquire()

    def wait_here() -> None:
        thread_state.append(_state_pointer("PyThreadState_Get"))
        ready.set()
        lock.acquire()

    waiting = threading.Thread(target=wait_here, daemon=True)
    waiting.start()
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY)
    except OSError:
        lock.release()
        return None
    try:
        if not ready.wait(5.0):
            return None
        return _measure(memory, thread_state[0], wait_here)
    except (OSError, ValueError, AttributeError, LookupError):
        return None
    finally:
        lock.release()
        waiting.join()
        os.close(memory)


def _state_pointer(function: str, *arguments: int) -> int:
    call = getattr(ctypes.pythonapi, function)
    call.restype = ctypes.c_void_p
    return int(call(*map(ctypes.c_void_p, arguments)) or 0)


def _measure(memory: int, thread: int, function: Callable[[], None]) -> Layout:
    runtime, interpreter = _runtime_address(), _state_pointer("PyInterpreterState_Head")
    newest = _state_pointer("PyInterpreterState_ThreadHead", interpreter)
    code, caller = function.__code__, threading.Thread.run.__code__
    library, _ = _mapping_of(runtime)
    base = _base_of("self", library)
    if base is None:
        raise LookupError("the interpreter's file is not mapped")
    path, code_at, frame = _path_to_frame(memory, thread, id(code))
    previous = next(
        at
        for at in range(0, _FRAME_BYTES, _WORD)
        if (known := _word_or_none(memory, frame + at)) and _code_of(memory, known, code_at) == id(caller)
    )
    return Layout(
        library=library,
        runtime=runtime - base,
        interpreters=_offset(memory, runtime, _RUNTIME_BYTES, interpreter),
        threads=_offset(memory, interpreter, _INTERPRETER_BYTES, newest),
        next_thread=_offset(memory, newest, _THREAD_BYTES, _state_pointer("PyThreadState_Next", newest)),
        frame=path,
        code=code_at,
        previous=previous,
        filename=_offset(memory, id(code), _CODE_BYTES, id(code.co_filename)),
        name=_offset(memory, id(code), _CODE_BYTES, id(code.co_name)),
        text=_text_layout(memory),
    )


def _path_to_frame(memory: int, thread: int, code: int) -> tuple[tuple[int, ...], int, int]:
    """How a thread's state leads to its current frame, where a frame has its code, and that frame."""
    for first in range(0, _THREAD_BYTES, _WORD):
        pointer = _word_or_none(memory, thread + first)
        for second in (None, *range(0, _FRAME_BYTES, _WORD)):
            frame = pointer if second is None or not pointer else _word_or_none(memory, pointer + second)
            for at in range(0, _FRAME_BYTES // 2, _WORD) if frame else ():
                if frame and _code_of(memory, frame, at) == code:
                    return ((first,) if second is None else (first, second)), at, frame
    raise LookupError("no frame of the waiting thread was found")


def _code_of(memory: int, frame: int, at: int) -> int | None:
    found = _word_or_none(memory, frame + at)
    return None if found is None else found & ~7


def _offset(memory: int, address: int, size: int, value: int) -> int:
    for at in range(0, size, _WORD):
        if _word_or_none(memory, address + at) == value:
            return at
    raise LookupError(f"{value:#x} was not found")


def _word_or_none(memory: int, address: int) -> int | None:
    try:
        return _word(memory, address)
    except (OSError, OverflowError):
        return None


def _text_layout(memory: int) -> tuple[tuple[int, int], ...]:
    found = {}
    for sample in _SAMPLES:
        state = _state(_word(memory, id(sample) + _STATE_AT))
        letters = sample.encode(_CODECS[(state >> 2) & 7])
        found[state] = os.pread(memory, sys.getsizeof(sample), id(sample)).index(letters)
        if _text(memory, id(sample), found) != sample:
            raise LookupError(f"the text {sample!a} was not read back")
    return tuple(found.items())
