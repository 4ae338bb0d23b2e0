"""The start of a run: whether it logs to W&B, and whether the machine has the GPUs that a long run needs.

python -m pytest tests/unit/loop/test_start.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.config_files import copy_profile
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.stage_config import DEFAULT_SOURCE
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.loop.start import missing_gpus, require_gpus, with_wandb

KEY = {"WANDB_API_KEY": "x" * 40}


def settings_of(profile: str | Path = "longrun", gpus: int = 0, **explicit: Any) -> Settings:
    return resolve_settings(profile, explicit, project_root=REPOSITORY).with_gpus(gpus)


@pytest.mark.requirement("M1", "L9")
@pytest.mark.parametrize(
    ("environment", "use", "source"),
    [
        ({}, False, DEFAULT_SOURCE),
        (KEY, True, "W&B is configured: a key in WANDB_API_KEY"),
        ({"WANDB_DIR": "somewhere"}, True, "W&B is configured: WANDB_DIR"),
        ({"WANDB_MODE": "offline"}, True, "W&B is configured: WANDB_MODE=offline"),
        ({**KEY, "WANDB_MODE": "disabled"}, False, DEFAULT_SOURCE),
        ({"WANDB_API_KEY": ""}, False, DEFAULT_SOURCE),
    ],
)
def test_a_run_logs_to_wandb_where_a_key_or_an_offline_folder_is_configured(
    environment: dict[str, str], use: bool, source: str
) -> None:
    settings = with_wandb(settings_of(), environment)
    assert settings.training.use_wandb is use
    assert settings.provenance["training.use_wandb"] == source


@pytest.mark.requirement("M1")
def test_a_key_of_wandb_login_counts_and_that_of_another_server_does_not(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine wandb.example.org\n  login user\n  password secret\n")
    home = {"HOME": str(tmp_path)}
    assert not with_wandb(settings_of(), home).training.use_wandb
    own_server = {**home, "WANDB_BASE_URL": "https://wandb.example.org"}
    assert with_wandb(settings_of(), own_server).provenance["training.use_wandb"].endswith("a key in .netrc")


@pytest.mark.requirement("M1", "P1")
@pytest.mark.parametrize("use", [True, False])
def test_an_option_and_a_settings_file_decide_before_the_environment(tmp_path: Path, use: bool) -> None:
    assert with_wandb(settings_of(use_wandb=use), {} if use else KEY).training.use_wandb is use
    copy_profile("longrun", tmp_path / "mine")
    with (tmp_path / "mine" / "training.yaml").open("a") as file:
        file.write(f"use_wandb: {str(use).lower()}\n")
    assert with_wandb(settings_of(tmp_path / "mine"), {} if use else KEY).training.use_wandb is use


@pytest.mark.requirement("H7")
def test_a_resumed_run_keeps_its_use_of_wandb() -> None:
    recorded = {"value": False, "source": DEFAULT_SOURCE}
    assert not with_wandb(settings_of(), KEY, recorded).training.use_wandb


@pytest.mark.requirement("H6", "L3")
@pytest.mark.parametrize(
    ("profile", "gpus", "explicit", "missing"),
    [
        ("smoke", 0, {}, None),
        ("longrun", 0, {}, "needs 2 NVIDIA GPUs, and this machine has none"),
        ("longrun", 0, {"nproc_per_node": 1}, "needs 1 NVIDIA GPU, and this machine has none"),
        ("longrun", 0, {"train_stage": "video_tokenizer"}, "needs 2 NVIDIA GPUs, and this machine has none"),
        ("longrun", 0, {"train_stage": "none"}, None),
        ("longrun", 1, {}, "needs 2 NVIDIA GPUs, and trains on 1 (the 1 GPUs present)"),
        ("longrun", 1, {"nproc_per_node": 1}, None),
        ("longrun", 2, {}, None),
        ("longrun", 8, {"nproc_per_node": 8}, None),
    ],
)
def test_a_long_run_that_trains_needs_its_gpus(
    profile: str, gpus: int, explicit: dict[str, Any], missing: str | None
) -> None:
    found = missing_gpus(settings_of(profile, gpus, **explicit), gpus)
    assert found == missing or (missing is not None and found is not None and found.startswith(missing))


@pytest.mark.requirement("H6")
def test_a_long_run_without_gpus_is_refused_unless_an_option_allows_it() -> None:
    with pytest.raises(ConfigError) as refused:
        require_gpus(settings_of(), 0, {})
    for part in ("profile longrun needs 2 NVIDIA GPUs", "350000 updates on the CPU", "--allow-cpu-longrun true"):
        assert part in str(refused.value)
    with pytest.raises(ConfigError):
        require_gpus(settings_of(), 0, {"allow_cpu_longrun": False})
    require_gpus(settings_of(), 0, {"allow_cpu_longrun": True})
