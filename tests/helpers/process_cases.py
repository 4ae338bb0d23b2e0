"""Real processes that train a project in unusual ways, and bystanders that train nothing: the cases of the matrix."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.helpers.process_projects import make_project
from tinyworlds_gate.targets.base import Target

GUARDED = (
    "import time\n\n\ndef main(rank=0):\n    print('ready', flush=True)\n    time.sleep(60)\n\n\n"
    "def sizes():\n    return {}\n\n\nif __name__ == '__main__':\n    main()\n"
)
"""A stage script as projects write them: it trains when it is run, and not when it is imported."""
WAITS = "import time; print('ready', flush=True); time.sleep(60)"
SCRIPT = "scripts/train_dynamics.py"

_SPAWN = """
import multiprocessing, sys
from scripts.train_dynamics import main
if __name__ == "__main__":
    worker = multiprocessing.get_context(sys.argv[1]).Process(target=main, args=(0,))
    worker.start()
    worker.join()
"""
_BY_NAME = """
import importlib, json, pathlib
stage = json.loads(pathlib.Path("launch.json").read_text())
getattr(importlib.import_module(stage["module"]), stage["function"])()
"""
_IN_A_THREAD = """
import runpy, threading
worker = threading.Thread(target=runpy.run_path, args=("scripts/train_dynamics.py",), kwargs={"run_name": "__main__"})
worker.start()
worker.join()
"""
_POOL = """
import concurrent.futures
from scripts.train_dynamics import main
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        pool.submit(main).result()
"""
_KERNEL = """
import json, pathlib, sys
cell = json.loads(pathlib.Path(sys.argv[sys.argv.index("-f") + 1]).read_text())["cell"]
exec(compile(cell, "ipykernel_7/1234.py", "exec"), {"__name__": "__main__"})
"""
_RUNS_ITS_ARGUMENT = """
import runpy, sys
script = next(word for word in sys.argv[1:] if word.endswith(".py"))
runpy.run_path(script, run_name="__main__")
"""

_TAKES_ITS_TERMINAL = (
    "import fcntl, os, sys, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\nos.execvp(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Case:
    """One process: its command, what it reads and its environment; ``own_session``: it is started by setsid."""

    name: str
    command: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: Path | None = None
    own_session: bool = False
    terminal: bool = False
    silent: bool = False
    """It prints nothing when it has started."""


@contextmanager
def started(cases: Sequence[Case], cwd: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Start all cases at once; all have printed ``ready`` before the block."""
    with ExitStack() as stack:
        running: dict[str, subprocess.Popen[bytes]] = {}
        for case in cases:
            running[case.name] = stack.enter_context(_running(case, cwd))
        for case in cases:
            output = running[case.name].stdout
            assert output is not None
            if not case.silent:
                line = output.readline()
                assert b"ready" in line, f"{case.name} did not start: {line!r}"
        yield running


@contextmanager
def _running(case: Case, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    terminals = os.openpty() if case.terminal else ()
    with open(case.stdin or os.devnull, "rb") as source:
        command = [str(word) for word in case.command]
        if case.terminal:  # the new session takes its standard input as its controlling terminal
            command = [sys.executable, "-c", _TAKES_ITS_TERMINAL, *command]
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **case.env},
            stdin=terminals[1] if terminals else source,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=case.own_session or case.terminal,
        )
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            for below in psutil.Process(process.pid).children(recursive=True):
                below.kill()
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        for end in terminals:
            os.close(end)


def project_with_launchers(root: Path) -> Target:
    """A project whose stages follow ``GUARDED``, with everything that the cases of `training` start."""
    target = make_project(root, GUARDED)
    (root / "scripts" / "__init__.py").write_text("")
    texts = {
        "spawn.py": _SPAWN,
        "by_name.py": _BY_NAME,
        "in_a_thread.py": _IN_A_THREAD,
        "pool.py": _POOL,
        "launch.json": '{"module": "scripts.train_dynamics", "function": "main"}',
        "app/__main__.py": "from scripts.train_dynamics import main\nmain()\n",
        "tools/ipykernel_launcher.py": _KERNEL,
        "tools/scalene.py": _RUNS_ITS_ARGUMENT,
        "tools/kernprof.py": _RUNS_ITS_ARGUMENT,
        "tools/accelerate": _RUNS_ITS_ARGUMENT,
        "trains.json": '{"cell": "from scripts.train_dynamics import main\\nmain()"}',
        "runs.json": f"{{\"cell\": \"import runpy\\nrunpy.run_path('{SCRIPT}', run_name='__main__')\"}}",
        "idle.json": '{"cell": "from scripts.train_dynamics import main\\nimport time\\n'
        "print('ready', flush=True)\\ntime.sleep(60)\"}",
        "evaluate.py": f"from scripts.train_dynamics import sizes\nsizes()\n{WAITS}\n",
    }
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    os.link(root / SCRIPT, root / "linked.py")
    (root / "symbolic.py").symlink_to(SCRIPT)
    with zipfile.ZipFile(root / "calls.pyz", "w") as archive:
        archive.writestr("__main__.py", "from scripts.train_dynamics import main\nmain()\n")
    with zipfile.ZipFile(root / "holds.pyz", "w") as archive:
        archive.writestr("__main__.py", "import scripts.train_dynamics as t\nt.main()\n")
        archive.writestr("scripts/__init__.py", "")
        archive.writestr(SCRIPT, GUARDED)
    return target


def training(root: Path) -> list[Case]:
    """Processes that train the project in ``root``, all started in it."""
    python, here = sys.executable, {"PYTHONPATH": f"{root}:{root / 'tools'}"}
    stem = "import sys; sys.path.insert(0, 'scripts'); import train_dynamics; train_dynamics.main()"
    renamed, copied = root / "trainer", root / "gpu-job"
    for path, make in ((renamed, os.link), (copied, shutil.copy)):
        _place(Path(python).resolve(), path, make)
    home = {**here, "PYTHONHOME": sys.base_prefix}
    return [
        Case("a script", [python, SCRIPT]),
        Case("an absolute script with options", [python, "-u", "-X", "dev", root / SCRIPT, "n_updates=3"]),
        Case("a module", [python, "-m", "scripts.train_dynamics"]),
        Case("a profiler of the standard library", [python, "-m", "cProfile", "-o", "out.prof", SCRIPT]),
        Case("scalene", [python, "-m", "scalene", "--cpu", "--outfile", "x.json", SCRIPT], here),
        Case("kernprof", [python, "-m", "kernprof", "-l", "-v", SCRIPT], here),
        Case("accelerate", [python, "tools/accelerate", "launch", "--num_processes", "1", SCRIPT]),
        Case("python -c with runpy", [python, "-c", f"import runpy; runpy.run_path('{SCRIPT}', run_name='__main__')"]),
        Case("python -c with run_module", [python, "-c", _run_module()]),
        Case("python -c with an import", [python, "-c", "from scripts.train_dynamics import main; main()"]),
        Case("python -c with another name", [python, "-c", "import scripts.train_dynamics as t; t.main(1)"]),
        Case("python -c with a search path", [python, "-c", stem]),
        Case("python -c with exec", [python, "-c", f"exec(open('{SCRIPT}').read())"]),
        Case(
            "python -c with a variable",
            [python, "-c", f"p = '{SCRIPT}'\nimport runpy\nrunpy.run_path(p, {{}}, '__main__')"],
        ),
        Case("standard input", [python], stdin=root / SCRIPT),
        Case("standard input by a dash", [python, "-u", "-"], stdin=root / SCRIPT),
        Case("a notebook that calls it", [python, "-m", "ipykernel_launcher", "-f", root / "trains.json"], here),
        Case("a notebook that runs it", [python, "-m", "ipykernel_launcher", "-f", root / "runs.json"], here),
        Case("a hard link", [python, "linked.py"]),
        Case("a symbolic link", [python, "symbolic.py"]),
        Case("an interpreter of another name", [renamed, SCRIPT], home),
        Case(
            "a copied interpreter that runs code",
            [copied, "-c", "from scripts.train_dynamics import main; main()"],
            home,
        ),
        Case("a launcher that forks", [python, "spawn.py", "fork"]),
        Case("a launcher that spawns", [python, "spawn.py", "spawn"]),
        Case("a launcher with a forkserver", [python, "spawn.py", "forkserver"]),
        Case("a pool of processes", [python, "pool.py"]),
        Case("a launcher that reads the name", [python, "by_name.py"], here),
        Case("a thread", [python, "in_a_thread.py"]),
        Case("a folder with __main__", [python, "app"], here),
        Case("an archive that calls it", [python, "calls.pyz"], here),
        Case("an archive that holds it", [python, "holds.pyz"]),
        Case("bash -c", ["sh", "-c", f"'{python}' {SCRIPT}; true"]),
        Case("env and nohup", ["nohup", "env", "A=1", python, SCRIPT]),
        Case("a session of its own", [python, SCRIPT], own_session=True),
        Case("a terminal", [python, SCRIPT], terminal=True),
    ]


def _run_module() -> str:
    return "import runpy; runpy.run_module('scripts.train_dynamics', run_name='__main__')"


def _place(source: Path, path: Path, make: Callable[[Path, Path], object]) -> None:
    try:
        make(source, path)
    except OSError:  # a hard link across file systems
        shutil.copy(source, path)


def bystanders(root: Path, marker: Mapping[str, str]) -> list[Case]:
    """Processes that train nothing and that inherited a run's marker; those of the first half name the stage script."""
    python, script = sys.executable, root / SCRIPT
    here = {**marker, "PYTHONPATH": f"{root}:{root / 'tools'}"}
    outside = root.parent / "bin"
    outside.mkdir(exist_ok=True)
    for name in ("editor.py", "tensorboard"):
        (outside / name).write_text(WAITS)
    say = "echo ready;"
    found = [
        Case("tail", ["tail", "-f", script], marker, silent=True),
        Case("tail in a session of its own", ["tail", "-f", script], marker, own_session=True, silent=True),
        Case("a shell", ["sh", "-c", f"{say} read line; : {script}"], marker, stdin=_endless(root)),
        Case("a shell in a session of its own", ["sh", "-c", f"{say} sleep 60; : {script}"], marker, own_session=True),
        Case("a person's shell", ["sh", "-c", f"{say} sleep 60; true"], marker, terminal=True),
        Case("a person's Python prompt", [python, "-i", "-c", "print('ready', flush=True)"], marker, terminal=True),
        Case("python -c that names it", [python, "-c", f"{WAITS}  # {script}", script], marker),
        Case("python -c that reads it", [python, "-c", f"open('{script}').read(); {WAITS}"], marker),
        Case("an editor in Python", [python, outside / "editor.py", script], marker),
        Case("the same in a session of its own", [python, outside / "editor.py", script], marker, own_session=True),
        Case("tensorboard", [python, outside / "tensorboard", "--logdir", root], marker, own_session=True),
        Case(
            "an idle notebook", [python, "-m", "ipykernel_launcher", "-f", root / "idle.json"], here, own_session=True
        ),
        Case("an evaluation that imports it", [python, "evaluate.py"], here),
        Case(
            "a debugger on another file", [python, "-m", "pdb", "evaluate.py", script], here, silent=True, terminal=True
        ),
    ]
    if (vim := shutil.which("vim") or shutil.which("vi")) is not None:
        found.append(Case("vim", [vim, "-es", script], marker, silent=True, stdin=_endless(root)))
    if (tmux := shutil.which("tmux")) is not None:
        server: list[str | Path] = ["-S", root.parent / "tmux.socket", "-f", os.devnull, "-D"]
        found.append(Case("tmux", [tmux, *server], marker, silent=True, own_session=True))
    return found


def _endless(root: Path) -> Path:
    """A named pipe that is open at both ends of this process, so that its reader waits."""
    pipe = root / "waits"
    if not pipe.exists():
        os.mkfifo(pipe)
        os.open(pipe, os.O_RDWR)
    return pipe
