"""Next-frame training of dynamics: one pass predicts every frame from the complete frames before it."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import combinations
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch.nn import functional as F

from tests.helpers.small_models import sizes
from tinyworlds_gate.config.schema import DynamicsConfig, TokenChoice
from tinyworlds_gate.reference.data.clips import to_model_range
from tinyworlds_gate.reference.models.dynamics import DynamicsModel
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel, code_balance_penalty
from tinyworlds_gate.reference.models.maskgit import token_chooser
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.rollout.rollout import rollout
from tinyworlds_gate.reference.rollout.steps import EagerSteps
from tinyworlds_gate.reference.rollout.world_models import WorldModels
from tinyworlds_gate.reference.training import next_frame, token_clips
from tinyworlds_gate.reference.training.distributed import Worker
from tinyworlds_gate.reference.training.next_frame import NextFrameObjective
from tinyworlds_gate.reference.training.token_clips import TokenClips, cacheable, tokenize_all

SIZES = sizes(num_heads=4, hidden_dim=48, n_actions=8, context_length=5)


def settings(**values: object) -> DynamicsConfig:
    fixed = {
        "batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 1,
        "n_updates": 4,
        "learning_rate": 1e-3,
        "log_interval": 2,
        "masking": "next_frame",
    }
    return DynamicsConfig.model_validate(fixed | values)


def objective(**values: object) -> NextFrameObjective:
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(SIZES, frame_by_frame=True).eval().requires_grad_(False)
    latent_actions = LatentActionModel(SIZES, frame_pairs=True).eval().requires_grad_(False)
    return NextFrameObjective(SIZES, tokenizer, latent_actions, settings(**values))


def test_a_guess_is_what_a_rollout_predicts_from_the_same_known_frames() -> None:
    torch.manual_seed(1)
    model = DynamicsModel(SIZES).eval()
    for parameter in model.parameters():  # FiLM starts close to nothing
        torch.nn.init.normal_(parameter, std=0.2)
    latents = torch.rand(2, 5, SIZES.patches, 3) * 2 - 1
    known = torch.rand(2, 5, SIZES.patches, 3) * 2 - 1
    actions = torch.randint(0, 2, (2, 4, 3)).float() * 2 - 1
    mask = torch.rand(2, 5, SIZES.patches) < 0.7
    guesses = model.predict_in_parallel(known, latents, actions, mask)
    assert guesses.shape == (2, 4, SIZES.patches, SIZES.vocabulary)
    for frame in range(1, 5):
        past = model.prefill(known[:, :frame], actions[:, : frame - 1] if frame > 1 else actions[:, :0])
        alone, _ = model.extend(
            latents[:, frame : frame + 1], actions[:, frame - 1 : frame], mask[:, frame : frame + 1], past
        )
        torch.testing.assert_close(guesses[:, frame - 1 : frame], alone, rtol=1e-4, atol=1e-5)


def test_no_guess_sees_its_own_hidden_tokens_nor_a_later_frame() -> None:
    torch.manual_seed(2)
    model = DynamicsModel(SIZES).eval()
    latents = torch.rand(1, 5, SIZES.patches, 3) * 2 - 1
    actions = torch.ones(1, 4, 3)
    everything = torch.ones(1, 5, SIZES.patches, dtype=torch.bool)
    before = model.predict_in_parallel(latents, latents, actions, everything)
    changed = latents.clone()
    changed[:, 3:] = -changed[:, 3:]
    after = model.predict_in_parallel(changed, changed, actions, everything)
    torch.testing.assert_close(before[:, :3], after[:, :3])  # frames 1 to 3, the last of them changed itself
    assert not torch.allclose(before[:, 3], after[:, 3])


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"own_context": 0.5, "context_noise": 0.3},
        {"pixel_loss": 10.0},
        {"own_context": 1.0, "token_choice": "mean", "pixel_loss": 10.0, "pixel_frames": 2},
    ],
)
def test_the_loss_has_a_gradient_for_every_weight_and_training_lowers_it(extra: dict[str, object]) -> None:
    torch.manual_seed(3)
    stage = objective(whole_frame_share=0.5, **extra)
    frames = torch.rand(4, 5, 3, 16, 16) * 2 - 1
    optimizer = torch.optim.AdamW(stage.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss, codes = stage(*stage.prepare(frames))
        optimizer.zero_grad()
        loss.backward()
        assert all(one.grad is not None for one in stage.model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert codes.shape == (4, 5, SIZES.patches)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def with_contrast(stage: NextFrameObjective) -> NextFrameObjective:
    """Give the weights a size at which frames have different tokens and tokens decode to different frames."""
    torch.manual_seed(8)
    for parameter in (one for model in stage.all_models for one in model.parameters() if one.ndim > 1):
        torch.nn.init.normal_(parameter, std=0.3)
    return stage


@pytest.mark.parametrize("token_choice", ["likeliest", "mean"])
@pytest.mark.parametrize("pixel_frames", [None, 2])
def test_the_loss_compares_each_prediction_with_its_own_frame(
    token_choice: TokenChoice, pixel_frames: int | None
) -> None:
    """The loss is written again: cross-entropy of the hidden tokens, and the error of some or all decoded frames."""
    stage = with_contrast(objective(pixel_loss=10.0, pixel_frames=pixel_frames, token_choice=token_choice))
    quantizer, decode = stage._frozen[0].quantizer, stage._frozen[0].decode
    frames = torch.rand(2, 5, 3, 16, 16) * 2 - 1
    seen = set()
    for _ in range(6):
        known, latents, indices, actions, hidden, _ = stage.prepare(frames)
        with torch.no_grad():
            loss, _ = stage(known, latents, indices, actions, hidden, frames)
            logits = stage.dynamics.predict_in_parallel(known, latents, actions, hidden)
            entropy = F.cross_entropy(logits[hidden[:, 1:]], indices[:, 1:][hidden[:, 1:]])
            mean = quantizer.expected_latents(logits)
            decoded = decode(mean if token_choice == "mean" else quantizer.nearest_level(mean))
        errors = ((decoded - frames[:, 1:]) / 2).square().mean(dim=(0, 2, 3, 4))
        drawn = [sum(some) / len(some) for some in combinations(errors.tolist(), pixel_frames or len(errors))]
        found = (loss - entropy).item() / 10
        assert found in [pytest.approx(one, rel=1e-4) for one in drawn]
        seen.add(min(range(len(drawn)), key=lambda at: abs(drawn[at] - found)))
    assert len(seen) == 1 if pixel_frames is None else len(seen) > 1, "other frames are drawn each time"


@pytest.mark.parametrize(("pixel_frames", "drawn"), [(None, False), (1, True), (3, True), (4, False), (9, False)])
def test_frames_are_drawn_only_where_some_are_left_out(pixel_frames: int | None, drawn: bool) -> None:
    stage = with_contrast(objective(pixel_loss=10.0, pixel_frames=pixel_frames))
    inputs = stage.prepare(torch.rand(2, 5, 3, 16, 16) * 2 - 1)
    state = torch.get_rng_state()
    stage(*inputs)
    assert torch.equal(torch.get_rng_state(), state) is not drawn


def test_without_a_pixel_loss_no_frame_is_needed_nor_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = with_contrast(objective())
    inputs = stage.prepare(torch.rand(2, 5, 3, 16, 16) * 2 - 1)
    monkeypatch.delattr(VideoTokenizer, "decode")
    (with_frames, codes), (without, _) = stage(*inputs), stage(*inputs[:5])
    assert torch.equal(with_frames, without)
    assert torch.equal(codes, inputs[2])


def test_the_pixel_loss_passes_the_gradient_of_the_mean_through_the_nearest_level() -> None:
    """Rounding has no gradient of its own: that at the expected latents is taken as it is."""
    stage = with_contrast(objective(pixel_loss=10.0))
    tokenizer = stage._frozen[0]
    frames = torch.rand(2, 4, 3, 16, 16) * 2 - 1
    logits = torch.randn(2, 4, SIZES.patches, SIZES.vocabulary, requires_grad=True)
    (found,) = torch.autograd.grad(stage._pixel_error(logits, frames), logits)
    mean = tokenizer.quantizer.expected_latents(logits)
    nearest = tokenizer.quantizer.nearest_level(mean).detach().requires_grad_()
    (at_nearest,) = torch.autograd.grad(((tokenizer.decode(nearest) - frames) / 2).square().mean(), nearest)
    (expected,) = torch.autograd.grad(mean, logits, at_nearest)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected)


def test_masks_hide_whole_frames_and_a_random_share_of_the_others() -> None:
    frames = torch.rand(16, 5, 3, 16, 16) * 2 - 1
    torch.manual_seed(9)
    hidden = {share: objective(whole_frame_share=share).prepare(frames)[4] for share in (0.0, 0.5, 1.0)}
    assert hidden[1.0].all()
    assert hidden[0.0].float().mean().item() == pytest.approx(0.75, abs=0.04)  # ratios from 0.5 to 1
    whole = hidden[0.5].all(dim=-1).float().mean() - hidden[0.0].all(dim=-1).float().mean() / 2
    assert whole.item() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("noise", [0.2, 0.8])
def test_noise_replaces_half_its_share_of_the_known_tokens_on_average(noise: float) -> None:
    torch.manual_seed(10)
    known, latents, *_ = objective(context_noise=noise).prepare(torch.rand(64, 5, 3, 16, 16) * 2 - 1)
    changed = (known != latents).any(dim=-1).float().mean(dim=(1, 2))  # a clip each
    assert changed.mean().item() == pytest.approx(noise / 2, abs=0.15 * noise)
    assert changed.max().item() < noise + 0.15


@pytest.mark.parametrize(
    ("values", "draws"),
    [({}, False), ({"context_noise": 0.5}, True), ({"context_noise": 0.5, "own_context": 1.0}, False)],
)
def test_noise_is_drawn_only_for_clips_that_get_some(values: dict[str, object], draws: bool) -> None:
    stage = objective(**values)
    latents, actions = torch.ones(2, 5, SIZES.patches, 3), torch.ones(2, 4, 3)
    state = torch.get_rng_state()
    assert stage._known(latents, actions).shape == latents.shape
    assert torch.equal(torch.get_rng_state(), state) is not draws


def test_a_draw_at_the_limit_hides_no_frame_and_disturbs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of 0 changes nothing, even where the random number is 0."""
    draws = iter([1.0, 0.5, 0.5, 0.75])
    monkeypatch.setattr(torch, "rand", lambda *size, device: torch.full(size, next(draws)))
    known, latents, _, _, hidden = with_contrast(objective(context_noise=0.5, whole_frame_share=0.5)).prepare(
        TokenClips(torch.zeros(2, 5, SIZES.patches, dtype=torch.int64), torch.zeros(2, 4, dtype=torch.int64), None)
    )
    assert torch.equal(known, latents)
    assert not hidden.any(), "a share of 0.75 is hidden, and every number is 0.75"


def test_on_a_cpu_nothing_is_compiled_and_the_projections_are_fused_in_the_latents_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fused: list[object] = []

    def fuse(model: object, dtype: torch.dtype) -> nullcontext[None]:
        fused.append((model, dtype))
        return nullcontext()

    monkeypatch.setattr(next_frame, "fuse_projections", fuse)
    monkeypatch.setattr(next_frame, "uncompiled", lambda: pytest.fail("there is nothing to leave uncompiled"))
    stage = objective(own_context=1.0, true_context=2)
    stage.prepare(torch.rand(2, 5, 3, 16, 16) * 2 - 1)
    assert fused == [(stage.dynamics, torch.float32)]


@pytest.mark.parametrize(("pixel_loss", "with_frames"), [(0.0, False), (0.5, True)])
@pytest.mark.parametrize("autocast", [False, True])
def test_tokens_are_cached_with_the_frames_that_a_pixel_loss_needs(
    pixel_loss: float, with_frames: bool, autocast: bool
) -> None:
    calls: list[tuple[object, ...]] = []
    batches = SimpleNamespace(use_tokens=lambda *models, **named: calls.append((models, named)))
    stage = objective(pixel_loss=pixel_loss)
    stage.use_tokens(cast(Any, batches), autocast=autocast)
    assert calls == [(tuple(stage._frozen), {"autocast": autocast, "with_frames": with_frames})]
    stage._frozen[0].frame_by_frame = False
    stage.use_tokens(cast(Any, batches), autocast=autocast)
    assert len(calls) == 1, "tokens that depend on their clip are not cached"


@pytest.mark.parametrize(("share", "clips"), [(0.0, 0), (0.1, 1), (0.5, 2), (0.7, 3), (1.0, 3)])
def test_at_least_the_stated_share_of_the_clips_has_a_context_of_its_own(share: float, clips: int) -> None:
    known, latents, *_ = with_contrast(objective(own_context=share)).prepare(torch.rand(3, 5, 3, 16, 16) * 2 - 1)
    assert [not torch.equal(one, true) for one, true in zip(known, latents, strict=True)] == [
        at < clips for at in range(3)
    ]


def test_own_context_leaves_the_first_frames_true_and_changes_the_later_ones() -> None:
    stage = objective(own_context=1.0, true_context=2)
    known, latents, *_ = stage.prepare(torch.rand(3, 5, 3, 16, 16) * 2 - 1)
    torch.testing.assert_close(known[:, :2], latents[:, :2])
    for frame in range(2, 4):
        assert not torch.equal(known[:, frame], latents[:, frame])


@pytest.mark.parametrize("token_choice", ["likeliest", "nearest_mean", "mean"])
def test_own_context_is_what_the_rollout_of_an_inference_run_makes(token_choice: TokenChoice) -> None:
    stage = objective(own_context=0.5, true_context=2, token_choice=token_choice, context_noise=0.5)
    for parameter in stage.dynamics.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokenizer, latent_actions = stage._frozen
    frames = torch.rand(4, 5, 3, 16, 16, generator=torch.Generator().manual_seed(7)) * 2 - 1
    known, latents, *_ = stage.prepare(frames)
    assert not torch.equal(known[2:], latents[2:])  # the other half is disturbed
    models = WorldModels(tokenizer, latent_actions, stage.dynamics)
    steps = EagerSteps(models, token_chooser(token_choice, tokenizer.quantizer))
    dreamt = rollout(
        models, frames[:2], context=2, generation_steps=2, decode_steps=1, space="tokens", memory=4, steps=steps
    )
    again = tokenizer.quantizer.indices_from_latents(known[:2, 2:4])
    assert torch.equal(again, dreamt.token_indices)
    torch.testing.assert_close(tokenizer.decode(known[:2, 2:4]).clamp(-1, 1), dreamt.predicted_BTCHW)


def test_frames_alone_have_the_same_tokens_wherever_a_clip_begins() -> None:
    torch.manual_seed(4)
    frames = torch.rand(2, 5, 3, 16, 16) * 2 - 1
    apart, together = VideoTokenizer(SIZES, frame_by_frame=True).eval(), VideoTokenizer(SIZES).eval()
    together.load_state_dict(apart.state_dict())
    torch.testing.assert_close(apart.encode(frames)[:, 2:], apart.encode(frames[:, 2:]))
    torch.testing.assert_close(apart.encode(frames[:, :1]), together.encode(frames[:, :1]))
    decoded = apart.decode(apart.encode(frames))
    assert decoded.shape == frames.shape
    torch.testing.assert_close(decoded[:, 3:4], together.decode(apart.encode(frames[:, 3:4])))


def test_pairs_have_the_same_action_wherever_a_clip_begins() -> None:
    torch.manual_seed(5)
    frames = torch.rand(2, 5, 3, 16, 16) * 2 - 1
    model = LatentActionModel(SIZES, frame_pairs=True).eval()
    actions = model.encode(frames)
    assert actions.shape == (2, 4, 3)
    for first in range(4):
        torch.testing.assert_close(actions[:, first : first + 1], model.encode(frames[:, first : first + 2]))


def test_the_balance_of_codes_is_the_information_that_they_carry() -> None:
    decided = torch.tensor([[a, b, c] for a in (-9.0, 9.0) for b in (-9.0, 9.0) for c in (-9.0, 9.0)])[None]
    log8 = torch.log(torch.tensor(8.0))
    torch.testing.assert_close(code_balance_penalty(decided, 2.5), 2.5 - log8, rtol=0, atol=1e-3)
    assert code_balance_penalty(decided, 2.0) == 0
    same = torch.full((1, 8, 3), 9.0)
    torch.testing.assert_close(code_balance_penalty(same, 1.0), torch.tensor(1.0), rtol=0, atol=1e-3)
    undecided = torch.zeros(1, 8, 3)
    torch.testing.assert_close(code_balance_penalty(undecided, 1.0), torch.tensor(1.0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 3, 4, 9, 512])
def test_a_table_of_tokens_gives_the_same_inputs_as_the_frames_do(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Also across the edge of two windows that are tokenised one after the other."""
    monkeypatch.setattr(token_clips, "FRAMES_AT_ONCE_ON_CPU", at_once)
    stage = with_contrast(objective())
    tokenizer, latent_actions = stage._frozen
    pixels = torch.randint(0, 256, (9, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(6))
    table = tokenize_all(tokenizer, latent_actions, pixels, Worker(0, 1, torch.device("cpu")), autocast=False)
    starts = torch.tensor([0, 4])
    frames = to_model_range(pixels[starts[:, None] + torch.arange(5)])
    from_tokens, from_frames = stage.prepare(table.clips(starts, 5)), stage.prepare(frames)
    assert (len(from_tokens), len(from_frames)) == (5, 6)
    for cached, computed in zip(from_tokens[:4], from_frames[:4], strict=True):
        torch.testing.assert_close(cached.to(computed.dtype), computed)


def test_tokens_are_cached_only_where_no_clip_changes_them() -> None:
    alone, in_clips = VideoTokenizer(SIZES, frame_by_frame=True), VideoTokenizer(SIZES)
    pairs, windows = LatentActionModel(SIZES, frame_pairs=True), LatentActionModel(SIZES)
    assert cacheable(alone, pairs)
    assert not cacheable(in_clips, pairs)
    assert not cacheable(alone, windows)
