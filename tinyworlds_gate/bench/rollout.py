"""Rollout speed: frames per second of the strict rollout in token space, decoded to pixels, with untrained models.

tinyworlds-gate bench rollout --profile baseline

The settings of docs/performance.md: one clip with 16 decoding passes a frame, in float32 and in TF32, and 64 clips with
4 in bfloat16. The yardstick is the same rollout operation by operation; the share of equal tokens says whether both are
the same function.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from tinyworlds_gate.reference.rollout.steps import Steps
    from tinyworlds_gate.reference.rollout.world_models import WorldModels

SPREAD = 8.0
"""Untrained logits are nearly alike; spread, the choice of tokens is as clear as a trained model's."""


@dataclass(frozen=True)
class Case:
    """Clips at once, MaskGIT passes a frame, and what products are computed in."""

    name: str
    clips: int
    passes: int
    precision: Literal["float32", "tf32", "bfloat16"]


CASES = (
    Case("batch1_steps16", 1, 16, "float32"),
    Case("batch1_steps16_tf32", 1, 16, "tf32"),
    Case("batch64_steps4", 64, 4, "bfloat16"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `bench rollout`."""
    parser.add_argument("--profile", default="smoke", help="sizes of the models (default: %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=12, help="generated frames (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="timed rollouts, of which the median (default: %(default)s)"
    )
    parser.add_argument("--no-compile", action="store_true", help="CUDA graphs without torch.compile")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the numbers into this JSON file too")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Roll out and time; returns plain data.

    Raises:
        GateError: the profile is wrong, or there is no such device.
    """
    import torch

    from tinyworlds_gate.bench.yardstick import plain_attention
    from tinyworlds_gate.config.load import resolve_settings
    from tinyworlds_gate.reference.models.dynamics import DynamicsModel
    from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
    from tinyworlds_gate.reference.models.sizes import ModelSizes
    from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
    from tinyworlds_gate.reference.rollout.steps import EagerSteps, GraphedSteps
    from tinyworlds_gate.reference.rollout.world_models import WorldModels
    from tinyworlds_gate.reference.training.distributed import choose_device
    from tinyworlds_gate.reference.training.regional_compile import compile_regions

    settings = resolve_settings(args.profile, {}, project_root=Path.cwd())
    device = choose_device(args.device, 0)
    sizes = ModelSizes.from_mapping(settings.training.model_dump())
    torch.manual_seed(0)
    models = WorldModels(VideoTokenizer(sizes), LatentActionModel(sizes), DynamicsModel(sizes)).to(device).eval()
    with torch.no_grad():
        models.dynamics.output_mlp.weight.mul_(SPREAD)
    before = torch.get_float32_matmul_precision()
    compiled = device.type == "cuda" and not args.no_compile
    rows = []
    try:
        with plain_attention():
            plain = [_timed(models, EagerSteps(models), case, args, device) for case in CASES]
        graphs = [_timed(models, GraphedSteps(models), case, args, device) for case in CASES]
        fast = graphs
        if compiled:
            compile_regions((models.tokenizer, models.latent_actions, models.dynamics))
            fast = [_timed(models, GraphedSteps(models, compiled=True), case, args, device) for case in CASES]
        for case, slow, graph, quick in zip(CASES, plain, graphs, fast, strict=True):
            rows.append(
                {
                    "case": case.name,
                    "clips": case.clips,
                    "decode_steps": case.passes,
                    "precision": case.precision,
                    "frames_per_s": round(quick.frames_per_s, 1),
                    "graph_frames_per_s": round(graph.frames_per_s, 1),
                    "yardstick_frames_per_s": round(slow.frames_per_s, 1),
                    "yardstick_ratio": round(quick.frames_per_s / slow.frames_per_s, 2),
                    "same_tokens": round(float((quick.tokens == slow.tokens).float().mean()), 5),
                    "graph_same_tokens": round(float((graph.tokens == slow.tokens).float().mean()), 5),
                    "first_s": round(quick.first_s, 1),
                }
            )
    finally:
        torch.set_float32_matmul_precision(before)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        "bench": "rollout",
        "device": where,
        "torch": torch.__version__,
        "profile": args.profile,
        "compile": compiled,
        "cases": rows,
    }


@dataclass(frozen=True)
class _Timed:
    frames_per_s: float
    first_s: float
    tokens: torch.Tensor


def _timed(models: WorldModels, steps: Steps, case: Case, args: argparse.Namespace, device: torch.device) -> _Timed:
    import torch

    from tinyworlds_gate.bench.yardstick import seconds_each
    from tinyworlds_gate.reference.rollout.rollout import actions_from_codes, rollout, step_windows

    torch.set_float32_matmul_precision("highest" if case.precision == "float32" else "high")
    sizes = models.dynamics.sizes
    context = sizes.context_length - 1
    drawn = torch.Generator().manual_seed(7)
    shape = (case.clips, context, 3, sizes.frame_size, sizes.frame_size)
    frames = (torch.rand(shape, generator=drawn) * 2 - 1).to(device)
    codes = torch.randint(sizes.n_actions, (case.clips, context + args.frames - 1), generator=drawn)
    actions = actions_from_codes(models, codes, step_windows(context, args.frames))
    precision = (
        torch.autocast(device.type, torch.bfloat16)
        if case.precision == "bfloat16" and device.type == "cuda"
        else contextlib.nullcontext()
    )

    def once() -> torch.Tensor:
        return rollout(
            models,
            frames,
            context=context,
            generation_steps=args.frames,
            decode_steps=case.passes,
            actions=actions,
            space="tokens",
            steps=steps,
        ).token_indices

    with precision:
        began = time.perf_counter()
        tokens = once()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        first = time.perf_counter() - began
        seconds = seconds_each(once, device, 1, args.rounds)
    return _Timed(case.clips * args.frames / seconds, first, tokens)
