"""Compiled regions compute the same as eager ones, on a CPU (for a GPU: tests/gpu/test_kernels.py).

python -m pytest tests/unit/reference/training/test_compiled_regions.py -m slow
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.helpers.tiny_stages import TRAINING
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.training.regional_compile import compile_regions

SIZES = ModelSizes.from_mapping(TRAINING)


def _loss_and_gradients(*, compiled: bool) -> tuple[float, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model = VideoTokenizer(SIZES)
    frames = torch.rand(2, SIZES.context_length, 3, SIZES.frame_size, SIZES.frame_size) * 2 - 1
    if compiled:
        compile_regions((model,), deterministic=True)
    loss = model(frames).loss
    loss.backward()
    return loss.item(), {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # of the compiler itself
@pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="torch.compile needs a C++ compiler for a CPU",
)
def test_a_compiled_tokenizer_has_the_loss_and_the_gradients_of_a_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    plain_loss, plain = _loss_and_gradients(compiled=False)
    loss, gradients = _loss_and_gradients(compiled=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= before + 5  # each kind of region
    assert loss == pytest.approx(plain_loss, rel=1e-5)
    assert gradients.keys() == plain.keys()
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, plain[name], rtol=1e-3, atol=1e-6), name
