"""The sizes that determine the shapes of a world model, validated once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from tinyworlds_gate.errors import ConfigError

CHANNELS = 3
MAX_VOCABULARY = 2**20  # the output layer of dynamics has one unit per token of the vocabulary

MAX_PATCHES = 2**16  # attention compares each patch of a frame with every other


@dataclass(frozen=True, kw_only=True)
class ModelSizes:
    """The ten size settings of a TinyWorlds model (docs/architecture.md); models of equal sizes can exchange weights.

    Raises ConfigError when a value is not a positive integer or two values do not fit together.
    """

    frame_size: int  # pixels along a frame's side; frames are square
    patch_size: int  # pixels along a patch's side
    embed_dim: int  # width of a token inside the transformers
    num_heads: int  # attention heads; each has embed_dim / num_heads dims
    hidden_dim: int  # nominal feed-forward width; SwiGLU uses floor(2 * hidden_dim / 3)
    num_blocks: int  # space-time blocks of each transformer
    latent_dim: int  # scalars per video token
    num_bins: int  # levels per scalar of a video token
    n_actions: int  # latent-action codes, a power of two
    context_length: int  # frames of a training clip

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{field.name} is {value!r}; it must be an integer of at least 1.")
        if self.frame_size % self.patch_size:
            raise ConfigError(
                f"frame_size {self.frame_size} is not a multiple of patch_size {self.patch_size}; "
                "patches must tile the frame. Change one of the two."
            )
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}; "
                "all heads must have the same width. Change one of the two."
            )
        if self.embed_dim % 2:
            raise ConfigError(f"embed_dim is {self.embed_dim}; it must be even (sine and cosine come in pairs).")
        if self.hidden_dim < 2:
            raise ConfigError(
                "hidden_dim is 1; it must be at least 2, since SwiGLU has floor(2 * hidden_dim / 3) units."
            )
        if self.num_bins < 2:
            raise ConfigError("num_bins is 1; it must be at least 2, since one level carries no information.")
        if self.n_actions < 2 or self.n_actions & (self.n_actions - 1):
            raise ConfigError(f"n_actions is {self.n_actions}; it must be a power of two of at least 2 (2, 4, 8, …).")
        if self.context_length < 2:
            raise ConfigError("context_length is 1; it must be at least 2, since an action needs two frames.")
        # The power itself is not computed: it may have more digits than Python prints.
        if self.latent_dim * math.log2(self.num_bins) > math.log2(MAX_VOCABULARY) + 1e-9:
            raise ConfigError(
                f"num_bins {self.num_bins} to the power of latent_dim {self.latent_dim} is more than {MAX_VOCABULARY} "
                "tokens, of which a model has one output each. Lower one of the two."
            )
        if self.patches > MAX_PATCHES:
            raise ConfigError(
                f"frame_size {self.frame_size} with patch_size {self.patch_size} makes {self.patches} patches a frame; "
                f"at most {MAX_PATCHES} are allowed. Use smaller frames or larger patches."
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> ModelSizes:
        """Build the sizes from a mapping (a config or a JSON file) that may hold other keys.

        Raises ConfigError when a size is missing or not allowed.
        """
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in values]
        if missing:
            raise ConfigError(f"The model's sizes lack {', '.join(missing)}; all of {', '.join(names)} are needed.")
        integers: dict[str, int] = {}
        for name in names:
            value = values[name]
            if not isinstance(value, int):
                raise ConfigError(f"{name} is {value!r}; it must be an integer of at least 1.")
            integers[name] = value
        return cls(**integers)

    @property
    def grid(self) -> int:
        """Patches along a frame's side."""
        return self.frame_size // self.patch_size

    @property
    def patches(self) -> int:
        """Patches, and video tokens, per frame, P."""
        return self.grid**2

    @property
    def patch_values(self) -> int:
        """Pixel values inside a patch, C * p * p."""
        return CHANNELS * self.patch_size**2

    @property
    def vocabulary(self) -> int:
        """Number of distinct video tokens, V = num_bins ** latent_dim."""
        return int(self.num_bins**self.latent_dim)

    @property
    def action_dim(self) -> int:
        """Scalars per latent action, A = log2(n_actions); each has two levels."""
        return self.n_actions.bit_length() - 1
