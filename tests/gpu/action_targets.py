"""Does a run's model follow the actions of its game? A probe of inverse dynamics, and the margin over wrong codes.

    python -m tests.gpu.action_targets results/RUN [--attempt 1] [--json FILE]

The probe learns on true frames of training episodes which action led from one frame to the next; then it reads the
generated frames of the run's held-out clips. The margin compares one generated frame with the code of the true
transition and with each other code. Exit status 0: the probe reads the generated frames as well as required, 1: not.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.cli.sweep_run import SweptRun, find_run
from tinyworlds_gate.gate.measures.information import psnr_db
from tinyworlds_gate.gate.measures.inverse_dynamics import UPDATES, action_accuracy, fit_probe
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.data.clip_reader import read_clips
from tinyworlds_gate.reference.data.clips import gather_clips, to_model_range
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.split import split_episodes
from tinyworlds_gate.reference.rollout.generated_frames import read_generated
from tinyworlds_gate.reference.rollout.rollout import actions_from_codes, inferred_actions, rollout, step_windows
from tinyworlds_gate.reference.rollout.world_models import WorldModels, load_trained

LEAST_RATIO = 0.95
"""Accuracy on generated frames over that on true ones which a model must reach."""
MOST_PAIRS = 40_000
"""Training pairs of the probe, evenly spread."""


def probe_of_run(run: SweptRun, attempt: int, device: Any, updates: int = UPDATES) -> dict[str, Any]:
    """Return the accuracies of the probe on true and on generated frames, as plain data."""
    raw = json.loads((run.folder / f"measures_{attempt:02d}.json").read_text(encoding="utf-8"))
    made = read_generated(run.folder / f"measures_{attempt:02d}_frames.h5").predicted
    path, context, size = run.root / raw["data_path"], int(raw["context"]), int(raw["frame_size"])
    data = load_frames(path, frame_size=size)
    fraction, seed = (run.setting(f"profile.data.{key}") for key in ("held_out_fraction", "split_seed"))
    split = split_episodes(data.episode, fraction, seed)
    starts = np.array([clip["start"] for clip in raw["clips"]])
    clips = read_clips(path, starts, context + made.shape[1], frame_size=size)
    if clips.actions is None:
        return {"no_occasion": f"{path.name} has no actions"}
    actions = recorded_actions(path)
    follows = np.isin(data.episode[:-1], split.train) & (data.episode[:-1] == data.episode[1:])
    first = np.flatnonzero(follows)
    first = first[:: max(1, len(first) // MOST_PAIRS)]
    probe = fit_probe(data.frames, first, actions[first], int(actions.max()) + 1, device=device, updates=updates)
    found = action_accuracy(
        probe,
        clips.frames[:, context - 1],
        clips.frames[:, context:],
        made,
        clips.actions[:, context - 1 : -1].astype(np.int64),
    )
    return {
        "accuracy_true": found.true,
        "accuracy_generated": found.generated,
        "accuracy_generated_by_step": found.generated_by_step,
        "most_frequent_action": found.most_frequent,
        "ratio": found.ratio,
    }


def recorded_actions(path: Path) -> np.ndarray:
    """Return the action of each frame, which leads to the next one."""
    import h5py

    with h5py.File(path) as file:
        actions: np.ndarray = file["actions"][:].astype(np.int64)
    return actions


def margin_of_run(run: SweptRun, attempt: int, device: Any, most_clips: int = 128) -> dict[str, Any]:
    """Return the margins of `code_margins` for a run's held-out clips and the checkpoints that its gate used."""
    raw = json.loads((run.folder / f"measures_{attempt:02d}.json").read_text(encoding="utf-8"))
    trained = load_trained({stage: run.other_checkpoint(stage) for stage in STAGES})
    data = load_frames(run.root / raw["data_path"], frame_size=int(raw["frame_size"]))
    starts = np.array([clip["start"] for clip in raw["clips"]])[:most_clips]
    frames = gather_clips(data.frames, starts, int(raw["context"]) + 1)
    return code_margins(trained.models.to(device).eval(), frames, int(raw["decode_steps"]), device)


def code_margins(models: WorldModels, frames_BTHWC: np.ndarray, decode_steps: int, device: Any) -> dict[str, Any]:
    """Return how much worse the last frame of each clip is generated with wrong codes than with the inferred one.

    Only clips whose last frame differs from the one before count.
    """
    import torch

    moved = (frames_BTHWC[:, -1] != frames_BTHWC[:, -2]).any(axis=(1, 2, 3))
    if not moved.any():
        return {"no_occasion": "nothing moves in these clips"}
    frames = to_model_range(torch.from_numpy(frames_BTHWC[moved])).to(device)
    context = frames.shape[1] - 1
    windows = step_windows(context, 1)
    inferred = models.latent_actions.action_indices(inferred_actions(models, frames, windows)[0])
    errors = []
    for code in range(models.latent_actions.sizes.n_actions):
        codes = inferred.clone()
        codes[:, -1] = code
        actions = actions_from_codes(models, codes.cpu(), windows)
        actions = [one.to(device) for one in actions]
        made = rollout(
            models,
            frames,
            context=context,
            generation_steps=1,
            decode_steps=decode_steps,
            space="tokens",
            actions=actions,
        ).predicted_BTCHW
        errors.append(((made[:, 0] - frames[:, -1]) / 2).square().mean(dim=(1, 2, 3)).cpu().numpy())
    table, right = np.stack(errors, axis=1), inferred[:, -1].cpu().numpy()
    own = table[np.arange(len(right)), right]
    wrong = table.copy()
    wrong[np.arange(len(right)), right] = np.nan
    near, far = np.nanmin(wrong, axis=1), np.nanmax(wrong, axis=1)
    return {
        "clips": len(right),
        "mse_inferred": float(own.mean()),
        "mse_nearest_wrong": float(near.mean()),
        "mse_worst_wrong": float(far.mean()),
        "margin_nearest_db": psnr_db(float(own.mean())) - psnr_db(float(near.mean())),
        "margin_worst_db": psnr_db(float(own.mean())) - psnr_db(float(far.mean())),
        "inferred_is_best": float((own <= near).mean()),
    }


def main() -> int:
    """Measure a run and print its figures."""
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--attempt", type=int, default=1)
    parser.add_argument("--updates", type=int, default=UPDATES, help="of the probe (default: %(default)s)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = find_run(args.run, "RUN")
    found = {
        "probe": probe_of_run(run, args.attempt, device, args.updates),
        "margin": margin_of_run(run, args.attempt, device),
    }
    print(json.dumps(found, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    ratio = found["probe"].get("ratio")
    return 0 if ratio is not None and ratio >= LEAST_RATIO else 1


if __name__ == "__main__":
    raise SystemExit(main())
