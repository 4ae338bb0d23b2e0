"""P1: what a checkpoint that a person names as a start says of the learning rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.checkpoint_files import write_ours
from tests.helpers.commands import REPOSITORY
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.loop.start import peak_rate, resolve_run, resumed_values

ROOT = REPOSITORY


@pytest.mark.parametrize(
    ("state", "rate"),
    [
        ({"peak": 3e-4, "start": 0, "end": 10}, 3e-4),
        ({"base_lrs": [1e-3, 1e-3], "last_epoch": 900}, 1e-3),
        ({"base_lrs": []}, None),
        ({"peak": "fast"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_peak_rate_is_read_from_our_schedule_and_from_pytorchs(state: object, rate: float | None) -> None:
    assert peak_rate(state) == rate


@pytest.mark.requirement("P1")
def test_a_named_start_sets_the_rate_above_the_profile_and_below_an_option(tmp_path: Path) -> None:
    folder = write_ours(tmp_path, "dynamics", 4).path  # the foreign schedule's base rate is 1e-3
    given = {"dynamics_checkpoint": str(folder)}
    assert resumed_values(given, tmp_path) == {"stages.dynamics.learning_rate": 1e-3}
    settings, _ = resolve_run("smoke", given, ROOT)
    assert settings.stages["dynamics"].learning_rate == 1e-3
    assert settings.source_of("dynamics", "learning_rate") == "resumed checkpoint"
    explicit, _ = resolve_run("smoke", {**given, "dynamics_init_learning_rate": 2e-5}, ROOT)
    assert explicit.stages["dynamics"].learning_rate == 2e-5


@pytest.mark.requirement("P1")
def test_a_model_that_is_not_trained_further_sets_nothing(tmp_path: Path) -> None:
    folder = write_ours(tmp_path, "dynamics", 4).path
    assert resumed_values({"dynamics_checkpoint": str(folder), "train_stage": "none"}, tmp_path) == {}


def test_a_start_that_is_not_there_is_reported_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="dynamics_step_4"):
        resumed_values({"dynamics_checkpoint": str(tmp_path / "dynamics_step_4")}, tmp_path)
