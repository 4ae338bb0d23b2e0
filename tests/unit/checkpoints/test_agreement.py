"""The sentences of C4 about the sizes and the origin of three checkpoints.

pytest tests/unit/checkpoints/test_agreement.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tinyworlds_gate.checkpoints import agreement
from tinyworlds_gate.checkpoints.agreement import agreement_text, check_agreement
from tinyworlds_gate.checkpoints.describe import CheckpointSizes
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.names import STAGES

ENTRIES = {"tokenizer_sha256": "0" * 64, "latent_actions_sha256": "1" * 64}


class Three:
    """Three checkpoints whose sizes and configs a test sets."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes = {stage: CheckpointSizes(stage, conditioned=True) for stage in STAGES}
        self.refs = {
            stage: CheckpointRef(stage, 1, root / f"{stage}_step_1", str(number) * 64, 5, {})
            for number, stage in enumerate(STAGES)
        }
        self.config: Any = {}
        self.change("dynamics", manifest=ENTRIES)
        monkeypatch.setattr(agreement, "describe_checkpoint", lambda ref: self.sizes[ref.stage])
        monkeypatch.setattr(agreement, "read_state", lambda path: {"config": self.config})

    def change(self, stage: str, **changes: Any) -> None:
        self.refs[stage] = replace(self.refs[stage], **changes)

    def set(self, **values: int) -> None:
        for key, value in values.items():
            size, _, stage = key.partition("__")
            stage = {"v": STAGES[0], "l": STAGES[1], "d": STAGES[2]}[stage]
            self.sizes[stage] = replace(self.sizes[stage], **{size: cast(Any, value)})

    def check(self, expected: Mapping[str, int] | None = None, **more: Any) -> list[tuple[bool, str]]:
        video, latent, dynamics = self.refs.values()
        found = check_agreement(video, latent, dynamics, expected, **more)
        assert {id for id, _, _ in found} == {"C4"}
        return [(holds, text) for _, holds, text in found]


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Three:
    return Three(tmp_path, monkeypatch)


@pytest.mark.requirement("C4")
@pytest.mark.parametrize(
    ("sizes", "expected", "found"),
    [
        ({}, {"other": 1}, []),
        ({}, {"embed_dim": 8}, [(False, "embed_dim is in none of the checkpoints; configs: 8")]),
        ({"embed_dim__v": 8}, None, [(True, "embed_dim is 8 in video_tokenizer")]),
        ({"embed_dim__d": 8}, {"embed_dim": 8}, [(True, "embed_dim is 8 in dynamics and in the configs")]),
        (
            {"embed_dim__v": 8, "embed_dim__d": 8},
            {"embed_dim": 9},
            [(False, "embed_dim is 8 in the checkpoints and 9 in the configs. Set it to 8")],
        ),
        (
            {"n_actions__l": 8, "n_actions__d": 4},
            {"n_actions": 8},
            [
                (
                    False,
                    "the checkpoints disagree about n_actions: latent_actions 8, dynamics 4. Use checkpoints of one "
                    "run",
                )
            ],
        ),
        (
            {"hidden_dim__v": 96, "hidden_dim__l": 97, "hidden_dim__d": 96},
            {"hidden_dim": 97},
            [(True, "hidden_dim is 96 in video_tokenizer, latent_actions, dynamics and in the configs")],
        ),
        (
            {"hidden_dim__v": 97, "hidden_dim__l": 96},
            None,
            [(True, "hidden_dim is 97 in video_tokenizer, latent_actions")],
        ),
    ],
)
def test_a_size_is_compared_between_the_checkpoints_and_with_the_configs(
    three: Three, sizes: dict[str, int], expected: dict[str, int] | None, found: list[tuple[bool, str]]
) -> None:
    three.set(**sizes)
    assert [one for one in three.check(expected) if "was trained on" not in one[1]] == found


@pytest.mark.requirement("C2", "C4")
def test_each_stage_may_have_its_own_backbone(three: Three) -> None:
    three.set(embed_dim__v=8, embed_dim__l=16, hidden_dim__d=96, num_bins__v=4, num_bins__d=4)
    own = {"video_tokenizer": {"embed_dim": 8}, "latent_actions": {"embed_dim": 32}, "dynamics": {"hidden_dim": 97}}
    texts = [one for one in three.check({"embed_dim": 1, "num_bins": 4}, backbones=own) if "trained on" not in one[1]]
    assert sorted(texts) == [
        (False, "embed_dim of latent_actions is 16 in the checkpoint and 32 in the configs. Set it to 16"),
        (True, "embed_dim of video_tokenizer is 8 in the checkpoint and 8 in the configs"),
        (True, "hidden_dim of dynamics is 96 in the checkpoint and 97 in the configs"),
        (True, "num_bins is 4 in video_tokenizer, dynamics and in the configs"),
    ]
    assert [text for _, text in three.check(backbones={}) if "_dim" in text] == []


@pytest.mark.requirement("C4")
def test_conflicts_of_a_checkpoint_and_dynamics_without_actions_are_named(three: Three) -> None:
    three.sizes["latent_actions"] = replace(three.sizes["latent_actions"], conflicts=("a", "b"))
    three.sizes["dynamics"] = replace(three.sizes["dynamics"], conditioned=False)
    assert [text for holds, text in three.check() if not holds] == [
        *("a", "b", "dynamics_step_1 takes no actions: it has no action-conditioned layers")
    ]


@pytest.mark.requirement("C4")
def test_the_recorded_hashes_are_those_of_the_checkpoints(three: Three) -> None:
    assert three.check() == [
        (True, f"dynamics_step_1 was trained on {stage}_step_1 (SHA-256 {str(number) * 12}…)")
        for number, stage in enumerate(STAGES[:2])
    ]
    three.change("dynamics", manifest={"tokenizer_sha256": 5, "latent_actions_sha256": "2" * 64})
    assert three.check() == [
        (
            False,
            "dynamics_step_1 does not record tokenizer_sha256 in its manifest, so what it was trained on is unknown",
        ),
        (
            False,
            "dynamics_step_1 was trained on a latent_actions with SHA-256 222222222222…, but latent_actions_step_1 has "
            "111111111111…. Give the latent_actions checkpoint that it was trained on, or retrain dynamics",
        ),
    ]


UNNAMED = [
    (
        True,
        f"dynamics_step_1 has no manifest.json and its config names no {stage}, so what it was trained on is unknown",
    )
    for stage in STAGES[:2]
]


@pytest.mark.requirement("C4")
@pytest.mark.parametrize(
    ("config", "found"),
    [
        (None, UNNAMED),
        ([], UNNAMED),
        ({}, UNNAMED),
        ({"video_tokenizer_path": "", "latent_actions_path": 3}, UNNAMED),
        (
            {
                "video_tokenizer_path": "a\\b\\video_tokenizer_step_1\\",
                "latent_actions_path": "x/latent_actions_step_2/",
            },
            [
                (
                    True,
                    "dynamics_step_1 was trained on a video_tokenizer_step_1 by its config (no SHA-256 is recorded)",
                ),
                (
                    False,
                    "dynamics_step_1 was trained on latent_actions_step_2 by its config, but latent_actions_step_1 "
                    "is given",
                ),
            ],
        ),
        (
            {
                "video_tokenizer_path": "w/zelda_video_tokenizer_step_1_2025.pth",
                "latent_actions_path": "lam_checkpoint_2025.pth",
            },
            [
                (
                    True,
                    "dynamics_step_1 was trained on a video_tokenizer_step_1 by its config (no SHA-256 is recorded)",
                ),
                (
                    False,
                    "dynamics_step_1 was trained on lam_checkpoint_2025.pth by its config, but "
                    "latent_actions_step_1 is "
                    "given",
                ),
            ],
        ),
    ],
)
def test_without_a_manifest_the_config_names_the_folders(
    three: Three, config: object, found: list[tuple[bool, str]]
) -> None:
    three.change("dynamics", manifest=None)
    three.config = config
    assert three.check() == found


@pytest.mark.parametrize(
    ("reasons", "text"),
    [
        (["a was trained on b (SHA-256 0…)"] * 2, "sizes and lineage agree"),
        (["a was trained on b (SHA-256 0…)"] * 3, "are unknown"),
        (["a was trained on b (SHA-256 0…)"], "are unknown"),
        (["a was trained on b (SHA-256 0…)", "a was trained on c"], "are known by name only, not by SHA-256"),
        (["a was trained on b: what it was trained on is unknown"] * 2, "are unknown"),
    ],
)
def test_what_the_reasons_show_together(reasons: list[str], text: str) -> None:
    start = "sizes agree; the checkpoints that dynamics was trained on "
    assert agreement_text(reasons) == (text if text.startswith("sizes") else start + text)
