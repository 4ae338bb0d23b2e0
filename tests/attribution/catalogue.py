"""The faults: what happens to which process, and what a report about it must name."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.attribution.project import SAVED_EVERY, UPDATES
from tests.helpers.memory_limits import make_memory_cgroup

OWN, NONE, ANY = "the rank", "no rank", "any rank"
"""Whom the report must name; ``ANY``: the fault happens to every rank, so it may name any or none."""

CGROUP = "cgroup"
"""In the project's folder, a link to a cgroup that was made for its fault."""

EVERY_MOMENT = (2, UPDATES - 2)
AT_START = (-1, -1)
BEFORE_FIRST_SAVE = (2, SAVED_EVERY - 1)


@dataclass(frozen=True)
class Where:
    """A process of the run that waits for an answer: the moment is an update, -1 at the start, 24 at the end."""

    root: Path
    stage: str
    pid: int
    launcher: int


@dataclass(frozen=True)
class Kind:
    """One kind of fault: ``code`` runs in the worker, ``outside`` in the injector while the worker waits."""

    name: str
    cause: str
    """What the report must name, in the words of ``reading.CAUSES``."""
    blamed: str = OWN
    code: str = ""
    outside: Callable[[Where], None] | None = None
    moments: tuple[int, int] = EVERY_MOMENT
    """First and last update at which it may happen."""
    stages: tuple[str, ...] = ("video_tokenizer", "latent_actions", "dynamics")
    ranks: tuple[int, ...] = (0, 1)
    everyone: bool = False
    """It happens to every rank."""
    lasting: bool = False
    """It happens again at each later update."""
    helper: str = ""
    """What the other rank executes one update before."""
    device: str = "any"
    """``any``, ``cpu`` or ``cuda``."""
    needs: Callable[[], bool] = lambda: True
    """Whether this machine allows it."""

    @property
    def slow(self) -> bool:
        """Whether only the watchdog ends it."""
        return self.cause in ("sleeps", "computes", "stopped", "deadlock", "too slow")


def _send(number: int) -> Callable[[Where], None]:
    return lambda where: os.kill(where.pid, number)


def _kill_while_others_wait(where: Where) -> None:
    time.sleep(1.5)
    os.kill(where.pid, signal.SIGKILL)


def _limit(what: int, size: int) -> Callable[[Where], None]:
    return lambda where: resource.prlimit(where.pid, what, (size, size)) and None


def _small_cgroup(where: Where) -> None:
    """Move the worker into a memory cgroup of its own; what it has already is not counted there.

    The harness looks up the cgroup of a running process every 2 s. The kill of a process that moved and died sooner is
    taken for one by a person.
    """
    folder, limit = make_memory_cgroup()
    (where.root / CGROUP).symlink_to(folder)
    limit.write_text(str(64 << 20))
    (folder / "cgroup.procs").write_text(str(where.pid))
    time.sleep(4.0)


def has_memory_cgroups() -> bool:
    """Whether memory cgroups can be made here."""
    try:
        folder, limit = make_memory_cgroup()
    except OSError:
        return False
    try:
        limit.write_text(str(64 << 20))
    except OSError:
        return False
    finally:
        folder.rmdir()
    return True


def _remove_frames(where: Where) -> None:
    for path in (where.root / "data").glob("*.h5"):
        path.unlink(missing_ok=True)


def _tear(path: Path) -> None:
    if path.stat().st_size > 1000:
        os.truncate(path, 1000)


def _tear_last(where: Where) -> None:
    name = f"{where.stage}_step_{UPDATES - 1}"
    _tear(where.root / "results/run_1" / where.stage / "checkpoints" / name / "model_state_dict.pt")


def _tear_input(where: Where) -> None:
    name = "video_tokenizer"
    _tear(where.root / "inputs" / name / "checkpoints" / f"{name}_step_0" / "model_state_dict.pt")


LOADER = """
import os, signal, torch
class Clips(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, index): os.kill(os.getpid(), signal.SIGKILL)
list(torch.utils.data.DataLoader(Clips(), num_workers=1))
"""
FLOOD = """
import threading
def flood():
    number = 0
    while True:
        print("a line of a library that says the same for ever", number := number + 1, flush=True)
threading.Thread(target=flood, daemon=True).start()
"""
NAN = "next(p for p in trainer.model.parameters() if p.requires_grad).data.fill_(float('nan'))"

SERVER = """
import socket
def load_clip():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.accept()
load_clip()
"""
HANDLED = """
import traceback
try:
    bytearray(1 << 60)
except MemoryError:
    traceback.print_exc()
raise ValueError("a smaller batch has no clip")
"""

KINDS: tuple[Kind, ...] = (
    Kind("sleeps for ever", "sleeps", code="import time; time.sleep(1e6)"),
    Kind("sleeps before the first update", "sleeps", code="import time; time.sleep(1e6)", moments=AT_START),
    Kind("sleeps in C and holds the GIL", "sleeps", code="import ctypes; ctypes.PyDLL(None).sleep(10**6)"),
    Kind("computes in C and holds the GIL", "computes", code="import re; re.match('(a+)+$', 'a' * 64 + 'b')"),
    Kind("computes in Python", "computes", code="while True: pass"),
    Kind("every rank waits for a server", "sleeps", NONE, code=SERVER, everyone=True),
    Kind("SIGSTOP", "stopped", outside=_send(signal.SIGSTOP)),
    Kind("SIGKILL", "killed", outside=_send(signal.SIGKILL)),
    Kind("SIGKILL while the others wait", "killed", outside=_kill_while_others_wait),
    Kind("SIGTERM", "killed", outside=_send(signal.SIGTERM)),
    Kind("launcher killed", "launcher killed", NONE, outside=lambda where: os.kill(where.launcher, signal.SIGKILL)),
    Kind("segmentation fault", "crashed", code="import ctypes; ctypes.string_at(0)"),
    Kind("abort in C", "crashed", code="import os; os.abort()"),
    Kind("MemoryError", "out of memory", code="bytearray(1 << 60)"),
    Kind("out of memory in torch", "out of memory", code="import torch; torch.empty(1 << 55)", device="cpu"),
    Kind(
        "address-space limit",
        "out of memory",
        outside=_limit(resource.RLIMIT_AS, 1 << 20),
        code="import torch; torch.ones(1 << 24)",
        device="cpu",
    ),
    Kind(
        "killed by the kernel in a small cgroup",
        "out of memory",
        outside=_small_cgroup,
        code="bytearray(b'x') * (256 << 20)",
        needs=has_memory_cgroups,
    ),
    Kind("NaN from one rank", "NaN", code=NAN),
    Kind("exception", "exception", code="raise ValueError('a sample of length 0')"),
    Kind("exception, buried by the others' log", "exception", code="raise KeyError('clip')", helper=FLOOD),
    Kind("exception after a handled MemoryError", "exception", code=HANDLED),
    Kind("wrong shapes", "exception", code="import torch; torch.ones(2, 3) @ torch.ones(2, 3)"),
    Kind("import error", "import error", code="import a_package_that_is_missing", moments=AT_START),
    Kind("exit code 3", "exit code", code="import sys; sys.exit(3)"),
    Kind("leaves with exit code 0", "left early", code="import os; os._exit(0)"),
    Kind(
        "waits for a message that nobody sends",
        "deadlock",
        NONE,
        code="""
import torch
torch.distributed.recv(torch.zeros(1), src=1 - rank)
""",
        device="cpu",
    ),
    Kind(
        "file size limit while saving",
        "disk full",
        outside=_limit(resource.RLIMIT_FSIZE, 12_000),
        ranks=(0,),
        moments=BEFORE_FIRST_SAVE,
    ),
    Kind("checkpoint torn", "damaged checkpoint", NONE, outside=_tear_last, moments=(UPDATES, UPDATES), ranks=(0,)),
    Kind(
        "input checkpoint torn",
        "damaged checkpoint",
        ANY,
        outside=_tear_input,
        moments=AT_START,
        everyone=True,
        stages=("dynamics",),
    ),
    Kind("frames file missing", "missing file", ANY, outside=_remove_frames, moments=AT_START, everyone=True),
    Kind(
        "8 s for each update",
        "too slow",
        NONE,
        code="import time; time.sleep(8)",
        moments=(1, 2),
        everyone=True,
        lasting=True,
        device="cpu",
    ),
    Kind("worker of a data loader killed", "data loader", code=LOADER),
)

CUDA_KINDS: tuple[Kind, ...] = (
    Kind(
        # Up to 9 updates begin before the first one is waited for; with 2 s each that is a stall of 25 s.
        "1 s for each update",
        "too slow",
        NONE,
        code="import time; time.sleep(1)",
        moments=(1, 2),
        everyone=True,
        lasting=True,
    ),
    Kind("CUDA out of memory", "out of memory", code="import torch; torch.empty(1 << 46, device='cuda')"),
    Kind(
        "CUDA error (device assert)",
        "CUDA error",
        code="""
import torch
torch.zeros(3, device="cuda")[torch.tensor([7], device="cuda")]
torch.cuda.synchronize()
""",
    ),
)
"""Only on GPUs; all others but those for ``cpu`` run there too."""
