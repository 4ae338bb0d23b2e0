"""Causality, losses, masks, initialisation, gradients, weight decay, autocast and compilation of the models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.helpers.small_models import SMALL, frames, randomize, world_models
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.dynamics import DynamicsModel
from tinyworlds_gate.reference.models.latent_actions import LatentActionModel
from tinyworlds_gate.reference.models.video_tokenizer import VideoTokenizer
from tinyworlds_gate.reference.training.optimizer import parameter_groups


def future_changed(clip: Tensor) -> Tensor:
    return torch.cat((clip[:, :2], -clip[:, 2:]), dim=1)


def test_the_tokenizer_never_looks_ahead() -> None:
    tokenizer = world_models().tokenizer
    before, after = tokenizer(frames()), tokenizer(future_changed(frames()))
    assert torch.allclose(before.recon[:, :2], after.recon[:, :2], atol=1e-5)
    assert not torch.allclose(before.recon[:, 2:], after.recon[:, 2:], atol=1e-2)


def test_an_action_depends_on_its_two_frames_and_their_past_only() -> None:
    encoder = world_models().latent_actions.encoder
    before, after = encoder(frames()), encoder(future_changed(frames()))
    assert torch.allclose(before[:, :1], after[:, :1], atol=1e-5)
    assert not torch.allclose(before[:, 1:], after[:, 1:], atol=1e-3)


def test_dynamics_never_looks_ahead() -> None:
    models = world_models()
    latents, actions = models.tokenizer.encode(frames()), torch.ones(2, 3, 2)
    before, after = models.dynamics(latents, actions), models.dynamics(future_changed(latents), actions)
    assert torch.allclose(before[:, :2], after[:, :2], atol=1e-5)
    assert not torch.allclose(before[:, 2:], after[:, 2:], atol=1e-2)


def test_actions_steer_dynamics_from_the_frame_they_lead_to() -> None:
    models = world_models()
    latents, actions = models.tokenizer.encode(frames()), torch.ones(2, 3, 2)
    turned = torch.cat((actions[:, :1], -actions[:, 1:]), dim=1)
    moved = (models.dynamics(latents, actions) - models.dynamics(latents, turned)).abs().amax(dim=(0, 2, 3))
    assert moved[:2].max() < 1e-5
    assert moved[2:].min() > 1e-2


def test_masked_latents_do_not_reach_the_logits() -> None:
    models = world_models()
    latents = models.tokenizer.encode(frames())
    mask = models.dynamics.sample_mask(2, 4, SMALL.patches, torch.Generator().manual_seed(3))
    scrambled = torch.where(mask[..., None], -latents, latents)
    assert not torch.equal(scrambled, latents)
    assert torch.equal(models.dynamics(latents, None, mask), models.dynamics(scrambled, None, mask))


def test_the_latent_action_decoder_sees_only_the_first_frame_in_training() -> None:
    model = world_models().latent_actions
    actions, clip = torch.ones(2, 3, 2), frames()[:, :-1]
    other = torch.cat((clip[:, :1], -clip[:, 1:]), dim=1)
    model.train()
    assert torch.equal(model.decoder(clip, actions), model.decoder(other, actions))
    model.eval()
    assert not torch.allclose(model.decoder(clip, actions), model.decoder(other, actions), atol=1e-3)


def test_the_penalty_pulls_apart_actions_that_are_alike() -> None:
    model = world_models().latent_actions
    same = frames(batch=1).expand(4, -1, -1, -1, -1)
    alike = model(same)
    assert alike.variance < 1e-8
    assert alike.loss.item() == pytest.approx(F.smooth_l1_loss(alike.pred_frames, same[:, 1:]).item() + 1.0, abs=1e-4)


def test_a_single_frame_holds_no_action() -> None:
    with pytest.raises(ConfigError, match="at least 2 frames"):
        world_models().latent_actions.encode(frames(length=1))


def test_the_dynamics_loss_counts_masked_positions_only() -> None:
    models = world_models()
    latents, indices = models.tokenizer.encode(frames()), models.tokenizer.tokenize(frames())
    mask = models.dynamics.sample_mask(2, 4, SMALL.patches, torch.Generator().manual_seed(1))
    loss, logits = models.dynamics.loss(latents, indices, None, mask)
    assert loss.item() == pytest.approx(F.cross_entropy(logits[mask], indices[mask]).item(), rel=1e-5)


def test_every_place_stays_visible_in_at_least_one_frame() -> None:
    model = DynamicsModel(SMALL)
    for seed in range(20):
        mask = model.sample_mask(8, 4, 16, torch.Generator().manual_seed(seed))
        assert (~mask).any(dim=1).all()


def test_the_mask_hides_between_half_and_all_of_what_may_be_hidden() -> None:
    model = DynamicsModel(SMALL)
    generator = torch.Generator().manual_seed(0)
    shares = torch.stack([model.sample_mask(64, 4, 64, generator).float().mean() for _ in range(200)])
    # One of four frames stays visible, so the ratio r in [0.5, 1) shows as 0.75 r.
    assert shares.min() > 0.36
    assert shares.max() < 0.76
    assert shares.mean().item() == pytest.approx(0.75 * 0.75, abs=0.02)


def test_the_visible_frame_is_any_of_them() -> None:
    visible = ~DynamicsModel(SMALL).sample_mask(64, 4, 64, torch.Generator().manual_seed(5))
    assert visible.float().mean(dim=(0, 2)).std() < 0.03


def test_the_same_generator_state_gives_the_same_mask() -> None:
    model = DynamicsModel(SMALL)
    first, second = (model.sample_mask(2, 4, 16, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_film_and_mask_tokens_start_as_the_architecture_says() -> None:
    torch.manual_seed(0)
    actions, dynamics = LatentActionModel(SMALL), DynamicsModel(SMALL)
    assert not actions.decoder.mask_token.any()
    assert 0 < dynamics.mask_token.abs().max() < 0.1
    film = [(n, p) for m in (actions, dynamics) for n, p in m.named_parameters() if "to_gamma_beta" in n]
    weights = torch.cat([p.flatten() for n, p in film if n.endswith("weight")])
    assert weights.std().item() == pytest.approx(1e-3, rel=0.1)
    assert not torch.cat([p for n, p in film if n.endswith("bias")]).any()


def losses() -> dict[str, tuple[nn.Module, Callable[[], Tensor]]]:
    """Return each model with a function that computes one training loss."""
    models, clip = world_models(), frames()
    tokenizer, actions, dynamics = models.tokenizer.train(), models.latent_actions.train(), models.dynamics.train()
    latents, indices = tokenizer.encode(clip).detach(), tokenizer.tokenize(clip)
    mask = dynamics.sample_mask(2, 4, SMALL.patches, torch.Generator().manual_seed(1))
    return {
        "video_tokenizer": (tokenizer, lambda: tokenizer(clip).loss),
        "latent_actions": (actions, lambda: actions(clip).loss),
        "dynamics": (dynamics, lambda: dynamics.loss(latents, indices, torch.ones(2, 3, 2), mask).loss),
    }


@pytest.mark.parametrize("stage", ["video_tokenizer", "latent_actions", "dynamics"])
def test_every_parameter_gets_a_gradient(stage: str) -> None:
    model, loss = losses()[stage]
    loss().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_without_actions_only_film_gets_no_gradient() -> None:
    dynamics = DynamicsModel(SMALL)
    dynamics(
        torch.zeros(1, 2, SMALL.patches, SMALL.latent_dim), None, torch.ones(1, 2, SMALL.patches).bool()
    ).sum().backward()
    without = {name for name, parameter in dynamics.named_parameters() if parameter.grad is None}
    assert without == {name for name, _ in dynamics.named_parameters() if "to_gamma_beta" in name}


@pytest.mark.parametrize("stage", ["video_tokenizer", "latent_actions", "dynamics"])
def test_losses_stay_close_under_bfloat16_autocast(stage: str) -> None:
    model, loss = losses()[stage]
    exact = loss().item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = loss()
    rough.backward()
    assert rough.item() == pytest.approx(exact, rel=0.05)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("stage", ["video_tokenizer", "latent_actions", "dynamics"])
def test_a_model_compiles_without_graph_breaks(stage: str) -> None:
    _, loss = losses()[stage]
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    assert compiled().item() == pytest.approx(loss().item(), rel=1e-5)


def test_decay_falls_on_matrices_and_mask_tokens_but_not_on_biases_gains_and_film() -> None:
    model = LatentActionModel(SMALL)
    decayed, undecayed = parameter_groups(model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    decayed_names = {names[parameter] for parameter in decayed["params"]}
    undecayed_names = {names[parameter] for parameter in undecayed["params"]}
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (0.01, 0.0)
    assert decayed_names | undecayed_names == set(names.values())
    assert {"decoder.mask_token", "encoder.patch_embed.proj.weight", "encoder.action_head.1.weight"} <= decayed_names
    assert "decoder.transformer.blocks.0.ffn.norm.to_gamma_beta.1.weight" in undecayed_names
    assert not any(name.endswith("bias") or ".norm." in name for name in decayed_names)
    assert "encoder.action_head.0.weight" in undecayed_names


def test_frozen_parameters_are_not_optimised() -> None:
    model = VideoTokenizer(SMALL)
    model.encoder.requires_grad_(False)
    kept = {id(parameter) for group in parameter_groups(model) for parameter in group["params"]}
    assert kept == {id(parameter) for parameter in model.decoder.parameters()}


def test_a_few_updates_lower_the_tokenizer_loss() -> None:
    torch.manual_seed(0)
    tokenizer, clip = VideoTokenizer(SMALL), frames(batch=4)
    optimizer = torch.optim.AdamW(parameter_groups(tokenizer), lr=3e-3)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = tokenizer(clip).loss
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.8 * values[0]


def test_the_key_bias_keeps_still_and_changes_nothing() -> None:
    tokenizer = randomize(VideoTokenizer(SMALL))
    before = tokenizer(frames()).recon
    for name, parameter in tokenizer.named_parameters():
        if name.endswith("k_proj.bias"):
            parameter.data += 3.0
    output = tokenizer(frames())
    output.loss.backward()
    assert torch.equal(output.recon, before)
    assert not any(
        p.grad.any() for n, p in tokenizer.named_parameters() if n.endswith("k_proj.bias") and p.grad is not None
    )
