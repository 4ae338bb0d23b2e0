"""What a command is told, and where the files of a try are (docs/budget.md)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FRAMES, OUTPUT, SECONDS, DEADLINE, CONTEXTS = (
    f"TINYWORLDS_BUDGET_{name}" for name in ("FRAMES", "OUTPUT", "SECONDS", "DEADLINE", "CONTEXTS")
)
"""Environment variables of the command; paths, seconds, and Unix time. CONTEXTS is only set for `--predict`."""
CACHES = ("XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "MPLCONFIGDIR", "TMPDIR")
LEADERBOARD = "leaderboard.jsonl"
GENERATED = "generated.h5"
"""In OUTPUT: what the command of `--predict` writes."""
WARNING_S, WARNING_SHARE = 10.0, 0.1
"""SIGTERM comes this long before the end, or this share of the budget if that is less."""


@dataclass(frozen=True)
class TryFolder:
    """The folder of one try."""

    path: Path

    @property
    def frames(self) -> Path:
        """The training frames, which the command reads."""
        return self.path / "frames.h5"

    @property
    def contexts(self) -> Path:
        """The true context frames of the measured clips; made after the training."""
        return self.path / "contexts.h5"

    @property
    def work(self) -> Path:
        """All that the command may write to."""
        return self.path / "work"

    @property
    def output(self) -> Path:
        return self.work / "output"

    @property
    def temporary(self) -> Path:
        return self.work / "tmp"

    @property
    def judge(self) -> Path:
        """Held-out frames and home of the judge; made after the last process of the command has ended."""
        return self.path / "judge"

    @property
    def weights(self) -> Path:
        """Copies of the checkpoints, which are judged."""
        return self.path / "weights"

    @property
    def result(self) -> Path:
        """The result line."""
        return self.path / "result.json"

    def log(self, name: str) -> Path:
        return self.path / f"{name}.log"


def command_environment(
    surroundings: Mapping[str, str], folder: TryFolder, seconds: float, contexts: Path | None = None
) -> dict[str, str]:
    """Return the environment of the command: the user's, with the contract's variables and caches in its own folder."""
    told = {
        FRAMES: str(folder.frames),
        OUTPUT: str(folder.output),
        SECONDS: f"{seconds:g}",
        DEADLINE: f"{time.time() + seconds:.3f}",
    }
    if contexts is not None:
        told[CONTEXTS] = str(contexts)
    caches = dict.fromkeys(CACHES, str(folder.temporary))
    return {**surroundings, **caches, "PYTHONDONTWRITEBYTECODE": "1", **told}


def warning_after(seconds: float) -> float:
    """Return after how many seconds of the budget SIGTERM is sent."""
    return seconds - min(WARNING_S, WARNING_SHARE * seconds)
