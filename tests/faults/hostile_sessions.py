"""Whole sessions of the tiny project in unusual environments."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.helpers.config_files import REPOSITORY
from tests.helpers.tiny_project import Session

LIMIT_S = 240.0
PYTEST = (sys.executable, "-m", "pytest", "validation", "-m", "smoke")


def bare_environment(**variables: str) -> dict[str, str]:
    """Return an environment with PATH and PYTHONPATH only: no HOME, USER, locale or terminal."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **variables,
    }


def run_without_terminal(project: Path, env: Mapping[str, str], *words: str) -> Session:
    """Run a session with closed standard input and its output in a pipe."""
    began = time.monotonic()
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *PYTEST, *words],
        cwd=project,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT_S,
        check=False,
    )
    return Session(project, done.returncode, done.stdout.decode(errors="replace"), time.monotonic() - began)


def run_on_terminal(project: Path, env: Mapping[str, str], *words: str, columns: int, lines: int) -> Session:
    """Run a session on a real pseudo-terminal of this size."""
    began = time.monotonic()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        [*PYTEST, *words],
        cwd=project,
        env=dict(env),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    output = b""
    try:
        with suppress(OSError):  # EIO: nobody has the terminal open any more
            while piece := os.read(ours, 65536):
                output += piece
        process.wait(timeout=LIMIT_S)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Session(project, process.returncode, output.decode(errors="replace"), time.monotonic() - began)


def run_with_reader_that_leaves(project: Path, env: Mapping[str, str], *words: str) -> Session:
    """Run a session whose output pipe is closed after the run's first lines, as by ``| grep -m1 gate``."""
    began = time.monotonic()
    process = subprocess.Popen(
        [*PYTEST, *words],
        cwd=project,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        read = ""
        while "[gate]" not in read and (line := process.stdout.readline()):
            read += line.decode()
        process.stdout.close()
        process.wait(timeout=LIMIT_S)
    finally:
        process.kill()
        process.wait()
    return Session(project, process.returncode, read, time.monotonic() - began)
