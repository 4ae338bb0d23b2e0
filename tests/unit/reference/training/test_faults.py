"""Failing stages: exit code 3, one error line without a traceback, and no files written."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers.tiny_stages import TinyStages, trained_stages
from tests.helpers.warm_python import Finished
from tinyworlds_gate.checkpoints.read import read_model_state, read_optim_state, read_state
from tinyworlds_gate.checkpoints.write import write_checkpoint

TOKENIZER = "video_tokenizer"


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> TinyStages:
    return trained_stages(tmp_path_factory)


def files_of(project: TinyStages) -> dict[Path, int]:
    """Return every file of the project with its modification time, without captured output and W&B runs."""
    return {
        path: path.stat().st_mtime_ns
        for path in sorted(project.root.rglob("*"))
        if path.is_file() and not path.name.startswith("output_") and "wandb" not in path.parts
    }


def only_sentence(done: Finished, name: str = TOKENIZER) -> str:
    """Return the error line of a stage that ended with exit code 3."""
    assert done.exit_code == 3, done.output
    assert "Traceback" not in done.output
    lines = [line for line in done.output.splitlines() if line.startswith(f"[{name}] error: ")]
    assert len(lines) == 1, done.output
    assert done.output.rstrip().endswith(lines[0]), "the sentence is the last thing that is said"
    return lines[0].removeprefix(f"[{name}] error: ")


FAULTS: list[tuple[str, Callable[[TinyStages], dict[str, object]], str]] = [
    (TOKENIZER, lambda p: {"n_update": 5}, "unknown key `n_update`"),
    (TOKENIZER, lambda p: {"learning_rate": "fast"}, "`learning_rate`"),
    (TOKENIZER, lambda p: {"data_path": "data/gone.h5"}, "data/gone.h5: there is no such file"),
    (TOKENIZER, lambda p: {"dataset": "ZELDA"}, "fix: run `tinyworlds-gate data fetch zelda`"),
    (
        TOKENIZER,
        lambda p: {"checkpoint": p.checkpoint("whole", TOKENIZER, 11)},
        "n_updates=12 is already reached: .*video_tokenizer_step_11 has 12 updates; raise n_updates",
    ),
    (
        TOKENIZER,
        lambda p: {"checkpoint": p.checkpoint("whole", TOKENIZER, 11), "n_updates": 20, "embed_dim": 32},
        "video_tokenizer_step_11: it does not fit the configured model or optimizer .*; resume with the sizes",
    ),
    (
        TOKENIZER,
        lambda p: {"checkpoint": p.checkpoint("whole", TOKENIZER, 77), "n_updates": 99},
        "video_tokenizer_step_77 does not exist",
    ),
    (
        TOKENIZER,
        lambda p: {"checkpoint": p.checkpoint("whole", "latent_actions", 11), "n_updates": 20},
        "is a checkpoint of latent_actions; a checkpoint of video_tokenizer is needed here",
    ),
    (
        TOKENIZER,
        lambda p: {"checkpoint": p.checkpoint("whole", TOKENIZER, 11), "n_updates": 20, "seed": 5},
        "the checkpoint drew its clips with seed 0, this run uses 5; fix: continue with seed 0",
    ),
    (
        TOKENIZER,
        lambda p: {"checkpoint": p.checkpoint("whole", TOKENIZER, 11), "n_updates": 20, "split_seed": 5},
        "the training clips are not those of the checkpoint",
    ),
    (
        "dynamics",
        lambda p: {},
        "dynamics is trained on a tokenizer and a latent-action model; set video_tokenizer_path=",
    ),
    (
        "dynamics",
        lambda p: {**p.checkpoints("whole", 11, TOKENIZER, "latent_actions"), "num_bins": 3, "latent_dim": 3},
        "video_tokenizer_path=.*video_tokenizer_step_11: the checkpoint does not fit the model sizes",
    ),
    (TOKENIZER, lambda p: {"distributed.use_ddp": True}, "distributed.use_ddp=true needs torchrun"),
    (TOKENIZER, lambda p: {"device": "cuda"}, "device=cuda: worker 0 needs its own GPU, but 0 are visible"),
]


@pytest.mark.parametrize(("stage", "overrides", "said"), FAULTS)
def test_a_stage_that_cannot_start_says_why_in_one_sentence_and_writes_nothing(
    project: TinyStages, stage: str, overrides: Callable[[TinyStages], dict[str, object]], said: str
) -> None:
    before = files_of(project)
    # Without a GPU to see, also where there is one.
    done = project.train(stage, "faulty", overrides(project), extra={"CUDA_VISIBLE_DEVICES": ""})
    assert re.search(said, only_sentence(done, stage))
    assert files_of(project) == before


def test_an_argument_without_an_equals_sign_is_refused(project: TinyStages) -> None:
    done = project.run([str(project.target.python), str(project.target.stage_script(TOKENIZER)), "n_updates"], "faulty")
    assert "The argument `n_updates` has no `=`" in only_sentence(done)


def test_a_finished_run_folder_is_never_trained_over(project: TinyStages) -> None:
    """A second fresh run in the same folder fails before training, not at the first save."""
    before = files_of(project)
    sentence = only_sentence(project.train(TOKENIZER, "whole"))
    assert "video_tokenizer_step_5 exists already, but this chunk would train the updates from 0 again" in sentence
    assert files_of(project) == before


def diverging_checkpoint(project: TinyStages) -> Path:
    """A valid checkpoint after 12 updates with finite weights so large that every loss overflows."""
    source = project.checkpoint("whole", TOKENIZER, 11)
    weights = {
        name: tensor * 1e30 if tensor.is_floating_point() else tensor
        for name, tensor in read_model_state(source).items()
    }
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    parent = project.run_root("diverged") / TOKENIZER / "checkpoints"
    if not parent.exists():
        state = {key: value for key, value in read_state(source).items() if key != "written_by"}
        write_checkpoint(parent, TOKENIZER, 11, model_state=weights, optim_state=read_optim_state(source), state=state)
    return parent / f"{TOKENIZER}_step_11"


@pytest.mark.requirement("S4")
def test_a_loss_that_is_not_finite_stops_the_stage_and_nothing_is_saved_after_it(project: TinyStages) -> None:
    start = diverging_checkpoint(project)
    done = project.train(TOKENIZER, "diverged", {"checkpoint": start, "n_updates": 20, "log_interval": 1})
    sentence = only_sentence(done)
    assert "video_tokenizer: the loss of update 12 is " in sentence
    assert (
        "nothing was saved after it. Lower the learning rate (now 0.01) and resume from the last checkpoint" in sentence
    )
    assert [path.name for path in start.parent.iterdir()] == [f"{TOKENIZER}_step_11"]
    assert not (project.run_root("diverged") / TOKENIZER / "visualizations").exists()
    with project.history("diverged", TOKENIZER).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["_step"] for row in rows] == ["12"]
    assert not math.isfinite(float(rows[0]["train/loss"]))


@pytest.mark.slow
def test_a_fault_of_every_rank_reaches_the_caller_through_torchrun(project: TinyStages) -> None:
    done = project.train(TOKENIZER, "faulty_ranks", {"data_path": "data/gone.h5"}, workers=2)
    assert done.exit_code not in (0, None)
    assert "[video_tokenizer] error: data/gone.h5: there is no such file" in done.output
    assert not project.run_root("faulty_ranks").exists()
