"""Parts of training: history file, batches without held-out frames, and kernels built ahead."""

from __future__ import annotations

import csv
import gc
import math
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import yaml

from tests.helpers.data_files import write_h5
from tests.helpers.tiny_stages import STAGE, TRAINING, moving_squares
from tests.helpers.torch_builds import compiles
from tinyworlds_gate.config.stage_config import load_stage_config
from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.split import split_episodes
from tinyworlds_gate.reference.models.kernels import background_builds, build_ahead
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.training.batches import BatchSource, frames_fit
from tinyworlds_gate.reference.training.clip_feed import ClipFeed
from tinyworlds_gate.reference.training.distributed import Worker
from tinyworlds_gate.reference.training.history import COLUMNS, HistoryFile, history_path
from tinyworlds_gate.reference.training.job import StageJob
from tinyworlds_gate.reference.training.objectives import LatentActionsObjective, counts_of
from tinyworlds_gate.reference.training.regional_compile import DETERMINISTIC, OPTIONS, compile_regions
from tinyworlds_gate.reference.training.stage_main import main as stage_main
from tinyworlds_gate.reference.training.trainer import Trainer

# The history file.


def written(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def write_updates(path: Path, start: int, end: int, loss: float) -> None:
    history = HistoryFile(path, start)
    for update in range(start, end):
        history.write(update, {"train/loss": loss, "learning_rate/group_0": 1e-3})
    history.close()


@pytest.mark.requirement("M1")
def test_a_history_has_a_header_and_one_row_an_update_with_empty_cells_for_what_is_not_measured(tmp_path: Path) -> None:
    path = history_path(tmp_path, "dynamics", "run_1")
    assert path == tmp_path / "Logs" / "dynamics_history_run_1.csv"
    write_updates(path, 0, 3, 0.1)
    header, *rows = written(path)
    assert tuple(header) == COLUMNS
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert rows[0][2:] == ["0.1", "0.001", "", "", "", "", "", ""]


@pytest.mark.requirement("H7")
def test_resuming_drops_the_rows_at_and_after_its_first_update_and_appends(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    write_updates(path, 0, 5, 0.1)
    write_updates(path, 3, 6, 0.2)
    rows = written(path)[1:]
    assert [(row[0], row[2]) for row in rows] == [
        ("0", "0.1"),
        ("1", "0.1"),
        ("2", "0.1"),
        ("3", "0.2"),
        ("4", "0.2"),
        ("5", "0.2"),
    ]


@pytest.mark.parametrize(
    "torn",
    [
        "4,17000",
        "4,1700000000.000,0.1",
        "4",
        "\x00\x00",
        "words,1,2,3,4,5,6,7,8",
        "4,1700000000.000,0.1,0.001,1,1,1.3,4,3.1",  # every column, and no end: perhaps 3.14
    ],
)
def test_a_torn_last_row_is_dropped_on_resume(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "history.csv"
    write_updates(path, 0, 4, 0.1)
    with path.open("a") as file:
        file.write(torn)
    write_updates(path, 5, 6, 0.2)
    assert [row[0] for row in written(path)[1:]] == ["0", "1", "2", "3", "5"]


def test_numbers_keep_their_full_precision_and_nan_stays_visible(tmp_path: Path) -> None:
    history = HistoryFile(tmp_path / "history.csv", 0)
    history.write(0, {"train/loss": 1 / 3, "learning_rate/group_0": math.nan})
    history.close()
    row = written(tmp_path / "history.csv")[1]
    assert float(row[2]) == 1 / 3
    assert row[3] == "nan"


def test_a_metric_without_a_column_is_a_defect(tmp_path: Path) -> None:
    history = HistoryFile(tmp_path / "history.csv", 0)
    with pytest.raises(ValueError, match=r"history has no column for \['accuracy'\]"):
        history.write(0, {"train/loss": 0.1, "accuracy": 1.0})
    history.close()
    history.close()  # a second close is nothing


# Batches.

EPISODES, LENGTH = 10, 9


def numbered_file(path: Path) -> Path:
    """Write frames with red = 20 * episode and green = 20 * index in the episode."""
    frames = np.zeros((EPISODES * LENGTH, 16, 16, 3), np.uint8)
    frames[..., 0] = (np.arange(EPISODES).repeat(LENGTH) * 20)[:, None, None]
    frames[..., 1] = (np.tile(np.arange(LENGTH), EPISODES) * 20)[:, None, None]
    return write_h5(path, frames=frames, episode=np.arange(EPISODES).repeat(LENGTH))


def batch_source(folder: Path, rank: int = 0, world_size: int = 1, **training: object) -> BatchSource:
    """Build the `BatchSource` of a tokenizer stage on the numbered file, from settings files."""
    data = numbered_file(folder / "numbered.h5") if not (folder / "numbered.h5").exists() else folder / "numbered.h5"
    values = {**TRAINING, "data_path": str(data), "held_out_fraction": 0.3, **training}
    (folder / "training.yaml").write_text(yaml.safe_dump(values))
    (folder / "video_tokenizer.yaml").write_text(yaml.safe_dump(STAGE))
    config = load_stage_config("video_tokenizer", folder / "video_tokenizer.yaml", folder / "training.yaml", [])
    job = StageJob("video_tokenizer", config.training, config.stage)
    return BatchSource(job, Worker(rank, world_size, torch.device("cpu")), folder)


def episodes_in(clips_BTCHW: torch.Tensor) -> set[int]:
    """Return the episodes that a batch's pixels come from."""
    red = ((clips_BTCHW[:, :, 0] + 1) * 127.5).round()
    return {int(value) // 20 for value in red.unique()}


@pytest.mark.parametrize("split_seed", [0, 1, 2])
def test_no_possible_batch_holds_a_frame_of_a_held_out_episode(tmp_path: Path, split_seed: int) -> None:
    source = batch_source(tmp_path, split_seed=split_seed)
    split = split_episodes(source.data.episode, 0.3, split_seed)
    windows = source.starts[:, None] + np.arange(source.length)
    assert set(np.unique(source.data.episode[windows])) == set(split.train)
    assert len(source.starts) == len(split.train) * (LENGTH - source.length + 1)
    seen = set().union(*(episodes_in(source.next()) for _ in range(60)))
    assert seen == set(split.train)
    assert episodes_in(source.fixed_examples(5)) <= set(split.train)
    assert len(split.held_out) == 3
    assert not seen & set(split.held_out)


def test_a_clip_is_consecutive_frames_of_one_episode_in_the_models_range(tmp_path: Path) -> None:
    clips = batch_source(tmp_path).next()
    assert clips.shape == (4, 3, 3, 16, 16)
    assert clips.dtype == torch.float32
    assert float(clips.min()) >= -1
    red, green = (((clips[:, :, channel, 0, 0] + 1) * 127.5).round() / 20 for channel in (0, 1))
    assert (red == red[:, :1]).all()
    assert (green.diff(dim=1) == 1).all()


def test_ranks_draw_different_clips_of_one_common_draw(tmp_path: Path) -> None:
    sources = [batch_source(tmp_path, rank, 2) for rank in (0, 1)]
    drawn = [tuple(source.sampler.next().tolist()) for source in sources]
    assert not set(drawn[0]) & set(drawn[1])


def test_pictures_show_the_same_clips_every_time_and_move_no_sampler(tmp_path: Path) -> None:
    source = batch_source(tmp_path)
    first = source.fixed_examples(3)
    source.next()
    assert torch.equal(first, source.fixed_examples(3))
    assert source.sampler.position == 1


def test_episodes_shorter_than_a_clip_are_reported_before_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no clip of 12 frames fits: the longest chosen episode has 9 frames"):
        batch_source(tmp_path, context_length=12)


def test_a_missing_frames_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.h5: there is no such file; .* fix: run `tinyworlds-gate data import"):
        batch_source(tmp_path, data_path=str(tmp_path / "gone.h5"))


def test_clips_sent_as_bytes_are_those_gathered_where_the_frames_lie(tmp_path: Path) -> None:
    from_host, on_device = batch_source(tmp_path), batch_source(tmp_path)
    on_device.frames_on_device = torch.from_numpy(on_device.data.frames)
    for slot in (0, 1, 0):
        feeds = [ClipFeed(source, 2, slots=2) for source in (from_host, on_device)]
        for feed in feeds:
            feed.draw(slot)
        for micro in (0, 1):
            sent, gathered = (feed.clips(micro) for feed in feeds)
            assert torch.equal(cast(torch.Tensor, sent), cast(torch.Tensor, gathered))
    assert from_host.sampler.position == on_device.sampler.position == 6


def test_the_clips_of_an_update_are_those_that_plain_updates_would_draw(tmp_path: Path) -> None:
    plain, fed = batch_source(tmp_path), batch_source(tmp_path)
    feed = ClipFeed(fed, 2, slots=3)
    for slot in range(3):
        feed.draw(slot)
        sent = [cast(torch.Tensor, feed.clips(micro)) for micro in (0, 1)]
        assert torch.equal(torch.stack(sent), torch.stack([plain.next(), plain.next()]))


@pytest.mark.parametrize(("frames", "fit"), [(4, True), (5, True), (6, False)])
def test_frames_lie_on_a_gpu_when_they_take_half_of_what_is_free_at_most(frames: int, fit: bool) -> None:
    assert frames_fit(frames, 10) is fit


# The metrics of an update.


def test_codes_are_counted_and_what_a_nan_was_rounded_to_stays_in_range() -> None:
    codes = torch.tensor([[0, 2, 2], [3, torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max]])
    assert counts_of(codes, 4).tolist() == [2, 0, 2, 2]


def test_the_entropy_of_actions_is_in_nats_and_zero_for_one_code() -> None:
    sizes = {**TRAINING, "n_actions": 4}
    objective = LatentActionsObjective(ModelSizes.from_mapping(sizes))
    assert objective.metrics(torch.tensor([[1, 1, 1]])).tolist() == [0.25, 0.0, 1.0]
    usage, entropy, used = objective.metrics(torch.tensor([[0, 1], [2, 3]])).tolist()
    assert (usage, used) == (1.0, 4.0)
    assert entropy == pytest.approx(math.log(4))


def test_a_stage_starts_without_the_compiler_which_costs_two_seconds_to_import() -> None:
    code = "import sys, tinyworlds_gate.reference.training.trainer; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_collector_rests_until_training_begins_and_works_again_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []

    class Observed(Trainer):
        def __init__(self, job: StageJob, worker: Worker, project_root: Path) -> None:
            seen.append(("prepares", gc.isenabled()))
            super().__init__(job, worker, project_root)

        def train(self) -> None:
            seen.append(("trains", gc.isenabled()))
            raise DataError("enough")

    monkeypatch.setattr("tinyworlds_gate.reference.training.trainer.Trainer", Observed)
    monkeypatch.chdir(tmp_path)
    frames, episodes = moving_squares()
    (tmp_path / "data").mkdir()
    write_h5(tmp_path / "data/tiny_frames.h5", frames=frames, episode=episodes)
    for name, values in (("training", TRAINING), ("video_tokenizer", STAGE)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SystemExit, match="3"):
        stage_main("video_tokenizer", ["--config", "video_tokenizer.yaml", "--training_config", "training.yaml"])
    assert seen == [("prepares", False), ("trains", True)]
    with pytest.raises(SystemExit, match="3"):
        stage_main("video_tokenizer", ["--config", "nowhere.yaml", "--training_config", "training.yaml"])
    assert gc.isenabled()


@compiles
def test_this_torch_knows_the_compiler_options() -> None:
    for option in OPTIONS | DETERMINISTIC:
        assert option in torch._inductor.list_options()
    compile_regions((), deterministic=True)


@pytest.fixture
def building(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what the thread builds, on a machine that seems to have Triton."""
    asked: list[str] = []
    monkeypatch.setattr(build_ahead, "find_spec", lambda name: object())
    monkeypatch.setattr(build_ahead, "KERNELS", ())
    monkeypatch.setattr(build_ahead, "_probe", lambda sizes, frames, *_: asked.append(f"probe {frames}"))
    monkeypatch.setattr(build_ahead, "_build", lambda sizes, frames, *_: asked.append(f"build {frames}"))
    return asked


def _build_ahead() -> None:
    build_ahead.start(ModelSizes.from_mapping(TRAINING), 3, torch.bfloat16, torch.device("cpu"))


@pytest.mark.parametrize("part", ["_probe", "_build"])
def test_kernels_that_cannot_be_built_ahead_are_reported_once(
    monkeypatch: pytest.MonkeyPatch, building: list[str], part: str
) -> None:
    def fail(*_: object) -> None:
        raise TypeError("one argument too many")

    monkeypatch.setattr(build_ahead, part, fail)
    _build_ahead()
    with pytest.warns(UserWarning, match="start takes longer.*one argument too many"):
        background_builds.wait()
    with warnings.catch_warnings(action="error"):
        background_builds.wait()
    assert building == ["build 3" if part == "_probe" else "probe 3"]


def test_the_probe_is_waited_for_alone_and_then_all_kernels(
    monkeypatch: pytest.MonkeyPatch, building: list[str]
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(build_ahead, "_build", lambda *_: building.append(f"built {go_on.wait(30)}"))
    _build_ahead()
    background_builds.wait_for_probe()
    assert building == ["probe 3"]
    go_on.set()
    background_builds.wait()
    assert building == ["probe 3", "built True"]


def test_without_triton_nothing_is_built_ahead(monkeypatch: pytest.MonkeyPatch, building: list[str]) -> None:
    monkeypatch.setattr(build_ahead, "find_spec", lambda name: None)
    _build_ahead()
    background_builds.wait()
    assert building == []
