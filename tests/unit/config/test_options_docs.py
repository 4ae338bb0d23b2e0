"""docs/options.md and docs/commands.md say what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.config_files import REPOSITORY
from tests.helpers.documented import documented_blocks
from tests.helpers.options_parsing import parsed
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.names import SHORT_NAMES, STAGES
from tinyworlds_gate.plugin.options import chosen_profile, explicit_options, options_list, project_root, require_valid

pytest_plugins = ["pytester"]

DOCS = REPOSITORY / "docs"
LOOP: dict[str, Any] = {
    "options.cleanup_extra_processes": True,
    "options.enforce_dual_gpu_check": True,
}
EXPECTED: dict[str, dict[str, Any]] = {
    "smoke": {
        "profile.name": "smoke",
        "options.train_stage": "all",
        "options.checkpoint_policy": "fresh",
        **{f"profile.stages.{stage}.chunk": 200 for stage in STAGES},
        **{f"profile.stages.{stage}.target_updates": 200 for stage in STAGES},
        **{f"stages.{stage}.n_updates": 200 for stage in STAGES},
        **{f"stages.{stage}.log_interval": 100 for stage in STAGES},
        "profile.retry.chunk": 200,
        "profile.retry.init_learning_rate": 0.0005,
        "profile.retry.max": 2,
        "profile.thresholds.max_mse": 0.03,
        "options.monitor_interval_sec": 5,
        "options.gpu_util_threshold": 1,
        "options.gpu_required_samples": 2,
        "options.enable_wandb_analysis": True,
        "options.wandb_source": "api_first",
        "options.history_audit_year": 2025,
        "options.history_audit_mode": "strict",
        "inference.teacher_forced": False,
        **LOOP,
    },
    "stage-a": {
        "profile.name": "longrun",
        "training.nproc_per_node": 2,
        "options.train_stage": "video_tokenizer",
        "profile.stages.video_tokenizer.chunk": 5000,
        "stages.video_tokenizer.n_updates": 40000,
        "stages.video_tokenizer.batch_size_per_gpu": 8,
        "stages.video_tokenizer.gradient_accumulation_steps": 2,
        "stages.video_tokenizer.learning_rate": 0.0003,
        "stages.video_tokenizer.log_interval": 500,
        "stages.dynamics.n_updates": 300000,
        "options.video_checkpoint": None,
        **LOOP,
    },
    "stage-b": {
        "profile.name": "longrun",
        "training.nproc_per_node": 2,
        "options.train_stage": "latent_actions",
        "profile.stages.latent_actions.chunk": 2000,
        "stages.latent_actions.n_updates": 10000,
        "stages.latent_actions.batch_size_per_gpu": 8,
        "stages.latent_actions.gradient_accumulation_steps": 1,
        "stages.latent_actions.learning_rate": 0.0001,
        "stages.latent_actions.log_interval": 500,
        "options.latent_checkpoint": None,
        **LOOP,
    },
    "stage-c": {
        "profile.name": "longrun",
        "training.nproc_per_node": 2,
        "options.train_stage": "dynamics",
        "profile.stages.dynamics.chunk": 4000,
        "stages.dynamics.n_updates": 300000,
        "stages.dynamics.batch_size_per_gpu": 4,
        "stages.dynamics.gradient_accumulation_steps": 2,
        "stages.dynamics.learning_rate": 0.0005,
        "stages.dynamics.log_interval": 1000,
        "options.video_checkpoint": "$A/video_tokenizer/checkpoints",
        "options.latent_checkpoint": "$B/latent_actions/checkpoints",
        "options.dynamics_checkpoint": None,
        **LOOP,
    },
    "teacher-forced": {
        "options.train_stage": "none",
        "inference.teacher_forced": True,
        "profile.thresholds.max_mse": 0.03,
        "options.video_checkpoint": "$A/video_tokenizer/checkpoints",
        "options.latent_checkpoint": "$B/latent_actions/checkpoints",
        "options.dynamics_checkpoint": "$C/dynamics/checkpoints",
    },
    "guard": {
        "training.nproc_per_node": 2,
        "options.train_stage": "video_tokenizer",
        "stages.video_tokenizer.batch_size_per_gpu": 8,
        **LOOP,
    },
}
for _stage, _short, _more in (("a", "video", 45000), ("b", "latent", 12000), ("c", "dynamics", 304000)):
    _name = SHORT_NAMES[_short]
    EXPECTED[f"stage-{_stage}-further"] = EXPECTED[f"stage-{_stage}"] | {
        f"stages.{_name}.n_updates": _more,
        f"options.{_short}_checkpoint": f"${_stage.upper()}/{_name}/checkpoints",
    }
EXPECTED["stage-a-further"]["stages.dynamics.n_updates"] = 300000


def documented_commands() -> dict[str, list[str]]:
    """The words of each tagged command in docs/commands.md, without the line that keeps its run's folder."""
    return {
        name: shlex.split(block.replace("\\\n", " ").splitlines()[0]) for name, block in documented_blocks().items()
    }


def settings_of(pytester: pytest.Pytester, words: list[str]) -> Settings:
    assert words[0] == "pytest"
    config = parsed(pytester, words[1:])
    options = explicit_options(config)
    require_valid(options)
    return resolve_settings(chosen_profile(config), options, project_root=project_root(config))


def test_every_documented_command_is_tested() -> None:
    assert set(documented_commands()) == set(EXPECTED)


@pytest.mark.requirement("P1")
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_documented_command_gives_the_settings_of_the_specification(pytester: pytest.Pytester, name: str) -> None:
    table = settings_of(pytester, documented_commands()[name]).table()
    assert {key: table[key]["value"] for key in EXPECTED[name]} == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_documented_command_causes_no_note(pytester: pytest.Pytester, name: str) -> None:
    assert settings_of(pytester, documented_commands()[name]).notes == ()


def test_the_options_page_lists_the_registry() -> None:
    text = (DOCS / "options.md").read_text()
    match = re.search(r"<!-- options-list[^>]*-->\n\n(.*?)\n\n<!-- end of options-list -->", text, flags=re.DOTALL)
    assert match is not None
    assert match.group(1) == options_list()


@pytest.mark.parametrize("page", ["options.md", "commands.md", "external-checkouts.md"])
def test_every_flag_on_a_page_exists(page: str) -> None:
    flags = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*[a-z])(?![\w*-])", (DOCS / page).read_text()))
    known = set(re.findall(r"`(--[a-z-]+)`", options_list()))
    sources_own = {"--repo-root", "--python-exec", "--torchrun", "--help"}
    of_commands = {"--train", "--held-out", "--pack", "--unpack"}  # data hold-out, runs
    assert flags - known - sources_own - of_commands == set()


def test_the_pages_name_no_machine() -> None:
    for page in ("options.md", "commands.md", "external-checkouts.md"):
        assert not re.search(r"(^|[\s`])/(root|home|tmp|work)\b", Path(DOCS / page).read_text())
