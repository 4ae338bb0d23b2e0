"""What a chunk left behind, from real files: checkpoint, history, picture, learning rate (S4, M1–M3, P1)."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.checkpoint_files import flip_byte, names_in, optimizer_state, write_ours
from tests.helpers.fake_stages import small_picture
from tinyworlds_gate.checkpoints.layout import checkpoint_event
from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.reference.training.history import HistoryFile
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence, gather_evidence, pictures_in, set_aside_earlier_tries
from tinyworlds_gate.stages.chunk_history import missing_updates, read_chunk_history, recent_mean

STAGE = "dynamics"
SCHEDULE = Schedule(1e-3, 0, 10)


def write_history(layout: RunLayout, start: int, end: int, loss: float = 0.5, schedule: Schedule = SCHEDULE) -> None:
    history = HistoryFile(layout.history(STAGE), start)
    for update in range(start, end):
        history.write(update, {"train/loss": loss, "learning_rate/group_0": schedule.rate_at(update)})
    history.close()


def write_chunk(layout: RunLayout, start: int, end: int) -> None:
    """Everything that a good chunk over these updates leaves."""
    write_history(layout, start, end)
    write_ours(layout.checkpoints(STAGE), STAGE, end - 1)
    layout.visualizations(STAGE).mkdir(parents=True, exist_ok=True)
    small_picture(layout.visualizations(STAGE) / f"{STAGE}_step_{end - 1}.png")


def gather(layout: RunLayout, start: int, end: int, before: dict[Path, int] | None = None) -> ChunkEvidence:
    return gather_evidence(
        layout, STAGE, start_update=start, end_update=end, schedule=SCHEDULE, pictures_before=before or {}
    )


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path, "run_1").create()


@pytest.mark.requirement("S4", "M1", "M2", "M3")
def test_a_good_chunk_has_no_problem_and_three_channels_that_moved(layout: RunLayout) -> None:
    write_chunk(layout, 0, 5)
    before = pictures_in(layout.visualizations(STAGE))
    write_chunk(layout, 5, 10)
    found = gather(layout, 5, 10, before)
    assert found.problems == ()
    assert found.channels == {
        "M1": {"verdict": "PASS", "reason": "5 new rows in Logs/dynamics_history_run_1.csv"},
        "M2": {"verdict": "PASS", "reason": "checkpoint of update 9 verified"},
        "M3": {"verdict": "PASS", "reason": "dynamics_step_9.png is new"},
    }
    assert found.checkpoint is not None
    assert found.history.steps == [5, 6, 7, 8, 9]
    event = checkpoint_event(layout, found.checkpoint)
    assert event is not None
    assert (event["path"], event["step"]) == ("results/run_1/dynamics/checkpoints/dynamics_step_9", 9)
    assert (event["sha256"], event["parameters"]) == (found.checkpoint.model_sha256, found.checkpoint.parameters)


def test_no_checkpoint_is_null_in_the_journal(layout: RunLayout) -> None:
    assert checkpoint_event(layout, None) is None


def remove_checkpoint(layout: RunLayout) -> None:
    layout.checkpoint(STAGE, 9).rename(layout.checkpoint(STAGE, 8))


def damage_checkpoint(layout: RunLayout) -> None:
    flip_byte(layout.checkpoint(STAGE, 9) / "model_state_dict.pt", 2000)


def rename_older_checkpoint(layout: RunLayout) -> None:
    """Hazard 3: an older checkpoint under the expected name."""
    layout.checkpoint(STAGE, 9).rename(layout.checkpoints(STAGE) / "away")
    write_ours(layout.checkpoints(STAGE), STAGE, 4)
    layout.checkpoint(STAGE, 4).rename(layout.checkpoint(STAGE, 9))


def diverged_weights(layout: RunLayout) -> None:
    """A checkpoint that is whole in every file and holds one weight that is NaN."""
    folder = layout.checkpoint(STAGE, 9)
    weights = {name: tensor.clone() for name, tensor in read_model_state(folder).items()}
    next(tensor for tensor in weights.values() if tensor.is_floating_point()).view(-1)[0] = math.nan
    state = {key: value for key, value in read_state(folder).items() if key != "written_by"}
    shutil.rmtree(folder)
    write_checkpoint(folder.parent, STAGE, 9, model_state=weights, optim_state=optimizer_state(), state=state)


def empty_picture(layout: RunLayout) -> None:
    (layout.visualizations(STAGE) / f"{STAGE}_step_9.png").write_bytes(b"")


def torn_picture(layout: RunLayout) -> None:
    path = layout.visualizations(STAGE) / f"{STAGE}_step_9.png"
    path.write_bytes(path.read_bytes()[:-4])


def gap_in_history(layout: RunLayout) -> None:
    path = layout.history(STAGE)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:4] + lines[6:]) + "\n")


def doubled_row(layout: RunLayout) -> None:
    path = layout.history(STAGE)
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")


def torn_last_row(layout: RunLayout) -> None:
    path = layout.history(STAGE)
    path.write_text(path.read_text().rstrip()[:-12])


def other_learning_rate(layout: RunLayout) -> None:
    write_history(layout, 0, 10, schedule=Schedule(1.001e-3, 0, 10))


def annealed_over_another_span(layout: RunLayout) -> None:
    """Hazard 10."""
    write_history(layout, 0, 10, schedule=Schedule(1e-3, 0, 30))


def infinite_loss(layout: RunLayout) -> None:
    write_history(layout, 0, 10, loss=math.inf)


@pytest.mark.requirement("S4", "M1", "M2", "M3", "P1")
@pytest.mark.parametrize(
    ("spoil", "channel", "said"),
    [
        (remove_checkpoint, "M2", "no checkpoint dynamics_step_9 was written"),
        (damage_checkpoint, "M2", "does not have the SHA-256 that manifest.json records"),
        (rename_older_checkpoint, "M2", "is named dynamics step 9, but its manifest.json says dynamics step 4"),
        (diverged_weights, "M2", "has 1 values that are not finite (NaN or infinite): training diverged"),
        (empty_picture, "M3", "no new whole picture (PNG) appeared"),
        (torn_picture, "M3", "no new whole picture (PNG) appeared"),
        (gap_in_history, "M1", "the history lacks 2 of the updates 0 to 9, the first is 3"),
        (doubled_row, "M1", "the history has 11 rows for the 10 updates 0 to 9"),
        (torn_last_row, "M1", "the history lacks 1 of the updates 0 to 9, the first is 9"),
        (lambda layout: layout.history(STAGE).unlink(), "M1", "the history has no row for the updates 0 to 9"),
        (other_learning_rate, None, "the learning rate of update 0 was 0.001001, but 0.001 was resolved"),
        (
            annealed_over_another_span,
            None,
            "the learning rate of update 2 was 0.000997098, but 0.000970148 was resolved",
        ),
        (infinite_loss, None, "the loss of update 0 is inf"),
    ],
)
def test_each_missing_piece_of_evidence_is_one_problem(
    layout: RunLayout, spoil: Callable[[RunLayout], None], channel: str | None, said: str
) -> None:
    write_chunk(layout, 0, 10)
    spoil(layout)
    found = gather(layout, 0, 10)
    assert len(found.problems) == 1, found.problems
    assert said in found.problems[0]
    invalid = {key: value["reason"] for key, value in found.channels.items() if value["verdict"] == "INVALID"}
    assert invalid == ({channel: found.problems[0]} if channel else {})
    assert (found.checkpoint is None) == (channel == "M2")
    assert found.diverged == (spoil in (infinite_loss, diverged_weights))


@pytest.mark.requirement("M3")
def test_a_picture_from_before_is_stale_until_it_is_written_again(layout: RunLayout) -> None:
    write_chunk(layout, 0, 10)
    before = pictures_in(layout.visualizations(STAGE))
    assert gather(layout, 0, 10, before).channels["M3"]["verdict"] == "INVALID"
    (picture,) = before
    os.utime(picture, ns=(1, before[picture] + 10**9))
    assert gather(layout, 0, 10, before).visualization == picture


@pytest.mark.requirement("S4", "H7")
def test_checkpoints_of_a_try_that_did_not_count_are_set_aside_and_kept(layout: RunLayout) -> None:
    folder = layout.checkpoints(STAGE)
    for step in (3, 5, 9):
        write_ours(folder, STAGE, step)
    assert set_aside_earlier_tries(layout, STAGE, 4) == [
        folder / ".superseded-dynamics_step_5-1",
        folder / ".superseded-dynamics_step_9-1",
    ]
    write_ours(folder, STAGE, 5)
    set_aside_earlier_tries(layout, STAGE, 4)
    assert names_in(folder) == [
        ".superseded-dynamics_step_5-1",
        ".superseded-dynamics_step_5-2",
        ".superseded-dynamics_step_9-1",
        "dynamics_step_3",
    ]
    assert set_aside_earlier_tries(layout, "video_tokenizer", 0) == []


def test_a_history_is_read_between_two_updates_with_its_duration(layout: RunLayout) -> None:
    write_history(layout, 0, 10)
    found = read_chunk_history(layout.history(STAGE), 4, 7)
    assert (found.steps, found.losses) == ([4, 5, 6], [0.5, 0.5, 0.5])
    assert found.learning_rates == [SCHEDULE.rate_at(update) for update in (4, 5, 6)]
    assert (found.unique_actions, found.action_entropy_nats) == ([], [])
    assert missing_updates(found, 4, 7) is None


def test_updates_per_second_come_from_the_rows_times(tmp_path: Path) -> None:
    header = "_step,_timestamp,train/loss,learning_rate/group_0\n"
    path = tmp_path / "history.csv"
    path.write_text(header + "".join(f"{step},{100 + step / 2},0.1,0.001\n" for step in range(5)))
    assert read_chunk_history(path, 0, 5).updates_per_s == 2.0
    assert read_chunk_history(path, 0, 1).updates_per_s is None
    path.write_text(header + "0,soon,0.1,0.001\n1,later,0.1,0.001\n")
    assert read_chunk_history(path, 0, 5).updates_per_s is None


def test_a_loss_that_is_no_number_stays_as_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(
        "_step,_timestamp,train/loss,learning_rate/group_0\n0,1,nan,0.1\n1,2,broken,0.1\n2,3,,0.1\nx,4,1,1\n"
    )
    found = read_chunk_history(path, 0, 9)
    assert found.steps == [0, 1]
    assert all(math.isnan(loss) for loss in found.losses)


def test_the_recent_mean_takes_the_last_values_only() -> None:
    assert recent_mean([9.0] * 50 + [1.0, 3.0], count=2) == 2.0
    assert recent_mean([4.0]) == 4.0
    assert recent_mean([]) is None
