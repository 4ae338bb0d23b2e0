"""Which checkpoint a run goes on from after a chunk that died.

pytest tests/unit/checkpoints/test_resolve_in_a_run.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers.checkpoint_files import copy_foreign, flip_byte, write_ours
from tinyworlds_gate.checkpoints.describe import describe_checkpoint
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.checkpoints.resolve import newest_of_run
from tinyworlds_gate.errors import CheckpointError

RUN = "2026_01_02_03_04_05"
STAGE = "dynamics"


def write_own(folder: Path, step: int, **entries: str) -> CheckpointRef:
    return write_ours(folder, STAGE, step, manifest={"run": RUN} | entries)


@pytest.mark.requirement("S4")
def test_the_newest_checkpoint_of_the_run_is_taken(tmp_path: Path) -> None:
    _, newest = write_own(tmp_path, 1), write_own(tmp_path, 10)
    assert newest_of_run(tmp_path, STAGE, run=RUN) == (newest, ())


@pytest.mark.requirement("S4")
def test_every_newer_refused_checkpoint_is_listed_with_its_reason(tmp_path: Path) -> None:
    taken = write_own(tmp_path, 3)
    flip_byte(write_own(tmp_path, 4).path / "model_state_dict.pt", 5000)
    write_ours(tmp_path, STAGE, 5, manifest={"run": "another"})
    write_ours(tmp_path, STAGE, 6)
    (tmp_path / "dynamics_step_7").mkdir()
    reference, skipped = newest_of_run(tmp_path, STAGE, run=RUN)
    assert reference == taken
    assert [entry.path.name for entry in skipped] == [f"{STAGE}_step_{step}" for step in (7, 6, 5, 4)]
    for entry, reason in zip(
        skipped,
        (
            "has no model_state_dict.pt",
            "records no run in its manifest, not by",
            f"was written by run another, not by {RUN}; only checkpoints of this run are continued",
            "does not have the SHA-256",
        ),
        strict=True,
    ):
        assert reason in entry.reason


@pytest.mark.requirement("H7")
def test_only_steps_below_the_limit_count(tmp_path: Path) -> None:
    refs = {step: write_own(tmp_path, step) for step in (1, 3, 5)}
    assert newest_of_run(tmp_path, STAGE, run=RUN, below_step=5)[0] == refs[3]
    assert newest_of_run(tmp_path, STAGE, run=RUN, below_step=3)[0] == refs[1]
    assert newest_of_run(tmp_path, STAGE, run=RUN, below_step=1) == (None, ())
    flip_byte(refs[5].path / "model_state_dict.pt", 5000)
    assert newest_of_run(tmp_path, STAGE, run=RUN, below_step=5) == (refs[3], ())


def test_a_folder_that_is_absent_or_empty_holds_none(tmp_path: Path) -> None:
    assert newest_of_run(tmp_path / "absent", STAGE, run=RUN) == (None, ())
    assert newest_of_run(tmp_path, STAGE, run=RUN) == (None, ())


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError) as error:
        newest_of_run(tmp_path / "file", STAGE, run=RUN)
    assert str(error.value) == f"cannot list {tmp_path / 'file'}: Not a directory; give a readable folder"


@pytest.mark.requirement("S4")
def test_a_checkpoint_without_a_manifest_is_taken_by_its_place_once_it_loads_whole(tmp_path: Path) -> None:
    write_own(tmp_path, 3)
    copy_foreign(tmp_path, STAGE, 899)
    copy_foreign(tmp_path, STAGE, 950)  # its state.pt says 899
    reference, skipped = newest_of_run(tmp_path, STAGE, run=RUN)
    assert reference is not None
    assert (reference.step, reference.manifest) == (899, None)
    assert "is of step 899, but the folder's name says 950" in skipped[0].reason


def test_a_link_to_another_folder_is_not_of_the_run(tmp_path: Path) -> None:
    taken = write_own(tmp_path / "here", 3)
    elsewhere = write_own(tmp_path / "there", 4)
    (tmp_path / "here" / elsewhere.path.name).symlink_to(elsewhere.path)
    reference, skipped = newest_of_run(tmp_path / "here", STAGE, run=RUN)
    assert reference == taken
    assert f"is a link to {elsewhere.path}" in skipped[0].reason


def test_a_run_that_is_reached_through_a_link_is_still_itself(tmp_path: Path) -> None:
    taken = write_own(tmp_path / "real", 3)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    reference, skipped = newest_of_run(tmp_path / "link", STAGE, run=RUN)
    assert (reference is not None, skipped) == (True, ())
    assert reference is not None
    assert reference.model_sha256 == taken.model_sha256


@pytest.mark.requirement("S4")
def test_a_folder_of_another_stage_in_the_run_s_folder_is_named(tmp_path: Path) -> None:
    write_ours(tmp_path, "latent_actions", 3, manifest={"run": RUN})
    reference, skipped = newest_of_run(tmp_path, STAGE, run=RUN)
    assert reference is None
    assert "is a checkpoint of latent_actions in a folder of dynamics; the folder was swapped" in skipped[0].reason
    assert newest_of_run(tmp_path, STAGE, run=RUN, below_step=3) == (None, ())


@pytest.mark.requirement("S4")
def test_a_renamed_folder_of_another_stage_is_refused(tmp_path: Path) -> None:
    taken = write_own(tmp_path, 3)
    shutil.move(
        write_ours(tmp_path / "other", "latent_actions", 5, manifest={"run": RUN}).path, tmp_path / "dynamics_step_5"
    )
    reference, skipped = newest_of_run(tmp_path, STAGE, run=RUN)
    assert reference == taken
    assert "says latent_actions step 5; the folder was renamed or swapped" in skipped[0].reason


@pytest.mark.requirement("C4")
def test_a_model_of_other_sizes_than_the_configs_is_refused(tmp_path: Path) -> None:
    taken = write_own(tmp_path, 3)
    sizes = describe_checkpoint(taken).known()
    assert newest_of_run(tmp_path, STAGE, run=RUN, sizes=sizes) == (taken, ())
    reference, skipped = newest_of_run(tmp_path, STAGE, run=RUN, sizes=sizes | {"embed_dim": 4096})
    assert reference is None
    assert "embed_dim is" in skipped[0].reason
    assert "but 4096 in the configs; it was trained with another configuration" in skipped[0].reason


@pytest.mark.requirement("C4")
def test_a_checkpoint_that_was_trained_on_another_tokenizer_is_refused(tmp_path: Path) -> None:
    taken, _ = write_own(tmp_path, 3, tokenizer_sha256="aa"), write_own(tmp_path, 4, tokenizer_sha256="bb")
    reference, skipped = newest_of_run(tmp_path, STAGE, run=RUN, lineage={"tokenizer_sha256": "aa"})
    assert reference == taken
    assert "records tokenizer_sha256 bb, but aa is in use" in skipped[0].reason
    both = {"tokenizer_sha256": "aa", "latent_actions_sha256": "cc"}
    reference, skipped = newest_of_run(tmp_path, STAGE, run=RUN, lineage=both)
    assert reference is None
    assert "records latent_actions_sha256 None, but cc is in use; it cannot be continued with it" in skipped[1].reason


@pytest.mark.requirement("S4")
def test_a_manifest_whose_run_is_no_text_records_no_run(tmp_path: Path) -> None:
    path = write_own(tmp_path, 3).path
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"run": ["a", "list"]}))
    reference, skipped = newest_of_run(tmp_path, STAGE, run=RUN)
    assert reference is None
    assert "records no run in its manifest" in skipped[0].reason
