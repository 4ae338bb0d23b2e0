"""Which settings change what a rollout measures. ``pytest tests/unit/gate/test_measured_settings.py``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tinyworlds_gate.gate.measured_settings import measured_settings, same_game
from tinyworlds_gate.names import ATTEMPTS, EVALUATION
from tinyworlds_gate.reference.models.maskgit import reveal_counts

DEFAULTS = {
    "teacher_forced": False,
    "context_window": None,
    "prediction_horizon": 1,
    "generation_steps": 12,
    "decode_steps": 16,
    "temperature": 0.0,
    "rollout": "tokens",
    "memory_window": None,
    "token_choice": "likeliest",
    "stride": 4,
}


def measured(frames: Path | None = None, training: dict[str, int] | None = None, **inference: Any) -> dict[str, Any]:
    config = {"inference.dataset": "ZELDA"} | {f"inference.{key}": value for key, value in inference.items()}
    return measured_settings(config | {f"training.{key}": value for key, value in (training or {}).items()}, frames)


@pytest.mark.requirement("H3")
@pytest.mark.parametrize(
    ("inference", "training", "changes"),
    [
        ({}, {}, {}),
        ({"tf32": False, "seed": 7, "clips": 3, "clip_seed": 1}, {}, {}),
        ({}, {"context_length": 4}, {"context_window": 3, "memory_window": 3}),
        (
            {"prediction_horizon": 2},
            {"context_length": 4},
            {"prediction_horizon": 2, "context_window": 2, "memory_window": 2},
        ),
        ({"context_window": 5}, {"context_length": 4}, {"context_window": 5, "memory_window": 5}),
        ({"memory_window": 9}, {}, {"memory_window": 9}),
        ({"context_window": 3, "memory_window": 9}, {}, {"context_window": 3, "memory_window": 9}),
        ({"context_window": 3, "memory_window": 14}, {}, {"context_window": 3, "memory_window": 14}),
        ({"context_window": 3, "memory_window": 15}, {}, {"context_window": 3, "memory_window": 14}),
        (
            {"context_window": 3, "memory_window": 99, "generation_steps": 3, "prediction_horizon": 2},
            {},
            {"context_window": 3, "memory_window": 7, "generation_steps": 3, "prediction_horizon": 2},
        ),
        ({"temperature": 0.0099}, {}, {}),
        ({"temperature": 0.01}, {}, {"temperature": 0.01}),
        ({"generation_steps": 2}, {}, {"generation_steps": 2}),
        ({"generation_steps": 1, "rollout": "pixels"}, {}, {"generation_steps": 1, "rollout": None}),
        ({"fps": 30}, {}, {"stride": 2}),
        ({"dataset": "crafter"}, {}, {"stride": 1}),
        ({"clip_draw": EVALUATION}, {}, {"stride": 1}),
        ({"clip_draw": ATTEMPTS}, {}, {}),
        ({}, {"frame_size": 8}, {}),
        ({}, {"patch_size": 4}, {}),
        ({}, {"frame_size": 8, "patch_size": 4}, {"decode_steps": [one for one in reveal_counts(4, 16) if one]}),
        (
            {"prediction_horizon": 3, "decode_steps": 2},
            {"frame_size": 9, "patch_size": 4},
            {"prediction_horizon": 3, "decode_steps": reveal_counts(12, 2)},
        ),
    ],
)  # fmt: skip
def test_only_what_changes_the_rollout_changes_what_is_measured(
    inference: dict[str, Any], training: dict[str, int], changes: dict[str, Any]
) -> None:
    expected = DEFAULTS | changes
    if expected["rollout"] is None:
        del expected["rollout"], expected["teacher_forced"]
    assert measured(training=training, **inference) == expected


def test_a_file_that_records_its_rate_has_its_own_stride(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["frames"] = np.zeros((4, 8, 8, 3), np.uint8)
        file.attrs["fps"] = 30
    assert measured(tmp_path / "f.h5")["stride"] == 2
    assert measured(tmp_path / "f.h5", clip_draw=EVALUATION)["stride"] == 1


@pytest.mark.requirement("H3")
@pytest.mark.parametrize(
    ("was", "now", "same"),
    [
        ({"dataset_sha256": "a"}, {"dataset_sha256": "a"}, True),
        ({"dataset_sha256": "a"}, {"dataset_sha256": "b"}, True),
        ({"dataset_sha256": "a", "config": {"inference.dataset": "A"}}, {"dataset_sha256": "a"}, True),
        ({"config": {"inference.dataset": "A"}}, {"config": {"inference.dataset": "a"}}, True),
        ({"config": {"inference.dataset": "A"}}, {"config": {"inference.dataset": "B"}}, False),
        ({"config": {"inference.dataset": "A"}}, {"config": None}, False),
        ({"dataset_sha256": "a", "config": {"inference.dataset": "A"}}, {"dataset_sha256": "b"}, False),
        ({"dataset_sha256": None, "config": {"inference.dataset": "A"}}, {"dataset_sha256": None}, False),
    ],
)
def test_the_same_file_or_the_same_name_is_the_same_game(was: dict[str, Any], now: dict[str, Any], same: bool) -> None:
    assert same_game(was, now) is same
    assert same_game(now, was) is same
