"""Paths and timestamps of a run.

pytest tests/unit/run/test_layout.py
"""

from __future__ import annotations

import errno
import os
import re
from datetime import datetime
from pathlib import Path

import pytest

from tinyworlds_gate.errors import GateError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run import layout as layout_module
from tinyworlds_gate.run.layout import RunLayout, project_of_run
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


def test_every_path_of_a_run_lies_in_its_folder_or_in_a_shared_one(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path, "a")
    named = {
        layout.root: "results/a",
        layout.journal: "results/a/journal.jsonl",
        layout.configs: "results/a/configs",
        layout.training_frames: "results/a/training_frames.h5",
        layout.logs: "results/a/logs",
        layout.heartbeats: "results/a/heartbeats",
        layout.devices: "results/a/devices",
        layout.nodes: "results/a/nodes",
        layout.histories: "Logs",
        layout.inference_results: "inference_results",
        layout.actions: "docs/action",
        layout.plots("s"): "docs/action/plots/wandb-analysis-s",
        layout.chunk_log(7, "dynamics"): "results/a/logs/chunk_007_dynamics.log",
        layout.chunk_log(7, "dynamics", 1): "results/a/logs/chunk_007_dynamics_node_1.log",
        layout.chunk_heartbeats(7): "results/a/heartbeats/chunk_007",
        layout.chunk_heartbeats(7, 1): "results/a/heartbeats/chunk_007_node_1",
        layout.chunk_devices(7): "results/a/devices/chunk_007.jsonl",
        layout.chunk_devices(7, 1): "results/a/devices/chunk_007_node_1.jsonl",
        layout.chunk_error_file(7): "results/a/logs/chunk_007_error.json",
        layout.chunk_error_file(7, 1): "results/a/logs/chunk_007_error_node_1.json",
    }
    assert {str(path.relative_to(tmp_path.resolve())): name for path, name in named.items()} == {
        name: name for name in named.values()
    }
    assert RunLayout(tmp_path, "a..b-9_Z.").root.name == "a..b-9_Z."


def test_create_makes_the_folders_and_may_be_repeated(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path, "a").create().create()
    folders = [layout.logs, layout.heartbeats, layout.devices, layout.histories, layout.inference_results]
    assert all(folder.is_dir() for folder in [*folders, layout.actions])


@pytest.mark.parametrize("name", ["results", "results/a", "results/a/logs", "Logs", "inference_results", "docs"])
def test_no_output_folder_may_be_a_link_out_of_the_project(tmp_path: Path, name: str) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / name).parent.mkdir(parents=True)
    elsewhere.mkdir()
    (project / name).symlink_to(elsewhere)
    said = re.escape(f"{project / name} is a symbolic link to {elsewhere}, and a run writes through no link")
    with pytest.raises(GateError, match=said):
        RunLayout(project, "a").create()
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, "Free some space and inodes there (df -h, df -i), or run in another project folder."),
        (errno.EROFS, "Change its permissions (chmod u+rwx) or mount it writable, or run in another project folder."),
    ],
)
def test_an_output_folder_that_takes_no_file_is_named_with_its_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fix: str
) -> None:
    monkeypatch.setattr(layout_module, "write_error", lambda folder: OSError(number, os.strerror(number)))
    said = f"The output folder {tmp_path / 'results' / 'a'} is not writable: {os.strerror(number)}. {fix}"
    with pytest.raises(GateError, match=f"^{re.escape(said)}$"):
        RunLayout(tmp_path, "a").create()


def test_the_project_of_a_run_is_two_folders_up(tmp_path: Path) -> None:
    run = RunLayout(tmp_path, "a").create().root
    assert project_of_run(run, run) == tmp_path
    for folder in (tmp_path, tmp_path / "results", tmp_path / "results" / "b", tmp_path / "Logs"):
        with pytest.raises(GateError, match=re.escape(f"{folder} is not a run's folder: expected <project>/results/")):
            project_of_run(folder, folder)
    (tmp_path / "link").symlink_to(run)
    (tmp_path / "linked").symlink_to(run.parent)
    for link, shown in ((tmp_path / "link", tmp_path / "link"), (tmp_path / "linked", tmp_path / "linked" / "a")):
        said = f"{link} is a symbolic link to {os.readlink(link)}; name the run by the folder where it is, {run}."
        with pytest.raises(GateError, match=re.escape(said)):
            project_of_run(run, shown)
    assert project_of_run(run, tmp_path / "link" / "..") == tmp_path


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
