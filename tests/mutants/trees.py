"""Run test files in a copy of the tree, where unshare(1) can in a PID namespace that ends with the run."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.packages import CODE

NOT_COPIED = (".*", "__pycache__", "build", "dist", "wandb", "Logs", "*.egg-info")
NOT_COPIED_AT_THE_ROOT = ("data", "results", "inference_results", "docs/action")
UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
UNSHARE_AS_USER = ("unshare", "--user", "--map-root-user", *UNSHARE[1:])
# The shell is process 1 of the namespace: it reaps the processes that a test leaves behind.
FIRST_PROCESS = ("sh", "-c", '"$@"; exit "$?"', "sh")
FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)

PASSED, NONE_SELECTED = 0, 5


@dataclass(frozen=True)
class Outcome:
    """What came of one pytest run."""

    passed: bool
    timed_out: bool
    failed: str
    """Name of the first test that failed, where pytest names one."""
    seconds: float
    output: str
    """Its last lines."""


def namespace() -> tuple[str, ...]:
    """Return the command that starts a PID namespace of its own, or an empty one where this machine has none."""
    for command in (UNSHARE, UNSHARE_AS_USER):
        if shutil.which(command[0]) and not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    return ()


def copy_tree(root: Path, target: Path) -> None:
    """Copy the working tree without environments, caches and runs; ``../shared`` becomes a link beside the copy."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        found = shutil.ignore_patterns(*NOT_COPIED)(folder, names) - {".github", ".ci"}
        return found | {name for name in names if Path(folder, name) in [root / one for one in NOT_COPIED_AT_THE_ROOT]}

    shutil.copytree(root, target, ignore=left_out, symlinks=True)
    shared = root.parent / "shared"
    if shared.exists() and not (target.parent / "shared").exists():
        (target.parent / "shared").symlink_to(shared.resolve())


class Tree:
    """A copy of the working tree in which one mutant at a time is tested."""

    def __init__(self, root: Path, space: Sequence[str]) -> None:
        self.root = root
        self._space = space
        self._temporary = root.parent / "tmp"

    def judge(self, module: str, text: str, tests: Sequence[str], timeout_s: float) -> Outcome:
        """Run the test files with this text for a module (a path below the code's folder); then restore the module."""
        path = self.root / CODE / module
        original = path.read_bytes()
        path.write_text(text, encoding="utf-8")
        try:
            return self.run(tests, timeout_s)
        finally:
            path.write_bytes(original)

    def run(self, tests: Sequence[str], timeout_s: float) -> Outcome:
        """Run the test files, stop at the first failure, and end whatever they left running."""
        self._temporary.mkdir(exist_ok=True)
        command = [*self._space, *(FIRST_PROCESS if self._space else ()), sys.executable, "-m", "pytest", "-x", "-q"]
        command += ["--tb=line", "-p", "no:cacheprovider", "--hypothesis-seed=0", *tests]
        started, output = time.monotonic(), self.root.parent / "output.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
        text = output.read_text(encoding="utf-8", errors="replace")
        shutil.rmtree(self._temporary, ignore_errors=True)
        failed = FAILED_TEST.search(text)
        return Outcome(
            passed=code in (PASSED, NONE_SELECTED),
            timed_out=code is None,
            failed=failed.group(1) if failed else "",
            seconds=time.monotonic() - started,
            output="\n".join(text.splitlines()[-15:]),
        )

    def _environment(self) -> dict[str, str]:
        # Written bytecode would hide a mutant that has the size and the second of the text before it.
        inherited = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
        return inherited | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.root), os.environ.get("PYTHONPATH", "")])),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "TMPDIR": str(self._temporary),
        }


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the run's process group; its namespace, where it has one, ends with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
