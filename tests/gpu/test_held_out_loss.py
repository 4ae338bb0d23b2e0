"""On a GPU with CUDA graphs, training is bit-identical with and without the held-out loss.

python -m pytest tests/gpu/test_held_out_loss.py -m gpu
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.tiny_stages import make_tiny_stages
from tests.unit.reference.training.test_held_out_loss import RANDOM, require_same_training

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]


@pytest.mark.usefixtures("gpus")
@pytest.mark.requirement("H7")
@pytest.mark.parametrize("compiled", [False, True], ids=["CUDA graphs", "compiled"])
def test_updates_as_cuda_graphs_are_bit_identical_with_and_without_it(tmp_path: Path, compiled: bool) -> None:
    project = make_tiny_stages(tmp_path)
    on_gpu: dict[str, object] = {"device": "cuda", "compile": compiled}
    for stage in ("video_tokenizer", "latent_actions"):
        done = project.train(stage, "whole", on_gpu)
        assert done.exit_code == 0, done.output
        require_same_training(project, stage, on_gpu, f"held_{stage}")
    require_same_training(project, "dynamics", on_gpu, "held_dynamics")
    require_same_training(project, "dynamics", {**on_gpu, **RANDOM}, "held_next_frame")
