"""Read a model's sizes from a checkpoint: from the shapes of its tensors, else from its config (C4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.checkpoints.integrity import stage_of_names
from tinyworlds_gate.checkpoints.layout import CheckpointRef, parse_folder_name
from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_VARIED = re.compile(r"expert|router|\.moe\.|[qk]_norm\.weight$")
_KNOWN_VARIATION = re.compile(
    r"(encoder\.|decoder\.)?transformer\.blocks\.\d+\."
    r"((spatial|temporal)_attn\.[qk]_norm\.weight|ffn\.router\.weight|ffn\.experts\.\d+\.w_[vgo]\.(weight|bias))"
)
"""Tensors of variations that ``reference/models/variations.py`` computes."""
_BLOCK = re.compile(r"(?:encoder\.|decoder\.)?transformer\.blocks\.(\d{1,5})\.")
LARGEST_SIZE = 2**20


@dataclass(frozen=True)
class CheckpointSizes:
    """Sizes of a checkpoint's model; None where neither its tensors nor its config contain them.

    ``sources`` says where each known size was read. ``conflicts`` are sentences about a config that its own tensors
    contradict (the tensors' value is taken). ``conditioned`` is True when the dynamics model takes actions.
    """

    stage: str
    frame_size: int | None = None
    patch_size: int | None = None
    embed_dim: int | None = None
    num_heads: int | None = None
    hidden_dim: int | None = None
    num_blocks: int | None = None
    latent_dim: int | None = None
    num_bins: int | None = None
    n_actions: int | None = None
    context_length: int | None = None
    conditioned: bool = False
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    conflicts: tuple[str, ...] = ()

    def known(self) -> dict[str, int]:
        """Name → value of the sizes that could be read."""
        return {name: getattr(self, name) for name in SIZE_NAMES if getattr(self, name) is not None}


SIZE_NAMES = tuple(one.name for one in fields(CheckpointSizes) if one.type == "int | None")


def describe_checkpoint(ref_or_path: CheckpointRef | Path) -> CheckpointSizes:
    """Sizes of a checkpoint of ours or of TinyWorlds (C4).

    Raises:
        CheckpointError: the files cannot be read, or the weights are not those of the folder's stage.
    """
    path = ref_or_path.path if isinstance(ref_or_path, CheckpointRef) else ref_or_path
    parsed = parse_folder_name(path.name)
    if parsed is None:
        raise CheckpointError(f"{path} is no checkpoint folder; allowed: <stage>_step_<n>")
    weights = read_model_state(path)
    stage = stage_of_names(weights)
    if stage != parsed[0]:
        raise CheckpointError(
            f"{path} is named {parsed[0]}, but its weights are those of {stage or 'no TinyWorlds model'}; "
            f"give a checkpoint of {parsed[0]}"
        )
    config = read_state(path).get("config")
    return _combine(stage, path, weights, config if isinstance(config, Mapping) else {})


def sizes_of_weights(stage: str, weights: Mapping[str, Tensor]) -> dict[str, tuple[int, str]]:
    """Size name → (value, the tensor it was read from), for every size that the shapes of a stage's weights determine.

    ``hidden_dim`` is here the smallest value of which two thirds, rounded down, give the inner width of the SwiGLU
    layers; ``num_bins`` of the tokenizer is the second entry of the buffer ``quantizer.basis``. A size whose tensor is
    absent is left out. Raises CheckpointError for a tensor of a shape that no model has.
    """
    found: dict[str, tuple[int, str]] = {}

    def read(size: str, name: str, axis: int) -> int | None:
        if name not in weights:
            return None
        if weights[name].ndim <= axis:
            raise CheckpointError(f"{name} has shape {tuple(weights[name].shape)}; expected an axis {axis} for {size}")
        found[size] = (int(weights[name].shape[axis]), f"{name} {tuple(weights[name].shape)}")
        return found[size][0]

    prefix = "" if stage == "dynamics" else "encoder."
    layer = f"{prefix}transformer.blocks.0.ffn.w_v.weight"
    layer = layer if layer in weights else layer.replace(".ffn.", ".ffn.experts.0.")
    inner = read("hidden_dim", layer, 0)
    if inner is not None:
        found["hidden_dim"] = (-(-3 * inner // 2), found["hidden_dim"][1])
    read("embed_dim", layer, 1)
    blocks = {int(match[1]) for match in map(_BLOCK.match, weights) if match}
    if blocks:
        if len(blocks) != max(blocks) + 1:
            raise CheckpointError(f"transformer.blocks has {len(blocks)} blocks, the last of which is {max(blocks)}")
        found["num_blocks"] = (len(blocks), f"transformer.blocks.0 … {max(blocks)}")
    pixels = read("patch_size", f"{prefix}patch_embed.proj.weight", 1)
    if pixels is not None:
        found["patch_size"] = (_root(pixels, 3, 2, "patch_embed.proj.weight"), found["patch_size"][1])
    _read_codes(stage, weights, found, read)
    return found


def _read_codes(stage: str, weights: Mapping[str, Tensor], found: dict[str, tuple[int, str]], read: Any) -> None:
    """Read latent dims, bins and actions, which each stage stores in different tensors."""
    if stage == "video_tokenizer":
        read("latent_dim", "encoder.latent_head.1.weight", 0)
        basis = weights.get("quantizer.basis")
        if basis is not None and basis.numel() > 1:  # [1, D, D², …]
            if basis.ndim != 1 or basis.is_floating_point() or basis.is_complex():
                raise CheckpointError(f"quantizer.basis has shape {tuple(basis.shape)} and type {basis.dtype}")
            found["num_bins"] = (int(basis[1]), "quantizer.basis[1]")
    elif stage == "latent_actions":
        dims = read("n_actions", "encoder.action_head.3.weight", 0)
        if dims is not None:
            found["n_actions"] = (_actions(dims), found["n_actions"][1])
    else:
        latent_dim = read("latent_dim", "latent_embed.weight", 1)
        tokens = read("num_bins", "output_mlp.weight", 0)
        if latent_dim is not None and tokens is not None:
            found["num_bins"] = (_root(tokens, 1, latent_dim, "output_mlp.weight"), found["num_bins"][1])
        dims = read("n_actions", "transformer.blocks.0.ffn.norm.to_gamma_beta.1.weight", 1)
        if dims is not None:
            found["n_actions"] = (_actions(dims), found["n_actions"][1])


def _actions(dims: int) -> int:
    if not 0 < dims < LARGEST_SIZE.bit_length():
        raise CheckpointError(f"its latent actions have {dims} dims; 1 to {LARGEST_SIZE.bit_length() - 1} are allowed")
    return int(2**dims)


def _root(value: int, factor: int, power: int, name: str) -> int:
    """The whole r with ``factor · r**power == value``."""
    root = round((value / factor) ** (1 / power)) if power else 0
    if power < 1 or factor * root**power != value:
        raise CheckpointError(
            f"{name} has {value} entries, which is not {factor} × a whole number to the power {power}"
        )
    return root


def _combine(stage: str, path: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> CheckpointSizes:
    values, sources, conflicts = {}, {}, []
    read = sizes_of_weights(stage, weights)
    for name in SIZE_NAMES:
        stated = config.get(name)
        stated = stated if isinstance(stated, int) and not isinstance(stated, bool) else None
        if name in read:
            value, tensor = read[name]
            if stated is not None and same_size(name, value, stated):
                value = stated
            elif stated is not None:
                conflicts.append(f"{path.name}: config says {name}={stated}, its tensor {tensor} says {value}")
            values[name], sources[name] = value, f"tensor {tensor}"
        elif stated is not None:
            values[name], sources[name] = stated, "config in state.pt"
        if not 0 < values.get(name, 1) <= LARGEST_SIZE:
            raise CheckpointError(
                f"{path}: {name} is {values[name]} ({sources[name]}); 1 to {LARGEST_SIZE} are allowed. Use the "
                "checkpoint as training wrote it"
            )
    heads, embed = values.get("num_heads"), values.get("embed_dim")
    if heads and embed and embed % heads:
        conflicts.append(f"{path.name}: num_heads={heads} does not divide embed_dim={embed}")
    frame, patch = values.get("frame_size"), values.get("patch_size")
    if frame and patch and frame % patch:
        conflicts.append(f"{path.name}: patch_size={patch} does not divide frame_size={frame}")
    conditioned = stage == "dynamics" and "n_actions" in read
    return CheckpointSizes(stage, **values, conditioned=conditioned, sources=sources, conflicts=tuple(conflicts))


def same_size(name: str, a: int, b: int) -> bool:
    """Equal, or for ``hidden_dim`` of the same inner width floor(2·hidden_dim/3), which is all that tensors keep."""
    return a == b or (name == "hidden_dim" and 2 * a // 3 == 2 * b // 3)


SHOWN = 3


def why_unreadable(checkpoints: Mapping[str, CheckpointRef]) -> str | None:
    """Return why the embedded reference cannot run these weights (docs/architecture.md), or None when it can.

    Finds experts and normalised queries and keys in other places than TinyWorlds checkouts have them, and weights of
    another model. Whether every tensor fits shows when the three models are built (``gate/checkout_attempt.py``).
    """
    for stage, reference in checkpoints.items():
        weights = read_model_state(reference.path)
        unknown = [name for name in weights if _VARIED.search(name) and not _KNOWN_VARIATION.fullmatch(name)]
        experts = [name for name in unknown if not name.endswith("_norm.weight")]
        if unknown:
            blocks = "mixture-of-experts blocks (" if experts else "normalised queries and keys (QK-norm: "
            has = f"{reference.path.name} has {blocks}{_some(experts or unknown)})"
            return f"{has} of a kind that the embedded reference does not implement"
        if stage_of_names(weights) != stage:
            named = _some(list(weights))
            return (
                f"{reference.path.name} is of no TinyWorlds architecture that the embedded reference implements "
                f"(tensors {named})"
            )
        try:
            describe_checkpoint(reference)
        except CheckpointError as error:
            return str(error)
    return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
