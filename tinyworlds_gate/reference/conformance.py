"""Compare activations, losses, gradients and decoded latents with values recorded from TinyWorlds.

Run: tinyworlds-gate conformance FILE.safetensors… [--device cpu|cuda]
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tinyworlds_gate.errors import ConfigError, DataError
from tinyworlds_gate.names import STAGES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tinyworlds_gate.reference.models.sizes import ModelSizes
    from tinyworlds_gate.reference.rollout.world_models import WorldModels

RELATIVE_TOLERANCE = 1e-4  # of activations, losses and gradients
GRADIENT_FLOOR = 1e-6  # absolute, for gradients that are nearly zero
EXACT = ("out.tokenizer.indices", "out.lam.indices", "out.lam.actions", "out.dynamics.rollout_latents")

DECODE_SETTINGS = ("decode_steps", "prediction_horizon")


class TensorResult(NamedTuple):
    """Result for one golden tensor: the largest absolute difference, the tolerance, and whether it is within."""

    name: str
    max_error: float
    tolerance: float
    ok: bool


def compare(path: Path | str, device: str = "cpu") -> list[TensorResult]:
    """Compute every `out.*` and `grad.*` tensor of a conformance file in float32 and compare it.

    The JSON file of the same name holds the sizes and the decode settings. A computed gradient that the file lacks
    counts as a difference. Raises DataError when the file or its JSON is missing, unreadable or incomplete, ConfigError
    when the device is not available, CheckpointError when the weights do not fit the sizes.
    """
    path = Path(path)
    settings = _read_settings(path)
    golden = _read_tensors(path, _checked_device(device))
    with _exact_float32():
        ours = _compute(path, golden, settings, device)
    expected = {name: tensor for name, tensor in golden.items() if name.startswith(("out.", "grad."))}
    unknown = sorted(name for name in expected if name not in ours and not name.startswith("grad."))
    if unknown:
        raise DataError(
            f"{path.name} holds {', '.join(unknown)}, which this version cannot compute; nothing was compared. "
            "Update tinyworlds-gate or use a file of the documented layout."
        )
    extra = (name for name in ours if name.startswith("grad.") and name not in expected)
    names = sorted((*expected, *extra), key=lambda name: (name.startswith("grad."), name))
    return [_compare_tensor(name, ours.get(name), expected.get(name)) for name in names]


def _read_settings(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise DataError(f"{path} does not exist; pass a conformance file (…safetensors).")
    sizes_file = path.with_suffix(".json")
    if not sizes_file.is_file():
        raise DataError(f"{path.name} needs {sizes_file.name} with the model's sizes in the same folder; put it there.")
    try:
        settings = json.loads(sizes_file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{sizes_file} is not valid JSON ({error}); copy it again from its source.") from error
    if not isinstance(settings, dict):
        raise DataError(f"{sizes_file} must hold a JSON object with the sizes, not a {type(settings).__name__}.")
    for key in DECODE_SETTINGS:
        if not isinstance(settings.get(key), int):
            raise DataError(f"{sizes_file} has {key} = {settings.get(key)!r}; it must be an integer.")
    return settings


def _read_tensors(path: Path, device: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device=device)
    except SafetensorError as error:
        raise DataError(f"{path} is not a complete safetensors file ({error}); download it again.") from error


def _checked_device(device: str) -> str:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda needs an NVIDIA GPU that PyTorch can use, and there is none; use --device cpu."
        )
    return device


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Disable TF32 inside, whatever the caller set."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _compute(path: Path, golden: dict[str, Tensor], settings: dict[str, object], device: str) -> dict[str, Tensor]:
    from tinyworlds_gate.reference.models.sizes import ModelSizes
    from tinyworlds_gate.reference.rollout.world_models import load_world_models

    sizes = ModelSizes.from_mapping(settings)
    weights: dict[str, dict[str, Tensor]] = {stage: {} for stage in STAGES}
    for name, tensor in golden.items():
        kind, _, rest = name.partition(".")
        if kind not in ("weights", "in", "out", "grad"):
            raise DataError(f"{path.name} holds {name}; names must begin with weights., in., out. or grad.")
        if kind == "weights":
            stage, _, parameter = rest.partition(".")
            if stage not in weights:
                raise DataError(f"{path.name} holds {name}; the models are {', '.join(STAGES)}.")
            weights[stage][parameter] = tensor
    _check_inputs(path, golden, sizes)
    models = load_world_models(dict.fromkeys(STAGES, sizes), weights).to(device)
    return {
        **_tokenizer_tensors(models, golden),
        **_latent_action_tensors(models, golden),
        **_dynamics_tensors(models, golden, settings),
    }


def _check_inputs(path: Path, golden: dict[str, Tensor], sizes: ModelSizes) -> None:
    """Raise DataError when an input tensor is missing or has the wrong shape."""
    frames = golden.get("in.frames")
    if frames is None or frames.dim() != 5:
        raise DataError(f"{path.name} lacks the input in.frames [batch, frames, 3, height, width]; download it again.")
    batch, length = frames.shape[:2]
    context = golden["in.rollout.context_latents"].shape[1] if "in.rollout.context_latents" in golden else None
    shapes: dict[str, tuple[int | None, ...]] = {
        "in.frames": (batch, length, 3, sizes.frame_size, sizes.frame_size),
        "in.dynamics.mask": (batch, length, sizes.patches),
        "in.rollout.context_latents": (batch, context, sizes.patches, sizes.latent_dim),
        "in.rollout.conditioning": (batch, None, sizes.action_dim),
        "out.tokenizer.latents": (batch, length, sizes.patches, sizes.latent_dim),
        "out.tokenizer.indices": (batch, length, sizes.patches),
        "out.lam.actions": (batch, length - 1, sizes.action_dim),
    }
    for name, expected in shapes.items():
        if name not in golden:
            raise DataError(f"{path.name} lacks the input {name}; download the complete file again.")
        found = tuple(golden[name].shape)
        if len(found) != len(expected) or any(e is not None and f != e for f, e in zip(found, expected, strict=True)):
            shape = ["any" if side is None else side for side in expected]
            raise DataError(f"{path.name}: {name} has shape {list(found)}; the sizes in its JSON require {shape}.")


def _gradients(model: nn.Module, stage: str, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    found = {f"grad.{stage}.{name}": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def _tokenizer_tensors(models: WorldModels, golden: dict[str, Tensor]) -> dict[str, Tensor]:
    tokenizer, frames = models.tokenizer, golden["in.frames"]
    output = tokenizer(frames)
    latents = tokenizer.encode(frames)
    return {
        "out.tokenizer.prequant": tokenizer.encoder(frames),
        "out.tokenizer.latents": latents,
        "out.tokenizer.indices": tokenizer.tokenize(frames),
        "out.tokenizer.detokenized": tokenizer.decode(latents),
        "out.tokenizer.recon": output.recon,
        "out.tokenizer.train_loss": output.loss,
        **_gradients(tokenizer, "video_tokenizer", output.loss),
    }


def _latent_action_tensors(models: WorldModels, golden: dict[str, Tensor]) -> dict[str, Tensor]:
    model, frames = models.latent_actions, golden["in.frames"]
    evaluated = model.eval()(frames)
    trained = model.train()(frames)
    gradients = _gradients(model, "latent_actions", trained.loss)
    model.eval()
    return {
        "out.lam.prequant": model.encoder(frames),
        "out.lam.actions": model.encode(frames),
        "out.lam.indices": trained.indices,
        "out.lam.pred_frames_eval": evaluated.pred_frames,
        "out.lam.pred_frames_train": trained.pred_frames,
        "out.lam.train_loss": trained.loss,
        **gradients,
    }


def _dynamics_tensors(models: WorldModels, golden: dict[str, Tensor], settings: dict[str, object]) -> dict[str, Tensor]:
    from tinyworlds_gate.reference.models.maskgit import maskgit_decode

    model, latents, actions = models.dynamics, golden["out.tokenizer.latents"], golden["out.lam.actions"]
    trained = model.train().loss(latents, golden["out.tokenizer.indices"], actions, golden["in.dynamics.mask"])
    gradients = _gradients(model, "dynamics", trained.loss)
    model.eval()
    decode_steps, horizon = (int(str(settings[key])) for key in DECODE_SETTINGS)
    return {
        "out.dynamics.logits": model(latents[:1], actions[:1]),
        "out.dynamics.logits_uncond": model(latents[:1], None)[:, -1:],
        "out.dynamics.train_loss": trained.loss,
        "out.dynamics.rollout_latents": maskgit_decode(
            model,
            models.tokenizer.quantizer,
            golden["in.rollout.context_latents"],
            horizon,
            golden["in.rollout.conditioning"],
            decode_steps,
        ),
        **gradients,
    }


def _compare_tensor(name: str, ours: Tensor | None, expected: Tensor | None) -> TensorResult:
    """Compare one tensor; a missing one, another shape and non-finite values count as an infinite error."""
    if ours is None or expected is None or ours.shape != expected.shape:
        return TensorResult(name, float("inf"), 0.0, ok=False)
    error, largest = _largest(ours.detach() - expected), _largest(expected)
    if name in EXACT:
        tolerance = 0.0
    elif name.startswith("grad."):
        tolerance = RELATIVE_TOLERANCE * largest + GRADIENT_FLOOR
    else:
        tolerance = RELATIVE_TOLERANCE * max(1.0, largest)
    return TensorResult(name, error, tolerance, ok=math.isfinite(error) and error <= tolerance)


def _largest(tensor: Tensor) -> float:
    """Return the largest absolute value; NaN counts as infinite, an empty tensor as 0."""
    import torch

    if tensor.numel() == 0:
        return 0.0
    return float(torch.nan_to_num(tensor.double().abs(), nan=float("inf")).max())
