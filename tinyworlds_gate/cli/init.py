"""The command `tinyworlds-gate init [FOLDER]`: write into a project what its owner keeps and edits.

    tinyworlds-gate init

Written are the smoke settings, a conftest.py, a GitHub workflow, and lines of .gitignore. The validation tests stay in
the installed package. A file that exists with other contents is overwritten only after a yes, or with `--force`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from tinyworlds_gate import __version__
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.installation import shipped_folder
from tinyworlds_gate.run.owned import open_owned, owned_folder

TEMPLATES = Path(__file__).parent / "init_files"
PLUGIN = 'pytest_plugins = ["tinyworlds_gate.plugin"]'
CONFTEST = f'"""Registers the options, markers and fixtures of tinyworlds_gate."""\n{PLUGIN}\n'
SETTINGS = Path("configs/profiles/smoke")
IGNORED = ("/results/", "/Logs/", "/inference_results/", "/docs/action/", "/wandb/", "/data/*crafter_*")
"""What a run writes, for .gitignore."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="the project (default: this folder)")
    parser.add_argument("--force", action="store_true", help="overwrite files that differ, without a question")


def run(args: argparse.Namespace) -> int:
    """Write the files and print what to type next; 1 when a file was kept because nobody could be asked.

    Raises:
        GateError: a file or folder cannot be written.
    """
    unasked = []
    try:
        for name, text in project_files().items():
            outcome = _write(args.folder, args.folder / name, text, force=args.force)
            print(f"{outcome:<9}  {name}")
            if outcome == "kept" and not sys.stdin.isatty():
                unasked.append(str(name))
        print(f"{_ignore(args.folder, args.folder / '.gitignore'):<9}  .gitignore")
    except OSError as error:
        raise GateError(
            f"{error.filename} cannot be written ({error.strerror}); make the folder writable, or name another one: "
            "tinyworlds-gate init FOLDER"
        ) from error
    print(next_steps(args.folder))
    if unasked:
        print(
            f"Not overwritten, because no terminal is here to answer: {', '.join(unasked)}. `--force` overwrites them."
        )
    return 1 if unasked else 0


def project_files() -> dict[Path, str]:
    """Return path in the project → contents, in the order in which they are written."""
    settings = sorted((shipped_folder("configs") / "profiles" / "smoke").glob("*.yaml"))
    workflow = (TEMPLATES / "tinyworlds-gate.yml").read_text(encoding="utf-8").replace("@VERSION@", __version__)
    return {
        **{SETTINGS / path.name: path.read_text(encoding="utf-8") for path in settings},
        Path("conftest.py"): CONFTEST,
        Path(".github/workflows/tinyworlds-gate.yml"): workflow,
    }


def next_steps(folder: Path) -> str:
    """Return what to type next."""
    steps = [] if folder.resolve() == Path.cwd() else [("cd " + shlex.quote(str(folder)), "")]
    steps += [
        ("pytest --pyargs tinyworlds_gate.validation -m smoke", "run the loop; the verdict is at the end"),
        ("tinyworlds-gate show-config", f"after you edited {SETTINGS}/: every value and where it comes from"),
    ]
    if not any((parent / ".git").exists() for parent in (folder.resolve(), *folder.resolve().parents)):
        steps.append(("git init", "the loop audits the git history; a long run requires one"))
    steps.append(
        ("git add .github .gitignore configs conftest.py && git commit", "the workflow then runs on each push")
    )
    return "Next:\n" + "\n".join(f"  {command}" + (f"  # {why}" if why else "") for command, why in steps)


def _write(folder: Path, path: Path, text: str, *, force: bool) -> str:
    """Write one file unless it is the user's own; return ``wrote``, ``unchanged`` or ``kept``."""
    if path.exists():
        found = path.read_text(encoding="utf-8", errors="replace")
        if found == text or (path.name == "conftest.py" and "tinyworlds_gate.plugin" in found):
            return "unchanged"
        if not force and not _confirmed(path):
            if path.name == "conftest.py":
                print(f"           to use the fixtures in tests of your own, add to {path}: {PLUGIN}")
            return "kept"
    owned_folder(folder, path.parent)
    descriptor = open_owned(folder, path.relative_to(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return "wrote"


def _confirmed(path: Path) -> bool:
    """Ask whether a file may be overwritten; no where there is no terminal to ask on."""
    if not sys.stdin.isatty():
        return False
    try:
        return input(f"{path} exists and differs. Overwrite it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _ignore(folder: Path, path: Path) -> str:
    """Append the missing lines to .gitignore; return ``wrote`` or ``unchanged``."""
    found = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    missing = [line for line in IGNORED if line not in found.splitlines()]
    if not missing:
        return "unchanged"
    separator = "" if not found or found.endswith("\n") else "\n"
    descriptor = open_owned(folder, path.relative_to(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(separator + "\n".join(["# written by runs of tinyworlds_gate", *missing]) + "\n")
    return "wrote"
