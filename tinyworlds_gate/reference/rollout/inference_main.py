"""The inference run: three checkpoints, held-out clips, a rollout; leaves a log, raw measures and a picture.

python tinyworlds_gate/reference/scripts/run_inference.py --config configs/inference.yaml -- \
    video_tokenizer_path=... latent_actions_path=... dynamics_path=... generation_steps=4
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tinyworlds_gate.config.stage_config import load_inference_config
from tinyworlds_gate.errors import GateError

EXIT_INFERENCE_ERROR = 3


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, roll out, and exit: 0 with `Inference stats` in the log, 3 with one sentence when it cannot go on."""
    parser = argparse.ArgumentParser(prog="run_inference.py", description="Roll trained models out on held-out clips.")
    parser.add_argument("--config", type=Path, default=Path("configs/inference.yaml"), help="the inference YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that win over the file (after --)")
    args = parser.parse_args(argv)
    try:
        config = load_inference_config(args.config, args.overrides).inference
        from tinyworlds_gate.reference.rollout.inference import run_inference

        run_inference(config, Path.cwd(), os.environ.get("NG_RUN_ROOT_DIR"))
    except GateError as error:
        print(f"[inference] error: {error}", file=sys.stderr, flush=True)
        sys.exit(EXIT_INFERENCE_ERROR)
