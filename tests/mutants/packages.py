"""Modules that the mutation run changes, by package, and those it leaves out."""

from __future__ import annotations

from pathlib import Path

CODE = "tinyworlds_gate"

PACKAGES: dict[str, tuple[str, ...]] = {
    "gate": ("gate/**/*.py",),
    "stages": ("stages/*.py",),
    "launch": ("launch/**/*.py",),
    "checkpoints": ("checkpoints/*.py",),
    "config": ("config/*.py",),
    "run": ("run/*.py",),
    "findings": ("findings/*.py",),
    "rollout": ("reference/rollout/*.py",),
    "training": (
        "reference/training/distributed.py",
        "reference/training/next_frame.py",
        "reference/training/token_clips.py",
        "reference/training/schedule.py",
        "reference/models/maskgit.py",
    ),
}
"""Name of a package in the record → patterns of its modules below the code's folder."""

LEFT_OUT = {
    "config/cli_options.py": "a table of options and their help; tests/unit/plugin/test_options.py holds each default",
    "reference/rollout/picture.py": "draws a picture for people",
}

ENDS_PROCESSES = ("launch/", "run/lock.py", "run/heartbeat.py")
KILLS = (".kill(", "killpg(", ".terminate(", "send_signal(", "pidfd_send_signal")


def modules(package: str, root: Path) -> list[str]:
    """Return the modules of a package as paths below the code's folder, in order."""
    folder = root / CODE
    found = {path.relative_to(folder).as_posix() for pattern in PACKAGES[package] for path in folder.glob(pattern)}
    return sorted(name for name in found if not name.endswith("__init__.py") and name not in LEFT_OUT)


def ends_processes(module: str, source: str) -> bool:
    """Return whether a mutant of this module may end a process that is not its own."""
    return module.startswith(ENDS_PROCESSES) or any(call in source for call in KILLS)
