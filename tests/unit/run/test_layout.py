"""Paths and timestamps of a run.

pytest tests/unit/run/test_layout.py
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

import pytest

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.run.timestamps import timestamp


def test_the_stages_stand_in_the_order_of_the_loop() -> None:
    assert STAGES == ("video_tokenizer", "latent_actions", "dynamics")


@pytest.mark.requirement("M1", "M2", "M3")
def test_paths_are_those_that_the_channels_are_watched_at(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path, "2025_01_02_03_04_05")
    root = tmp_path.resolve()
    assert (
        layout.checkpoint("dynamics", 99) == root / "results/2025_01_02_03_04_05/dynamics/checkpoints/dynamics_step_99"
    )
    assert layout.visualizations("dynamics") == root / "results/2025_01_02_03_04_05/dynamics/visualizations"
    assert layout.history("dynamics") == root / "Logs/dynamics_history_2025_01_02_03_04_05.csv"


def test_create_makes_the_folders_and_may_be_repeated(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path, "a").create().create()
    for folder in (layout.logs, layout.heartbeats, layout.devices, layout.inference_results, layout.actions):
        assert folder.is_dir()


def test_paths_outside_the_project_stay_absolute(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "project", "a")
    assert layout.relative(layout.journal) == "results/a/journal.jsonl"
    assert layout.relative(tmp_path / "project2" / "x") == str(tmp_path / "project2" / "x")


def test_two_ways_to_one_folder_are_one_project(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert RunLayout(tmp_path / "link", "a") == RunLayout(tmp_path / "real", "a")


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "a b"])
def test_a_run_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(GateError, match=f"Run name {re.escape(repr(name))}"):
        RunLayout(tmp_path, name)


def test_an_unknown_stage_names_the_three(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"Unknown stage 'vqvae'.*video_tokenizer, latent_actions, dynamics"):
        RunLayout(tmp_path, "a").checkpoints("vqvae")


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file in the way")
    with pytest.raises(GateError, match=r"Cannot create the output folder .*results"):
        RunLayout(tmp_path, "a").create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "docs" / "action").mkdir(parents=True)
    (tmp_path / "docs" / "action").chmod(0o500)
    with pytest.raises(GateError, match="docs/action is not writable"):
        RunLayout(tmp_path, "a").create()


def test_a_timestamp_names_the_local_second() -> None:
    assert timestamp(datetime(2025, 12, 31, 23, 59, 1).timestamp()) == "2025_12_31_23_59_01"
