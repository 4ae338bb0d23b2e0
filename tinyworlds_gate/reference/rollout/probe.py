"""Generate frames from context frames and action codes alone, in a process that never reads the true future.

    python tinyworlds_gate/reference/scripts/run_probe.py REQUEST.h5 RESULT.h5 [--true-clips FILE.h5]

When all frames are generated, the actions and the tokenizer's reconstruction error of the true clips are computed.

Axes: K clips, T frames, S generated frames, G steps, N transitions, H height, W width, C channels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.rollout.errors_by_step import in_batches
from tinyworlds_gate.reference.rollout.measure import (
    MeasureSettings,
    as_bytes,
    codes_of_steps,
    draw_codes,
    reconstruction,
    steps_on,
)
from tinyworlds_gate.reference.rollout.probe_files import (
    ProbeGroup,
    ProbeRequest,
    ProbeResult,
    read_request,
    read_true_clips,
    write_result,
)
from tinyworlds_gate.reference.rollout.rollout import actions_from_codes, inferred_actions, rollout, step_windows
from tinyworlds_gate.reference.rollout.world_models import WorldModels, load_trained
from tinyworlds_gate.reference.training.distributed import choose_device

EXIT_PROBE_ERROR = 3


@torch.no_grad()
def generate(models: WorldModels, request: ProbeRequest, device: torch.device) -> dict[str, np.ndarray]:
    """Return the frames of each group of a request, uint8 ``[K, S, H, W, C]``, with models on ``device``."""
    settings = MeasureSettings(**request.settings)
    steps, found = steps_on(models, settings, device), dict[str, np.ndarray]()
    for name, group in request.groups.items():
        context = group.context.shape[1]
        windows = step_windows(context, settings.generation_steps, settings.prediction_horizon, settings.memory)
        parts = []
        for batch in in_batches(len(group.rows), settings.batch_size):
            number = int(group.rows[batch.start]) // settings.batch_size
            output = rollout(
                models,
                to_model_range(torch.from_numpy(group.context[batch])).to(device),
                context=context,
                generation_steps=settings.generation_steps,
                prediction_horizon=settings.prediction_horizon,
                decode_steps=settings.decode_steps,
                temperature=settings.temperature,
                space=settings.space,
                memory=settings.memory,
                actions=_actions(models, group, batch, windows, request, settings),
                generator=torch.Generator(device=device).manual_seed(group.seed + number),
                steps=steps,
            )
            parts.append(as_bytes(output.predicted_BTCHW))
        found[name] = np.concatenate(parts)
    return found


def _actions(
    models: WorldModels,
    group: ProbeGroup,
    batch: slice,
    windows: Sequence[range],
    request: ProbeRequest,
    settings: MeasureSettings,
) -> list[Tensor]:
    """Return the actions ``[K, N, A]`` of each step: those of the codes, or the random ones of these rows."""
    if group.codes is None:
        n_actions, transitions = models.latent_actions.sizes.n_actions, windows[-1].stop - 1
        drawn = draw_codes(n_actions, request.clips, transitions, settings.seed)
        return actions_from_codes(models, drawn[torch.from_numpy(group.rows[batch])], windows)
    codes_KGN = torch.from_numpy(group.codes[batch].astype(np.int64))
    quantizer = models.latent_actions.quantizer
    return [
        quantizer.latents_from_indices(codes_KGN[:, step, : len(window) - 1].to(quantizer.basis.device))
        for step, window in enumerate(windows)
    ]


@torch.no_grad()
def infer(
    models: WorldModels, frames_KTHWC: np.ndarray, context: int, settings: MeasureSettings, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes ``[K, G, N]`` that the steps follow, and the tokenizer's reconstruction errors ``[K]``."""
    windows = step_windows(context, settings.generation_steps, settings.prediction_horizon, settings.memory)
    codes, errors = [], []
    for batch in in_batches(len(frames_KTHWC), settings.batch_size):
        frames = to_model_range(torch.from_numpy(frames_KTHWC[batch])).to(device)
        codes.append(codes_of_steps(models, inferred_actions(models, frames, windows)))
        errors.append(reconstruction(models.tokenizer, frames[:, : context + 1])[1].cpu().double().numpy())
    return np.concatenate(codes), np.concatenate(errors)


def run_probe(request_path: Path, result_path: Path, true_clips: Path | None = None) -> None:
    """Load the checkpoints that a request names, generate its groups, and write the frames.

    ``true_clips``: a file of whole clips that is read afterwards, for their actions and reconstruction errors.

    Raises:
        CheckpointError: a checkpoint is missing or damaged.
        DataError: the request cannot be read.
    """
    request = read_request(request_path)
    trained = load_trained({stage: Path(path) for stage, path in request.checkpoints.items()})
    device = choose_device(request.device, 0)
    torch.set_float32_matmul_precision("high" if request.tf32 else "highest")
    models = trained.models.to(device).eval()
    frames = generate(models, request, device)
    codes, recon_mse = None, None
    if true_clips is not None:
        context = next(iter(request.groups.values())).context.shape[1]
        settings = MeasureSettings(**request.settings)
        codes, recon_mse = infer(models, read_true_clips(true_clips), context, settings, device)
    digests = {stage: reference.model_sha256 for stage, reference in trained.references.items()}
    write_result(result_path, ProbeResult(frames, digests, codes, recon_mse))
    counts = ", ".join(f"{name} {len(table)}" for name, table in frames.items())
    print(f"Probe: generated frames without the true future (clips: {counts})", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments and run a probe; exit with 0, or with 3 and one error line for a GateError."""
    parser = argparse.ArgumentParser(prog="run_probe.py", description="Generate frames from context and actions alone.")
    parser.add_argument("request", type=Path, help="the file that says what to generate")
    parser.add_argument("result", type=Path, help="the file to write")
    parser.add_argument("--true-clips", type=Path, help="whole clips, read when all frames are generated")
    args = parser.parse_args(argv)
    try:
        run_probe(args.request, args.result, args.true_clips)
    except GateError as error:
        print(f"[probe] error: {error}", file=sys.stderr, flush=True)
        sys.exit(EXIT_PROBE_ERROR)
