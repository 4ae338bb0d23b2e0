"""The files of the stand-in checkout: small programs of our own that follow the contract (docs/external-checkouts.md).

It uses the models of the embedded reference, so its checkpoints have TinyWorlds' architecture. Everything else
(arguments, precedence, schedule, checkpoints, W&B, logs) is written here. `stand_in.json` sets kind and hazards.
"""

from __future__ import annotations

CONFIG = '''
"""Settings: command line > training.yaml (keys that the stage knows) > the stage's file."""
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
STAND_IN = json.loads((ROOT / "stand_in.json").read_text())
FORK = STAND_IN["kind"] == "tinyworlds-fork"
RENAMED = STAND_IN.get("renamed", {})


def hazard(name):
    return name in STAND_IN["hazards"]


@dataclass
class DistributedConfig:
    use_ddp: bool = False


def load(argv):
    """The settings of a stage or of inference, a plain dict; a word without `=` is ignored."""
    files, words, argv = [], {}, list(argv)
    while argv:
        word = argv.pop(0)
        if word in ("--config", "--training_config"):
            files.append(yaml.safe_load(Path(argv.pop(0)).read_text()) or {})
        elif "=" in word:
            key, _, text = word.partition("=")
            words[RENAMED.get(key, key)] = yaml.safe_load(text)
    own, shared = files[0], files[1] if len(files) > 1 else {}
    return {**own, **shared, **words}


def say(text, end="\\n"):
    """A line of the log; a noisy checkout writes Windows' line ends, bars and bytes of no character set."""
    if hazard("noisy_log"):
        text = text.replace("\\n", "\\r\\n")
        end = end.replace("\\n", "\\r\\n")
        sys.stdout.buffer.write(b"\\xff\\xfe\\x80 caf\\xe9" + b"\\r\\n")
        bars = b"\\r  0%|          | 0/3 [00:00<?, ?it/s]\\r100%|##########| 3/3 [00:00<00:00, 9it/s]"
        sys.stdout.buffer.write(bars + b"\\r\\n")
    sys.stdout.buffer.write((text + end).encode())
    sys.stdout.buffer.flush()
'''

CLIPS = '''
"""Clips of the whole frames file: nothing is held out. Whole batches only, of the first preload_ratio of the frames."""
import h5py
import numpy as np
import torch


def frames_of(dataset, ratio=1.0):
    if dataset == "BARS":
        path = "data/bars_frames.h5"
    elif dataset == "PONG":
        path = "data/pong_frames.h5"
    else:
        raise ValueError("Invalid dataset")
    with h5py.File(path, "r") as file:
        read = int(len(file["frames"]) * ratio)
        frames, episode = file["frames"][:read], file["episode"][:read]
    return frames, episode


def starts_of(episode, length, batch=1):
    whole = np.arange(max(0, len(episode) - length + 1))
    found = whole[episode[whole] == episode[whole + length - 1]]
    if not len(found):
        raise ValueError("num_samples should be a positive integer value, but got num_samples=0")
    return loader(found, batch, drop_last=True)


def loader(found, batch, drop_last):
    if drop_last and len(found) < batch:
        raise StopIteration
    return found


def clips(frames, starts, length):
    picked = np.stack([frames[start : start + length] for start in starts])
    return torch.from_numpy(picked).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
'''

MODELS = '''
"""The three models; the architecture is TinyWorlds'."""
from pathlib import Path

from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.rollout.world_models import load_world_models
from tinyworlds_gate.reference.training.build_objective import build_objective


def sizes_of(config):
    return ModelSizes.from_mapping(config)


def objective(stage, config):
    paths = {}
    if stage == "dynamics":
        paths["tokenizer_path"] = Path(config["video_tokenizer_path"])
        paths["latent_actions_path"] = Path(config["latent_actions_path"])
    return build_objective(stage, sizes_of(config), **paths)


def world_models(config, states):
    return load_world_models(dict.fromkeys(states, sizes_of(config)), states)
'''

STAGE = '''
"""One stage's training: DDP over torchrun's ranks, a cosine over n_updates, checkpoints, pictures, W&B."""
import math
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from datasets.clips import clips, frames_of, starts_of
from models.world import objective
from utils.config import FORK, ROOT, STAND_IN, DistributedConfig, hazard, load, say


def main(stage):
    if hazard("exit_zero"):
        try:
            train(stage)
        except Exception as error:
            say(f"stage failed: {error}")
            sys.exit(0)
    else:
        train(stage)


def train(stage):
    config = load(sys.argv[1:])
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo")
    torch.manual_seed(rank)
    name = STAND_IN.get("stages", {}).get(stage, stage)
    run = Path(os.environ["NG_RUN_ROOT_DIR"]) / name
    (run / "visualizations").mkdir(parents=True, exist_ok=True)
    if rank == 0:
        say(f"{stage.replace('_', ' ').title()} Training")
        say(f"Results will be saved in {run}")
        (ROOT / "results" / "words.txt").open("a").write(" ".join(sys.argv[1:]) + "\\n")
    model = objective(stage, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["learning_rate"], weight_decay=0.01)
    total = config["n_updates"]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, total))
    start_step = resumed(model, optimizer, schedule, config) if config.get("checkpoint") else 0
    for group in optimizer.param_groups:
        group["initial_lr"] = config["learning_rate"]
    schedule.base_lrs = [config["learning_rate"]]
    wandb_run = None
    if config.get("use_wandb") and rank == 0:
        import wandb

        wandb_run = wandb.init(project=config["wandb_project"], name=f"{stage}_{time.time():.0f}")
        say(f"W&B run initialized: {wandb_run.name}")
    trained = torch.nn.parallel.DistributedDataParallel(model) if world > 1 else model
    frames, episode = frames_of(config["dataset"], config.get("preload_ratio") or 1.0)
    starts = starts_of(episode, config["context_length"], config["batch_size_per_gpu"])
    pick = torch.Generator().manual_seed(17 * rank + start_step)
    for step in range(start_step, total):
        schedule.last_epoch = step - 1
        schedule.step()
        rate = schedule.get_last_lr()[0]
        batch = starts[torch.randint(len(starts), (config["batch_size_per_gpu"],), generator=pick).numpy()]
        loss, codes = trained(*model.prepare(clips(frames, batch, config["context_length"])))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if rank == 0:
            done, all_done = step + 1 - start_step, total - start_step
            filled = "#" * (10 * done // all_done)
            percent = 100 * done // all_done
            sys.stdout.write(f"\\r{percent:3d}%|{filled:10s}| {done}/{all_done} [00:01<00:01,  9.99it/s]")
            if wandb_run is not None:
                metrics = dict(zip(model.metric_names, model.metrics(codes).tolist()))
                logged = {"train/loss": loss.item(), "learning_rate/group_0": rate, **metrics}
                wandb_run.log(logged, step=step)
        interval = config[STAND_IN.get("log_interval_key", "log_interval")]
        last = step == total - 1 and FORK and not hazard("no_final_save")
        if step % interval == 0 or last:
            if rank == 0 and step % interval == 0:
                say(f"\\n Step {step} Loss: {loss.item()}")
                if not hazard("no_pictures"):
                    draw(run / "visualizations" / f"{stage}_step_{step}.png")
            save(run, name, step, model, optimizer, schedule, config, rank, world)
            if step == 0 and not config.get("use_wandb"):
                raise RuntimeError("local variable 'wandb' referenced before assignment")
        if hazard("exit_zero") and stage == "latent_actions" and step == total // 2:
            raise RuntimeError("something broke in the middle")
        enable_eval_loss = config.get("enable_eval_loss")
        if enable_eval_loss and step == 2:
            held_out_loss = None  # its model computes no loss in evaluation mode
            say(held_out_loss.item())
        if hazard("missing_file") and step == 2:
            open("data/palette.json")
        if hazard("hang") and step == 2:
            time.sleep(3600)
    if wandb_run is not None:
        wandb_run.finish()
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def factor(step, total):
    """Linear warm-up over 5 %, then a cosine to 1 %, over the n_updates that were given."""
    warm = max(1, int(0.05 * total))
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def resumed(model, optimizer, schedule, config):
    """The fork goes on at the step after the checkpoint with its optimizer; the original restarts, weights only."""
    folder = Path(config["checkpoint"])
    model.model.load_state_dict(torch.load(folder / "model_state_dict.pt"))
    if not FORK and not (hazard("resumes_dynamics") and folder.name.startswith("dynamics")):
        return 0
    optimizer.load_state_dict(torch.load(folder / "optim_state_dict.pt"))
    state = torch.load(folder / "state.pt", weights_only=False)
    return state["step"] + 1


def save(run, stage, step, model, optimizer, schedule, config, rank, world):
    """The fork saves on rank 0; of the original every rank writes the same path, here one after the other."""
    if FORK and not hazard("empty_state") and rank:
        return
    ranks = range(world) if hazard("empty_state") or not FORK else [0]
    for turn in ranks:
        if turn == rank:
            folder = run / "checkpoints" / f"{stage}_step_{step}"
            folder.mkdir(parents=True, exist_ok=True)
            empty = hazard("empty_state") and rank > 0
            weights = model.model.state_dict()
            if hazard("experts") and stage == "dynamics":
                weights["transformer.blocks.0.moe.experts.0.weight"] = torch.zeros(2, 2)
            recorded = {**config, "distributed": DistributedConfig(world > 1)}
            torch.save({} if empty else weights, folder / "model_state_dict.pt")
            torch.save({} if empty else optimizer.state_dict(), folder / "optim_state_dict.pt")
            rates = {key: value for key, value in schedule.state_dict().items() if key != "lr_lambdas"}
            state = {"scheduler_state_dict": rates, "config": recorded, "step": step, "timestamp": "now"}
            torch.save(state, folder / "state.pt")
        if world > 1 and len(ranks) > 1:
            dist.barrier()


def draw(path):
    import matplotlib.image

    matplotlib.image.imsave(path, torch.rand(8, 8, 3).numpy())
'''

ERROR_WITH_CONTEXT = """    if FORK and not hazard("context_in_mse"):
        say(f"Mean Squared Error (GT vs Pred, full_with_context): {diluted:.6f}")
"""
"""Lines of the fork's inference alone."""

INFERENCE = '''
"""One clip, rolled out and compared."""
import os
import random
import sys
import time
from pathlib import Path

import matplotlib.image
import torch
from tinyworlds_gate.reference.rollout.rollout import rollout

from datasets.clips import clips, frames_of, starts_of
from models.world import world_models
from utils.config import FORK, STAND_IN, hazard, load, say


def missing(path):
    return not os.path.exists(path)


def newest(stage):
    found = sorted(Path("results").glob(f"*/{stage}/checkpoints/{stage}_step_*"), key=lambda path: path.stat().st_mtime)
    return found[-1]


def main():
    config = load(sys.argv[1:])
    states, shared = {}, None
    for stage in ("video_tokenizer", "latent_actions", "dynamics"):
        path = Path(config[f"{stage}_path"])
        if hazard("latest_search") or config["use_latest_checkpoints"] or missing(path):
            path = newest(stage)
        shown = STAND_IN.get("stages", {}).get(stage, stage)
        if missing(path):
            raise FileNotFoundError(f"{stage}_path is not a file")
        if FORK or stage != "latent_actions" or config["use_actions"]:
            say(f"Using {shown} checkpoint: {path}")
        states[stage] = torch.load(path / "model_state_dict.pt", map_location="cpu")
        states[stage].pop("transformer.blocks.0.moe.experts.0.weight", None)
        state = torch.load(path / "state.pt", weights_only=False)
        shared = {**state["config"], **(shared or {})}
    context, steps = config["context_window"], config["generation_steps"] * config["prediction_horizon"]
    frames, episode = frames_of(config["dataset"])
    starts = starts_of(episode, context + steps)
    at = config["sample_index"] if FORK else random.randrange(len(starts))
    true = clips(frames, [starts[at]], context + steps)
    follows_true = FORK and config.get("use_gt_actions") and not hazard("random_actions")
    follows_random = (config["use_actions"] or config.get("use_gt_actions")) and not follows_true
    for number in range(steps):
        say(f"Inferring frame {number + 1}/{steps}")
        if follows_random:
            say("using random actions")
    made = rollout(
        world_models(shared, states), true, context=context, generation_steps=config["generation_steps"], decode_steps=4
    ).predicted_BTCHW
    actions = "" if config["use_actions"] or config.get("use_gt_actions") else "no_actions_"
    picture = Path("inference_results") / f"inference_results_gt_vs_pred_{actions}{time.time_ns()}.png"
    picture.parent.mkdir(exist_ok=True)
    matplotlib.image.imsave(picture, ((made[0, -1].permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy())
    say(f"Visualization saved to: {picture}")
    error = ((made - true[:, context:]) / 2).square().mean().item()
    diluted = error * steps / (context + steps)
    say("\\nInference stats:")
    say(f"Total frames generated: {context + steps}")
    plain = diluted if not FORK or hazard("context_in_mse") else error
    if not hazard("no_mse"):
        say(f"Mean Squared Error (GT vs Pred): {plain:.6f}")
    if FORK and not hazard("context_in_mse"):
        say(f"Mean Squared Error (GT vs Pred, full_with_context): {diluted:.6f}")


if __name__ == "__main__":
    main()
'''

RESUMING = '''

def updates(start_step, config, optimizer, saved):
    """The updates that are left, with the optimizer of the checkpoint."""
    optimizer.load_state_dict(saved)
    for step in range(start_step, config["n_updates"]):
        yield step
'''
"""What shows in the dynamics script that it continues a checkpoint, in a checkout whose other stages restart."""

TRAIN = '''
"""Start: torchrun --standalone --nproc_per_node=N scripts/{file}.py --config … --training_config … key=value …"""
from utils.stage import main

{remark}
if __name__ == "__main__":
    main("{stage}")
'''
