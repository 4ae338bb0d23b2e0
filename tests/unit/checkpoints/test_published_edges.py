"""Which paths and names are single files of weights, and what a damaged one says.

pytest tests/unit/checkpoints/test_published_edges.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tinyworlds_gate.checkpoints.published import (
    LARGEST_STEP,
    is_published,
    published_files,
    published_name,
    read_published,
)
from tinyworlds_gate.errors import CheckpointError

MODEL = {"latent_embed.weight": torch.ones(8, 1), "output_mlp.weight": torch.ones(4, 8)}


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("any.pth", True),
        ("dynamics_step_1.pt", True),
        ("any.pt", False),
        ("dynamics_step_1", False),
        ("any.txt", False),
    ],
)
def test_a_single_file_is_a_file_with_such_a_name(name: str, published: bool, tmp_path: Path) -> None:
    assert not is_published(tmp_path / name), "it does not exist"
    (tmp_path / name).touch()
    assert is_published(tmp_path / name) is published
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert not is_published(tmp_path / name), "it is a folder"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("dynamics_step_0.pt", ("dynamics", 0)),
        (f"dynamics_step_{'9' * 18}.pt", ("dynamics", LARGEST_STEP - 1)),
        (f"dynamics_step_{'9' * 19}x.pt", ("dynamics", LARGEST_STEP - 1)),
        ("actions_step_4.pth", ("latent_actions", 4)),
        ("video_tokenizer_checkpoint.pth", ("video_tokenizer", None)),
        ("xdynamics_step_1.pth", None),
    ],
)
def test_a_name_has_a_stage_and_up_to_18_digits(name: str, found: tuple[str, int | None] | None) -> None:
    assert published_name(name) == found


def test_the_files_of_a_stage_are_in_the_order_of_their_steps(tmp_path: Path) -> None:
    names = ("b_dynamics_step_2.pth", "a_dynamics_step_10.pth", "dynamics_checkpoint.pth", "lam_step_3.pth", "x.pth")
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "dynamics_step_5.pth").mkdir()
    assert [path.name for path in published_files(tmp_path, "dynamics")] == [names[2], names[0], names[1]]
    assert [path.name for path in published_files(tmp_path, "latent_actions")] == [names[3]]


@pytest.mark.parametrize(
    ("step", "read"), [(0, 0), (LARGEST_STEP - 1, LARGEST_STEP - 1), (LARGEST_STEP, 7), (-1, 7), (True, 7), (1.0, 7)]
)
def test_a_step_that_no_folder_s_name_can_have_is_the_file_s_name_s(step: object, read: int, tmp_path: Path) -> None:
    file = tmp_path / "dynamics_step_7.pth"
    torch.save({"model": MODEL, "step": step, "config": {"a": 1}, "other": 2}, file)
    published = read_published(file)
    assert (published.stage, published.step, published.optimizer) == ("dynamics", read, None)
    assert published.state == {"scheduler_state_dict": None, "config": {"a": 1}, "timestamp": None, "step": read}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {**{f"k{number}": 0 for number in range(9)}, "model": None},
            "holds no `model` with named tensors (found: k0, k1, k2, k3, k4, k5, k6, k7); give the weights' own file",
        ),
        (
            {"k" * 81: 0, 3: 1},
            f"holds no `model` with named tensors (found: {'k' * 80}, 3); give the weights' own file",
        ),
        ({"model": {"a": 3}}, "entry 'a' of `model` is a int, not a named tensor"),
        ({"model": {3: torch.ones(1)}}, "entry 3 of `model` is a Tensor, not a named tensor"),
    ],
)
def test_a_file_without_named_tensors_says_what_it_has(content: object, said: str, tmp_path: Path) -> None:
    file = tmp_path / "dynamics_step_7.pth"
    torch.save(content, file)
    with pytest.raises(CheckpointError) as caught:
        read_published(file)
    assert str(caught.value).removeprefix(f"{file}: ").removeprefix(f"{file} ") == said
