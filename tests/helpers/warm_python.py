"""Run scripts in separate processes in which the heavy libraries are already imported (a fork server).

A script has its own process, working folder, environment, arguments and exit code, as from a shell, but torch is
imported only once a session.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PRELOADED = [
    "torch",
    "torch._dynamo",
    "torch.distributed",
    "h5py",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "matplotlib.projections",
    "torch.distributed.elastic.multiprocessing.errors",
    "torch.nn.parallel",
    "torchmetrics.functional.image",
]
LIMIT_S = 120.0


@dataclass(frozen=True)
class Finished:
    """The result of a script; ``seconds`` is its duration."""

    exit_code: int | None
    output: str
    seconds: float


def run_script(script: Path, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> Finished:
    """Run a Python script to its end with stdout and stderr in one log file."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    began = time.monotonic()
    process = context.Process(target=_become, args=(str(script), list(arguments), str(cwd), dict(env), str(log)))
    process.start()
    process.join(LIMIT_S)
    if process.is_alive():
        process.kill()
        process.join()
    code = process.exitcode
    process.close()
    return Finished(code, log.read_text(encoding="utf-8", errors="replace"), time.monotonic() - began)


def _become(script: str, arguments: list[str], cwd: str, env: dict[str, str], log: str) -> None:
    """Run the script in the forked process."""
    import torch

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [script, *arguments]
    sys.path[:0] = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry not in sys.path]
    torch.set_num_threads(1)
    runpy.run_path(script, run_name="__main__")
