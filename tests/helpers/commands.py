"""For the tests of the command line: a subcommand that is interrupted, and a clean Python process."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TEST_DATA = REPOSITORY / "tests" / "data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments; this module is a subcommand for tests."""
    parser.set_defaults(stands_in=True)


def run(args: argparse.Namespace) -> int:
    """Raise what Ctrl-C raises during a command."""
    raise KeyboardInterrupt


def python(*words: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with the words in a clean process, and return what it wrote."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
