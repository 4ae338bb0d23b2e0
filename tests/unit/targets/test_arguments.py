"""Arguments of a checkout: by its capabilities, and unchanged by spaces, equals signs and quotes.

pytest tests/unit/targets/test_arguments.py
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.stand_in import KINDS, write_sources
from tinyworlds_gate.launch.command import (
    TERM_AND_KILL_VARIABLE,
    LaunchFiles,
    inference_command,
    stage_command,
    stage_environment,
)
from tinyworlds_gate.targets.arguments import (
    draws_picture,
    inference_arguments,
    interval_on_command_line,
    saving_interval,
    stage_arguments,
)
from tinyworlds_gate.targets.base import Target, TargetArguments
from tinyworlds_gate.targets.checkout import checkout_target

KNOBS = {"batch_size_per_gpu": 4, "learning_rate": 3e-4, "gradient_accumulation_steps": 2}
AWKWARD = "a b=c 'd' \"e\" #f $HOME;*"
"""A folder name with a space, an equals sign, both quotes, and characters special to YAML and shells."""


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    found = checkout_target(write_sources(tmp_path / "checkout", request.param))
    assert found is not None
    return found


def of_kind(tmp_path: Path, kind: str) -> Target:
    found = checkout_target(write_sources(tmp_path / "checkout", kind))
    assert found is not None
    return found


def inference(target: Target, root: Path = Path("/r")) -> dict[str, object]:
    return inference_arguments(
        target,
        {stage: root / stage for stage in ("video_tokenizer", "latent_actions", "dynamics")},
        dataset="ZELDA",
        on_cpu=True,
        teacher_forced=False,
        context_window=3,
        prediction_horizon=1,
        generation_steps=12,
        decode_steps=16,
        temperature=0.0,
        seed=7,
    )


def test_wandb_stays_on_if_a_stage_would_fail_without_it(target: Target) -> None:
    words = stage_arguments(target, KNOBS, n_updates=400, log_interval=100, on_cpu=False)
    assert words["use_wandb"] is True
    assert "device" not in words
    environment = stage_environment(target, LaunchFiles(Path("/o/results/run")), on_cpu=False, inherited={})
    assert (environment["WANDB_MODE"], environment["WANDB_DIR"]) == ("offline", "/o")
    assert environment[TERM_AND_KILL_VARIABLE] == environment["PYTHONDONTWRITEBYTECODE"] == "1"


@pytest.mark.requirement("M1")
def test_wandb_stays_on_if_the_history_is_read_from_it(target: Target) -> None:
    can = dataclasses.replace(target.can, trains_without_wandb=True)
    words = stage_arguments(dataclasses.replace(target, can=can), KNOBS, n_updates=400, log_interval=100, on_cpu=False)
    assert words["use_wandb"] is True


def test_a_users_own_wandb_mode_is_kept(target: Target) -> None:
    inherited = {"WANDB_MODE": "online"}
    environment = stage_environment(target, LaunchFiles(Path("/o/results/run")), on_cpu=False, inherited=inherited)
    assert environment["WANDB_MODE"] == "online"


def test_the_log_interval_of_upstream_is_adapted_so_that_its_last_update_is_saved(tmp_path: Path) -> None:
    assert saving_interval(of_kind(tmp_path, "tinyworlds"), 0, 400, 100) == 57
    assert saving_interval(of_kind(tmp_path, "tinyworlds-fork"), 0, 400, 100) == 100


@given(n_updates=st.integers(1, 400_000), log_interval=st.integers(1, 5000))
def test_the_adapted_interval_always_divides_the_last_step_and_does_not_save_far_more_often(
    n_updates: int, log_interval: int
) -> None:
    from tinyworlds_gate.targets.capabilities import CAPABILITIES

    stages = dict.fromkeys(("video_tokenizer", "latent_actions", "dynamics"), Path("x"))
    original = Target("tinyworlds", Path("/c"), Path("p"), stages, Path("i"), Path("c"), can=CAPABILITIES["tinyworlds"])
    fitted, last = saving_interval(original, 0, n_updates, log_interval), n_updates - 1
    assert last == 0 or last % fitted == 0
    assert fitted <= log_interval or fitted == last
    assert 4 * fitted >= min(log_interval, last)


@pytest.mark.requirement("S4", "M3")
def test_a_retraining_shorter_than_its_log_interval_still_draws_a_picture(tmp_path: Path) -> None:
    """Hazard 12: updates 750 to 950 at an interval of 1000."""
    fork = of_kind(tmp_path, "tinyworlds-fork")
    assert not draws_picture(750, 950, 1000)
    assert saving_interval(fork, 750, 950, 1000) == 949
    assert saving_interval(fork, 750, 1250, 1000) == 1000, "update 1000 draws one"
    words = stage_arguments(fork, KNOBS, n_updates=950, start=750, log_interval=1000, on_cpu=False)
    assert words["log_interval"] == 949


@given(start=st.integers(0, 400_000), updates=st.integers(1, 400_000), log_interval=st.integers(1, 5000))
def test_every_chunk_of_a_fork_draws_a_picture(start: int, updates: int, log_interval: int) -> None:
    from tinyworlds_gate.targets.capabilities import CAPABILITIES

    stages = dict.fromkeys(("video_tokenizer", "latent_actions", "dynamics"), Path("x"))
    can = CAPABILITIES["tinyworlds-fork"]
    fork = Target("tinyworlds-fork", Path("/c"), Path("p"), stages, Path("i"), Path("c"), can=can)
    fitted = saving_interval(fork, start, start + updates, log_interval)
    assert any(step % fitted == 0 for step in range(start, start + updates))
    assert draws_picture(start, start + updates, fitted)


def test_a_target_file_has_the_last_word_on_the_log_interval(tmp_path: Path) -> None:
    fork = of_kind(tmp_path, "tinyworlds-fork")
    own = dataclasses.replace(fork, arguments=TargetArguments(training={"log_interval": 1000}))
    assert interval_on_command_line(own, 750, 950, 500) == 1000
    assert interval_on_command_line(fork, 750, 950, 500) == 949


def test_checkpoints_of_inference_are_explicit_and_never_searched(target: Target) -> None:
    words = inference(target)
    assert words["use_latest_checkpoints"] is False
    assert words["dynamics_path"] == Path("/r/dynamics")


def test_the_fork_follows_true_actions_on_a_seeded_clip_and_upstream_none(tmp_path: Path) -> None:
    fork = inference(of_kind(tmp_path / "a", "tinyworlds-fork"))
    assert (fork["use_actions"], fork["use_gt_actions"], fork["seed"], fork["sample_index"]) == (True, True, 7, 0)
    original = inference(of_kind(tmp_path / "b", "tinyworlds"))
    assert original["use_actions"] is False
    assert (original["use_actions"], original["use_gt_actions"]) == (False, False)
    assert not {"seed", "sample_index", "decode_steps"} & set(original)


def test_a_forks_own_keys_are_used_and_its_overrides_take_precedence(tmp_path: Path) -> None:
    arguments = TargetArguments(renamed={"n_updates": "max_steps"}, training={"device": "cuda", "learning_rate": 0.5})
    target = dataclasses.replace(of_kind(tmp_path, "tinyworlds-fork"), arguments=arguments)
    made = stage_arguments(target, KNOBS, n_updates=9, log_interval=3, on_cpu=True)
    assert (made["max_steps"], made["device"], made["learning_rate"]) == (9, "cuda", 0.5)
    assert "n_updates" not in made


def test_spaces_equals_signs_and_quotes_reach_the_stage_unchanged(tmp_path: Path) -> None:
    root = write_sources(tmp_path / AWKWARD / "checkout", "tinyworlds-fork")
    target = checkout_target(root)
    assert target is not None
    echo = "import sys, json; print(json.dumps(sys.argv[1:]))"
    for script in ("scripts/train_dynamics.py", "scripts/run_inference.py"):
        (root / script).write_text(echo)
    place = root / "results" / "run"
    overrides = stage_arguments(
        target, KNOBS, n_updates=9, log_interval=3, on_cpu=True, checkpoint=place, inputs={"x": place}
    )
    for command, expected in (
        (stage_command(target, "dynamics", nproc_per_node=1, overrides=overrides), {"checkpoint": str(place)}),
        (inference_command(target, inference(target, place)), {"dynamics_path": str(place / "dynamics")}),
    ):
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
        words = dict(word.partition("=")[::2] for word in yaml.safe_load(done.stdout) if "=" in word)
        read = {key: yaml.safe_load(text) for key, text in words.items()}
        assert expected.items() <= read.items()
    assert command[0] == sys.executable
