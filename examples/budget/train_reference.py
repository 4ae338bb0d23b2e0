"""Train the embedded reference within a time budget, as a command of `tinyworlds-gate budget` (docs/budget.md).

    tinyworlds-gate budget --seconds 300 --game crafter --frame-size 36 -- \\
        python examples/budget/train_reference.py --learning-rate 3e-3

Each stage first trains a few updates to measure its speed, then as many as fit into its share of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
import time
from pathlib import Path
from typing import TextIO

from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.training.stage_main import main as stage_main
from tinyworlds_gate.run.installation import shipped_folder

SHARES = {"video_tokenizer": 0.4, "latent_actions": 0.15, "dynamics": 0.45}
"""Of the time that is left after the measurement of speed."""
RESERVE = 0.2
"""Share of the budget that stays free: SIGTERM comes before the end, and starts and saves differ in length."""
TRIAL_UPDATES = 8
SIZES = {"frame_size": 36, "patch_size": 4, "embed_dim": 32, "hidden_dim": 64, "num_blocks": 1}
_UPDATE = re.compile(r"\bupdate (\d+)/\d+")


def main() -> None:
    """Train the three stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learning-rate", type=float, required=True, help="peak, the same for all stages")
    args = parser.parse_args()
    deadline = float(os.environ["TINYWORLDS_BUDGET_DEADLINE"])
    output = Path(os.environ["TINYWORLDS_BUDGET_OUTPUT"])
    root = Path(os.environ["TMPDIR"]) / "project"
    (root / "data").mkdir(parents=True)
    os.chdir(root)
    (root / "data" / "budget_frames.h5").symlink_to(os.environ["TINYWORLDS_BUDGET_FRAMES"])

    import torch  # so that the start of the first stage is no longer than that of the others

    print(f"torch {torch.__version__} on {torch.get_num_threads()} threads", flush=True)
    speeds, trained = {}, dict[str, Path]()
    for stage in STAGES:
        trained[stage], speeds[stage] = train(stage, root / "trial", TRIAL_UPDATES, args.learning_rate, trained)
    speeds[STAGES[0]] = (speeds[STAGES[1]][0], speeds[STAGES[0]][1])  # its start also loaded libraries
    seconds = deadline - time.time() - RESERVE * float(os.environ["TINYWORLDS_BUDGET_SECONDS"])
    trained = {}
    for stage in STAGES:
        start_s, update_s = speeds[stage]
        updates = max(TRIAL_UPDATES, int((SHARES[stage] * seconds - start_s) / update_s))
        print(f"{stage}: {updates} updates of {update_s:.3f} s, after a start of {start_s:.1f} s", flush=True)
        trained[stage], _ = train(stage, output, updates, args.learning_rate, trained)


class Progress(io.TextIOBase):
    """Passes on what a stage prints, and takes its speed from the lines of progress (`update 30/200`)."""

    def __init__(self, to: TextIO) -> None:
        self._to, self._seen = to, list[tuple[float, int]]()

    def write(self, text: str) -> int:
        for found in _UPDATE.finditer(text):
            self._seen.append((time.monotonic(), int(found[1])))
        return self._to.write(text)

    def flush(self) -> None:
        self._to.flush()

    @property
    def update_s(self) -> float:
        """Seconds of an update; 0 where fewer than two lines of progress were printed."""
        if len(self._seen) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return (last_s - first_s) / max(1, last - first)


def train(
    stage: str, output: Path, updates: int, rate: float, trained: dict[str, Path]
) -> tuple[Path, tuple[float, float]]:
    """Train one stage; return its checkpoint, the seconds of its start and of an update."""
    configs = shipped_folder("configs") / "profiles" / "smoke"
    values = {
        "dataset": "BUDGET",
        "fps": 60,
        "n_updates": updates,
        "log_interval": updates,
        "log_every": max(1, updates // 100),
        "held_out_every": 0,
        "learning_rate": rate,
        "use_wandb": "false",
        "nproc_per_node": 1,
        "distributed.use_ddp": "false",
        **SIZES,
    }
    if stage == "dynamics":
        values |= {f"{name}_path": path for name, path in trained.items()}
    files = ["--config", str(configs / f"{stage}.yaml"), "--training_config", str(configs / "training.yaml")]
    os.environ["NG_RUN_ROOT_DIR"] = str(output)
    began, progress = time.monotonic(), Progress(sys.stdout)
    with contextlib.redirect_stdout(progress):
        stage_main(stage, [*files, *(f"{key}={value}" for key, value in values.items())])
    total_s = time.monotonic() - began
    update_s = progress.update_s or total_s / updates
    checkpoint = output / stage / "checkpoints" / f"{stage}_step_{updates - 1}"
    return checkpoint, (max(0.0, total_s - updates * update_s), update_s)


if __name__ == "__main__":
    main()
