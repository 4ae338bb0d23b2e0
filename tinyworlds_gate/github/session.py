"""Run the gate in a job: pytest as a child that cannot write the job's commands, then find the run that it made."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.run.journal import last_event

HIDDEN = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_TOKEN", "TINYWORLDS_GATE_TOKEN")
"""Variables by which a step speaks to later steps; the code under test does not get them."""
FOLDER_OPTIONS = ("--output-root", "--target-repo")
PAGE = re.compile(r"docs/action/validation-[A-Za-z0-9_.-]+\.html")
"""The only file that a job uploads as a page, whatever the journal names."""
NO_TEST, WRONG_OPTION = 5, 4


@dataclass(frozen=True)
class Session:
    """How pytest ended, and the run that it made. ``run`` and ``page`` are None where there is none."""

    status: int
    run: Path | None = None
    page: Path | None = None

    @property
    def no_run_reason(self) -> str:
        """Why there is no run, as a sentence."""
        known = {
            WRONG_OPTION: "an option or a settings file is wrong",
            NO_TEST: "no test was selected",
            2: "the session was interrupted",
        }
        why = known.get(self.status, "the session ended before it")
        return f"pytest ended with exit status {self.status}: {why}. The log of the job has the first ERROR."


def split_arguments(text: str) -> list[str]:
    """Return the words of the action's input `arguments`.

    Raises:
        GateError: a quotation mark is not closed.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise GateError(
            f"The input arguments {text!r} is no command line: {error}. Close the quotation mark."
        ) from None


def run_gate(words: Sequence[str], root: Path, variables: Mapping[str, str], pytest: Sequence[str]) -> Session:
    """Run pytest in ``root`` and return how it ended.

    Its output cannot hold commands to the runner: they are switched off by a word that it does not know.
    """
    command = [*pytest, "--pyargs", "tinyworlds_gate.validation", *words, "--junit-xml=results/junit.xml"]
    folders = [root, *(root / one for one in _folders(words))]
    before = _journals(folders)
    stop = secrets.token_hex(16)
    print(f"$ {shlex.join(command)}\n::stop-commands::{stop}", flush=True)
    try:
        done = subprocess.run(
            command, cwd=root, env={k: v for k, v in variables.items() if k not in HIDDEN}, check=False
        )
    finally:
        print(f"\n::{stop}::", flush=True)
    changed = {path: when for path, when in _journals(folders).items() if before.get(path) != when}
    if not changed:
        return Session(done.returncode)
    run = max(changed, key=lambda path: changed[path]).parent
    return Session(done.returncode, run, page_of(run))


def page_of(run: Path) -> Path | None:
    """Return the run's page; None where it has none, or its journal cannot be read."""
    project = run.parent.parent
    try:
        written = last_event(load_record(project, run).events, "report_written", id="A8")
    except (GateError, OSError):
        return None
    name = str((written or {}).get("path") or "")
    page = project / name
    return page if PAGE.fullmatch(name) and page.is_file() and not page.is_symlink() else None


def pytest_of_this_environment() -> list[str]:
    """Return the command of the pytest that is installed beside this Python: `python -m` would import from the folder
    under test first."""
    return [str(Path(sys.executable).parent / "pytest")]


def _folders(words: Sequence[str]) -> list[str]:
    found = []
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in FOLDER_OPTIONS:
            found += [value] if equals else list(words[number + 1 : number + 2])
    return found


def _journals(folders: Sequence[Path]) -> dict[Path, int]:
    found = {}
    for folder in folders:
        for path in folder.glob("results/*/journal.jsonl"):
            try:
                found[path] = os.stat(path).st_mtime_ns
            except OSError:
                continue
    return found
