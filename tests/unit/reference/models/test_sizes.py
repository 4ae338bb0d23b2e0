"""The sizes of a model: refused values and derived numbers."""

from __future__ import annotations

import pytest

from tests.helpers.small_models import sizes
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.reference.models.sizes import ModelSizes

ZELDA = {
    "frame_size": 128,
    "patch_size": 4,
    "embed_dim": 32,
    "num_heads": 8,
    "hidden_dim": 128,
    "num_blocks": 4,
    "latent_dim": 5,
    "num_bins": 4,
    "n_actions": 8,
    "context_length": 4,
}


def test_derived_numbers_follow_from_the_sizes() -> None:
    zelda = ModelSizes.from_mapping({**ZELDA, "dataset": "ZELDA"})
    assert (zelda.grid, zelda.patches, zelda.patch_values) == (32, 1024, 48)
    assert (zelda.vocabulary, zelda.action_dim) == (1024, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_size": 18}, r"frame_size 18 is not a multiple of patch_size 4"),
        ({"num_heads": 5}, r"embed_dim 24 is not a multiple of num_heads 5"),
        ({"embed_dim": 25, "num_heads": 5}, r"embed_dim is 25; it must be even"),
        ({"hidden_dim": 1}, r"hidden_dim is 1"),
        ({"num_bins": 1}, r"num_bins is 1"),
        ({"n_actions": 6}, r"n_actions is 6; it must be a power of two"),
        ({"n_actions": 1}, r"n_actions is 1; it must be a power of two"),
        ({"context_length": 1}, r"context_length is 1"),
        ({"num_blocks": 0}, r"num_blocks is 0; it must be an integer of at least 1"),
        ({"num_bins": 10**6, "latent_dim": 10**6}, r"num_bins 1000000 to the power of latent_dim 1000000 is more than"),
        ({"frame_size": 100_000}, r"frame_size 100000 with patch_size 4 makes 625000000 patches a frame; at most 65"),
        ({"latent_dim": 12}, r"num_bins 4 to the power of latent_dim 12 is more than 1048576 tokens"),
    ],
)
def test_impossible_sizes_are_refused_with_the_value(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sizes(**changes)


def test_a_missing_size_is_named() -> None:
    with pytest.raises(ConfigError, match="sizes lack num_bins;"):
        ModelSizes.from_mapping({name: value for name, value in ZELDA.items() if name != "num_bins"})


def test_a_size_that_is_no_integer_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_bins is '4'"):
        ModelSizes.from_mapping({**ZELDA, "num_bins": "4"})
