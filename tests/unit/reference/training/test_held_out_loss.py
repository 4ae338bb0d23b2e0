"""The held-out loss of a stage: which clips, when, and that training is bit-identical with and without it.

Run: pytest tests/unit/reference/training/test_held_out_loss.py
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from tests.helpers.tiny_stages import TinyStages, trained_stages
from tests.unit.reference.training.test_parts import EPISODES, batch_source, episodes_in
from tests.unit.reference.training.test_resume import STAGES, differences, rows
from tinyworlds_gate.checkpoints.read import read_model_state, read_optim_state, read_state
from tinyworlds_gate.reference.training.distributed import Worker
from tinyworlds_gate.reference.training.held_out_loss import HeldOutLoss
from tinyworlds_gate.reference.training.history import COLUMNS, HistoryFile
from tinyworlds_gate.reference.training.objectives import Objective

CPU = torch.device("cpu")
RANDOM: dict[str, object] = {"masking": "next_frame", "own_context": 0.5, "context_noise": 0.2, "true_context": 1}
"""Draws masks, noise and tokens, and rolls the model out."""


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> TinyStages:
    return trained_stages(tmp_path_factory)


def held_out_by_step(project: TinyStages, run: str, stage: str) -> dict[int, float]:
    found = rows(project.history(run, stage))
    return {int(row["_step"]): float(row["held_out/loss"]) for row in found if row["held_out/loss"]}


def require_same_training(
    project: TinyStages, stage: str, overrides: dict[str, object], name: str, workers: int = 1
) -> None:
    """Train with a held-out loss after every second update and without any; all else must be equal, bit by bit."""
    inputs = project.checkpoints("whole", 11, "video_tokenizer", "latent_actions") if stage == "dynamics" else {}
    runs = {f"{name}_with": 2, f"{name}_without": 0}
    for run, every in runs.items():
        done = project.train(stage, run, {**inputs, **overrides, "held_out_every": every}, workers=workers)
        assert done.exit_code == 0, done.output
    one, other = runs
    paths = [project.checkpoint(run, stage, 11) for run in runs]
    states = [read_state(path) for path in paths]
    assert [state["config"].pop("held_out_every") for state in states] == [2, 0]
    assert differences(read_model_state(paths[0]), read_model_state(paths[1]), "model") == []
    assert differences(read_optim_state(paths[0]), read_optim_state(paths[1]), "optimizer") == []
    assert differences(states[0], states[1], "state") == []  # with the random states of all ranks
    histories = [rows(project.history(run, stage)) for run in runs]
    for history in histories:
        for row in history:
            row.pop("_timestamp")
            row.pop("held_out/loss")
            row.pop("system/gpu_memory_allocated")  # the held-out clips take memory too
    assert histories[0] == histories[1]
    assert list(held_out_by_step(project, one, stage)) == [1, 3, 5, 7, 9, 11]
    assert held_out_by_step(project, other, stage) == {}


@pytest.mark.requirement("H7")
@pytest.mark.parametrize("stage", STAGES)
def test_training_is_bit_identical_with_and_without_the_held_out_loss(project: TinyStages, stage: str) -> None:
    require_same_training(project, stage, {}, f"held_{stage}")


@pytest.mark.requirement("H7")
def test_it_is_so_for_an_objective_that_draws_noise_and_rolls_out(project: TinyStages) -> None:
    require_same_training(project, "dynamics", RANDOM, "held_next_frame")


@pytest.mark.slow
@pytest.mark.requirement("H7")
@pytest.mark.parametrize("way", [{}, {"distributed.use_fsdp": True}], ids=["DDP", "FSDP"])
def test_it_is_so_on_two_ranks(project: TinyStages, way: dict[str, object]) -> None:
    require_same_training(project, "dynamics", way, f"held_two_{len(way)}", workers=2)


def test_two_ranks_measure_what_one_measures_on_the_same_weights(project: TinyStages) -> None:
    """The run ``whole`` trained dynamics on two ranks; a chunk of one rank from its end has the loss of its weights."""
    recorded = held_out_by_step(project, "whole", "dynamics")
    assert list(recorded) == [11]
    inputs = project.checkpoints("whole", 11, "video_tokenizer", "latent_actions")
    start = {"checkpoint": project.checkpoint("whole", "dynamics", 11), "n_updates": 13, "learning_rate": 1e-12}
    done = project.train("dynamics", "still", {**inputs, **start, "held_out_every": 1})
    assert done.exit_code == 0, done.output
    assert held_out_by_step(project, "still", "dynamics")[12] == pytest.approx(recorded[11], rel=1e-4)


def test_the_clips_are_a_fixed_spread_over_all_held_out_episodes_and_no_other(tmp_path: Path) -> None:
    source = batch_source(tmp_path)
    starts = source.held_out_examples(6)
    held_out = episodes_in(source.clips(starts))
    trained = episodes_in(source.clips(torch.from_numpy(source.starts)))
    assert len(held_out) == 3
    assert held_out | trained == set(range(EPISODES))
    assert not held_out & trained
    assert torch.equal(starts, source.held_out_examples(6))
    assert len(source.held_out_examples(1000)) == len(set(source.held_out_examples(1000).tolist())) < 30


class Counted(Objective):
    """Its loss is a random number plus the red of the clips, so that every disturbance is seen."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Linear(1, 1))
        self.batches: list[int] = []

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.training
        assert not torch.is_grad_enabled()
        self.batches.append(len(inputs[0]))
        return inputs[0][:, :, 0].mean() + torch.rand(()), torch.zeros(1, dtype=torch.int64)


def measurer(tmp_path: Path, every: int, *, rank: int = 0, sharded: bool = False) -> tuple[HeldOutLoss, Counted]:
    objective = Counted()
    source = batch_source(tmp_path, rank=rank, world_size=2)
    worker = Worker(rank, 2, CPU)
    return HeldOutLoss(objective, source, worker, every=every, target=7, autocast=False, sharded=sharded), objective


def test_it_is_due_at_absolute_updates_and_at_the_target_and_leaves_the_random_state(tmp_path: Path) -> None:
    found, objective = measurer(tmp_path, 3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    values = {done: found.after(done) for done in range(1, 9)}
    assert torch.equal(before, torch.get_rng_state())
    assert [done for done, value in values.items() if value is not None] == [3, 6, 7]
    assert len({float(value) for value in values.values() if value is not None}) == 1
    assert set(objective.batches) == {4, 1}  # 21 clips in batches of the training


@pytest.mark.parametrize(
    ("every", "rank", "sharded", "measured"), [(0, 0, False, 0), (3, 1, False, 0), (3, 1, True, 1)]
)
def test_only_rank_0_measures_unless_the_model_is_sharded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, rank: int, sharded: bool, measured: int
) -> None:
    found, _ = measurer(tmp_path, every, rank=rank, sharded=sharded)
    monkeypatch.setattr("tinyworlds_gate.reference.training.sharding.reshard", lambda model: None)
    assert sum(found.after(done) is not None for done in range(1, 6)) == measured


def test_without_a_held_out_clip_nothing_is_measured(tmp_path: Path) -> None:
    source = batch_source(tmp_path)
    source._held_out_starts = source._held_out_starts[:0]
    found = HeldOutLoss(Counted(), source, Worker(0, 1, CPU), every=1, target=4, autocast=False)
    assert found.after(1) is None


def test_too_little_memory_ends_the_measurement_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found, objective = measurer(tmp_path, 1)

    def fail(*inputs: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(objective, "forward", fail)
    assert found.after(1) is None
    assert found.after(2) is None
    assert capsys.readouterr().out.count("warning: no held-out loss from update 1 on: CUDA out of memory") == 1


def test_a_history_without_the_column_is_continued_with_it(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [COLUMNS[:-1], [0, 1.0, 0.5, 1e-3, "", "", "", "", ""], [1, 2.0, 0.4, "", "", "", "", "", 3]]
        )
    history = HistoryFile(path, 2)
    history.write(2, {"train/loss": 0.3, "held_out/loss": 0.6})
    history.close()
    found = rows(path)
    assert [tuple(row) for row in found] == [COLUMNS] * 3
    assert [row["train/loss"] for row in found] == ["0.5", "0.4", "0.3"]
    assert [row["held_out/loss"] for row in found] == ["", "", "0.6"]
    assert found[1]["system/gpu_memory_allocated"] == "3"
