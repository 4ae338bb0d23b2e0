"""P1: a run reads its own copy of its settings files, and an edit during the run is reported.

pytest tests/unit/config/test_run_copy.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.config_files import append, copy_profile
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.profile_files import SETTINGS_FILES, file_digests
from tinyworlds_gate.config.run_copy import copy_settings, edited_sentence, edited_settings, reuse_settings_copy
from tinyworlds_gate.errors import ConfigError


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return copy_profile("smoke", tmp_path / "configs")


@pytest.fixture
def resolved(configs: Path, tmp_path: Path) -> Settings:
    return resolve_settings(configs, {}, project_root=tmp_path)


@pytest.mark.requirement("P1")
def test_the_copy_is_whole_and_resolves_to_the_same_settings(resolved: Settings, tmp_path: Path) -> None:
    kept = copy_settings(resolved, tmp_path / "results" / "a" / "configs")
    assert sorted(path.name for path in kept.iterdir()) == sorted(SETTINGS_FILES)
    again = resolve_settings(kept, {}, project_root=tmp_path)
    values = {key: entry["value"] for key, entry in resolved.table().items()}
    assert {key: entry["value"] for key, entry in again.table().items()} == values
    assert [path.name for path in kept.parent.iterdir()] == ["configs"]


@pytest.mark.requirement("P1")
def test_the_copy_reaches_the_disk_before_and_after_it_gets_its_name(
    resolved: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        steps.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        steps.append(f"rename to {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    copy_settings(resolved, tmp_path / "results" / "kept")
    assert steps[-2:] == ["rename to kept", "results"]
    synced = steps[:-2]
    assert set(SETTINGS_FILES) <= set(synced), "each file"
    assert any(name.startswith(".kept.") for name in synced[-2:]), "and the folder with its new name"


@pytest.mark.requirement("P1")
def test_an_edit_after_the_copy_is_reported_and_leaves_the_copy_alone(
    resolved: Settings, configs: Path, tmp_path: Path
) -> None:
    kept = copy_settings(resolved, tmp_path / "kept")
    assert edited_settings(resolved) == ()
    before = (kept / "dynamics.yaml").read_bytes()
    append(configs / "dynamics.yaml", "max_grad_norm: 0.5")
    (configs / "inference.yaml").unlink()
    assert edited_settings(resolved) == ("configs/dynamics.yaml", "configs/inference.yaml")
    assert (kept / "dynamics.yaml").read_bytes() == before
    assert edited_sentence(edited_settings(resolved), kept, tmp_path) == (
        "configs/dynamics.yaml, configs/inference.yaml were changed during the run; this run goes on with the values "
        "that it was started with (kept), and a new run will use the new ones."
    )


@pytest.mark.requirement("P1")
def test_a_file_that_is_written_again_with_the_same_content_was_not_edited(resolved: Settings, configs: Path) -> None:
    path = configs / "training.yaml"
    path.write_bytes(path.read_bytes())
    assert edited_settings(resolved) == ()


@pytest.mark.requirement("P1")
def test_a_retune_does_not_count_as_an_edit(resolved: Settings) -> None:
    assert edited_settings(resolved.with_retune("dynamics", {"learning_rate": 1e-5}, "retune T4")) == ()


def test_an_edit_between_reading_and_copying_is_refused(resolved: Settings, configs: Path, tmp_path: Path) -> None:
    """Pytest reads the settings when it collects; hours of other tests may lie before the run begins."""
    append(configs / "training.yaml", "log_every: 7")
    with pytest.raises(ConfigError, match=r"training.yaml was changed between reading the settings and the start"):
        copy_settings(resolved, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.requirement("H7")
def test_a_resumed_run_reuses_its_copy(resolved: Settings, configs: Path, tmp_path: Path) -> None:
    kept = copy_settings(resolved, tmp_path / "kept")
    append(configs / "training.yaml", "# a remark")
    again = resolve_settings(configs, {}, project_root=tmp_path)
    assert reuse_settings_copy(again, kept, resolved.file_digests) == kept
    assert file_digests(kept) == resolved.file_digests


@pytest.mark.requirement("H7")
def test_a_resumed_run_without_a_copy_makes_one(resolved: Settings, tmp_path: Path) -> None:
    assert file_digests(reuse_settings_copy(resolved, tmp_path / "kept", None)) == resolved.file_digests


@pytest.mark.requirement("H7", "P1")
def test_a_copy_that_was_edited_is_refused(resolved: Settings, tmp_path: Path) -> None:
    kept = copy_settings(resolved, tmp_path / "kept")
    append(kept / "dynamics.yaml", "max_grad_norm: 0.5")
    with pytest.raises(ConfigError, match=r"kept is this run's copy .* dynamics.yaml there is not what the run was"):
        reuse_settings_copy(resolved, kept, resolved.file_digests)


def test_a_partial_copy_of_a_killed_harness_is_not_used(resolved: Settings, tmp_path: Path) -> None:
    (tmp_path / ".kept.1.part").mkdir()
    (tmp_path / ".kept.1.part" / "training.yaml").write_text("")
    assert len(list(copy_settings(resolved, tmp_path / "kept").iterdir())) == len(SETTINGS_FILES)


def test_a_copy_that_cannot_be_written_says_where(resolved: Settings, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(ConfigError, match=r"copy of its settings files cannot be written to .*results/a/configs: Not"):
        copy_settings(resolved, tmp_path / "results" / "a" / "configs")
