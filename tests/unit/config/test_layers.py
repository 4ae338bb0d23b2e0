"""Values that follow from others, and the layer that each one is taken from.

pytest tests/unit/config/test_layers.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.config_files import append, copy_profile
from tinyworlds_gate.config.layers import CHECKOUT_KEYS, CheckoutSettings, Layers, trained_stages
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import BACKBONE_KEYS, STAGES


def layers(**values: Any) -> Layers:
    """Return layers with these values, `__` for a dot; each value's source is its own name."""
    made = Layers(Path("/p"))
    for name, value in values.items():
        made.put(name.replace("__", "."), value, name.rpartition("__")[2])
    return made


def test_all_stages_are_trained_one_or_none() -> None:
    assert trained_stages("all") == STAGES
    assert trained_stages("none") == ()
    assert trained_stages("dynamics") == ("dynamics",)
    with pytest.raises(ConfigError, match="`x` is not a stage"):
        trained_stages("x")


@pytest.mark.requirement("P1")
@pytest.mark.parametrize(
    ("values", "key", "found", "source"),
    [
        ({"training__fps": 30}, "inference.fps", 30, "fps"),
        ({}, "inference.fps", 15, "built-in default"),
        ({"training__fps": 30, "inference__fps": 30}, "inference.fps", 30, "fps"),
        ({"training__data_path": "a"}, "inference.data_path", "a", "data_path"),
        ({"training__data_path": "a", "inference__data_path": "b"}, "inference.data_path", "b", "data_path"),
        ({"training__context_length": 4}, "inference.context_window", 3, "context_length - 1"),
        (
            {"training__context_length": 4, "inference__context_window": 2},
            "inference.context_window",
            2,
            "context_window",
        ),
        ({"training__nproc_per_node": 1}, "training.distributed.use_ddp", False, "nproc_per_node is 1"),
        (
            {"training__nproc_per_node": 1, "options__nnodes": 1},
            *("training.distributed.use_ddp", False, "nproc_per_node is 1"),
        ),
        ({"training__nproc_per_node": 1, "options__nnodes": 2}, "training.distributed.use_ddp", None, None),
        ({"training__nproc_per_node": 2}, "training.distributed.use_ddp", None, None),
        ({}, "inference.context_window", None, None),
        ({}, "inference.data_path", None, None),
    ],
)
def test_what_follows_from_another_value(values: dict[str, Any], key: str, found: Any, source: str | None) -> None:
    made = layers(**{"training__dataset": "A", **values})
    made.derive()
    assert (made.values.get(key), made.sources.get(key)) == (found, source)


@pytest.mark.parametrize(
    ("chunk", "target", "cut"),
    [(5, 4, True), (4, 4, False), (3, 4, False), (5, 0, False), (2, 1, True), ("x", 1, False)],
)
def test_a_chunk_above_its_target_is_cut(chunk: Any, target: int, cut: bool) -> None:
    made = Layers(Path("/p"))
    made.put("training.dataset", "A", "x")
    made.put("profile.stages.dynamics.chunk", chunk, "the one")
    made.put("profile.stages.dynamics.target_updates", target, "the other")
    made.derive()
    assert made.values["profile.stages.dynamics.chunk"] == (target if cut else chunk)
    note = (
        f"dynamics: a chunk of {chunk} updates (the one) is more than the target of {target} (the other); one chunk of "
        f"{target} is trained."
    )
    assert made.notes == ([note] if cut else [])
    if cut:
        assert made.sources["profile.stages.dynamics.chunk"] == "cut to the target, the other"


def test_training_and_inference_measure_the_same_clips() -> None:
    said = (
        "fps sets fps = 20, but training uses 15 (built-in default): the gate would not measure the held-out clips. "
        "Set "
        "both to the same value, or remove fps from inference.yaml."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        layers(training__dataset="A", inference__fps=20).derive()
    with pytest.raises(ConfigError, match=r"split_seed sets split_seed = 1, but training uses 2 \(split_seed\)"):
        layers(training__dataset="A", training__split_seed=2, inference__split_seed=1).derive()


@pytest.mark.requirement("P1")
def test_the_profile_replaces_what_it_sets_and_an_option_both() -> None:
    made = layers(profile__seed=3, training__seed=1, profile__gate__clips=None, inference__clips=9)
    made.apply_profile()
    assert (made.values["training.seed"], made.values["inference.seed"], made.values["inference.clips"]) == (3, 3, 9)
    assert made.sources["inference.seed"] == "seed"
    assert made.part("training.") == {"seed": 3}
    assert made.part("profile.") == {"seed": 3, "gate": {"clips": None}}
    made.add_explicit({"video_init_batch_size": 5, "init_batch_size": 7})
    sizes = [made.values[f"stages.{stage}.batch_size_per_gpu"] for stage in STAGES]
    assert sizes == [5, 7, 7]
    assert made.sources["stages.dynamics.batch_size_per_gpu"] == "option --init-batch-size"
    for call, said in (
        (lambda: made.add_explicit({"init_batch_siz": 1}), "Unknown option `--init-batch-siz`. Did you mean "
        "`init_batch_size`?"),
        (lambda: made.add_resumed({"training.sed": 1}), "resumed state: unknown key `training.sed`. Did you mean "
        "`training.seed`?"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=re.escape(said)):
            call()
    made.add_resumed({"training.seed": 8})
    assert (made.values["training.seed"], made.sources["training.seed"]) == (8, "resumed checkpoint")


@pytest.mark.requirement("P1", "C2")
def test_keys_of_the_files_go_to_their_places(tmp_path: Path) -> None:
    folder = copy_profile("smoke", tmp_path / "configs")
    training = (folder / "training.yaml").read_text().splitlines()
    (folder / "training.yaml").write_text(
        "".join(f"{line}\n" for line in training if not line.startswith("num_blocks"))
    )
    append(folder / "training.yaml", "max_grad_norm: 0.25")
    append(folder / "video_tokenizer.yaml", "num_blocks: 3\nkeep_checkpoints: 9")
    append(folder / "dynamics.yaml", "patch_size: 2")
    made = Layers(tmp_path)
    made.read_files(folder / "profile.yaml")
    shown = {key: (made.values[key], made.sources[key]) for key in (
        "training.num_blocks", "stages.video_tokenizer.keep_checkpoints", "stages.dynamics.max_grad_norm")}  # fmt: skip
    assert shown == {
        "training.num_blocks": (3, "configs/video_tokenizer.yaml"),
        "stages.video_tokenizer.keep_checkpoints": (9, "configs/video_tokenizer.yaml"),
        "stages.dynamics.max_grad_norm": (0.25, "configs/training.yaml"),
    }
    assert made.sources["training.patch_size"] == "configs/training.yaml"
    assert made.sources["profile.kind"] == "profile configs/profile.yaml"
    append(folder / "dynamics.yaml", "data_path: x")
    said = f"{folder / 'dynamics.yaml'}: `data_path` is shared by the stages; move it to {folder / 'training.yaml'}."
    with pytest.raises(ConfigError, match=re.escape(said)):
        Layers(tmp_path).read_files(folder / "profile.yaml")


@pytest.mark.requirement("P1", "C2")
def test_of_a_checkout_only_the_keys_that_the_loop_needs_are_read(tmp_path: Path) -> None:
    profile = copy_profile("smoke", tmp_path / "profile") / "profile.yaml"
    texts = {
        "training": "dataset: SONIC\nfps: 30\nseed: 5\nlog_interval: 7\nnum_heads: null\nunknown: 1",
        "video_tokenizer": "embed_dim: 32\nnum_heads: 2\nbatch_size_per_gpu: 1\nlog_interval: 9\nextra: 1",
        "latent_actions": "embed_dim: 48\nnum_heads: 4\nlearning_rate: 0.5",
        "dynamics": "embed_dim: 64\nn_updates: 3",
    }
    files = {f"{name}.yaml": tmp_path / f"{name}.yaml" for name in texts}
    for name, text in texts.items():
        files[f"{name}.yaml"].write_text(text)
    made = Layers(tmp_path)
    made.read_checkout(profile, CheckoutSettings(files, {"num_blocks": 6, "dataset": "OTHER", "other": 1}))
    training = {key: made.values[f"training.{key}"] for key in CHECKOUT_KEYS if f"training.{key}" in made.values}
    assert training == {"dataset": "OTHER", "fps": 30, "embed_dim": 32, "num_heads": 2, "num_blocks": 6}
    assert made.sources["training.dataset"] == made.sources["training.num_blocks"] == "--target-file"
    assert made.sources["training.embed_dim"] == "video_tokenizer.yaml"
    stages = {key: value for key, value in made.values.items() if key.startswith("stages.")}
    assert stages == {
        **{f"stages.{stage}.log_interval": 7 for stage in STAGES},
        **{"stages.video_tokenizer.batch_size_per_gpu": 1, "stages.latent_actions.learning_rate": 0.5},
        "stages.dynamics.n_updates": 3,
    }
    assert made.backbones["dynamics"] == {"embed_dim": 64, "num_blocks": 6}
    assert made.backbones["latent_actions"] == {"embed_dim": 48, "num_heads": 4, "num_blocks": 6}
    assert set(BACKBONE_KEYS) > set(made.backbones["dynamics"])
    assert "inference.clips" in made.values or "inference.generation_steps" in made.values
    assert "inference.dataset" not in made.values
    assert "training.seed" not in made.values
