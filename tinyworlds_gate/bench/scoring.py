"""How long scoring takes on this machine: `tinyworlds-gate bench gate` rolls untrained models out on random clips.

Timed is what `score` and the inference run do with models and clips in memory: three rollouts, reconstruction, errors
and SSIM. Reading checkpoints and frames, pictures and reports are not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.errors import ConfigError

if TYPE_CHECKING:
    from tinyworlds_gate.reference.models.sizes import ModelSizes

CLIPS_OF_WARM_UP = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench gate`."""
    parser.add_argument("--profile", default="smoke", help="sizes of the models (default: %(default)s)")
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="NAME=N",
        help="a size that differs from the profile's, such as embed_dim=256; may be repeated",
    )
    parser.add_argument("--clips", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=12, help="generated frames (default: %(default)s)")
    parser.add_argument("--decode-steps", type=int, default=16, help="MaskGIT passes a frame (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="clips at once (default: %(default)s)")
    parser.add_argument("--rollout", choices=("tokens", "pixels"), default="tokens", help="default: %(default)s")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--tf32", action="store_true", help="TF32 matrix products on CUDA, as the inference run has")
    parser.add_argument(
        "--rounds", type=int, default=3, help="timed rounds, of which the median (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print a sentence and then one line of JSON.

    Raises:
        GateError: the profile or a size is wrong, or there is no CUDA device.
    """
    import torch

    from tinyworlds_gate.reference.training.distributed import choose_device

    sizes, device = _sizes(args), choose_device(args.device, 0)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if args.tf32 else "highest")
    try:
        seconds = measure_scoring(sizes, device, args)
    finally:
        torch.set_float32_matmul_precision(before)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    median = statistics.median(seconds)
    print(
        f"scoring {args.clips} clips × {args.steps} frames at {sizes.frame_size} px, embed {sizes.embed_dim}, "
        f"{sizes.patches} tokens a frame: {median:.2f} s (median of {len(seconds)}, {min(seconds):.2f} to "
        f"{max(seconds):.2f}) on {where}"
    )
    record = {
        "bench": "gate",
        "torch": torch.__version__,
        "device": where,
        "tf32": args.tf32,
        "sizes": vars(sizes),
        **{key: getattr(args, key) for key in ("clips", "steps", "decode_steps", "batch_size", "rollout")},
        "seconds": [round(one, 3) for one in seconds],
        "median_s": round(median, 3),
    }
    print(json.dumps(record))
    return 0


def measure_scoring(sizes: ModelSizes, device: Any, args: argparse.Namespace) -> list[float]:
    """Seconds of each timed round, after a round of two clips as warm-up."""
    import numpy as np
    import torch

    from tinyworlds_gate.reference.models.dynamics import DynamicsModel
    from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
    from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
    from tinyworlds_gate.reference.rollout.clip_set import ClipSet
    from tinyworlds_gate.reference.rollout.measure import MeasureSettings, measure_clips
    from tinyworlds_gate.reference.rollout.world_models import WorldModels

    torch.manual_seed(0)
    models = WorldModels(VideoTokenizer(sizes), LatentActionModel(sizes), DynamicsModel(sizes)).to(device).eval()
    context = sizes.context_length - 1
    settings = MeasureSettings(
        generation_steps=args.steps,
        decode_steps=args.decode_steps,
        space=args.rollout,
        batch_size=args.batch_size,
    )

    def clips(count: int) -> ClipSet:
        side = sizes.frame_size
        frames = torch.rand(count, context + args.steps, 3, side, side) * 2 - 1
        return ClipSet(frames, np.arange(count), np.arange(count), context, "", frames[0, 0], Path("random"), "", 1)

    def one_round(count: int) -> float:
        drawn = clips(count)
        began = time.perf_counter()
        measure_clips(models, drawn, settings, device)  # its numbers come back to the CPU, so the device is done
        return time.perf_counter() - began

    one_round(min(args.clips, args.batch_size) if device.type == "cuda" else CLIPS_OF_WARM_UP)
    return [one_round(args.clips) for _ in range(args.rounds)]


def _sizes(args: argparse.Namespace) -> ModelSizes:
    from tinyworlds_gate.config.load import resolve_settings
    from tinyworlds_gate.reference.models.sizes import ModelSizes

    values = resolve_settings(args.profile, {}, project_root=Path.cwd()).training.model_dump()
    known = list(ModelSizes.__dataclass_fields__)
    for word in args.size:
        name, _, number = word.partition("=")
        if name not in known or not number.isdigit():
            raise ConfigError(f"--size {word}: NAME=N is needed, with a name of {', '.join(known)}")
        values[name] = int(number)
    return ModelSizes.from_mapping(values)
