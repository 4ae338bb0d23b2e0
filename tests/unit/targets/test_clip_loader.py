"""Whether a checkout's loader finds clips in its frames, before anything starts (hazards 7, 13 and 14).

pytest tests/unit/targets/test_clip_loader.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.config_files import REPOSITORY
from tests.helpers.stand_in import set_config, write_sources
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.loop.checkout import resolve_checkout
from tinyworlds_gate.targets.base import Target, TargetArguments
from tinyworlds_gate.targets.checkout import checkout_target
from tinyworlds_gate.targets.clip_loader import (
    ClipLoader,
    preload_ratio,
    rate_warnings,
    read_clip_loader,
    require_clips,
    require_frame_size,
    train_share,
)

PROFILE = REPOSITORY / "configs/profiles/smoke"

LOADER = """
class VideoDataset:
    pass


class PolePositionDataset(VideoDataset):
    def __init__(self):
        super().__init__(load_start_index=300)


def load(dataset, data):
    if dataset == "POLE_POSITION":
        return DataLoader(data, drop_last=True)
    elif dataset == "PONG":
        return None
"""


def checkout(tmp_path: Path, **training: object) -> tuple[Settings, Target]:
    root = write_sources(tmp_path / "checkout", "tinyworlds-fork")
    if training:
        set_config(root, "training", **training)
    target = checkout_target(root)
    assert target is not None
    return resolve_checkout(PROFILE, {}, {}, target, root, 0), target


def test_names_skipped_frames_and_whole_batches_are_read_from_the_source(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/all.py").write_text(LOADER)
    (tmp_path / "datasets/broken.py").write_text("def (:\n")
    found = read_clip_loader(tmp_path)
    assert found == ClipLoader(("POLE_POSITION", "PONG"), {"poleposition": 300}, drops_last=True)
    assert (found.resizes, found.resized_to("PONG")) == (False, None)
    assert (found.skips("POLE_POSITION"), found.skips("PONG")) == (300, 0)
    assert read_clip_loader(tmp_path / "elsewhere") == ClipLoader()


@pytest.mark.requirement("T1")
def test_a_dataset_that_the_checkout_does_not_load_is_refused_with_those_that_it_does(tmp_path: Path) -> None:
    settings, target = checkout(tmp_path, dataset="CRAFTER")
    with pytest.raises(ConfigError, match=r"dataset: CRAFTER is none that this checkout loads \(BARS, PONG\)"):
        require_clips(settings, target, 10_000)


@pytest.mark.requirement("T1")
def test_preload_ratio_times_the_frames_must_hold_a_batch_of_clips(tmp_path: Path) -> None:
    """A clip is 4 frames at a stride of 60 // 60; a batch is 16 clips."""
    settings, target = checkout(tmp_path, preload_ratio=0.005)
    with pytest.raises(ConfigError) as caught:
        require_clips(settings, target, 720)
    text = str(caught.value)
    assert "video_tokenizer: preload_ratio 0.005 × 720 frames = 3: 0 clips of 4 frames" in text
    assert "Set preload_ratio to at least 0.028 in" in text
    settings, target = checkout(tmp_path / "enough", preload_ratio=0.028)
    require_clips(settings, target, 720)
    settings, target = checkout(tmp_path / "few", preload_ratio=0.027)
    with pytest.raises(ConfigError, match=r"15 clips of 4 frames .* but a batch of 16 needs 16.*or a smaller batch"):
        require_clips(settings, target, 720)


@pytest.mark.requirement("T1")
def test_a_file_that_is_too_short_needs_more_frames_and_not_a_larger_ratio(tmp_path: Path) -> None:
    settings, target = checkout(tmp_path, fps=15)
    with pytest.raises(ConfigError, match=r"4 at a stride of 4.*Use a frames file of at least 32 frames"):
        require_clips(settings, target, 31)
    require_clips(settings, target, 32)


@pytest.mark.requirement("P1")
def test_the_ratio_of_a_target_file_comes_first_then_training_yaml_then_the_stage(tmp_path: Path) -> None:
    _, target = checkout(tmp_path, preload_ratio=0.5)
    set_config(target.root, "dynamics", preload_ratio=0.1)
    assert preload_ratio(target, "dynamics") == 0.5
    described = replace(target, arguments=TargetArguments(training={"preload_ratio": 0.9}))
    assert preload_ratio(described, "dynamics") == 0.9
    set_config(target.root, "training", preload_ratio=None)
    assert preload_ratio(target, "dynamics") == 0.1
    assert preload_ratio(target, "latent_actions") == 1.0


@pytest.mark.parametrize(("rate", "warned"), [(0.01, True), (0.05, True), (0.009, False)])
def test_a_rate_that_is_known_to_diverge_is_a_warning(tmp_path: Path, rate: float, warned: bool) -> None:
    root = write_sources(tmp_path / "checkout", "tinyworlds")
    set_config(root, "dynamics", learning_rate=rate)
    target = checkout_target(root)
    assert target is not None
    found = rate_warnings(resolve_checkout(PROFILE, {}, {}, target, root, 0))
    assert [f"dynamics trains at learning rate {rate:g} (" in one for one in found] == [True] * warned


RESIZING = """
class VideoDataset:
    def __init__(self, resize_to):
        for frame in file["frames"]:
            self.data.append(cv2.resize(frame, resize_to))


class PoleDataset(VideoDataset):
    def __init__(self, path, resolution=(96, 64), fps=30):
        super().__init__(resolution)


class BarsDataset(VideoDataset):
    def __init__(self, path, resolution=(64, 64)):
        super().__init__(resolution)
"""
FROM_A_VIDEO = """
class VideoDataset:
    def _preprocess_video(self, resize_to):
        return cv2.resize(video.read(), resize_to)


class BarsDataset(VideoDataset):
    def __init__(self, path, resolution=(64, 64)):
        self.data = file["frames"][:]
"""


@pytest.mark.parametrize(
    ("source", "size", "file", "said"),
    [
        ("", 16, (16, 16), None),
        ("", 16, (32, 32), r"frames of 32 × 32 pixels from f\.h5: its loader does not resize.*frame_size to 32 in"),
        ("", 16, (16, 24), r"16 × 24 pixels.*Use square frames, or use a frames file of 16 × 16 pixels"),
        (
            RESIZING,
            16,
            (16, 16),
            r"64 × 64 pixels.*its loader resizes every frame of BARS.*frame_size to 64 in",
        ),
        (RESIZING, 64, (16, 16), None),
        (FROM_A_VIDEO, 16, (16, 16), None),
        (FROM_A_VIDEO, 16, (64, 64), "does not resize them"),
        ("def scaled(frames):\n    return F.interpolate(frames, settings.size)\n", 16, (64, 64), None),
    ],
)
def test_frames_that_would_not_reach_the_models_at_frame_size_are_refused(
    tmp_path: Path, source: str, size: int, file: tuple[int, int], said: str | None
) -> None:
    settings, target = checkout(tmp_path, frame_size=size)
    (target.root / "datasets/videos.py").write_text(source)
    if said is None:
        require_frame_size(settings, target, file, "f.h5")
        return
    with pytest.raises(ConfigError, match=said):
        require_frame_size(settings, target, file, "f.h5")


def test_the_size_of_a_class_is_its_height_and_width(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/all.py").write_text(RESIZING)
    found = read_clip_loader(tmp_path)
    assert (found.resized_to("POLE"), found.resized_to("BARS"), found.resized_to("OTHER")) == ((64, 96), (64, 64), None)


@pytest.mark.requirement("T1")
def test_frames_held_back_for_a_held_out_loss_are_not_trained_on(tmp_path: Path) -> None:
    settings, target = checkout(tmp_path, enable_eval_loss=True, train_ratio=0.5)
    assert train_share(target, "dynamics") == 0.5
    with pytest.raises(ConfigError, match=r"of which train_ratio 0\.5 is trained on .*: 15 clips.*at least 40 fr"):
        require_clips(settings, target, 38)
    require_clips(settings, target, 40)
    off = replace(target, arguments=TargetArguments(training={"enable_eval_loss": False}))
    assert train_share(off, "dynamics") == 1.0
    require_clips(settings, off, 38)
