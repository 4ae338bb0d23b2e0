"""Tokens of all frames: windows, ranks and clips. ``pytest tests/unit/reference/training/test_token_clips.py``"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import SMALL
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.training import token_clips
from tinyworlds_gate.reference.training.distributed import Worker
from tinyworlds_gate.reference.training.token_clips import TokenTable, tokenize_all

FRAMES, AT_ONCE = 10, 3
CPU = torch.device("cpu")


class Rank(Worker):
    """A rank whose sums are its own part."""

    def sum(self, tensor: Tensor) -> Tensor:
        assert len(tensor) == 4 * AT_ONCE
        return tensor


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> tuple[VideoTokenizer, LatentActionModel]:
    monkeypatch.setattr(token_clips, "FRAMES_AT_ONCE_ON_CPU", AT_ONCE)
    tokenizer = VideoTokenizer(SMALL, frame_by_frame=True).eval()
    latent_actions = LatentActionModel(SMALL, frame_pairs=True).eval()
    torch.manual_seed(1)
    for parameter in (*latent_actions.parameters(), *tokenizer.parameters()):
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return tokenizer, latent_actions


def pixels() -> Tensor:
    return torch.randint(0, 256, (FRAMES, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_ranks_share_the_windows_and_their_sum_is_the_whole_table(
    monkeypatch: pytest.MonkeyPatch, models: tuple[VideoTokenizer, LatentActionModel], ranks: int
) -> None:
    tokenizer, latent_actions = models
    seen: list[int] = []
    encode = tokenizer.encode

    def counted(frames: Tensor) -> Tensor:
        assert torch.is_autocast_enabled("cpu") is False
        seen.append(len(frames))
        return encode(frames)

    monkeypatch.setattr(tokenizer, "encode", counted)
    parts = [
        tokenize_all(tokenizer, latent_actions, pixels(), Rank(rank, ranks, CPU), autocast=False)
        for rank in range(ranks)
    ]
    assert seen == [AT_ONCE] * 4, "every window once, of one shape"
    frames = pixels().permute(0, 3, 1, 2).float() / 127.5 - 1
    indices = tokenizer.quantizer.indices_from_latents(encode(frames[:, None]))[:, 0]
    pairs = torch.stack((frames[:-1], frames[1:]), dim=1)
    codes = latent_actions.action_indices(latent_actions.encode(pairs))[:, 0]
    assert len(indices.unique()) > 1
    assert len(codes.unique()) > 1
    assert torch.equal(torch.stack([one.indices_NP for one in parts]).sum(dim=0), indices)
    assert torch.equal(torch.stack([one.codes_N for one in parts]).sum(dim=0)[:-1], codes)
    assert {(len(one.indices_NP), len(one.codes_N)) for one in parts} == {(FRAMES, FRAMES)}


def test_frames_are_tokenised_under_autocast_if_the_training_uses_it(
    monkeypatch: pytest.MonkeyPatch, models: tuple[VideoTokenizer, LatentActionModel]
) -> None:
    tokenizer, latent_actions = models
    seen: list[tuple[bool, torch.dtype]] = []
    encode = tokenizer.encode

    def noted(frames: Tensor) -> Tensor:
        seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        return encode(frames)

    monkeypatch.setattr(tokenizer, "encode", noted)
    tokenize_all(tokenizer, latent_actions, pixels(), Worker(0, 1, CPU), autocast=True)
    assert set(seen) == {(True, torch.bfloat16)}


def test_a_clip_has_the_tokens_of_its_frames_and_the_codes_between_them() -> None:
    table = TokenTable(torch.arange(12, dtype=torch.int32).view(6, 2), torch.arange(6, dtype=torch.int32))
    frames = torch.zeros(2, 3, 3, 4, 4)
    found = table.clips(torch.tensor([0, 3]), 3, frames)
    assert found.indices_BTP.tolist() == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]
    assert found.codes_BT.tolist() == [[0, 1], [3, 4]]
    assert (found.indices_BTP.dtype, found.codes_BT.dtype) == (torch.int64, torch.int64)
    assert found.frames_BTCHW is frames
    assert table.clips(torch.tensor([1]), 2).frames_BTCHW is None
